"""A loopback LangSmith: it takes what the real client posts, and shows it as trees of runs."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import zstandard
from langsmith import run_trees, utils
from langsmith.env import _runtime_env as runtime

# What the service's own `/info` says of itself, as far as the client asks: with it, the client
# compresses, as it does for the service.
INFO = {
    "version": "0.1",
    "instance_flags": {"zstd_compression_enabled": True},
    "batch_ingest_config": {
        "use_multipart_endpoint": True,
        "scale_up_qsize_trigger": 1000,
        "scale_up_nthreads_limit": 1,
        "scale_down_nempty_trigger": 4,
        "size_limit": 100,
        "size_limit_bytes": 20_971_520,
    },
}
KEY = "lsv2_of_langsmith_itself"


@dataclass
class Run:
    """A run, as the posts and patches that tell of it add up."""

    fields: dict[str, Any]
    children: list[Run] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return self.fields.get(name)

    @property
    def metadata(self) -> dict[str, Any]:
        return self.extra["metadata"]

    @property
    def usage(self) -> dict[str, Any] | None:
        """The tokens that LangSmith counts for this run."""
        return self.metadata.get("usage_metadata")

    @property
    def message(self) -> dict[str, Any]:
        """What a model's run has written."""
        ((generation,), *_) = self.outputs["generations"]
        return generation["message"]["kwargs"]

    @property
    def span(self) -> tuple[datetime, datetime]:
        return datetime.fromisoformat(self.start_time), datetime.fromisoformat(self.end_time)

    def below(self, kind: str) -> list[Run]:
        """The runs of a kind in this tree, in order; this one as well."""
        here = [self] if self.run_type == kind else []
        return here + [run for child in self.children for run in child.below(kind)]

    def everything(self) -> Iterator[Run]:
        yield self
        for child in self.children:
            yield from child.everything()


class LangSmith:
    """What was posted so far."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []  # as sent, but decompressed
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(INFO if self.path == "/info" else {})

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                encoding = self.headers.get("Content-Encoding", "none")
                outer.take(self.path, self.headers, body, encoding)
                self._answer({})

            def _answer(self, text: dict[str, Any]) -> None:
                body = json.dumps(text).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._lock = threading.Lock()
        self._runs: dict[str, dict[str, Any]] = {}
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.01,), daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def take(self, path: str, headers: Any, body: bytes, encoding: str) -> None:
        if encoding == "zstd":
            body = zstandard.ZstdDecompressor().decompressobj().decompress(body)
        with self._lock:
            self.bodies.append(body)
            assert path == "/runs/multipart", path
            for name, content in _parts(headers["Content-Type"], body):
                self._part(name, content)

    def _part(self, name: str, content: bytes) -> None:
        """A part is named `post.<id>` or `patch.<id>`, and `.<field>` after it."""
        _, run_id, *rest = name.split(".")
        result = json.loads(content)
        run = self._runs.setdefault(run_id, {"id": run_id})
        run.update({rest[0]: result} if rest else result)

    def roots(self) -> list[Run]:
        """The trees that have arrived, once everything has."""
        _flush()
        with self._lock:
            runs = {run_id: Run(dict(fields)) for run_id, fields in self._runs.items()}
        roots = []
        for run in sorted(runs.values(), key=lambda run: run.dotted_order):
            parent = runs.get(run.parent_run_id or "")
            (parent.children if parent else roots).append(run)
        return roots

    def root(self) -> Run:
        (root,) = self.roots()
        return root

    @property
    def posted(self) -> bytes:
        """Every byte that has arrived, once everything has."""
        _flush()
        with self._lock:
            return b"\n".join(self.bodies)


def _parts(content_type: str, body: bytes) -> Iterator[tuple[str, bytes]]:
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    for part in BytesParser(policy=HTTP).parsebytes(head + body).iter_parts():
        yield (
            str(part.get_param("name", header="content-disposition")),
            part.get_payload(decode=True),
        )


# What langsmith remembers of the environment.
_REMEMBERED = (
    utils.get_env_var,
    utils.get_tracer_project,
    runtime.get_langchain_env_var_metadata,
)


def _flush() -> None:
    if run_trees._CLIENT is not None:
        run_trees._CLIENT.flush()


def forget() -> None:
    """End the client, and have the environment read again."""
    _flush()
    if run_trees._CLIENT is not None:
        run_trees._CLIENT.cleanup()
        run_trees._CLIENT = None
    for remembered in _REMEMBERED:
        remembered.cache_clear()


@pytest.fixture
def langsmith_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LangSmith]:
    """A LangSmith to which everything is traced."""
    forget()
    server = LangSmith()
    monkeypatch.setenv("LANGSMITH_TRACING", "true")
    monkeypatch.setenv("LANGSMITH_ENDPOINT", server.url)
    monkeypatch.setenv("LANGSMITH_API_KEY", KEY)
    monkeypatch.setenv("LANGSMITH_PROJECT", "tests")
    yield server
    forget()
    server.close()
