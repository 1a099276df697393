"""The size of the context of a conversation, for functions that take usage for it."""

from __future__ import annotations

from collections.abc import Iterable  # noqa: TC003  # get_type_hints needs it

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.ai import UsageMetadata

from langchain_qwen_ci.metadata import MODEL_PROVIDER, has_types, plugin_counts

_INFERENCE_TYPES = {"input_tokens": int, "output_tokens": int}


def with_context_usage(messages: Iterable[BaseMessage]) -> list[BaseMessage]:
    """Replace the usage of answers by that of one inference, which shows the size of the context.

    The usage of an answer is the sum over its inferences, as it is billed, and each of them reads
    the whole conversation. Functions that take the `total_tokens` of the last answer for the size
    of the conversation need the usage of one: `SummarizationMiddleware`, and
    `count_tokens_approximately` with `use_usage_metadata_scaling=True`.

    Args:
        messages: messages of any kind and provider. They are not changed.

    Returns:
        The messages, with copies of Qwen's answers of several inferences. A copy has the usage of
        the largest inference. If code ran, or another plugin, and the API does not report
        inferences (only the native one does), a copy has no usage; LangChain then estimates it.
        Chat Completions reports neither inferences nor executions, so its answers keep the sum.
    """
    return [_with_context_usage(message) for message in messages]


def _with_context_usage(message: BaseMessage) -> BaseMessage:
    metadata = message.response_metadata
    if not isinstance(message, AIMessage) or metadata.get("model_provider") != MODEL_PROVIDER:
        return message
    inferences = _inferences(message)
    if len(inferences) > 1:
        # The largest one and not the last: an answer for an agent's schema ends with an inference
        # that does not read the conversation.
        return message.model_copy(update={"usage_metadata": max(inferences, key=_total)})
    if not inferences and (plugin_counts(message) or "schema_request" in metadata):
        return message.model_copy(update={"usage_metadata": None})
    return message


def _inferences(message: AIMessage) -> list[UsageMetadata]:
    recorded = message.response_metadata.get("inference_usage")
    return [
        UsageMetadata(
            input_tokens=inference["input_tokens"],
            output_tokens=inference["output_tokens"],
            total_tokens=inference["input_tokens"] + inference["output_tokens"],
        )
        for inference in (recorded if isinstance(recorded, list) else ())
        if has_types(inference, _INFERENCE_TYPES)
    ]


def _total(usage: UsageMetadata) -> int:
    return usage["total_tokens"]
