"""The Responses API from the side of the service: encodes answers as items and events."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any, Literal

from langchain_qwen_ci.emulator.responders.responder import (
    Call,
    Extract,
    Finish,
    Run,
    Say,
    Search,
    Think,
)
from langchain_qwen_ci.emulator.token_usage import pieces
from langchain_qwen_ci.emulator.wires.interface import arguments_of, call_id, compact_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from langchain_qwen_ci.emulator.parsed_request import ParsedRequest
    from langchain_qwen_ci.emulator.request_rules import ServiceError
    from langchain_qwen_ci.emulator.responders.responder import Result, Step

ReasoningEvents = Literal["reasoning_text", "reasoning_summary_text"]

# The reasons of an incomplete response, by finish reason.
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
# A failed response has the code server_error, also for a rate limit (documented).
_SERVER_ERRORS = ("InternalError", "SystemError", "Throttling", "ModelServ", "ServiceUnavailable")


class ResponsesEncoder:
    """Encodes the steps of a responder as items and their events, or as one response.

    Args:
        echoed: the tools and the tool_choice of the request, which the response repeats.
        store: called at the end with the messages of the answer, in the format of Chat Completions.
    """

    closing = b""  # the last event ends the stream

    def __init__(
        self,
        request_id: str,
        parsed: ParsedRequest,
        *,
        echoed: Mapping[str, Any],
        reasoning_events: ReasoningEvents,
        store: Callable[[list[Any]], None],
    ) -> None:
        self._request_id = request_id
        self._model = parsed.model
        self._echoed = echoed
        self._reasoning_events = reasoning_events
        self._store = store
        self._tokens = parsed.token_usage()
        self._created = int(time.time())
        self._output: list[dict[str, Any]] = []
        # The open text item: its type, id and text. Other items are complete at once.
        self._open_type = ""
        self._item_id = ""
        self._text = ""
        self._execution = Run("")
        self._reason = "stop"
        self.written = 0

    def begin(self) -> Iterator[dict[str, Any]]:
        for event, status in (("created", "queued"), ("in_progress", "in_progress")):
            yield {"type": f"response.{event}", "response": self._response(status, model="")}

    def step(self, step: Step) -> Iterator[dict[str, Any]]:
        match step:
            case Think(text):
                yield from self._add_text("reasoning", text)
            case Say(text):
                yield from self._add_text("message", text)
            case Finish(reason):
                self._reason = reason
            case _:
                yield from self._close_text_item()
                yield from self._on_other_step(step)

    def _on_other_step(self, step: Step) -> Iterator[dict[str, Any]]:
        match step:
            case Run():
                yield from self._start_execution(step)
            case Search():
                yield from self._on_search(step)
            case Extract():
                yield from self._on_extract(step)
            case Call():
                yield from self._on_call(step)

    def on_code_result(self, result: Result) -> Iterator[dict[str, Any]]:
        """Yield the end of a program. Its status is completed, also after an exception."""
        self._tokens.start_inference(result)
        lines = [
            result.output.rstrip("\n"),
            *(f"![image]({url})" for url in self._execution.images),
        ]
        logs = "\n".join(filter(None, lines))
        outputs = [{"type": "logs", "logs": f"```\n{logs}\n```"}]
        yield self._event("code_interpreter_call.completed")
        yield self._item_done({**self._code_item("completed"), "outputs": outputs})

    def end(self) -> Iterator[dict[str, Any]]:
        yield from self._close_text_item()
        self._store([message for item in self._output if (message := _to_chat_message(item))])
        complete = self._complete_response()
        yield {"type": f"response.{complete['status']}", "response": complete}

    def frame(self, payload: dict[str, Any]) -> bytes:
        """Encode a frame as on the native API. Sequence numbers in events start at 0."""
        self.written += 1
        return _frame(self.written, payload)

    def error_frame(self, number: int, error: ServiceError) -> bytes:
        failed = self._failed_response(error)
        return _frame(number, {"type": "response.failed", "response": failed})

    def document(self) -> bytes:
        return compact_json(self._complete_response())

    def failed_document(self, error: ServiceError) -> bytes:
        return compact_json(self._failed_response(error))

    # Items with streamed text.

    def _add_text(self, kind: str, text: str) -> Iterator[dict[str, Any]]:
        if self._open_type != kind:
            yield from self._close_text_item()
            yield from self._open_text_item(kind)
        for piece in pieces(text):
            self._text += piece
            if kind == "message":
                self._tokens.count_text()
            else:
                self._tokens.count_reasoning()
            yield self._text_event("delta", delta=piece)

    def _open_text_item(self, kind: str) -> Iterator[dict[str, Any]]:
        self._open_type, self._text = kind, ""
        if kind == "reasoning":
            yield self._item_added({"type": "reasoning", "summary": []})
            return
        yield self._item_added(
            {"type": "message", "role": "assistant", "content": [], "status": "in_progress"}
        )
        yield self._event("content_part.added", content_index=0, part=_part(""))

    def _close_text_item(self) -> Iterator[dict[str, Any]]:
        """Yield the end of the open text item."""
        if not self._open_type:
            return
        yield self._text_event("done", text=self._text)
        kind, self._open_type = self._open_type, ""
        if kind == "reasoning":
            summary = [{"type": "summary_text", "text": self._text}]
            yield self._item_done({"type": "reasoning", "summary": summary})
            return
        part = _part(self._text)
        yield self._event("content_part.done", content_index=0, part=part)
        yield self._item_done(
            {"type": "message", "role": "assistant", "content": [part], "status": "completed"}
        )

    def _text_event(self, name: str, **more: Any) -> dict[str, Any]:
        if self._open_type == "message":
            return self._event(f"output_text.{name}", content_index=0, logprobs=[], **more)
        if self._reasoning_events == "reasoning_summary_text":
            more["summary_index"] = 0
        return self._event(f"{self._reasoning_events}.{name}", **more)

    # Items that are complete at once.

    def _start_execution(self, run: Run) -> Iterator[dict[str, Any]]:
        """Yield the start of a program. The added item has the complete code; no event repeats it
        (measured).
        """
        self._execution = run
        self._tokens.count_output(run.code)
        self._tokens.count_tool_call("code_interpreter")
        yield self._item_added(self._code_item("in_progress"))
        yield self._event("code_interpreter_call.in_progress")
        yield self._event("code_interpreter_call.interpreting")

    def _code_item(self, status: str) -> dict[str, Any]:
        return {
            "type": "code_interpreter_call",
            "code": self._execution.code,
            "container_id": "",
            "status": status,
        }

    def _on_search(self, search: Search) -> Iterator[dict[str, Any]]:
        self._tokens.count_tool_call("web_search")
        self._tokens.start_inference(" ".join(search.sources))
        action: dict[str, Any] = {"type": "search", "query": search.query}
        item = {"type": "web_search_call", "action": action, "status": "in_progress"}
        yield self._item_added(item)
        for name in ("in_progress", "searching", "completed"):
            yield self._event(f"web_search_call.{name}")
        sources = [{"type": "url", "url": url} for url in search.sources]
        found = {**action, "sources": sources}
        yield self._item_done({"type": "web_search_call", "action": found, "status": "completed"})

    def _on_extract(self, extract: Extract) -> Iterator[dict[str, Any]]:
        """Yield an item without events of its own (recorded)."""
        self._tokens.count_tool_call("web_extractor")
        self._tokens.start_inference(extract.output)
        arguments = {"urls": list(extract.urls), "goal": extract.goal}
        yield self._item_added({"type": "web_extractor_call", **arguments, "status": "in_progress"})
        done = {**arguments, "output": extract.output, "status": "completed"}
        yield self._item_done({"type": "web_extractor_call", **done})

    def _on_call(self, call: Call) -> Iterator[dict[str, Any]]:
        calls = sum(item["type"] == "function_call" for item in self._output)
        item = {
            "type": "function_call",
            "call_id": call_id(call, self._request_id, calls),
            "name": call.name,
        }
        parts = arguments_of(call)
        arguments = "".join(parts)
        self._tokens.count_output(arguments)
        yield self._item_added({**item, "arguments": "", "status": "in_progress"})
        for part in parts:
            yield self._event("function_call_arguments.delta", delta=part)
        yield self._event("function_call_arguments.done", arguments=arguments, name=call.name)
        yield self._item_done({**item, "arguments": arguments, "status": "completed"})

    # Events.

    def _item_added(self, item: dict[str, Any]) -> dict[str, Any]:
        self._item_id = f"msg_{uuid.uuid4()}"  # the ids of all items start with msg_ (recorded)
        return {
            "type": "response.output_item.added",
            "output_index": len(self._output),
            "item": {**item, "id": self._item_id},
        }

    def _event(self, name: str, /, **more: Any) -> dict[str, Any]:
        return {
            "type": f"response.{name}",
            "output_index": len(self._output),
            "item_id": self._item_id,
            **more,
        }

    def _item_done(self, item: dict[str, Any]) -> dict[str, Any]:
        self._output.append({**item, "id": self._item_id})
        return {
            "type": "response.output_item.done",
            "output_index": len(self._output) - 1,
            "item": self._output[-1],
        }

    # The response itself.

    def _complete_response(self) -> dict[str, Any]:
        incomplete_reason = _INCOMPLETE.get(self._reason)
        response = self._response(
            "incomplete" if incomplete_reason else "completed", **self._echoed
        )
        if incomplete_reason:
            response["incomplete_details"] = {"reason": incomplete_reason}
        return {**response, "output": self._output, "usage": self._usage()}

    def _failed_response(self, error: ServiceError) -> dict[str, Any]:
        code = "server_error" if error.code.startswith(_SERVER_ERRORS) else error.code
        described = {"code": code, "message": error.message}
        return {**self._response("failed", model=""), "output": self._output, "error": described}

    def _response(self, status: str, **more: Any) -> dict[str, Any]:
        return {
            "id": self._request_id,
            "object": "response",
            "created_at": self._created,
            "model": self._model,
            "status": status,
            "parallel_tool_calls": False,
            "tool_choice": "auto",
            "tools": [],
            "output": [],
            **more,
        }

    def _usage(self) -> dict[str, Any]:
        tokens = self._tokens
        numbers = {
            "input_tokens": tokens.input,
            "output_tokens": tokens.output,
            "total_tokens": tokens.total,
            "output_tokens_details": {"reasoning_tokens": tokens.reasoning},
        }
        cached = {"cached_tokens": 0}
        plugins = tokens.plugins()
        detail: dict[str, Any] = {**numbers, "prompt_tokens_details": cached}
        usage: dict[str, Any] = {**numbers, "input_tokens_details": cached}
        if plugins:  # absent if no tool ran
            detail["plugins"] = usage["x_tools"] = plugins
        usage["x_details"] = [{**detail, "x_billing_type": "response_api"}]
        return usage


def _frame(number: int, payload: dict[str, Any]) -> bytes:
    head = b"id:%d\nevent:%s\n:HTTP_STATUS/200\n" % (number, payload["type"].encode())
    return head + b"data:" + compact_json({"sequence_number": number - 1, **payload}) + b"\n\n"


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": None}


def _to_chat_message(item: Mapping[str, Any]) -> dict[str, Any] | None:
    """Convert an item to a message of the stored conversation; None for other items."""
    match item:
        case {"type": "message", "content": content}:
            return {"role": "assistant", "content": content}
        case {"type": "function_call", "call_id": identity}:
            function = {"name": item["name"], "arguments": item["arguments"]}
            call = {"id": identity, "type": "function", "function": function}
            return {"role": "assistant", "content": "", "tool_calls": [call]}
    return None
