"""A process with one client: measures it on command, so that several clients can take turns.

`worker.py CLIENT URL API`. Each line on stdin is a command in JSON, each line on stdout its result.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
import tracemalloc
import warnings
from collections.abc import Callable
from typing import Any

import streams
from clients import CLIENTS, EntryPoints


class Worker:
    """Runs the entry points of one client."""

    def __init__(self, entry_points: EntryPoints, runner: asyncio.Runner) -> None:
        self._entry_points = entry_points
        self._runner = runner

    def check(self, entry_point: str, stream: str) -> list[str]:
        """Read a stream once, which opens connections too, and compare its text if there is any."""
        items = self._read(entry_point, stream)
        if not items:
            raise AssertionError("no item")
        texts = [str(item.text) for item in items if hasattr(item, "usage_metadata")]
        if texts and "".join(texts) != streams.text(stream):
            raise AssertionError(f"wrong text: {''.join(texts)[:100]!r}")
        return []

    def cpu(self, entry_point: str, stream: str, count: int) -> list[float]:
        """CPU and wall seconds to read a stream `count` times."""
        return self._spent(lambda: [self._drain(entry_point, stream) for _ in range(count)])

    def concurrent(self, entry_point: str, stream: str, count: int) -> list[float]:
        """CPU and wall seconds to read `count` streams at the same time."""

        async def together() -> None:
            await asyncio.gather(*(self._adrain(entry_point, stream) for _ in range(count)))

        return self._spent(lambda: self._runner.run(together()))

    def paced(self, entry_point: str, stream: str, count: int) -> list[float]:
        """CPU seconds a chunk while `count` paced streams run: not of their starts and ends.

        Raises:
            RuntimeError: the first stream ended before the last one began.
        """
        waiting = count
        begin: tuple[float, float] | None = None
        end: tuple[float, float] | None = None

        async def read() -> None:
            nonlocal waiting, begin, end
            is_first = True
            async for _ in self._entry_points[entry_point](stream):
                waiting -= is_first
                if is_first and not waiting:
                    begin = time.process_time(), time.perf_counter()
                is_first = False
            end = end or (time.process_time(), time.perf_counter())

        async def together() -> None:
            await asyncio.gather(*(read() for _ in range(count)))

        gc.collect()
        self._runner.run(together())
        if not begin or not end or begin[1] >= end[1]:
            raise RuntimeError("the first stream ended before the last one began")
        chunks = count * (end[1] - begin[1]) / streams.SHAPES[stream].pace
        return [(end[0] - begin[0]) / chunks]

    def first(self, entry_point: str, stream: str, count: int) -> list[float]:
        """Seconds from the call to its first item, `count` times."""
        result = []
        for _ in range(count):
            gc.collect()
            started = time.perf_counter()
            items = iter(self._entry_points[entry_point](stream))
            next(items)
            result.append(time.perf_counter() - started)
            for _ in items:
                pass
        return result

    def memory(self, entry_point: str, stream: str) -> list[float]:
        """Peak of the bytes that Python allocated to read a stream, above those before."""
        gc.collect()
        tracemalloc.start()
        try:
            self._drain(entry_point, stream)
            return [tracemalloc.get_traced_memory()[1]]
        finally:
            tracemalloc.stop()

    def _spent(self, run: Callable[[], Any]) -> list[float]:
        gc.collect()
        cpu, wall = time.process_time(), time.perf_counter()
        run()
        return [time.process_time() - cpu, time.perf_counter() - wall]

    def _drain(self, entry_point: str, stream: str) -> None:
        if entry_point.startswith("a"):
            self._runner.run(self._adrain(entry_point, stream))
        else:
            for _ in self._entry_points[entry_point](stream):
                pass

    async def _adrain(self, entry_point: str, stream: str) -> None:
        async for _ in self._entry_points[entry_point](stream):
            pass

    def _read(self, entry_point: str, stream: str) -> list[Any]:
        async def read() -> list[Any]:
            return [item async for item in self._entry_points[entry_point](stream)]

        if entry_point.startswith("a"):
            return self._runner.run(read())
        return list(self._entry_points[entry_point](stream))


def main() -> None:
    warnings.simplefilter("ignore")
    client, url, api = sys.argv[1:]
    results = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a client prints
    with asyncio.Runner() as runner:
        worker = Worker(CLIENTS[client](url, api), runner)
        for line in sys.stdin:
            measure, arguments = json.loads(line)
            try:
                result = {"values": getattr(worker, measure)(**arguments)}
            except Exception as error:  # noqa: BLE001 - reported with the results
                result = {"error": f"{type(error).__name__}: {error}"}
            results.write(json.dumps(result) + "\n")
    # Clients leave connections, threads and loops open; nothing of that is measured.
    os._exit(0)


if __name__ == "__main__":
    main()
