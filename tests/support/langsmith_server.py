"""A LangSmith server on this machine, which collects the runs that LangSmith's client posts."""

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

# The part of the service's response to `/info` that the client reads. With it the client
# compresses its requests, as it does for the real service.
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
API_KEY = "lsv2_of_langsmith_itself"


@dataclass
class Run:
    """A run, merged from its posts and patches; its fields are attributes too."""

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
        """The fields of the message that a model's run returned."""
        ((generation,), *_) = self.outputs["generations"]
        return generation["message"]["kwargs"]

    @property
    def interval(self) -> tuple[datetime, datetime]:
        """Start and end of the run."""
        return datetime.fromisoformat(self.start_time), datetime.fromisoformat(self.end_time)

    def all_runs(self) -> Iterator[Run]:
        """Yield this run and every run below it, in order."""
        yield self
        for child in self.children:
            yield from child.all_runs()

    def runs_of_type(self, run_type: str) -> list[Run]:
        """Return the runs of a type in this tree, including this one, in order."""
        return [run for run in self.all_runs() if run.run_type == run_type]


class LangSmithServer:
    """An HTTP server that accepts runs and returns them as trees."""

    def __init__(self) -> None:
        self._bodies: list[bytes] = []  # decompressed
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._send_json(INFO if self.path == "/info" else {})

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                encoding = self.headers.get("Content-Encoding", "none")
                server.receive(self.path, self.headers, body, encoding)
                self._send_json({})

            def _send_json(self, content: dict[str, Any]) -> None:
                body = json.dumps(content).encode()
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

    def receive(self, path: str, headers: Any, body: bytes, encoding: str) -> None:
        if encoding == "zstd":
            body = zstandard.ZstdDecompressor().decompressobj().decompress(body)
        with self._lock:
            self._bodies.append(body)
            assert path == "/runs/multipart", path
            for name, content in _parts(headers["Content-Type"], body):
                self._add_part(name, content)

    def _add_part(self, name: str, content: bytes) -> None:
        """Add a part, which is named `post.<id>[.<field>]` or `patch.<id>[.<field>]`."""
        _, run_id, *field_names = name.split(".")
        value = json.loads(content)
        run = self._runs.setdefault(run_id, {"id": run_id})
        run.update({field_names[0]: value} if field_names else value)

    def roots(self) -> list[Run]:
        """Return the run trees, after the client has sent all runs."""
        _flush_client()
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

    def posted_bytes(self) -> bytes:
        """Return all bodies, decompressed, after the client has sent all runs."""
        _flush_client()
        with self._lock:
            return b"\n".join(self._bodies)


def _parts(content_type: str, body: bytes) -> Iterator[tuple[str, bytes]]:
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    for part in BytesParser(policy=HTTP).parsebytes(head + body).iter_parts():
        yield (
            str(part.get_param("name", header="content-disposition")),
            part.get_payload(decode=True),
        )


# Functions of langsmith that cache environment variables.
_CACHED_FUNCTIONS = (
    utils.get_env_var,
    utils.get_tracer_project,
    runtime.get_langchain_env_var_metadata,
)


def _flush_client() -> None:
    if run_trees._CLIENT is not None:
        run_trees._CLIENT.flush()


def reset_langsmith() -> None:
    """Close langsmith's global client, and let langsmith read the environment variables again."""
    _flush_client()
    if run_trees._CLIENT is not None:
        run_trees._CLIENT.cleanup()
        run_trees._CLIENT = None
    for function in _CACHED_FUNCTIONS:
        function.cache_clear()


@pytest.fixture
def langsmith_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LangSmithServer]:
    """A server that receives all traces of the test."""
    reset_langsmith()
    server = LangSmithServer()
    monkeypatch.setenv("LANGSMITH_TRACING", "true")
    monkeypatch.setenv("LANGSMITH_ENDPOINT", server.url)
    monkeypatch.setenv("LANGSMITH_API_KEY", API_KEY)
    monkeypatch.setenv("LANGSMITH_PROJECT", "tests")
    yield server
    reset_langsmith()
    server.close()
