"""The Responses wire, from the service's side: its answers, event by event."""

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

# Why an answer is not complete, in this wire's words.
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
# The one code that is documented for a response that failed: of a rate limit, too.
_SERVER_ERRORS = ("InternalError", "SystemError", "Throttling", "ModelServ", "ServiceUnavailable")


class ResponsesEncoder:
    """Turns the steps of a mind into items and their events, or into one response.

    Args:
        shown: the tools and the tool_choice of the request, which the response repeats.
        keep: is called with what was said, in the shapes of Chat Completions, at the end.
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
        # The item that still grows: its type, its id and its text. Others are over at once.
        self._growing = ""
        self._id = ""
        self._text = ""
        self._run = Run("")
        self._reason = "stop"
        self.written = 0

    def begin(self) -> Iterator[dict[str, Any]]:
        for event, status in (("created", "queued"), ("in_progress", "in_progress")):
            yield {"type": f"response.{event}", "response": self._response(status, model="")}

    def step(self, step: Step) -> Iterator[dict[str, Any]]:
        match step:
            case Think(text):
                yield from self._grow("reasoning", text)
            case Say(text):
                yield from self._grow("message", text)
            case Finish(reason):
                self._reason = reason
            case _:
                yield from self._grown()
                yield from self._on_other_step(step)

    def _on_other_step(self, step: Step) -> Iterator[dict[str, Any]]:
        match step:
            case Run():
                yield from self._begin_run(step)
            case Search():
                yield from self._search(step)
            case Extract():
                yield from self._extract(step)
            case Call():
                yield from self._call(step)

    def on_code_result(self, result: Result) -> Iterator[dict[str, Any]]:
        """An exception, too, is an output of a run that is completed."""
        self._tokens.start_inference(result)
        lines = [result.output.rstrip("\n"), *(f"![image]({url})" for url in self._run.images)]
        logs = "\n".join(filter(None, lines))
        outputs = [{"type": "logs", "logs": f"```\n{logs}\n```"}]
        yield self._event("code_interpreter_call.completed")
        yield self._done({**self._code_item("completed"), "outputs": outputs})

    def end(self) -> Iterator[dict[str, Any]]:
        yield from self._grown()
        self._store([message for item in self._output if (message := _to_chat_message(item))])
        whole = self._whole()
        yield {"type": f"response.{whole['status']}", "response": whole}

    def frame(self, payload: dict[str, Any]) -> bytes:
        """Like the native frames; the numbers within the events begin at 0."""
        self.written += 1
        return _frame(self.written, payload)

    def error_frame(self, number: int, error: ServiceError) -> bytes:
        failed = self._failed(error)
        return _frame(number, {"type": "response.failed", "response": failed})

    def document(self) -> bytes:
        return compact_json(self._whole())

    def failed_document(self, error: ServiceError) -> bytes:
        return compact_json(self._failed(error))

    # Items whose text grows.

    def _grow(self, kind: str, text: str) -> Iterator[dict[str, Any]]:
        if self._growing != kind:
            yield from self._grown()
            yield from self._begin_text(kind)
        for piece in pieces(text):
            self._text += piece
            if kind == "message":
                self._tokens.count_text()
            else:
                self._tokens.count_reasoning()
            yield self._text_event("delta", delta=piece)

    def _begin_text(self, kind: str) -> Iterator[dict[str, Any]]:
        self._growing, self._text = kind, ""
        if kind == "reasoning":
            yield self._added({"type": "reasoning", "summary": []})
            return
        yield self._added(
            {"type": "message", "role": "assistant", "content": [], "status": "in_progress"}
        )
        yield self._event("content_part.added", content_index=0, part=_part(""))

    def _grown(self) -> Iterator[dict[str, Any]]:
        """The end of the item that has grown so far."""
        if not self._growing:
            return
        yield self._text_event("done", text=self._text)
        kind, self._growing = self._growing, ""
        if kind == "reasoning":
            summary = [{"type": "summary_text", "text": self._text}]
            yield self._done({"type": "reasoning", "summary": summary})
            return
        part = _part(self._text)
        yield self._event("content_part.done", content_index=0, part=part)
        yield self._done(
            {"type": "message", "role": "assistant", "content": [part], "status": "completed"}
        )

    def _text_event(self, name: str, **more: Any) -> dict[str, Any]:
        if self._growing == "message":
            return self._event(f"output_text.{name}", content_index=0, logprobs=[], **more)
        if self._reasoning_events == "reasoning_summary_text":
            more["summary_index"] = 0
        return self._event(f"{self._reasoning_events}.{name}", **more)

    # Items that come whole.

    def _begin_run(self, run: Run) -> Iterator[dict[str, Any]]:
        """The item is added with the complete code, which the events do not repeat (measured)."""
        self._run = run
        self._tokens.count_output(run.code)
        self._tokens.count_tool_call("code_interpreter")
        yield self._added(self._code_item("in_progress"))
        yield self._event("code_interpreter_call.in_progress")
        yield self._event("code_interpreter_call.interpreting")

    def _code_item(self, status: str) -> dict[str, Any]:
        return {
            "type": "code_interpreter_call",
            "code": self._run.code,
            "container_id": "",
            "status": status,
        }

    def _search(self, search: Search) -> Iterator[dict[str, Any]]:
        self._tokens.count_tool_call("web_search")
        self._tokens.start_inference(" ".join(search.sources))
        action: dict[str, Any] = {"type": "search", "query": search.query}
        yield self._added({"type": "web_search_call", "action": action, "status": "in_progress"})
        for name in ("in_progress", "searching", "completed"):
            yield self._event(f"web_search_call.{name}")
        sources = [{"type": "url", "url": url} for url in search.sources]
        found = {**action, "sources": sources}
        yield self._done({"type": "web_search_call", "action": found, "status": "completed"})

    def _extract(self, extract: Extract) -> Iterator[dict[str, Any]]:
        """Recorded: an item without events of its own."""
        self._tokens.count_tool_call("web_extractor")
        self._tokens.start_inference(extract.output)
        wish = {"urls": list(extract.urls), "goal": extract.goal}
        yield self._added({"type": "web_extractor_call", **wish, "status": "in_progress"})
        done = {**wish, "output": extract.output, "status": "completed"}
        yield self._done({"type": "web_extractor_call", **done})

    def _call(self, call: Call) -> Iterator[dict[str, Any]]:
        calls = sum(item["type"] == "function_call" for item in self._output)
        item = {
            "type": "function_call",
            "call_id": call_id(call, self._request_id, calls),
            "name": call.name,
        }
        parts = arguments_of(call)
        arguments = "".join(parts)
        self._tokens.count_output(arguments)
        yield self._added({**item, "arguments": "", "status": "in_progress"})
        for part in parts:
            yield self._event("function_call_arguments.delta", delta=part)
        yield self._event("function_call_arguments.done", arguments=arguments, name=call.name)
        yield self._done({**item, "arguments": arguments, "status": "completed"})

    # Events.

    def _added(self, item: dict[str, Any]) -> dict[str, Any]:
        self._id = f"msg_{uuid.uuid4()}"  # every item's id is one of a message (recorded)
        return {
            "type": "response.output_item.added",
            "output_index": len(self._output),
            "item": {**item, "id": self._id},
        }

    def _event(self, name: str, /, **more: Any) -> dict[str, Any]:
        return {
            "type": f"response.{name}",
            "output_index": len(self._output),
            "item_id": self._id,
            **more,
        }

    def _done(self, item: dict[str, Any]) -> dict[str, Any]:
        self._output.append({**item, "id": self._id})
        return {
            "type": "response.output_item.done",
            "output_index": len(self._output) - 1,
            "item": self._output[-1],
        }

    # The response itself.

    def _whole(self) -> dict[str, Any]:
        why = _INCOMPLETE.get(self._reason)
        response = self._response("incomplete" if why else "completed", **self._echoed)
        if why:
            response["incomplete_details"] = {"reason": why}
        return {**response, "output": self._output, "usage": self._usage()}

    def _failed(self, error: ServiceError) -> dict[str, Any]:
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
        if plugins:  # absent where nothing ran
            detail["plugins"] = usage["x_tools"] = plugins
        usage["x_details"] = [{**detail, "x_billing_type": "response_api"}]
        return usage


def _frame(number: int, payload: dict[str, Any]) -> bytes:
    head = b"id:%d\nevent:%s\n:HTTP_STATUS/200\n" % (number, payload["type"].encode())
    return head + b"data:" + compact_json({"sequence_number": number - 1, **payload}) + b"\n\n"


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": None}


def _to_chat_message(item: Mapping[str, Any]) -> dict[str, Any] | None:
    """An item as the conversation keeps it; None for what nobody reads again."""
    match item:
        case {"type": "message", "content": content}:
            return {"role": "assistant", "content": content}
        case {"type": "function_call", "call_id": identity}:
            function = {"name": item["name"], "arguments": item["arguments"]}
            call = {"id": identity, "type": "function", "function": function}
            return {"role": "assistant", "content": "", "tool_calls": [call]}
    return None
