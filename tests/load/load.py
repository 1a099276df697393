"""A thousand concurrent streams and 64 threads through one model, for several rounds.

Run it with `make load`. Every twentieth request has one of the emulator's faults, and as many
streams are abandoned by their readers. It fails if an answer, an error or a number of requests is
wrong, or if streams, sockets, tasks, threads or memory remain.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import faulthandler
import gc
import itertools
import json
import os
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import plan
from langchain_core.messages.ai import add_ai_message_chunks
from pydantic_core import from_json
from service import Service, service

from langchain_qwen_ci import ChatQwenCodeInterpreter

_SHOWN = 20
_LEAVE_AFTER = 3  # chunks
_SETTLE_SECONDS = 10.0
_WAIT_SECONDS = 0.5
_M_ARENA_MAX = -8  # of malloc.h
_KEPT_SOCKETS = 200  # idle connections: up to 100 in each of the two clients
_WARM = 3  # memory is compared with this round; each API has been used by then
# The growth that is allowed since that round: less than one block for each call, plus a constant.
_BLOCKS_OF_A_CALL = 0.3
_MORE_BLOCKS = 2_000
_MORE_BYTES = 4_000_000


@dataclass(frozen=True)
class Size:
    """The size of the load.

    Attributes:
        streams: concurrent asynchronous streams.
        threads: concurrent threads.
        calls: calls of each thread.
        rounds: number of rounds; each uses the next API.
        pace: seconds between two frames of the service.
        silence: `stream_chunk_timeout` in seconds; longer than any pause of the loaded service.
        seconds: a run that takes longer is aborted.
        transport: the `transport` of the model.
    """

    streams: int
    threads: int
    calls: int
    rounds: int
    pace: float
    silence: float
    seconds: float
    transport: str


@dataclass
class Round:
    """The result of one round."""

    api: str
    sent: int = 0
    with_fault: int = 0
    left: int = 0
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0
    concurrent: int = 0
    memory: int = 0
    blocks: int = 0
    files: int = 0
    sockets: int = 0


class Mistake(Exception):  # noqa: N818  # an error of the reader, not of the model
    """An error that a reader of a stream raises."""


class Load:
    """Sends numbered requests through one model."""

    def __init__(self, size: Size, service: Service) -> None:
        self._size = size
        self._service = service
        self._numbers = itertools.count()  # atomic, so that threads share it
        warnings.filterwarnings("ignore", message="Chat Completions runs code")
        self.model = ChatQwenCodeInterpreter(
            base_url=service.url,
            api_key="any",
            stream_chunk_timeout=size.silence,
            transport=size.transport,
        )

    async def round(self, api: str) -> Round:
        """Send all requests of a round, then check the outcomes and the remaining resources."""
        self.model.api = api  # type: ignore[assignment]
        this = Round(api)
        outcomes: dict[int, Any] = {}
        tasks, threads = len(asyncio.all_tasks()), _threads()
        began = time.monotonic()
        await self._ask(this, outcomes)
        await self._check_that_readers_are_gone(this)
        this.seconds = time.monotonic() - began
        self._check(this, outcomes)
        this.wrong += _differs("tasks", len(asyncio.all_tasks()), tasks)
        this.wrong += _differs("threads", _threads(), threads)
        del outcomes
        await self._close(this)
        self._measure(this)
        return this

    async def _ask(self, this: Round, outcomes: dict[int, Any]) -> None:
        size = self._size
        with ThreadPoolExecutor(size.threads) as threads:
            loop = asyncio.get_running_loop()
            working = [
                loop.run_in_executor(threads, self._work, this, outcomes)
                for _ in range(size.threads)
            ]
            streams = [self._answer(outcomes) for _ in range(size.streams)]
            leavers = [
                leave(self.model, next(self._numbers))
                for leave in itertools.islice(itertools.cycle(LEAVE), _some(size.streams))
            ]
            this.left = len(leavers) + size.threads * _some(size.calls)
            await asyncio.gather(*streams, *leavers, *working)

    async def _answer(self, outcomes: dict[int, Any]) -> None:
        number = next(self._numbers)
        try:
            chunks = [chunk async for chunk in self.model.astream(plan.prompt(number))]
            outcomes[number] = add_ai_message_chunks(*chunks)
        except Exception as error:  # noqa: BLE001  # whether it is the right one is seen later
            outcomes[number] = error

    def _work(self, this: Round, outcomes: dict[int, Any]) -> None:
        for _ in range(self._size.calls):
            number = next(self._numbers)
            try:
                outcomes[number] = self._called(number)
            except Exception as error:  # noqa: BLE001  # as above
                outcomes[number] = error
        entry_points = itertools.cycle(LEAVE_IN_THREAD)
        for leave in itertools.islice(entry_points, _some(self._size.calls)):
            leave(self.model, next(self._numbers))

    def _called(self, number: int) -> Any:
        if number % 2:
            return self.model.invoke(plan.prompt(number))
        return add_ai_message_chunks(*self.model.stream(plan.prompt(number)))

    async def _check_that_readers_are_gone(self, this: Round) -> None:
        """The service must have stopped the answers whose readers have left."""
        deadline = time.monotonic() + _SETTLE_SECONDS
        while (  # noqa: ASYNC110  # the service is asked by a pipe
            still := self._service.answering()
        ) and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        this.wrong += _differs("answers that nobody reads", still, 0)

    def _check(self, this: Round, outcomes: dict[int, Any]) -> None:
        observed = self._service.observed()
        this.sent, this.concurrent = len(outcomes), observed.most_answering
        for number, outcome in outcomes.items():
            this.with_fault += plan.fault_plan(number) is not None
            this.wrong += plan.wrong(this.api, number, outcome, observed.requests[number])

    async def _close(self, this: Round) -> None:
        """Close the connections, whose buffers would hide a growth of memory."""
        this.sockets = _sockets(self._service.url)
        this.wrong += _above("sockets kept", this.sockets, _KEPT_SOCKETS)
        await self.model.aclose()
        this.wrong += _differs("sockets after aclose", _sockets(self._service.url), 0)

    def _measure(self, this: Round) -> None:
        gc.collect()
        this.memory = _memory()
        this.blocks = sys.getallocatedblocks()
        this.files = len(_files())


def _some(number: int) -> int:
    return max(1, number // plan.FAULT_INTERVAL)


def _differs(what: str, is_: int, must_be: int) -> list[str]:
    return [] if is_ == must_be else [f"{what}: {is_}, not {must_be}"]


def _above(what: str, is_: int, at_most: int) -> list[str]:
    return [] if is_ <= at_most else [f"{what}: {is_}, not {at_most} at most"]


# Readers that leave in the middle.


async def _is_cancelled(model: ChatQwenCodeInterpreter, number: int) -> None:
    async def read() -> None:
        read = 0
        async for _ in model.astream(plan.endless_prompt(number)):
            read += 1
            if read == _LEAVE_AFTER:
                asyncio.current_task().cancel()

    with suppress(asyncio.CancelledError):
        await asyncio.ensure_future(read())


async def _is_cancelled_before_the_first_chunk(model: ChatQwenCodeInterpreter, number: int) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(_WAIT_SECONDS):
            await model.ainvoke(plan.unanswered_prompt(number))


async def _breaks(model: ChatQwenCodeInterpreter, number: int) -> None:
    async for _ in model.astream(plan.endless_prompt(number)):
        break


async def _fails(model: ChatQwenCodeInterpreter, number: int) -> None:
    with suppress(Mistake):
        async for _ in model.astream(plan.endless_prompt(number)):
            raise Mistake


def _breaks_in_a_thread(model: ChatQwenCodeInterpreter, number: int) -> None:
    for _ in model.stream(plan.endless_prompt(number)):
        break


def _fails_in_a_thread(model: ChatQwenCodeInterpreter, number: int) -> None:
    with suppress(Mistake):
        for _ in model.stream(plan.endless_prompt(number)):
            raise Mistake


LEAVE = (_is_cancelled, _is_cancelled_before_the_first_chunk, _breaks, _fails)
LEAVE_IN_THREAD = (_breaks_in_a_thread, _fails_in_a_thread)


# What this process holds.


def _fill_the_strings() -> None:
    """Fill the string cache of the JSON parser (jiter keeps up to 16,384 short strings), which
    otherwise grows during the first thousands of answers."""
    from_json(json.dumps([f"a string that is kept, {number:07d}" for number in range(200_000)]))


def _take_one_arena() -> None:
    """Use one malloc arena: with one for each thread, fragmentation grows for many rounds
    (measured: from 50 to 80 MB in twelve rounds, with 20 MB in use)."""
    with suppress(AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def _memory() -> int:
    """Resident memory of this process in bytes, after unused memory was returned."""
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _threads() -> int:
    """The number of threads, without those of asyncio's executor, which live as long as the
    loop."""
    return sum(not one.name.startswith("asyncio_") for one in threading.enumerate())


def _sockets(url: str) -> int:
    """The number of sockets of this process that are connected to the service, in any state."""
    port = int(url.rpartition(":")[2])
    lines = Path("/proc/self/net/tcp").read_text().splitlines()[1:]
    columns = (line.split() for line in lines)
    leading = (c[9] for c in columns if int(c[2].rpartition(":")[2], 16) == port)
    return len(_files().intersection(f"socket:[{inode}]" for inode in leading))


def _files() -> set[str]:
    """The open files of this process; each socket has its own name."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the one that the folder was read by
            found.add(str(entry.readlink()))
    return found


