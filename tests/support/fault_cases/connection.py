"""Faults before the response: of the connection, of TLS and of the response head."""

from __future__ import annotations

from collections.abc import Iterable

from expected_answers import SAMPLE_ANSWERS
from fault_server import RESET, Endless, FaultServer, Silence, head

from fault_cases.definitions import SHORT, Case, fault
from fault_cases.outcomes import Outcome, answer, connection_failed, timed_out
from fault_cases.responses import complete_response, stream_head

SECTION = "Connection"

_ATTEMPTS_NOT_COUNTED = "three attempts; no server sees them"


@fault(
    "connection refused",
    SECTION,
    note=_ATTEMPTS_NOT_COUNTED,
    address=lambda server: server.refusing_url,
)
def _(wire: str) -> Iterable[Case]:
    yield Case((), connection_failed(requests=0))


@fault(
    "host name not found",
    SECTION,
    note=_ATTEMPTS_NOT_COUNTED,
    address=lambda server: "https://qwen.invalid",
)
def _(wire: str) -> Iterable[Case]:
    yield Case((), connection_failed(requests=0))


def _https_url(server: FaultServer) -> str:
    return server.url.replace("http:", "https:")


@fault(
    "the server does not use TLS",
    SECTION,
    address=_https_url,
    greeting=(head(400, Content_Length=0),),
)
def _(wire: str) -> Iterable[Case]:
    yield Case((), connection_failed())


@fault(
    "TLS handshake without a reply",
    SECTION,
    address=_https_url,
    greeting=(Silence(),),
    fields={"connect_timeout": SHORT},
)
def _(wire: str) -> Iterable[Case]:
    yield Case((), timed_out(None, requests=3))


@fault("untrusted certificate", SECTION, secure=True)
def _(wire: str) -> Iterable[Case]:
    yield Case((), Outcome("QwenCertificateError"))


@fault(
    "plain `http` to another host",
    SECTION,
    address=lambda server: "http://192.0.2.1",
    note="rejected when the model is created",
)
def _(wire: str) -> Iterable[Case]:
    yield Case((), Outcome("ValueError", requests=0))


@fault("closed before the response head", SECTION)
def _(wire: str) -> Iterable[Case]:
    yield Case(((),), connection_failed())


@fault("closed before the response head, then an answer", SECTION)
def _(wire: str) -> Iterable[Case]:
    yield Case(((), complete_response(SAMPLE_ANSWERS[wire].body)), answer(wire, requests=2))


@fault("reset before the response head", SECTION)
def _(wire: str) -> Iterable[Case]:
    yield Case(((RESET,),), connection_failed())


@fault("closed within the response head", SECTION)
def _(wire: str) -> Iterable[Case]:
    for text in (b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\n", stream_head()[:-2]):
        yield Case(((text,),), connection_failed())


@fault("reset within the response head", SECTION)
def _(wire: str) -> Iterable[Case]:
    yield Case(((b"HTTP/1.1 200 OK\r\nX: y", RESET),), connection_failed())


@fault("invalid response head, or another protocol", SECTION)
def _(wire: str) -> Iterable[Case]:
    for text in (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", b"\x00" * 64 + b"\r\n\r\n", head(101)):
        yield Case(((text, Silence()),), connection_failed())


@fault("endless response head", SECTION)
def _(wire: str) -> Iterable[Case]:
    yield Case(((b"HTTP/1.1 200 OK\r\n", Endless(b"X-More: and more\r\n")),), connection_failed())


@fault("contradictory or invalid `Content-Length`", SECTION)
def _(wire: str) -> Iterable[Case]:
    for headers in (b"Content-Length: 5\r\nContent-Length: 6\r\n", b"Content-Length: -1\r\n"):
        yield Case(((b"HTTP/1.1 200 OK\r\n" + headers + b"\r\n", Silence()),), connection_failed())


@fault("an idle connection that was closed", SECTION, warm=True)
def _(wire: str) -> Iterable[Case]:
    body = SAMPLE_ANSWERS[wire].body
    yield Case(
        ((stream_head(Content_Length=len(body)) + body,), complete_response(body)), answer(wire)
    )


@fault("an idle connection that closes when the request arrives", SECTION, warm=True)
def _(wire: str) -> Iterable[Case]:
    stored = complete_response(SAMPLE_ANSWERS[wire].body)
    for end in ((), (RESET,)):
        yield Case((stored, end, stored), answer(wire, requests=2))


@fault("statuses 100 and 103 before the answer", SECTION)
def _(wire: str) -> Iterable[Case]:
    early = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    text, keep = complete_response(SAMPLE_ANSWERS[wire].body)
    yield Case(((early + text, keep),), answer(wire))
