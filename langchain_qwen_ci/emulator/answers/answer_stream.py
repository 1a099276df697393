"""Runs the responder and the programs of one request, and encodes the steps as frames.

An exception of the responder, which is user code, becomes an internal error of the service: an HTTP
error while no frame was produced, and an error frame afterwards.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, get_args

from langchain_qwen_ci.emulator.requests.request_rules import ServiceError
from langchain_qwen_ci.emulator.responders.responder import (
    Extract,
    Finish,
    Run,
    Say,
    Search,
    Step,
    Think,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Iterator

    from langchain_qwen_ci.emulator.faults import Place
    from langchain_qwen_ci.emulator.responders.responder import (
        ModelRequest,
        Responder,
        Result,
        Steps,
    )
    from langchain_qwen_ci.emulator.sandbox import Sandbox
    from langchain_qwen_ci.emulator.wires.interface import Payload, ResponseEncoder, WireRequest

# The steps that need a tool of the service, which the request must have switched on.
_SERVER_TOOLS: dict[type[Step], str] = {Search: "web_search", Extract: "web_extractor"}

# The places of faults that a step passes; see `Place`.
_PLACES: dict[type[Step], Place] = {Think: "reasoning", Run: "code", Say: "text"}


class RejectedError(Exception):
    """An error that is sent in place of an answer, with its HTTP status."""

    def __init__(self, error: ServiceError) -> None:
        super().__init__(error.message)
        self.error = error


class AnswerStream:
    """The answer to one request, as frames or as one document.

    Args:
        request: a request that passed all checks.
        encoder: encodes the steps of the responder for the API of the request.
        responder: decides the answer.
        sandbox: runs the programs of the answer.

    Attributes:
        places: the places that the answer has passed so far; see `Place`.
    """

    def __init__(
        self,
        request: WireRequest,
        encoder: ResponseEncoder,
        responder: Responder,
        sandbox: Sandbox,
    ) -> None:
        self._request = request
        self._encoder = encoder
        self._responder = responder
        self._sandbox = sandbox
        self.places: set[Place] = set()

    async def document(self) -> bytes:
        """Return the body of an answer that is not streamed.

        Raises:
            RejectedError: the responder failed.
        """
        try:
            async for _ in self._payloads():
                pass
        except Exception as error:
            raise RejectedError(_internal_error(error)) from error
        return self._encoder.document()

    async def frames(self, pace: float) -> AsyncGenerator[bytes]:
        """Return the frames of the answer, after the first one was produced.

        Args:
            pace: seconds to wait before each frame but the first.

        Raises:
            RejectedError: the responder failed before the first frame, so that an HTTP error can
                still be sent.
        """
        payloads = self._payloads()
        try:
            first = await anext(payloads)
        except Exception as error:
            raise RejectedError(_internal_error(error)) from error
        return _paced_frames(first, payloads, self._encoder, pace)

    async def _payloads(self) -> AsyncGenerator[Payload]:
        """Run the responder, execute its code, and encode its steps."""
        step_encoder = _LimitedStepEncoder(self._request, self._encoder, self.places)
        steps = self._responder.respond(step_encoder.model_request)
        session = self._sandbox.session()
        with closing(steps):
            step = next(steps, None)
            for payload in step_encoder.start_payloads(step):
                yield payload
            while step is not None and not step_encoder.finished:
                for payload in step_encoder.step_payloads(step):
                    yield payload
                result = None
                if isinstance(step, Run) and not step_encoder.finished:
                    result = step.stated_result or await session.run(step.code)
                    for payload in self._encoder.result_payloads(result):
                        yield payload
                step = _next_step(steps, result)
        for payload in step_encoder.end_payloads():
            yield payload


async def failed_frames(encoder: ResponseEncoder, error: ServiceError) -> AsyncGenerator[bytes]:
    """Yield the frames of an answer that starts normally and then reports an error."""
    for payload in encoder.start_payloads():
        yield encoder.frame(payload)
    yield encoder.error_frame(encoder.written + 1, error)


class _LimitedStepEncoder:
    """Encodes the steps that the request allows, up to its stop sequences and token limits.

    Attributes:
        model_request: the request, in the form that responders get.
        finished: whether a limit or a `Finish` step has ended the answer.
    """

    def __init__(self, request: WireRequest, encoder: ResponseEncoder, places: set[Place]) -> None:
        self.model_request = request.parsed.to_model_request()
        self.finished = False
        self._stop_limiter = request.parsed.stop_limiter()
        self._encoder = encoder
        self._places = places

    def start_payloads(self, first: Step | None) -> Iterator[Payload]:
        """Yield the start of the answer, after checking that the first step is allowed.

        The check comes first because it can cause an HTTP error only before the first frame.
        """
        _check_step_is_allowed(first, self.model_request)
        yield from self._encoder.start_payloads()

    def step_payloads(self, step: Step) -> Iterator[Payload]:
        """Yield what a step sends; reasoning is dropped if the request turned thinking off."""
        _check_step_is_allowed(step, self.model_request)
        if self.model_request.thinking or not isinstance(step, Think):
            yield from self._limited_payloads(self._stop_limiter.step(step))

    def end_payloads(self) -> Iterator[Payload]:
        """Yield the text that the limiter held back, and the end of the answer."""
        yield from self._limited_payloads(self._stop_limiter.end())
        yield from self._encoder.end_payloads()

    def _limited_payloads(self, steps: Iterable[Step]) -> Iterator[Payload]:
        for step in steps:
            yield from self._encoder.step_payloads(step)
            if place := _PLACES.get(type(step)):
                self._places.add(place)
            if isinstance(step, Finish):
                self.finished = True
                return


def _check_step_is_allowed(step: Step | None, model_request: ModelRequest) -> None:
    """Check that a step is one, and that the request has switched on what it needs.

    Raises:
        RuntimeError: the request has not switched it on.
        TypeError: it is no step.
    """
    if step is not None and not isinstance(step, get_args(Step)):
        raise TypeError(f"The responder yielded {step!r}, which is no step.")
    if isinstance(step, Run) and not model_request.code_interpreter:
        raise RuntimeError("The responder runs code, but the request's interpreter is off.")
    tool = None if step is None else _SERVER_TOOLS.get(type(step))
    if tool and tool not in model_request.server_tools:
        raise RuntimeError(f"The responder uses {tool}, but the request has not switched it on.")


def _next_step(steps: Steps, result: Result | None) -> Step | None:
    """Send a result to the responder; return its next step, or None at its end."""
    try:
        return steps.send(result)
    except StopIteration:
        return None


def _internal_error(error: Exception) -> ServiceError:
    return ServiceError(500, "InternalError", f"{type(error).__name__}: {error}")


async def _paced_frames(
    first: Payload, payloads: AsyncGenerator[Payload], encoder: ResponseEncoder, pace: float
) -> AsyncGenerator[bytes]:
    try:
        async with aclosing(payloads):
            yield encoder.frame(first)
            async for payload in payloads:
                # Also without a pace: the event loop must be able to report a disconnect. Otherwise
                # every frame is written to the closed socket, and asyncio logs each of them.
                await asyncio.sleep(pace)
                yield encoder.frame(payload)
    except Exception as error:  # noqa: BLE001  # any responder's error; 200 has been sent
        yield encoder.error_frame(encoder.written + 1, _internal_error(error))
        return
    if encoder.closing:
        yield encoder.closing
