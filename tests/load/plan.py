"""What follows from the number of a question: its answer, whether it is spoilt, and what then.

The service and whoever asks it share nothing else, so that every answer can be told from every
other one, and each says by itself whether it is right.
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

# One question of so many is spoilt: 5 %.
ONE_OF = 20
SPOILT = 13
TRIES = 3  # max_retries=2
_EARLY_PIECES = 3  # of the first thought
_LATE_PIECES = 2  # of the text
_FOR_EVER = 600.0


def sent(number: int) -> str:
    return f"Answer {number:07d}"


def endless(number: int) -> str:
    """What is answered for ever, so that only its reader can end it."""
    return f"Go on {number:07d}"


def unanswered(number: int) -> str:
    """What nothing comes back for, not even the first byte of an answer."""
    return f"Wait {number:07d}"


@dataclass(frozen=True)
class Program:
    """What the model runs, and what the sandbox puts out."""

    code: str
    output: str


@dataclass(frozen=True)
class AnswerParts:
    """What has been told of an answer: all of it, or what came before it broke off."""

    thoughts: tuple[str, ...]
    programs: tuple[Program, ...]
    text: str
    usage: tuple[int, int, int] | None
    plugins: dict[str, int]


def first_thought(number: int) -> str:
    return f"Thinking about {number:07d} first."


def programs(number: int) -> tuple[Program, ...]:
    """None, one, or two, the second of which needs what the first has left behind."""
    first = Program(f"x = {number}\nx * 2", str(number * 2))
    return (first, Program("x * 3", str(number * 3)))[: number % 3]


def thought_after(number: int, program: Program) -> str:
    return f"It says {program.output} to {number:07d}."


def text(number: int, outputs: tuple[str, ...]) -> str:
    """Longer or shorter; with what the programs have really put out."""
    return f"{number:07d} gives {' and '.join(outputs) or 'nothing'}" + " at all" * (number % 5)


def whole(api: Api, number: int) -> AnswerParts:
    """The answer to a question."""
    ran = programs(number)
    tokens = _tokens(number, ran, text_pieces=None)
    counts = {} if api == "chat_completions" or not ran else {"code_interpreter": len(ran)}
    content = text(number, tuple(program.output for program in ran))
    return AnswerParts(_thoughts(number, ran), _shown(api, ran), content, _usage(tokens), counts)


def early(api: Api, number: int) -> AnswerParts:
    """What has been told three pieces into the first thought."""
    started = "".join(pieces(first_thought(number))[:_EARLY_PIECES])
    tokens = TokenUsage(sent(number), interpreter=True)
    for _ in range(_EARLY_PIECES):
        tokens.count_reasoning()
    return AnswerParts((started,), (), "", _usage(tokens) if api == "dashscope" else None, {})


def late(api: Api, number: int) -> AnswerParts:
    """What has been told two pieces into the text: only the native wire counts all along."""
    ran = programs(number)
    all_of_it = whole(api, number)
    started = "".join(pieces(all_of_it.text)[:_LATE_PIECES])
    counts, usage = {}, None
    if api == "dashscope":
        counts = all_of_it.plugins
        usage = _usage(_tokens(number, ran, text_pieces=_LATE_PIECES))
    return AnswerParts(all_of_it.thoughts, all_of_it.programs, started, usage, counts)


def nothing(api: Api, number: int) -> None:
    """Nothing has been told."""
    del api, number


def _thoughts(number: int, ran: tuple[Program, ...]) -> tuple[str, ...]:
    return (first_thought(number), *(thought_after(number, program) for program in ran))


def _shown(api: Api, ran: tuple[Program, ...]) -> tuple[Program, ...]:
    """Chat Completions shows nothing of it, and Responses alone what programs put out."""
    match api:
        case "chat_completions":
            return ()
        case "dashscope":
            return tuple(Program(program.code, "") for program in ran)
    return ran


def _tokens(number: int, ran: tuple[Program, ...], text_pieces: int | None) -> TokenUsage:
    """What an answer costs until so many pieces of its text."""
    tokens = TokenUsage(sent(number), interpreter=True)
    for _ in pieces(first_thought(number)):
        tokens.count_reasoning()
    for program in ran:
        tokens.count_output(program.code)
        tokens.start_inference(program.output)
        for _ in pieces(thought_after(number, program)):
            tokens.count_reasoning()
    content = text(number, tuple(program.output for program in ran))
    for _ in pieces(content)[:text_pieces]:
        tokens.count_text()
    return tokens


def _usage(tokens: TokenUsage) -> tuple[int, int, int]:
    return tokens.input, tokens.output, tokens.reasoning


# What is spoilt.

Partial = Callable[[Api, int], AnswerParts | None]


@dataclass(frozen=True)
class Spoiling:
    """A way to spoil a question, and what its asker must get.

    Attributes:
        fault: the fault of one request for it, by the wire, the question, and which try it is.
        error: what is raised in the end; None if the answer comes in the end.
        partial: what the error must have kept.
        requests: how many there must have been.
    """

    name: str
    fault: Callable[[Api, int, int], Fault | None]
    error: type[Exception] | None = None
    partial: Partial = nothing
    requests: int = 1


def _first(fault: Fault, tries: int = 1) -> Callable[[Api, int, int], Fault | None]:
    """It strikes the first tries only."""
    return lambda _api, _number, which: fault if which <= tries else None


def _always(fault: Fault) -> Callable[[Api, int, int], Fault | None]:
    return lambda _api, _number, _which: fault


def _at_early(fault: Callable[[int], Fault]) -> Callable[[Api, int, int], Fault | None]:
    return lambda api, _number, _which: fault(_early_frames(api))


def _at_late(fault: Callable[[int], Fault]) -> Callable[[Api, int, int], Fault | None]:
    return lambda api, number, _which: fault(_late_frames(api, number))


def _rate_limit_in_200(api: Api, number: int, which: int) -> Fault | None:
    """Responses begins an answer and then says so, the others say it in place of one."""
    del number
    fault = FailedResponse() if api == "responses" else ErrorBody("Throttling.RateQuota", "Slow.")
    return fault if which == 1 else None


def _early_frames(api: Api) -> int:
    """How many frames tell what `early` says: there are some before the first thought."""
    return {"dashscope": 0, "responses": 3, "chat_completions": 1}[api] + _EARLY_PIECES


def _late_frames(api: Api, number: int) -> int:
    """How many frames tell what `late` says."""
    first, *others = (len(pieces(reasoning)) for reasoning in _thoughts(number, programs(number)))
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

SPOILINGS = (
    Spoiling("500 once", _first(Status(500)), requests=2),
    Spoiling("503 twice", _first(Status(503, "ServiceUnavailable"), tries=2), requests=3),
    Spoiling("429 once", _first(Status(429, "Throttling", headers=_IN_A_SECOND)), requests=2),
    Spoiling("429 twice", _first(Status(429, "Throttling", headers=_SHORTLY), 2), requests=3),
    Spoiling("500 always", _always(Status(500)), QwenServerError, requests=TRIES),
    Spoiling(
        "429 always",
        _always(Status(429, "Throttling.RateQuota", headers=_SHORTLY)),
        QwenRateLimitError,
        requests=TRIES,
    ),
    Spoiling("400", _always(Status(400, "InvalidParameter")), QwenInvalidRequestError),
    Spoiling("unpaid", _always(Status(429, "PrepaidBillOverdue")), QwenPermissionDeniedError),
    Spoiling("error in 200 once", _first(ErrorBody()), requests=2),
    Spoiling("rate limit in 200 once", _rate_limit_in_200, requests=2),
    Spoiling("error early", _at_early(ErrorFrame), QwenServerError, early),
    Spoiling("error late", _at_late(ErrorFrame), QwenServerError, late),
    Spoiling("cut early", _at_early(Cut), QwenStreamError, early),
    Spoiling("cut inside", _at_late(lambda n: Cut(n, bytes_into_next=41)), QwenStreamError, late),
    Spoiling("reset at once", _always(Reset(0)), QwenStreamError),
    Spoiling("reset late", _at_late(Reset), QwenStreamError, late),
    Spoiling("garbage early", _at_early(Garbage), QwenStreamError, early),
    Spoiling("garbage late", _at_late(Garbage), QwenStreamError, late),
    Spoiling("stall early", _at_early(lambda n: Stall(n, _FOR_EVER)), QwenTimeoutError, early),
    Spoiling("stall late", _at_late(lambda n: Stall(n, _FOR_EVER)), QwenTimeoutError, late),
)


def fault_plan(number: int) -> Spoiling | None:
    """How a question is spoilt; None if it is not."""
    if number % ONE_OF != SPOILT:
        return None
    return SPOILINGS[number // ONE_OF % len(SPOILINGS)]


# What the asker must see.


def wrong(api: Api, number: int, outcome: Any, requests: int) -> list[str]:
    """What is wrong with the message or the error that a question has got."""
    with_fault = fault_plan(number)
    must_be = with_fault.requests if with_fault else 1
    found = [] if requests == must_be else [f"{requests} requests, not {must_be}"]
    if with_fault is None or with_fault.error is None:
        found += _differences(outcome, whole(api, number))
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
            "".join(result.thoughts),
        ),
        "code": (ran, result.programs),
        "counts": (plugin_counts(message), result.plugins),
        "usage": (_numbers(usage) if usage else None, result.usage),
    }
    return [f"{name} {is_!r}, not {must!r}" for name, (is_, must) in pairs.items() if is_ != must]


def _numbers(usage: Any) -> tuple[int, int, int]:
    reasoning = usage.get("output_token_details", {}).get("reasoning", 0)
    return usage["input_tokens"], usage["output_tokens"], reasoning