# The run.


def run(size: Size) -> list[str]:
    """Run all rounds and describe what is wrong."""
    _take_one_arena()
    _fill_the_strings()
    with service(size.pace) as serving:
        load = Load(size, serving)
        _say(HEAD)
        rounds = asyncio.run(_rounds(load, size))
        wrong = [difference for this in rounds for difference in this.wrong]
        wrong += _differs("sockets after the end of the loop", _sockets(serving.url), 0)
        wrong += _differs("threads in the end", threading.active_count(), 1)
    if (most := max(this.concurrent for this in rounds)) < size.streams // 2:
        wrong.append(f"{most} answers at once, which is no load")
    return wrong + _grown(rounds)


async def _rounds(load: Load, size: Size) -> list[Round]:
    rounds = []
    for number in range(size.rounds):
        this = await load.round(plan.APIS[number % len(plan.APIS)])
        rounds.append(this)
        _say(_line(number + 1, this))
    return rounds


def _grown(rounds: list[Round]) -> list[str]:
    """Describe the growth of memory since the round after which everything was used."""
    if len(rounds) <= _WARM:
        return []
    first, last = rounds[_WARM - 1], rounds[-1]
    calls = sum(this.sent + this.left for this in rounds[_WARM:])
    size, blocks = last.memory - first.memory, last.blocks - first.blocks
    _say(
        f"Memory from round {_WARM} to round {len(rounds)}, after {calls} calls: "
        f"{size / 1e6:+.1f} MB ({size / first.memory:+.1%}), {blocks:+} blocks of Python's."
    )
    return _above("more bytes of memory", size, _MORE_BYTES) + _above(
        "more blocks of memory", blocks, _MORE_BLOCKS + int(calls * _BLOCKS_OF_A_CALL)
    )


