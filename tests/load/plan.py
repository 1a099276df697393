"""Derives from a request's number its answer, its fault and the expected outcome.

Client and service share only this number. Every answer contains it, so an answer that belongs to
another request is detected.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from langchain_qwen_ci import code_executions, plugin_counts
from langchain_qwen_ci.emulator import (
    Cut,
    ErrorBody,
    ErrorFrame,
    FailedResponse,
    Fault,
    Garbage,
    Reset,
    Stall,
    Status,
)
from langchain_qwen_ci.emulator.token_usage import TokenUsage, pieces
from langchain_qwen_ci.errors import (
    QwenInvalidRequestError,
    QwenPermissionDeniedError,
    QwenRateLimitError,
    QwenServerError,
    QwenStreamError,
    QwenTimeoutError,
)

Api = str
APIS: tuple[Api, ...] = ("dashscope", "responses", "chat_completions")

# One request of 20 has a fault.
FAULT_INTERVAL = 20
WITH_FAULT = 13
ATTEMPTS = 3  # max_retries=2
_EARLY_PIECES = 3  # of the first thought
_LATE_PIECES = 2  # of the text
_STALL_SECONDS = 600.0


def prompt(number: int) -> str:
    return f"Answer {number:07d}"


def endless_prompt(number: int) -> str:
    """The text of a request whose answer never ends; only the reader can end it."""
    return f"Go on {number:07d}"


def unanswered_prompt(number: int) -> str:
    """The text of a request that is never answered."""
    return f"Wait {number:07d}"


@dataclass(frozen=True)
class Program:
    """Code that the model runs, and its output."""

    code: str
    output: str


@dataclass(frozen=True)
class AnswerParts:
    """The parts of an answer, or of `partial`, that are compared."""

    reasoning: tuple[str, ...]
    programs: tuple[Program, ...]
    text: str
    usage: tuple[int, int, int] | None
    plugins: dict[str, int]


def first_reasoning(number: int) -> str:
    return f"Thinking about {number:07d} first."


def programs(number: int) -> tuple[Program, ...]:
    """None, one or two programs; the second uses a variable of the first."""
    first = Program(f"x = {number}\nx * 2", str(number * 2))
    return (first, Program("x * 3", str(number * 3)))[: number % 3]


def reasoning_after(number: int, program: Program) -> str:
    return f"It says {program.output} to {number:07d}."


def text(number: int, outputs: tuple[str, ...]) -> str:
    """A text of varying length with the real outputs of the programs."""
    return f"{number:07d} gives {' and '.join(outputs) or 'nothing'}" + " at all" * (number % 5)


def complete_answer(api: Api, number: int) -> AnswerParts:
    """The complete answer to a request."""
    ran = programs(number)
    tokens = _tokens(number, ran, text_pieces=None)
    counts = {} if api == "chat_completions" or not ran else {"code_interpreter": len(ran)}
    content = text(number, tuple(program.output for program in ran))
    return AnswerParts(_reasoning(number, ran), _visible(api, ran), content, _usage(tokens), counts)


def early_partial(api: Api, number: int) -> AnswerParts:
    """`partial` after three pieces of the first reasoning text."""
    started = "".join(pieces(first_reasoning(number))[:_EARLY_PIECES])
    tokens = TokenUsage(prompt(number), interpreter=True)
    for _ in range(_EARLY_PIECES):
        tokens.count_reasoning()
    return AnswerParts((started,), (), "", _usage(tokens) if api == "dashscope" else None, {})


def late_partial(api: Api, number: int) -> AnswerParts:
    """`partial` after two pieces of the text; only DashScope reports usage in every frame."""
    ran = programs(number)
    complete = complete_answer(api, number)
    started = "".join(pieces(complete.text)[:_LATE_PIECES])
    usage = None
    if api == "dashscope":
        usage = _usage(_tokens(number, ran, text_pieces=_LATE_PIECES))
    return AnswerParts(complete.reasoning, complete.programs, started, usage, complete.plugins)


def no_partial(api: Api, number: int) -> None:
    """No `partial`."""
    del api, number


def _reasoning(number: int, ran: tuple[Program, ...]) -> tuple[str, ...]:
    return (first_reasoning(number), *(reasoning_after(number, program) for program in ran))


def _visible(api: Api, ran: tuple[Program, ...]) -> tuple[Program, ...]:
    """Chat Completions returns no code, and only Responses returns outputs."""
    match api:
        case "chat_completions":
            return ()
        case "dashscope":
            return tuple(Program(program.code, "") for program in ran)
    return ran


def _tokens(number: int, ran: tuple[Program, ...], text_pieces: int | None) -> TokenUsage:
    """The tokens of an answer up to `text_pieces` pieces of its text."""
    tokens = TokenUsage(prompt(number), interpreter=True)
    for _ in pieces(first_reasoning(number)):
        tokens.count_reasoning()
    for program in ran:
        tokens.count_output(program.code)
        tokens.start_inference(program.output)
        for _ in pieces(reasoning_after(number, program)):
            tokens.count_reasoning()
    content = text(number, tuple(program.output for program in ran))
    for _ in pieces(content)[:text_pieces]:
        tokens.count_text()
    return tokens


def _usage(tokens: TokenUsage) -> tuple[int, int, int]:
    return tokens.input, tokens.output, tokens.reasoning


# Faults.

Partial = Callable[[Api, int], AnswerParts | None]


@dataclass(frozen=True)
class PlannedFault:
    """A fault, and the outcome that the client must report.

    Attributes:
        fault: makes the fault from the API, the request number and the attempt.
        error: the error of the last attempt; None if it succeeds.
        partial: the expected `partial` of the error.
        requests: the expected number of HTTP requests.
    """

    name: str
    fault: Callable[[Api, int, int], Fault | None]
    error: type[Exception] | None = None
    partial: Partial = no_partial
    requests: int = 1


def _first(fault: Fault, attempts: int = 1) -> Callable[[Api, int, int], Fault | None]:
    """The first attempts fail."""
    return lambda _api, _number, attempt: fault if attempt <= attempts else None


def _always(fault: Fault) -> Callable[[Api, int, int], Fault | None]:
    return lambda _api, _number, _which: fault


def _at_early(fault: Callable[[int], Fault]) -> Callable[[Api, int, int], Fault | None]:
    return lambda api, _number, _which: fault(_early_frames(api))


def _at_late(fault: Callable[[int], Fault]) -> Callable[[Api, int, int], Fault | None]:
    return lambda api, number, _which: fault(_late_frames(api, number))


def _rate_limit_in_200(api: Api, number: int, attempt: int) -> Fault | None:
    """Responses reports it inside the stream, the others as a JSON body instead of one."""
    del number
    fault = FailedResponse() if api == "responses" else ErrorBody("Throttling.RateQuota", "Slow.")
    return fault if attempt == 1 else None


def _early_frames(api: Api) -> int:
    """The number of frames up to `early_partial`: some precede the first reasoning."""
    return {"dashscope": 0, "responses": 3, "chat_completions": 1}[api] + _EARLY_PIECES


def _late_frames(api: Api, number: int) -> int:
    """The number of frames up to `late_partial`."""
    first, *others = (len(pieces(reasoning)) for reasoning in _reasoning(number, programs(number)))
    # Before the first thought; of a program, with what it takes to end and begin thoughts; and
    # between the last thought and the text.
    begin, program, text_begins = {
        "dashscope": (0, 3, 0),
        "responses": (3, 8, 4),
        "chat_completions": (1, 0, 0),
    }[api]
    return begin + first + sum(program + more for more in others) + text_begins + _LATE_PIECES


_SHORTLY = {"retry-after-ms": "200"}
_IN_A_SECOND = {"retry-after": "1"}

PLANNED_FAULTS = (
    PlannedFault("500 once", _first(Status(500)), requests=2),
    PlannedFault("503 twice", _first(Status(503, "ServiceUnavailable"), attempts=2), requests=3),
    PlannedFault("429 once", _first(Status(429, "Throttling", headers=_IN_A_SECOND)), requests=2),
    PlannedFault("429 twice", _first(Status(429, "Throttling", headers=_SHORTLY), 2), requests=3),
    PlannedFault("500 always", _always(Status(500)), QwenServerError, requests=ATTEMPTS),
    PlannedFault(
        "429 always",
        _always(Status(429, "Throttling.RateQuota", headers=_SHORTLY)),
        QwenRateLimitError,
        requests=ATTEMPTS,
    ),
    PlannedFault("400", _always(Status(400, "InvalidParameter")), QwenInvalidRequestError),
    PlannedFault("unpaid", _always(Status(429, "PrepaidBillOverdue")), QwenPermissionDeniedError),
    PlannedFault("error in 200 once", _first(ErrorBody()), requests=2),
    PlannedFault("rate limit in 200 once", _rate_limit_in_200, requests=2),
    PlannedFault("error early", _at_early(ErrorFrame), QwenServerError, early_partial),
    PlannedFault("error late", _at_late(ErrorFrame), QwenServerError, late_partial),
    PlannedFault("cut early", _at_early(Cut), QwenStreamError, early_partial),
    PlannedFault(
        "cut inside", _at_late(lambda n: Cut(n, bytes_into_next=41)), QwenStreamError, late_partial
    ),
    PlannedFault("reset at once", _always(Reset(0)), QwenStreamError),
    PlannedFault("reset late", _at_late(Reset), QwenStreamError, late_partial),
    PlannedFault("garbage early", _at_early(Garbage), QwenStreamError, early_partial),
    PlannedFault("garbage late", _at_late(Garbage), QwenStreamError, late_partial),
    PlannedFault(
        "stall early",
        _at_early(lambda n: Stall(n, _STALL_SECONDS)),
        QwenTimeoutError,
        early_partial,
    ),
    PlannedFault(
        "stall late", _at_late(lambda n: Stall(n, _STALL_SECONDS)), QwenTimeoutError, late_partial
    ),
)


def fault_plan(number: int) -> PlannedFault | None:
    """The fault of a request, or None."""
    if number % FAULT_INTERVAL != WITH_FAULT:
        return None
    return PLANNED_FAULTS[number // FAULT_INTERVAL % len(PLANNED_FAULTS)]


# What the asker must see.


def wrong(api: Api, number: int, outcome: Any, requests: int) -> list[str]:
    """Describe what is wrong with the message or the error of a request."""
    with_fault = fault_plan(number)
    must_be = with_fault.requests if with_fault else 1
    found = [] if requests == must_be else [f"{requests} requests, not {must_be}"]
    if with_fault is None or with_fault.error is None:
        found += _differences(outcome, complete_answer(api, number))
    elif type(outcome) is not with_fault.error:
        found.append(f"{outcome!r:.200} in place of {with_fault.error.__name__}")
    else:
        found += _wrong_partial(outcome.partial, with_fault.partial(api, number))
    name = with_fault.name if with_fault else "healthy"
    return [f"{api} {number} ({name}): {difference}" for difference in found]


def _wrong_partial(partial: Any, result: AnswerParts | None) -> list[str]:
    if result is None:
        return [] if partial is None else [f"a partial: {partial!r:.200}"]
    return [f"partial: {difference}" for difference in _differences(partial, result)]


def _differences(message: Any, result: AnswerParts) -> list[str]:
    if not hasattr(message, "usage_metadata"):
        return [f"{message!r:.200} in place of a message"]
    ran = tuple(Program(one["code"], one.get("output", "")) for one in code_executions(message))
    usage = message.usage_metadata
    pairs = {
        "text": (message.text, result.text),
        "reasoning": (
            message.additional_kwargs.get("reasoning_content", ""),
            "".join(result.reasoning),
        ),
        "code": (ran, result.programs),
        "counts": (plugin_counts(message), result.plugins),
        "usage": (_numbers(usage) if usage else None, result.usage),
    }
    return [f"{name} {is_!r}, not {must!r}" for name, (is_, must) in pairs.items() if is_ != must]


def _numbers(usage: Any) -> tuple[int, int, int]:
    reasoning = usage.get("output_token_details", {}).get("reasoning", 0)
    return usage["input_tokens"], usage["output_tokens"], reasoning
