"""Wire format of Chat Completions, OpenAI's older API. It returns neither code nor call counts.

Sources: Model Studio's pages on OpenAI compatibility and on the code interpreter, recordings of the
service, and the source of vLLM and SGLang, which have the same API. Differences from the other
APIs:

- With the interpreter on, only streaming is allowed. No chunks arrive while code runs.
- The chunk with `finish_reason` is not the last one: a chunk without choices follows, with the
  usage, and then `[DONE]`.
- An error is `{"error": {…}}`, instead of an answer or in the middle of one.
- Servers without a reasoning parser send reasoning in the text, in `<think>` tags.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_qwen_ci.request.prompt import Text
from langchain_qwen_ci.wire import WireRequest
from langchain_qwen_ci.wire.chat_completions.parser import ChatCompletionsParser
from langchain_qwen_ci.wire.decoding import FramedDecoder
from langchain_qwen_ci.wire.encoding import (
    encode_chat_message,
    encode_content,
    feature_flags,
    json_body,
)
from langchain_qwen_ci.wire.error_bodies import parse_error_body, service_error

if TYPE_CHECKING:
    from langchain_qwen_ci.errors import QwenAPIError
    from langchain_qwen_ci.request.prompt import Media, Prompt, RequestOptions

_PATH = "/compatible-mode/v1/chat/completions"


class ChatCompletionsWire:
    """Implements `langchain_qwen_ci.wire.Wire` for Chat Completions."""

    def request(self, prompt: Prompt, options: RequestOptions) -> WireRequest:
        payload: dict[str, Any] = {
            "model": options.model,
            "messages": [
                encode_chat_message(message, encode_content(message, _encode_part), options)
                for message in prompt
            ],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        return WireRequest(
            model=options.model,
            path=_PATH,
            headers={"Accept": "text/event-stream"},
            parse_think_tags=options.parse_think_tags,
            body=json_body({**payload, **feature_flags(options), **options.parameters}),
        )

    def decoder(self, request: WireRequest) -> FramedDecoder:
        return FramedDecoder(ChatCompletionsParser(parse_think_tags=request.parse_think_tags))

    def error(self, request: WireRequest, status_code: int, body: bytes) -> QwenAPIError:
        del request
        return service_error(parse_error_body(body), status_code)


def _encode_part(part: Text | Media) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    options = dict(part.options)
    if part.frames:
        return {"type": "video", "video": list(part.frames), **options}
    if part.kind == "audio":
        audio = {"data": part.url, "format": options.pop("format", part.format)}
        return {"type": "input_audio", "input_audio": audio, **options}
    source = {"url": part.url}
    if "detail" in options:  # OpenAI's parameter has its place beside the URL
        source["detail"] = options.pop("detail")
    return {"type": f"{part.kind}_url", f"{part.kind}_url": source, **options}
