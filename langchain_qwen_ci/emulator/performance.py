"""Plays a mind's answer: steps go to the encoder, code to the sandbox, results to the mind."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from langchain_qwen_ci.emulator.mind import Call, Finish, Run, Say, Think

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from langchain_qwen_ci.emulator.mind import Mind, Question, Result, Step
    from langchain_qwen_ci.emulator.sandbox import Sandbox, Session
    from langchain_qwen_ci.emulator.wire import Encoder


class Performance:
    """One answer. Its first step is taken at once, so a mind that has none can still be a 500."""

    def __init__(self, mind: Mind, question: Question, encoder: Encoder) -> None:
        self._question = question
        self._encoder = encoder
        self._steps = mind.answer(question)
        self._step = next(self._steps, None)
        self._called = False

    async def frames(self, sandbox: Sandbox) -> AsyncGenerator[bytes, None]:
        """The whole answer; a mind that fails half-way ends it with an error frame."""
        try:
            async with sandbox.session() as session, aclosing(self._play(session)) as played:
                async for frame in played:
                    yield frame
        except Exception as error:  # noqa: BLE001 - a mind is foreign code, its failure is an answer
            yield self._encoder.error_frame(500, "InternalError", describe(error))
        finally:
            self._steps.close()

    async def _play(self, session: Session) -> AsyncGenerator[bytes, None]:
        while self._step is not None and not isinstance(self._step, Finish):
            for frame in self._encoded(self._step):
                yield frame
            result: Result | None = None
            if isinstance(self._step, Run):
                result = await session.run(self._step.code)
                for frame in self._encoder.ran(result):
                    yield frame
            self._step = self._next(result)
        for frame in self._encoder.finish(self._reason()):
            yield frame

    def _encoded(self, step: Think | Run | Say | Call) -> Iterator[bytes]:
        match step:
            case Think(text):
                return self._encoder.think(text) if self._question.thinking else iter(())
            case Say(text):
                return self._encoder.say(text)
            case Call():
                self._called = True
                return self._encoder.call(step)
            case Run():
                if not self._question.interpreter:
                    raise RuntimeError("The mind runs code, but the interpreter is off.")
                return self._encoder.run(step)

    def _next(self, result: Result | None) -> Step | None:
        try:
            return self._steps.send(result)
        except StopIteration:
            return None

    def _reason(self) -> str:
        if isinstance(self._step, Finish):
            return self._step.reason
        return "tool_calls" if self._called else "stop"


def describe(error: Exception) -> str:
    """An exception in one line."""
    return f"{type(error).__name__}: {error}"
