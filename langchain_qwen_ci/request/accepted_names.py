"""Argument names of other LangChain chat models, accepted by the constructor and by calls.

Sources: the fields of ChatOpenAI (langchain-openai 1.7), ChatQwen and ChatQwQ (langchain-qwq 0.3)
and ChatTongyi (langchain-community 0.4). `docs/migrating.md` lists all of them for users.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from pydantic import BaseModel

from langchain_qwen_ci.errors import QwenInputError
from langchain_qwen_ci.request.parameters import Parameters

# Other names of a field, with the same meaning.
ALIASES: Mapping[str, str] = {
    "model_name": "model",
    "openai_api_key": "api_key",
    "dashscope_api_key": "api_key",
    "api_base": "base_url",
    "openai_api_base": "base_url",
    "dashscope_api_base": "base_url",
    "request_timeout": "timeout",
    "stop_sequences": "stop",
    "max_output_tokens": "max_tokens",
    "extra_body": "model_kwargs",
}


@dataclass(frozen=True, slots=True)
class Unsupported:
    """An argument that this package does not have.

    Attributes:
        advice: what to use instead.
        no_effect: values that ask for what this package does anyway; they are accepted and dropped.
    """

    advice: str
    no_effect: tuple[object, ...] = (None,)


_HTTP_CLIENT = (
    "configure httpx yourself, and pass it to the model as http_client and http_async_client"
)
_NOT_OPENAI = Unsupported(f"requests are sent with httpx, not with an SDK: {_HTTP_CLIENT}.")
_WORKSPACE = Unsupported("the service has workspaces instead: pass workspace=… to the model.")
_QUERY = Unsupported(f"{_HTTP_CLIENT}: httpx.Client(params=…).")

UNSUPPORTED: Mapping[str, Unsupported] = {
    "streaming": Unsupported(
        "False is not supported: every answer is streamed from the service, and `invoke` returns "
        "the complete message. To make `stream` return one chunk, pass disable_streaming=True to "
        "the model.",
        no_effect=(True,),
    ),
    "stream_usage": Unsupported(
        "False is not supported: every message has usage_metadata.", no_effect=(None, True)
    ),
    "use_responses_api": Unsupported(
        'pass api="responses" or api="chat_completions" to the model.'
    ),
    "use_previous_response_id": Unsupported(
        "the earlier answer is not chosen automatically: pass "
        'previous_response_id=message.response_metadata["request_id"] to a model with '
        'api="responses".',
        no_effect=(None, False),
    ),
    "organization": _WORKSPACE,
    "openai_organization": _WORKSPACE,
    "openai_proxy": Unsupported(f"{_HTTP_CLIENT}: httpx.Client(proxy=…)."),
    "default_query": _QUERY,
    "extra_query": _QUERY,
    "extra_headers": Unsupported("headers belong to the model: pass default_headers=… to it."),
    "http_socket_options": Unsupported(
        f"{_HTTP_CLIENT}: httpx.Client(transport=httpx.HTTPTransport(socket_options=…))."
    ),
    "client": _NOT_OPENAI,
    "async_client": _NOT_OPENAI,
    "root_client": _NOT_OPENAI,
    "root_async_client": _NOT_OPENAI,
    "tiktoken_model_name": Unsupported(
        "tiktoken does not know Qwen's tokens: leave it out. get_num_tokens estimates them."
    ),
    "include_response_headers": Unsupported(
        'True is not supported: response_metadata["request_id"] identifies an answer, and event '
        "hooks of your own http_client receive the headers.",
        no_effect=(None, False),
    ),
    "disabled_params": Unsupported("leave it out: a parameter that is None is not sent."),
}

SERVICE_PARAMETERS = frozenset(
    {
        # DashScope's native API.
        "enable_search",
        "incremental_output",
        "logprobs",
        "n",
        "parallel_tool_calls",
        "response_format",
        "result_format",
        "search_options",
        "tool_choice",
        "tools",
        "top_logprobs",
        "vl_high_resolution_images",
        # Chat Completions.
        "audio",
        "frequency_penalty",
        "function_call",
        "functions",
        "logit_bias",
        "modalities",
        "prediction",
        "service_tier",
        "stream",
        "stream_options",
        "translation_options",
        "user",
        "verbosity",
        "web_search_options",
        # Responses.
        "background",
        "context_management",
        "include",
        "max_tool_calls",
        "prompt",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "reasoning",
        "safety_identifier",
        "text",
        "truncation",
    }
)
"""Parameters of the three APIs that are not fields. A call may pass them by name without a warning;
the constructor takes them in `model_kwargs`.

