"""One request after the other: its wire, its refusals, its mind's steps, and the ordered faults."""

from __future__ import annotations

import asyncio
import json
import uuid
from contextlib import aclosing, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from starlette.responses import Response, StreamingResponse

from langchain_qwen_ci.emulator.faults import (
    ErrorFrame,
    Failed,
    JsonError,
    Status,
    at_once,
    spoilt,
)
from langchain_qwen_ci.emulator.mind import Extract, Finish, Run, Search, Think
from langchain_qwen_ci.emulator.rules import Refusal

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine, Iterable, Iterator, Mapping

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from langchain_qwen_ci.emulator.faults import Fault
    from langchain_qwen_ci.emulator.mind import Mind, Question, Result, Step, Steps
    from langchain_qwen_ci.emulator.sandbox import Sandbox
    from langchain_qwen_ci.emulator.wire import Answer, Payload, Wire, WireRequest

_JSON = "application/json"
_EVENTS = "text/event-stream"


@dataclass(frozen=True, slots=True)
class Received:
    """A request that the emulator got. The key is masked in `headers`."""

    path: str
    headers: Mapping[str, str]
    body: Any


class Settings(Protocol):
    """What the endpoint asks the server for, anew with each request."""

    requests: list[Received]

    @property
    def mind(self) -> Mind: ...
    @property
    def pace(self) -> float: ...
    def take_fault(self, received: Received) -> Fault | None: ...
    def accepts(self, authorization: str) -> bool: ...


class Endpoint:
    """Answers requests on every path of its wires. An unknown path is refused by the first."""

    def __init__(self, settings: Settings, sandbox: Sandbox, wires: tuple[Wire, ...]) -> None:
        self._settings = settings
        self._sandbox = sandbox
        self._first = wires[0]
        self._wires = {path: wire for wire in wires for path in wire.paths}

    async def answer(self, http: Request) -> Response:
        request_id = str(uuid.uuid4())
        body = _parsed(await http.body())
        received = Received(http.url.path, _masked(http.headers), body)
        self._settings.requests.append(received)
        fault = self._settings.take_fault(received)
        try:
            request = self._admitted(http, body, fault)
            answer = request.answer(request_id)
            sending = self._answered(request, answer, fault, {"x-request-id": request_id})
            return await _while_connected(http, sending)
        except _RefusedError as refused:
            wire = self._wires.get(http.url.path, self._first)
            more = dict(fault.headers) if isinstance(fault, Status) else {}
            return Response(
                wire.error_body(refused.refusal, request_id),
                status_code=refused.refusal.status,
                headers={"x-request-id": request_id, **more},
                media_type=_JSON,
            )

    def _admitted(self, http: Request, body: object, fault: Fault | None) -> WireRequest:
        path = http.url.path
        if isinstance(fault, Status):
            raise _RefusedError(Refusal(fault.status, fault.code, fault.message))
        wire = self._wires.get(path)
        if wire is None or http.method != "POST":
            raise _RefusedError(Refusal(404, "NotFound", f"There is no {http.method} {path}."))
        if not self._settings.accepts(http.headers.get("authorization", "")):
            raise _RefusedError(Refusal(401, "InvalidApiKey", "Invalid API-key provided."))
        if not isinstance(body, dict):
            said = f"The body is no JSON object: {type(body).__name__}"
            raise _RefusedError(Refusal(400, "BadRequest", said))
        request = wire.request(path, http.headers, body)
        if refusal := request.refusal():
            raise _RefusedError(refusal)
        return request

    async def _answered(
        self, request: WireRequest, answer: Answer, fault: Fault | None, headers: dict[str, str]
    ) -> Response:
        streams = request.asked.streams
        failure = _failure(fault) or request.failure()
        if failure and (not streams or isinstance(fault, JsonError)):
            return Response(answer.failed_document(failure), media_type=_JSON, headers=headers)
        if failure:
            frames = _in_time(_failing(answer, failure))
        elif streams:
            frames = await self._frames(request, answer)
        else:
            if isinstance(fault, ErrorFrame):
                raise _RefusedError(fault.refusal)
            document = await self._document(request, answer)
            if fault is None:
                return Response(document, media_type=_JSON, headers=headers)
            frames, fault = _in_time([document]), at_once(fault)
        return _Stream(
            spoilt(frames, fault, answer),
            media_type=_EVENTS if streams else _JSON,
            headers=headers,
        )

    async def _document(self, request: WireRequest, answer: Answer) -> bytes:
        try:
            async for _ in self._payloads(request, answer):
                pass
        except Exception as error:
            raise _RefusedError(_broken(error)) from error
        return answer.document()

    async def _frames(self, request: WireRequest, answer: Answer) -> AsyncGenerator[bytes]:
        """The frames of the answer, the first of which there is already.

        Raises:
            _RefusedError: there is none, since the mind has failed.
        """
        payloads = self._payloads(request, answer)
        try:
            first = await anext(payloads)
        except Exception as error:
            raise _RefusedError(_broken(error)) from error
        return _paced(first, payloads, answer, self._settings.pace)

    async def _payloads(self, request: WireRequest, answer: Answer) -> AsyncGenerator[Payload]:
        """Let the mind think, run what it wants to run, and write it down."""
        telling = _Telling(request, answer)
        steps = self._settings.mind.answer(telling.question)
        session = self._sandbox.session()
        with closing(steps):
            step = next(steps, None)
            for payload in telling.begin(step):
                yield payload
            while step is not None and not telling.finished:
                for payload in telling.step(step):
                    yield payload
                result = None
                if isinstance(step, Run) and not telling.finished:
                    result = await session.run(step.code)
                    for payload in answer.ran(result):
                        yield payload
                step = _next(steps, result)
        for payload in telling.end():
            yield payload


