"""Wire format of Responses, OpenAI's newer API. It returns code with its output.

Sources: Model Studio's reference of the Responses API, its page on the code interpreter,
measurements published against the live service, and the source of vLLM and SGLang, which have the
same API. Differences from the other APIs:

- An answer is a list of items (see `items`). They are streamed, and the last frame repeats all of
  them, on some servers with other ids (see `identity`).
- Reasoning has two event names. Code comes either complete with its item or in pieces.
- A failure, for example a rate limit, comes with HTTP status 200; the last frame reports it.
- Gateways that convert Chat Completions of a server without a reasoning parser to this API leave
  reasoning in the text, in `<think>` tags.
- The service has other tools that can be used together with the interpreter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_qwen_ci.wire import WireRequest
from langchain_qwen_ci.wire.decoding import FramedDecoder
from langchain_qwen_ci.wire.error_bodies import parse_error_body, service_error
from langchain_qwen_ci.wire.responses.parser import ResponsesParser
from langchain_qwen_ci.wire.responses.request import encode_request

if TYPE_CHECKING:
    from langchain_qwen_ci.errors import QwenAPIError
    from langchain_qwen_ci.request.prompt import Prompt, RequestOptions

_PATH = "/compatible-mode/v1/responses"


class ResponsesWire:
    """Implements `langchain_qwen_ci.wire.Wire` for Responses."""

    def request(self, prompt: Prompt, options: RequestOptions) -> WireRequest:
        return WireRequest(
            model=options.model,
            path=_PATH,
            headers={
                "Accept": "text/event-stream",
                **({"x-dashscope-session-cache": "enable"} if options.session_cache else {}),
            },
            parse_think_tags=options.parse_think_tags,
            body=encode_request(prompt, options),
        )

    def decoder(self, request: WireRequest) -> FramedDecoder:
        return FramedDecoder(ResponsesParser(parse_think_tags=request.parse_think_tags))

    def error(self, request: WireRequest, status_code: int, body: bytes) -> QwenAPIError:
        del request
        return service_error(parse_error_body(body), status_code)