Sources: Model Studio's API references, and OpenAI's for the two compatible APIs.
"""

# Arguments that LangChain passes along with those of a call, and removes before it.
_LANGCHAIN_ARGUMENTS = frozenset({"ls_structured_output_format", "structured_output_format"})

_MASK = "***"
# Arguments that may contain a secret. A call cannot set them, but LangChain traces the arguments of
# a call before the call can reject them.
_SECRET_ARGUMENTS = ("api_key", "workspace", "default_headers", "extra_headers")


def rename_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments under the names of this package.

    None under another name counts as not given, as it does in the models with that name.

    Raises:
        QwenInputError: two names of one field are given.
    """
    renamed = {name: value for name, value in arguments.items() if name not in ALIASES}
    for alias, name in ALIASES.items():
        value = arguments.get(alias)
        if value is None:
            continue
        if renamed.get(name) is not None:
            others = [other for other, field in ALIASES.items() if field == name]
            given = [other for other in (name, *others) if arguments.get(other) is not None]
            raise QwenInputError(f"{', '.join(given)} set the same field: pass {name} only.")
        renamed[name] = value
    return renamed


def drop_unsupported(
    arguments: Mapping[str, Any], unsupported: Mapping[str, Unsupported] = UNSUPPORTED
) -> dict[str, Any]:
    """Return arguments without those that this package does not have.

    Raises:
        QwenInputError: such an argument has a value that would change something.
    """
    for name, entry in unsupported.items():
        if name in arguments and arguments[name] not in entry.no_effect:
            raise QwenInputError(f"{name}: {entry.advice}")
    return {name: value for name, value in arguments.items() if name not in unsupported}


def flatten_model_kwargs(model_kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters in `model_kwargs` under the names of this package.

    `model_kwargs={"extra_body": {…}}` is how ChatOpenAI takes parameters that OpenAI does not have.

    Raises:
        QwenInputError: two names of one parameter are given.
    """
    parameters = rename_arguments(model_kwargs)
    nested = parameters.pop("model_kwargs", None)
    if isinstance(nested, Mapping):
        return {**parameters, **flatten_model_kwargs(nested)}
    return parameters


def check_call_arguments(arguments: Mapping[str, Any], fields: Collection[str]) -> None:
    """Check the names of a call's arguments.

    A name that this package does not know causes a warning once per process, and is sent: it may be
    a new parameter of the service, or one of another server. Once per process and not per model,
    because programs that copy or build a model for each request would be warned with each request.

    Args:
        arguments: the arguments of the call, or of `bind`.
        fields: the names of the model's fields.

    Raises:
        QwenInputError: an argument sets a field of the model which is not one of `Parameters`.
    """
    for name, value in arguments.items():
        field = ALIASES.get(name, name)
        if field in Parameters.model_fields or field in UNSUPPORTED:
            continue
        if field in fields:
            raise QwenInputError(
                f"{name} belongs to the model and cannot be set for one call: make another "
                f"ChatQwenCodeInterpreter({field}=…)."
            )
        if value is not None and name not in SERVICE_PARAMETERS | _LANGCHAIN_ARGUMENTS:
            _warn_unknown_argument(name, frozenset(fields))


# Not `cache`: the names may come from the users of a program.
@lru_cache(maxsize=256)
def _warn_unknown_argument(name: str, fields: frozenset[str]) -> None:
    nearest = nearest_name(name, fields)
    if nearest is None:
        question = "."
    elif nearest in fields and nearest not in Parameters.model_fields:
        question = f"; did you mean {nearest} of ChatQwenCodeInterpreter({nearest}=…)?"
    else:
        question = f"; did you mean {nearest}?"
    warnings.warn(
        f"{name!r} is no argument or parameter of the service that this package knows{question} It "
        f"is sent unchanged. Pass model_kwargs={{{name!r}: …}} to send it without this warning.",
        stacklevel=2,
    )


def nearest_name(name: str, fields: Collection[str]) -> str | None:
    """Return the field or parameter of the service whose name is most similar to a misspelt one.

    Args:
        name: the misspelt name.
        fields: the names of the model's fields.

    Returns:
        The name that this package has for it; None if no name is similar.
    """
    # Sorted, because of equally similar names the first one is returned.
    names = sorted({*fields, *ALIASES, *SERVICE_PARAMETERS})
    matches = get_close_matches(name.lower(), names, n=1)
    return ALIASES.get(matches[0], matches[0]) if matches else None


def trace_arguments(
    arguments: Mapping[str, Any], stop: str | Sequence[str] | None
) -> dict[str, Any]:
    """Return the arguments of a call for its trace, under the names of this package.

    Secrets are replaced by asterisks. Nothing is raised, because the call checks the arguments
    after LangChain has started its trace.
    """
    traced = {ALIASES.get(name, name): value for name, value in arguments.items()}
    masked = {name: _MASK for name in _SECRET_ARGUMENTS if name in traced}
    stop = traced.get("stop") if stop is None else stop
    return {**traced, **masked, "stop": stop if stop is None else to_list(stop)}


def to_list(value: Any) -> list[Any]:  # noqa: ANN401  # any argument that is one value or several
    """Return an argument that is one value or several as a list.

    A string, a dictionary, a tool and a class are one value, although they can be iterated.
    """
    is_one = isinstance(value, (str, Mapping, BaseModel, type)) or not isinstance(value, Iterable)
    return [value] if is_one else list(value)