class _Stream(StreamingResponse):
    """Ends with its client: its mind, and its worker of the sandbox, are let go at once. Starlette
    leaves what it streams to the garbage collector."""

    def __init__(
        self, frames: AsyncGenerator[bytes], media_type: str, headers: dict[str, str]
    ) -> None:
        super().__init__(frames, media_type=media_type, headers=headers)
        self._frames = frames

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._frames):
            await super().__call__(scope, receive, send)


class _Telling:
    """What an answer shows of a mind's steps: no thoughts if there are none, no more at its end."""

    def __init__(self, request: WireRequest, answer: Answer) -> None:
        self.question = request.asked.question()
        self.finished = False
        self._trimmer = request.asked.trimmer()
        self._answer = answer

    def begin(self, first: Step | None) -> Iterator[Payload]:
        """Nothing is told before it is known that the first step can be."""
        _check(first, self.question)
        yield from self._answer.begin()

    def step(self, step: Step) -> Iterator[Payload]:
        _check(step, self.question)
        if self.question.thinking or not isinstance(step, Think):
            yield from self._shown(self._trimmer.step(step))

    def end(self) -> Iterator[Payload]:
        yield from self._shown(self._trimmer.end())
        yield from self._answer.end()

    def _shown(self, steps: Iterable[Step]) -> Iterator[Payload]:
        for step in steps:
            yield from self._answer.step(step)
            if isinstance(step, Finish):
                self.finished = True
                return


class _RefusedError(Exception):
    """Carries a refusal out of whatever found it."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


def _check(step: Step | None, question: Question) -> None:
    """Whether the service could take this step.

    Raises:
        RuntimeError: the request has not switched on what it needs.
    """
    if isinstance(step, Run) and not question.code_interpreter:
        raise RuntimeError("The mind runs code, but the request's interpreter is off.")
    tool = {Search: "web_search", Extract: "web_extractor"}.get(type(step))
    if tool and tool not in question.server_tools:
        raise RuntimeError(f"The mind uses {tool}, but the request has not switched it on.")


def _next(steps: Steps, result: Result | None) -> Step | None:
    try:
        return steps.send(result)
    except StopIteration:
        return None


def _failure(fault: Fault | None) -> Refusal | None:
    return fault.refusal if isinstance(fault, Failed | JsonError) else None


def _broken(error: Exception) -> Refusal:
    """A mind is foreign code, and a script may run out."""
    return Refusal(500, "InternalError", f"{type(error).__name__}: {error}")


def _parsed(content: bytes) -> object:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _masked(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: "***" if name == "authorization" else value for name, value in headers.items()}


async def _while_connected(http: Request, work: Coroutine[Any, Any, Response]) -> Response:
    """The result of some work, which ends when the client leaves: nobody waits for its code."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(http))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            working.cancel()
        return await working
    finally:
        working.cancel()
        leaving.cancel()


async def _left(http: Request) -> None:
    """Its body has been read, so the next that comes is the client's leaving."""
    while (await http.receive())["type"] != "http.disconnect":
        pass


async def _in_time(frames: Iterable[bytes]) -> AsyncGenerator[bytes]:
    for frame in frames:
        yield frame


def _failing(answer: Answer, failure: Refusal) -> Iterator[bytes]:
    for payload in answer.begin():
        yield answer.frame(payload)
    yield answer.error_frame(answer.written + 1, failure)


async def _paced(
    first: Payload, payloads: AsyncGenerator[Payload], answer: Answer, pace: float
) -> AsyncGenerator[bytes]:
    try:
        async with aclosing(payloads):
            yield answer.frame(first)
            async for payload in payloads:
                if pace:
                    await asyncio.sleep(pace)
                yield answer.frame(payload)
    except Exception as error:  # noqa: BLE001  # a mind is foreign code, and 200 has been sent
        yield answer.error_frame(answer.written + 1, _broken(error))
        return
    if answer.closing:
        yield answer.closing
