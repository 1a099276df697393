"""Cancels thousands of calls at random moments, and counts what is left of them.

Run it with `make cancellations`. One second after its cancellation, no request may run at the
service, no connection may be open that the next calls do not use, and the next calls must work.
Async calls are cancelled once, twice or by a timeout; sync calls are ended by closing the model in
another thread. A table of all stages is printed before the program fails.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import itertools
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

try:
    import uvloop
except ImportError:  # not on every system
    uvloop = None

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import httpx
from held_service import HeldService
from self_signed import self_signed_pem

from langchain_qwen_ci import ChatQwenCodeInterpreter, QwenCodeInterpreterNode
from langchain_qwen_ci.errors import QwenError

_CALLS = 10  # at the same time
_GRACE_SECONDS = 1.0
_ANCHOR_SECONDS = 0.5
# Larger than the socket buffers of both sides, so that the client waits while it writes.
_LARGE = "?" * 1_000_000

# Stages that the service holds; a call is cancelled when it has reached its stage.
_HELD = ("tls", "body", "head", "first byte", "frames", "closing")
# A call is cancelled after a random number of steps of the loop. "pool" has fewer connections than
# calls, and "reused" has idle connections.
_STEPPED = ("connect", "pool", "reused")
_SYNC_STAGES = ("connect", "reused", *_HELD)
_FINDINGS = ("running", "open", "pool", "next call")


@dataclass(frozen=True)
class Setting:
    stage: str
    scheme: str
    client: str = "own"  # the model's own, "user", or "fast": the model's own with that transport
    cancels: str = "once"
    entry_point: str = "ainvoke"

    @property
    def transport(self) -> str:
        return "fast" if self.client == "fast" else "httpx"


@dataclass(frozen=True)
class Limits:
    """A part of the program ends at this time, or after this number of calls in all."""

    end: float
    count: int

    def reached(self, report: Report) -> bool:
        return time.monotonic() >= self.end or report.calls >= self.count


class Report:
    """Counts calls and findings of each stage."""

    def __init__(self) -> None:
        self._calls: Counter[str] = Counter()
        self._found: Counter[tuple[str, str]] = Counter()
        self._settings: Counter[Setting] = Counter()

    def add(self, row: str, setting: Setting, found: Counter[str]) -> None:
        self._calls[row] += _CALLS
        self._settings[setting] += found.total()
        self._found.update({(row, name): count for name, count in found.items()})

    @property
    def calls(self) -> int:
        return self._calls.total()

    def show(self) -> bool:
        """Print the table; return whether something was left."""
        print(f"{'stage':32} {'calls':>7}", *(f"{name:>10}" for name in _FINDINGS))
        for row in sorted(self._calls):
            counts = [self._found[row, name] for name in _FINDINGS]
            print(f"{row:32} {self._calls[row]:7}", *(f"{count:10}" for count in counts))
        totals = [sum(self._found[row, name] for row in self._calls) for name in _FINDINGS]
        print(f"{'all':32} {sum(self._calls.values()):7}", *(f"{count:10}" for count in totals))
        for setting, count in (+self._settings).most_common(10):
            print(count, "of", setting)
        return any(totals)


async def call(model: ChatQwenCodeInterpreter, entry_point: str, question: str) -> None:
    if entry_point == "ainvoke":
        await model.ainvoke(question)
    elif entry_point == "node":
        await QwenCodeInterpreterNode(model).ainvoke({"messages": [("user", question)]})
    elif entry_point == "leave":
        async for _ in model.astream(question):
            break
    else:
        async for _ in model.astream(question):
            pass


async def cancelled_call(
    service: HeldService, model: ChatQwenCodeInterpreter, setting: Setting
) -> None:
    """Start a call and cancel it at a random moment of the stage."""
    question = _LARGE if setting.stage == "body" else "?"
    working = asyncio.ensure_future(call(model, setting.entry_point, question))
    if setting.stage in _HELD:
        with suppress(TimeoutError):
            await asyncio.wait_for(service.reached.get(), _ANCHOR_SECONDS)
    steps = 80 if setting.stage in _STEPPED else 8
    for _ in range(random.randrange(steps)):
        await asyncio.sleep(0)
    if random.random() < 0.3:
        await asyncio.sleep(random.uniform(0, 0.02))
    working.cancel()
    if setting.cancels == "twice":
        for _ in range(random.choice((1, 1, 1, 2, 3))):
            await asyncio.sleep(0)
        working.cancel()
    with suppress(asyncio.CancelledError, QwenError):
        await working


async def timed_call(service: HeldService, model: ChatQwenCodeInterpreter, setting: Setting):
    """Start a call that `total_timeout` and `asyncio.timeout` end at the same time."""
    seconds = random.uniform(0.005, 0.06)
    model = model.model_copy(update={"total_timeout": seconds})  # shares the connections
    question = _LARGE if setting.stage == "body" else "?"
    with suppress(TimeoutError, QwenError):
        async with asyncio.timeout(seconds):
            await call(model, setting.entry_point, question)


async def batch(
    service: HeldService, model: ChatQwenCodeInterpreter, setting: Setting, slots: int
) -> Counter[str]:
    """Cancel some calls at the same time; return what was left."""
    if setting.stage == "reused":
        service.stage = ""
        await asyncio.gather(
            *(model.ainvoke("?") for _ in range(_CALLS // 2)), return_exceptions=True
        )
    service.stage, service.hold = setting.stage, random.choice((0.0, 0.01, 0.05))
    service.reached = asyncio.Queue()
    one = timed_call if setting.cancels == "timeout" else cancelled_call
    await asyncio.gather(*(one(service, model, setting) for _ in range(_CALLS)))
    return await left_over(service, model, slots)


async def left_over(
    service: HeldService, model: ChatQwenCodeInterpreter, slots: int
) -> Counter[str]:
    """Count what is left after a second. The next calls need all connections at the same time."""
    await settle(lambda: service.running == 0)
    running = service.running
    for _ in range(20):  # the service reads which idle connections were closed
        await asyncio.sleep(0)
    calls = slots or len(service.open) or 1
    before = set(service.open)
    served = dict(service.open)
    service.expect(calls)
    answers = await asyncio.gather(
        *(asyncio.wait_for(model.ainvoke("?"), 3) for _ in range(calls)), return_exceptions=True
    )
    service.expect(0)
    await settle(lambda: unused(service, before, served) == 0)
    failed = sum(isinstance(answer, BaseException) for answer in answers)
    is_blocked = any(isinstance(answer, TimeoutError) for answer in answers)
    return Counter(
        {
            "running": running,
            "open": unused(service, before, served),
            "pool" if slots and is_blocked else "next call": failed,
        }
    )


async def settle(is_settled: Callable[[], bool]) -> None:
    until = time.monotonic() + _GRACE_SECONDS
    while not is_settled() and time.monotonic() < until:  # noqa: ASYNC110  # it has no event
        await asyncio.sleep(0.01)


def unused(service: HeldService, before: set[Any], served: dict[Any, int]) -> int:
    """Return how many of these connections are open and were not used again."""
    return sum(service.open.get(one) == served[one] for one in before)


async def run_async(name: str, settings: list[Setting], limits: Limits, report: Report) -> None:
    context = httpx.create_ssl_context()
    while not limits.reached(report):
        setting = random.choice(settings)
        slots = 0 if setting.client != "user" else 3 if setting.stage == "pool" else _CALLS
        fields: dict[str, Any] = {"transport": setting.transport}
        if slots:
            pool = httpx.Limits(max_connections=slots)
            fields["http_async_client"] = httpx.AsyncClient(verify=context, limits=pool)
        async with HeldService(tls=setting.scheme == "https") as service:
            model = ChatQwenCodeInterpreter(
                base_url=service.url, api_key="any", max_retries=0, timeout=10, **fields
            )
            for _ in range(5):
                found = await batch(service, model, setting, slots)
                row = f"{name} {setting.client} {setting.stage} {setting.cancels}"
                report.add(row, setting, found)
                if found.total():
                    break  # a finding is counted once: go on with new connections
            await model.aclose()
            if slots:
                await fields["http_async_client"].aclose()


def run_sync(settings: list[Setting], limits: Limits, report: Report) -> None:
    """End sync calls by closing their model in another thread."""
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        while not limits.reached(report):
            setting = random.choice(settings)
            found = asyncio.run_coroutine_threadsafe(sync_batch(setting), loop).result()
            report.add(f"sync {setting.client} {setting.stage} closed", setting, found)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


async def sync_batch(setting: Setting) -> Counter[str]:
    async with HeldService(tls=setting.scheme == "https") as service:
        model = ChatQwenCodeInterpreter(
            base_url=service.url,
            api_key="any",
            max_retries=0,
            timeout=10,
            transport=setting.transport,
        )
        if setting.stage == "reused":
            await asyncio.gather(*(asyncio.to_thread(model.invoke, "?") for _ in range(_CALLS)))
        service.stage = "head" if setting.stage == "reused" else setting.stage
        service.hold = 5.0
        abort = functools.partial(
            asyncio.get_running_loop().call_soon_threadsafe, service.abort_all
        )
        waiting = await asyncio.to_thread(closed_calls, model, setting, abort)
        service.released.set()
        found = await left_over(service, model, 0)
        found["next call"] += waiting
        await model.aclose()
        return found


def closed_calls(
    model: ChatQwenCodeInterpreter, setting: Setting, abort: Callable[[], object]
) -> int:
    """Close the model while threads call it; return how many still wait one second later."""
    question = _LARGE if setting.stage == "body" else "?"
    threads = [
        threading.Thread(target=sync_call, args=(model, question, number), daemon=True)
        for number in range(_CALLS)
    ]
    for one in threads:
        one.start()
    time.sleep(random.uniform(0, 0.02 if setting.stage == "connect" else 0.2))
    model.close()
    until = time.monotonic() + _GRACE_SECONDS
    for one in threads:
        one.join(max(0.0, until - time.monotonic()))
    if waiting := sum(one.is_alive() for one in threads):
        abort()
    for one in threads:
        one.join()
    return waiting


def sync_call(model: ChatQwenCodeInterpreter, question: str, number: int) -> None:
    with suppress(QwenError):
        if number % 2:
            model.invoke(question)
        else:
            list(model.stream(question))


def all_settings() -> list[Setting]:
    settings = itertools.starmap(
        Setting,
        itertools.product(
            (*_HELD, *_STEPPED),
            ("http", "https"),
            ("own", "user", "fast"),
            ("once", "twice", "timeout"),
            ("ainvoke", "astream", "node", "leave"),
        ),
    )
    return [
        one
        for one in settings
        if (one.stage != "tls" or one.scheme == "https")
        and (one.stage != "pool" or one.client == "user")
    ]


def run(arguments: argparse.Namespace, report: Report) -> None:
    settings = [
        one
        for one in all_settings()
        if arguments.stage in {"", one.stage} and arguments.client in {"", one.client}
    ]
    loops = {"asyncio": asyncio.new_event_loop}
    if uvloop is not None:
        loops["uvloop"] = uvloop.new_event_loop
    parts = [arguments.part] if arguments.part else [*loops, "sync"]
    for number, part in enumerate(parts, 1):
        limits = Limits(
            end=time.monotonic() + arguments.seconds / len(parts),
            count=arguments.count * number // len(parts),
        )
        if part == "sync":
            run_sync([one for one in settings if one.stage in _SYNC_STAGES], limits, report)
        else:
            with asyncio.Runner(loop_factory=loops[part]) as runner:
                runner.run(run_async(part, settings, limits, report))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="for all parts together")
    parser.add_argument("--count", type=int, default=1_000_000, help="maximum number of calls")
    parser.add_argument("--part", default="", help="asyncio, uvloop or sync; by default all")
    parser.add_argument("--stage", default="", help="by default all")
    parser.add_argument("--client", default="", help="own, user or fast; by default all")
    arguments = parser.parse_args()
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "certificate.pem"
        path.write_bytes(self_signed_pem())
        os.environ["SSL_CERT_FILE"] = str(path)
        run(arguments, report)
    return report.show()


if __name__ == "__main__":
    sys.exit(main())
