"""Errors of a client of httpx2 are those of a client of httpx."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import httpx2
import pytest
from dashscope_streams import ONE_RUN, stream
from entry_points import every_entry_point

from langchain_qwen_ci import ChatQwenCodeInterpreter
from langchain_qwen_ci.errors import QwenConnectionError, QwenError

LIBRARIES = (httpx, httpx2)
ERRORS = [
    name
    for name, kind in vars(httpx).items()
    if inspect.isclass(kind) and issubclass(kind, httpx.RequestError)
]
HALF = stream(*ONE_RUN[:6])


def clients_of(library: Any, respond: Any) -> dict[str, Any]:
    transport = library.MockTransport(respond)
    return {
        "http_client": library.Client(transport=transport),
        "http_async_client": library.AsyncClient(transport=transport),
    }


def outcome(entry_point: Any, library: Any, respond: Any) -> tuple[Any, ...]:
    model = ChatQwenCodeInterpreter(
        api_key="any", max_retries=1, **clients_of(library, respond(library))
    )
    with pytest.raises(QwenError) as caught:
        entry_point(model)
    error = caught.value
    return type(error), str(error), type(error.__cause__), error.is_retryable, error.partial


def failing(name: str) -> Any:
    """Fail before the head."""

    def of(library: Any) -> Any:
        def respond(request: Any) -> Any:
            raise getattr(library, name)("It broke.", request=request)

        return respond

    return of


def breaking(name: str) -> Any:
    """Fail in the middle of the body."""

    def of(library: Any) -> Any:
        class Body(library.SyncByteStream, library.AsyncByteStream):
            def __iter__(self) -> Iterator[bytes]:
                yield HALF
                raise getattr(library, name)("It broke.")

            async def __aiter__(self) -> Any:
                for piece in self:
                    yield piece

        return lambda _: library.Response(200, stream=Body())

    return of


@pytest.mark.usefixtures("recorded_waits")
@pytest.mark.parametrize("fail", [failing, breaking])
@pytest.mark.parametrize("name", ERRORS)
@every_entry_point
def test_each_error_has_the_outcome_of_its_namesake(entry_point, name, fail):
    expected, observed = (outcome(entry_point, library, fail(name)) for library in LIBRARIES)
    assert observed == expected
    assert observed[2] is getattr(httpx, name)


@every_entry_point
def test_status_error_of_a_hook_is_a_connection_error(entry_point):
    def respond(request: Any) -> Any:
        response = httpx2.Response(502, request=request)
        raise httpx2.HTTPStatusError("A hook raised it.", request=request, response=response)

    model = ChatQwenCodeInterpreter(api_key="any", **clients_of(httpx2, respond))
    with pytest.raises(QwenConnectionError, match=r"A hook raised it\."):
        entry_point(model)


@every_entry_point
def test_timeouts_are_those_of_the_model(entry_point):
    asked = []

    def respond(request: Any) -> Any:
        asked.append(dict(request.extensions["timeout"]))
        return httpx2.Response(200, content=stream(*ONE_RUN))

    model = ChatQwenCodeInterpreter(
        api_key="any", connect_timeout=2, timeout=3, **clients_of(httpx2, respond)
    )
    entry_point(model)
    assert asked == [{"connect": 2.0, "read": 3.0, "write": 3.0, "pool": 3.0}]


def test_httpx2_is_not_imported_for_a_call():
    program = (
        "import sys\n"
        "sys.modules['httpx2'] = None  # importing it would fail\n"
        "import httpx\n"
        "from langchain_qwen_ci import ChatQwenCodeInterpreter\n"
        "transport = httpx.MockTransport(lambda _: httpx.Response(401, json={}))\n"
        "client = httpx.Client(transport=transport)\n"
        "model = ChatQwenCodeInterpreter(api_key='any', http_client=client)\n"
        "try:\n"
        "    model.invoke('?')\n"
        "except Exception as error:\n"
        "    print(type(error).__name__)\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "QwenAuthenticationError"
