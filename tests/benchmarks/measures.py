"""Runs the clients in turn, and collects the median of each measure."""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from clients import APIS, PEERS
from processes import COLD, IMPORTS, cold_start, import_time
from streams import GROWTH, SHAPES, http_chunks

HERE = Path(__file__).parent
# Measure, API, stream, client, entry point.
Key = tuple[str, str, str, str, str]


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        rounds: repetitions of each measure; the clients take turns.
        streams: streams that are read as fast as possible.
        entry_points: entry points for the streams of medium size; others have four of them.
        concurrency: numbers of concurrent paced streams.
        concurrent_clients: clients of these.
        growth_entry_points: API, family of streams and entry point.
    """

    rounds: int
    streams: tuple[str, ...]
    entry_points: tuple[str, ...]
    concurrency: tuple[int, ...]
    concurrent_clients: tuple[str, ...]
    growth: tuple[tuple[str, str, str], ...]


READS = ("stream", "invoke", "astream", "ainvoke")
MORE = ("stream v1", "events v3", "node", "stream traced", "invoke traced")
_GROWTH = [(api, "growth", entry_point) for api in APIS for entry_point in READS[:2]]
_CJK = [("chat_completions", "cjk", entry_point) for entry_point in READS[:2]]
PLANS = {
    "quick": Plan(
        2, ("medium",), (*READS, "node", "stream traced", "invoke traced"), (200,),
        ("ChatOpenAI",), (*_GROWTH[:2], *_CJK[1:]),
    ),
    "full": Plan(
        7, ("small", "medium", "large"), (*READS, *MORE), (1, 50, 200),
        ("raw aiohttp", "ChatOpenAI", "ChatQwen"), (*_GROWTH, *_CJK),
    ),
}  # fmt: skip


class WorkerProcess:
    """A client in a process of its own."""

    def __init__(self, client: str, url: str, api: str) -> None:
        self.client = client
        command = [sys.executable, HERE / "worker.py", client, url, api]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, measure: str, **arguments: Any) -> list[float]:
        """Run one measure; raises RuntimeError with the error of the client."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps([measure, arguments]) + "\n")
        self._process.stdin.flush()
        result = json.loads(self._process.stdout.readline() or '{"error": "the process ended"}')
        if "error" in result:
            raise RuntimeError(result["error"])
        return result["values"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


@contextmanager
def replay_server() -> Iterator[str]:
    """Start the replay server, and yield its URL."""
    command = [sys.executable, HERE / "server.py"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin
    assert process.stdout
    yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    process.stdin.close()
    process.wait()


def has_fast_transport() -> bool:
    """True if the model accepts `transport="fast"`."""
    program = (
        "from langchain_qwen_ci import ChatQwenCodeInterpreter\n"
        "ChatQwenCodeInterpreter(transport='fast', api_key='any')"
    )
    command = [sys.executable, "-W", "ignore", "-c", program]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@dataclass
class Benchmark:
    """One run: its measured values by key, and what could not be measured."""

    url: str
    plan: Plan
    ours: tuple[str, ...]
    samples: dict[Key, list[float]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    @property
    def _few_rounds(self) -> int:
        """Rounds of the measures that take long."""
        return max(1, self.plan.rounds // 2)

    def medians(self) -> dict[Key, float]:
        return {key: statistics.median(values) for key, values in self.samples.items()}

    def run(self) -> None:
        for api in (*APIS, "anthropic"):
            clients = () if api == "anthropic" else ("bare socket", *self.ours)
            for stream in self.plan.streams:
                self._reads(api, stream, ("raw httpx", *clients, *PEERS[api]))
        if "large" not in self.plan.streams:
            self._large_native()
        self._concurrent()
        self._growth()
        self._processes()

    def _reads(self, api: str, stream: str, clients: tuple[str, ...]) -> None:
        """CPU and wall time a chunk, time to the first item, peak memory."""
        entry_points = self.plan.entry_points if stream == "medium" else READS
        # The slowest clients need 10 s for a large stream.
        rounds = self.plan.rounds if stream != "large" else min(self.plan.rounds, 2)
        chunks = len(http_chunks(api, stream))
        repeat = 20 if stream == "small" else 1
        with self._workers(clients, api) as workers:
            cases = self._checked(api, stream, workers, entry_points)
            for turn in range(rounds):
                self._progress(f"{api}, {stream}: round {turn + 1} of {rounds}")
                for worker, entry_point in cases:
                    key = (api, stream, worker.client, entry_point)
                    cpu, wall = worker.run(
                        "cpu", entry_point=entry_point, stream=stream, count=repeat
                    )
                    self._add("cpu", key, cpu / chunks / repeat * 1e6)
                    self._add("rate", key, chunks * repeat / wall)
                    if entry_point == "stream" and stream == "medium":
                        arguments = {"entry_point": "stream", "stream": "small", "count": 7}
                        for seconds in worker.run("first", **arguments):
                            self._add("first", key, seconds * 1e3)
            for worker, entry_point in cases:
                if entry_point in READS[:2] and stream != "small":
                    (peak,) = worker.run("memory", entry_point=entry_point, stream=stream)
                    self._add("memory", (api, stream, worker.client, entry_point), peak / 1e6)

    def _large_native(self) -> None:
        """`invoke` of the large stream: the only large one in a quick run."""
        chunks = len(http_chunks("dashscope", "large"))
        with self._workers(("raw httpx", *self.ours, "ChatTongyi"), "dashscope") as workers:
            cases = self._checked("dashscope", "medium", workers, ("stream", "invoke"))
            self._progress("dashscope, large")
            for worker, entry_point in cases:
                if (entry_point == "stream") == (worker.client == "raw httpx"):
                    cpu, _ = worker.run("cpu", entry_point=entry_point, stream="large", count=1)
                    key = ("dashscope", "large", worker.client, entry_point)
                    self._add("cpu", key, cpu / chunks * 1e6)

    def _concurrent(self) -> None:
        clients = ("raw httpx", *self.ours, *self.plan.concurrent_clients)
        with self._workers(clients, "chat_completions") as workers:
            for count in self.plan.concurrency:
                for turn in range(self._few_rounds):
                    self._progress(f"{count} concurrent paced streams: round {turn + 1}")
                    for worker in workers:
                        arguments = {"entry_point": "astream", "count": count}
                        worker.run("concurrent", stream="small", **arguments)  # connects
                        (cpu,) = worker.run("paced", stream="paced", **arguments)
                        key = ("chat_completions", f"paced {count}", worker.client, "astream")
                        self._add("cpu", key, cpu * 1e6)

    def _growth(self) -> None:
        for api, family, entry_point in self.plan.growth:
            with self._workers(self.ours, api) as workers:
                self._progress(f"growth: {api}, {family}, {entry_point}")
                for worker in workers:
                    # One of the short streams, for connections and the first calls of everything.
                    self._checked(api, "medium", [worker], (entry_point,))
                    for measure, rounds in (("cpu", self._few_rounds), ("memory", 1)):
                        exponent = self._exponent(worker, measure, rounds, family, entry_point)
                        self._add(f"{measure} exponent", (api, family, worker.client, entry_point),
                                  exponent)  # fmt: skip

    @staticmethod
    def _exponent(
        worker: WorkerProcess, measure: str, rounds: int, family: str, entry_point: str
    ) -> float:
        """The slope of the measure over the number of chunks, both as logarithms."""
        samples: dict[int, list[float]] = {chunks: [] for chunks in GROWTH}
        count = {"count": 1} if measure == "cpu" else {}
        for _ in range(rounds):
            for chunks, values in samples.items():
                stream = f"{family}{chunks}"
                values.append(
                    worker.run(measure, entry_point=entry_point, stream=stream, **count)[0]
                )
        points = [
            (math.log(SHAPES[f"{family}{chunks}"].chunks), math.log(statistics.median(values)))
            for chunks, values in samples.items()
        ]
        return statistics.linear_regression(*zip(*points, strict=True)).slope

    def _processes(self) -> None:
        """Import time, and the time of a new process until its first token."""
        for turn in range(self.plan.rounds + 2):
            self._progress(f"imports and cold processes: round {turn + 1}")
            for name in IMPORTS:
                seconds = import_time(name)
                if turn:  # the first one compiles
                    self._add("import", ("", "", name, ""), seconds * 1e3)
            for name in COLD:
                if name in (*self.ours, "ChatOpenAI"):
                    wall, cpu = cold_start(name, self.url)
                    if turn:
                        self._add("cold", ("", "", name, ""), wall * 1e3)
                        self._add("cold cpu", ("", "", name, ""), cpu * 1e3)

    @contextmanager
    def _workers(self, clients: tuple[str, ...], api: str) -> Iterator[list[WorkerProcess]]:
        with ExitStack() as stack:
            yield [stack.enter_context(WorkerProcess(name, self.url, api)) for name in clients]

    def _checked(
        self, api: str, stream: str, workers: list[WorkerProcess], entry_points: tuple[str, ...]
    ) -> list[tuple[WorkerProcess, str]]:
        """Return the cases that read the stream without an error; report the others."""
        cases = []
        for worker in workers:
            for entry_point in entry_points:
                if "traced" in entry_point and worker.client not in self.ours:
                    continue  # the target is about our own calls, and each waits for a thread
                try:
                    worker.run("check", entry_point=entry_point, stream=stream)
                except RuntimeError as error:
                    # A client without this entry point is no failure.
                    if str(error) != f"KeyError: '{entry_point}'":
                        self.failures.append(f"{worker.client} {entry_point}, {api}: {error}")
                else:
                    cases.append((worker, entry_point))
        return cases

    def _add(self, measure: str, key: tuple[str, str, str, str], value: float) -> None:
        self.samples.setdefault((measure, *key), []).append(value)

    @staticmethod
    def _progress(text: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)
