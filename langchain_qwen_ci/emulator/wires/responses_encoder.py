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
from langchain_qwen_ci.emulator.wires.encoding import AnswerProgress, compact_json, status_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from langchain_qwen_ci.emulator.requests.parsed_request import ParsedRequest
    from langchain_qwen_ci.emulator.requests.request_rules import ServiceError
    from langchain_qwen_ci.emulator.responders.responder import Result, Step
    from langchain_qwen_ci.emulator.wires.interface import Payload

ReasoningEvents = Literal["reasoning_text", "reasoning_summary_text"]

# The reasons of an incomplete response, by finish reason.
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
# A failed response has the code server_error, also for a rate limit (documented).
_SERVER_ERRORS = ("InternalError", "SystemError", "Throttling", "ModelServ", "ServiceUnavailable")


class ResponsesEncoder:
    """Encodes the steps of a responder as items and their events, or as one response.

    Args:
        echoed: the tools and the tool_choice of the request, which the response repeats.
        store: called at the end with the response and the messages of the answer, which are in the
            format of Chat Completions.
    """

    closing = b""  # the last event ends the stream

    def __init__(
        self,
        request_id: str,
        parsed: ParsedRequest,
        *,
        echoed: Mapping[str, Any],
        reasoning_events: ReasoningEvents,
        store: Callable[[Payload, list[Payload]], None],
    ) -> None:
        self._id = f"resp_{request_id}"
        self._model = parsed.model
        self._echoed = echoed
        self._reasoning_events = reasoning_events
        self._store = store
        self._progress = AnswerProgress(request_id, parsed.token_usage())
        self._created = int(time.time())
        self._output: list[Payload] = []
        self._item_id = ""  # of the item that was added last
        # The type and the text of the open text item. Several steps may add to it; other items are
        # done when their step is.
        self._open_type = ""
        self._open_text = ""
        self._run = Run("")
        self.written = 0

    def start_payloads(self) -> Iterator[Payload]:
        """Yield the events response.created and response.in_progress."""
        for event, status in (("created", "queued"), ("in_progress", "in_progress")):
            yield {"type": f"response.{event}", "response": self._response(status, model="")}

    def step_payloads(self, step: Step) -> Iterator[Payload]:
        match step:
            case Think(text):
                yield from self._text_delta_events("reasoning", text)
            case Say(text):
                yield from self._text_delta_events("message", text)
            case Finish(reason):
                self._progress.finish_reason = reason
            case _:
                yield from self._text_done_events()
                yield from self._tool_events(step)

    def _tool_events(self, step: Step) -> Iterator[Payload]:
        match step:
            case Run():
                yield from self._code_call_started_events(step)
            case Search():
                yield from self._web_search_call_events(step)
            case Extract():
                yield from self._web_extractor_call_events(step)
            case Call():
                yield from self._function_call_events(step)

    def result_payloads(self, result: Result) -> Iterator[Payload]:
        """Yield the end of a code interpreter call.

        The status is completed even after an exception; its traceback is in the logs (measured).
        """
        self._progress.tokens.start_inference(result)
        lines = [result.output.rstrip("\n"), *(f"![image]({url})" for url in self._run.images)]
        logs = "\n".join(filter(None, lines))
        outputs = [{"type": "logs", "logs": f"```\n{logs}\n```"}]
        yield self._event("code_interpreter_call.completed")
        yield self._item_done_event({**self._code_item("completed"), "outputs": outputs})

    def end_payloads(self) -> Iterator[Payload]:
        """Yield the end of the open text and the terminal event; store the answer."""
        yield from self._text_done_events()
        complete = self._complete_response()
        messages = [message for item in self._output if (message := _to_chat_message(item))]
        self._store(complete, messages)
        yield {"type": f"response.{complete['status']}", "response": complete}

    def frame(self, payload: Payload) -> bytes:
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

    def _text_delta_events(self, item_type: str, text: str) -> Iterator[Payload]:
        if self._open_type != item_type:
            yield from self._text_done_events()
            yield from self._text_added_events(item_type)
        add = self._progress.add_text if item_type == "message" else self._progress.add_reasoning
        for piece in add(text):
            self._open_text += piece
            yield self._text_event("delta", delta=piece)

    def _text_added_events(self, item_type: str) -> Iterator[Payload]:
        self._open_type, self._open_text = item_type, ""
        if item_type == "reasoning":
            yield self._item_added_event({"type": "reasoning", "summary": []})
            return
        yield self._item_added_event(
            {"type": "message", "role": "assistant", "content": [], "status": "in_progress"}
        )
        yield self._event("content_part.added", content_index=0, part=_text_part(""))

    def _text_done_events(self) -> Iterator[Payload]:
        """Yield the end of the open text item; nothing if none is open."""
        if not self._open_type:
            return
        yield self._text_event("done", text=self._open_text)
        item_type, self._open_type = self._open_type, ""
        if item_type == "reasoning":
            summary = [{"type": "summary_text", "text": self._open_text}]
            yield self._item_done_event({"type": "reasoning", "summary": summary})
            return
        part = _text_part(self._open_text)
        yield self._event("content_part.done", content_index=0, part=part)
        yield self._item_done_event(
            {"type": "message", "role": "assistant", "content": [part], "status": "completed"}
        )

    def _text_event(self, name: str, **more: Any) -> Payload:
        if self._open_type == "message":
            return self._event(f"output_text.{name}", content_index=0, logprobs=[], **more)
        summarized = self._reasoning_events == "reasoning_summary_text"
        more["summary_index" if summarized else "content_index"] = 0
        return self._event(f"{self._reasoning_events}.{name}", **more)

    # Items of one step each.

    def _code_call_started_events(self, run: Run) -> Iterator[Payload]:
        """Yield the start of a code interpreter call.

        The added item has the complete code, and no other event has it (measured).
        """
        self._run = run
        self._progress.tokens.count_output(run.code)
        self._progress.tokens.count_tool_call("code_interpreter")
        yield self._item_added_event(self._code_item("in_progress"))
        yield self._event("code_interpreter_call.in_progress")
        yield self._event("code_interpreter_call.interpreting")

    def _code_item(self, status: str) -> Payload:
        return {
            "type": "code_interpreter_call",
            "code": self._run.code,
            "container_id": "",
            "status": status,
        }

    def _web_search_call_events(self, search: Search) -> Iterator[Payload]:
        self._progress.tokens.count_tool_call("web_search")
        self._progress.tokens.start_inference(" ".join(search.sources))
        action: Payload = {"type": "search", "query": search.query}
        item = {"type": "web_search_call", "action": action, "status": "in_progress"}
        yield self._item_added_event(item)
        for name in ("in_progress", "searching", "completed"):
            yield self._event(f"web_search_call.{name}")
        sources = [{"type": "url", "url": url} for url in search.sources]
        found = {**action, "sources": sources}
        yield self._item_done_event(
            {"type": "web_search_call", "action": found, "status": "completed"}
        )

    def _web_extractor_call_events(self, extract: Extract) -> Iterator[Payload]:
        """Yield an item without events of its own (recorded)."""
        self._progress.tokens.count_tool_call("web_extractor")
        self._progress.tokens.start_inference(extract.output)
        arguments = {"urls": list(extract.urls), "goal": extract.goal}
        yield self._item_added_event(
            {"type": "web_extractor_call", **arguments, "status": "in_progress"}
        )
        done = {**arguments, "output": extract.output, "status": "completed"}
        yield self._item_done_event({"type": "web_extractor_call", **done})

    def _function_call_events(self, call: Call) -> Iterator[Payload]:
        parts = self._progress.add_call(call)
        complete = self._progress.calls[-1]
        item = {"type": "function_call", "call_id": complete["id"], "name": call.name}
        arguments = complete["function"]["arguments"]
        yield self._item_added_event({**item, "arguments": "", "status": "in_progress"})
        for part in parts:
            delta = part["function"]["arguments"]
            yield self._event("function_call_arguments.delta", delta=delta)
        yield self._event("function_call_arguments.done", arguments=arguments, name=call.name)
        yield self._item_done_event({**item, "arguments": arguments, "status": "completed"})

    # Events.

    def _item_added_event(self, item: Payload) -> Payload:
        self._item_id = f"msg_{uuid.uuid4()}"  # the ids of all items start with msg_ (recorded)
        return {
            "type": "response.output_item.added",
            "output_index": len(self._output),
            "item": {**item, "id": self._item_id},
        }

    def _event(self, name: str, /, **more: Any) -> Payload:
        return {
            "type": f"response.{name}",
            "output_index": len(self._output),
            "item_id": self._item_id,
            **more,
        }

    def _item_done_event(self, item: Payload) -> Payload:
        self._output.append({**item, "id": self._item_id})
        return {
            "type": "response.output_item.done",
            "output_index": len(self._output) - 1,
            "item": self._output[-1],
        }

    # Responses.

    def _complete_response(self) -> Payload:
        incomplete_reason = _INCOMPLETE.get(self._progress.finish_reason)
        response = self._response(
            "incomplete" if incomplete_reason else "completed", **self._echoed
        )
        if incomplete_reason:
            response["incomplete_details"] = {"reason": incomplete_reason}
        return {**response, "output": self._output, "usage": self._usage()}

    def _failed_response(self, error: ServiceError) -> Payload:
        code = "server_error" if error.code.startswith(_SERVER_ERRORS) else error.code
        described = {"code": code, "message": error.message}
        return {**self._response("failed", model=""), "output": self._output, "error": described}

    def _response(self, status: str, **more: Any) -> Payload:
        return {
            "id": self._id,
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

    def _usage(self) -> Payload:
        tokens = self._progress.tokens
        numbers = {
            "input_tokens": tokens.input,
            "output_tokens": tokens.output,
            "total_tokens": tokens.total,
            "output_tokens_details": {"reasoning_tokens": tokens.reasoning},
        }
        cached = {"cached_tokens": 0}
        plugins = tokens.plugins()
        detail: Payload = {**numbers, "prompt_tokens_details": cached}
        usage: Payload = {**numbers, "input_tokens_details": cached}
        if plugins:  # absent if no tool ran
            detail["plugins"] = usage["x_tools"] = plugins
        usage["x_details"] = [{**detail, "x_billing_type": "response_api"}]
        return usage


def _frame(number: int, payload: Payload) -> bytes:
    # The ids of frames start at 1, and the sequence numbers in their events at 0.
    data = compact_json({"sequence_number": number - 1, **payload})
    return status_frame(number, payload["type"], 200, data)


def _text_part(text: str) -> Payload:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": None}


def _to_chat_message(item: Mapping[str, Any]) -> Payload | None:
    """Convert an item to a message of the stored conversation; None for other items."""
    match item:
        case {"type": "message", "content": content}:
            return {"role": "assistant", "content": content}
        case {"type": "function_call", "call_id": call_id}:
            function = {"name": item["name"], "arguments": item["arguments"]}
            call = {"id": call_id, "type": "function", "function": function}
            return {"role": "assistant", "content": "", "tool_calls": [call]}
    return None