HEAD = (
    "round  API               calls  faults  left  at once  wrong     s     MB   blocks  "
    "files  sockets kept"
)


def _line(number: int, this: Round) -> str:
    return (
        f"{number:5}  {this.api:16} {this.sent:6} {this.with_fault:7} {this.left:5} "
        f"{this.concurrent:8} {len(this.wrong):6} {this.seconds:5.1f} "
        f"{this.memory / 1e6:6.1f} {this.blocks:8} {this.files:6} {this.sockets:8}"
    )


def _say(line: str) -> None:
    print(line, flush=True)


def main() -> int:
    size = _size()
    faulthandler.dump_traceback_later(size.seconds, exit=True)
    wrong = run(size)
    faulthandler.cancel_dump_traceback_later()
    for difference in wrong[:_SHOWN]:
        _say(difference)
    _say(f"{len(wrong)} things are wrong." if wrong else "Everything is as it must be.")
    return bool(wrong)


def _size() -> Size:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default, says in (
        ("streams", 1000, "async streams at once"),
        ("threads", 64, "threads at once"),
        ("calls", 6, "calls of each thread"),
        ("rounds", 10, "rounds, each on the next wire"),
        ("pace", 0.01, "seconds between two frames of the service"),
        ("silence", 10.0, "seconds after which a stall is given up"),
        ("seconds", 900.0, "seconds until a run that hangs is ended"),
        ("transport", "httpx", "the transport of the model: httpx or fast"),
    ):
        parser.add_argument(f"--{name}", type=type(default), default=default, help=says)
    return Size(**vars(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
