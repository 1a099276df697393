"""The endpoint under test: sends requests and reads complete replies, within limits.

It uses plain httpx and not the package's transport, so that a fault of the transport cannot hide a
fault of the endpoint.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import httpx

from langchain_qwen_ci.emulator.conformance.errors import NoAnswerError
from langchain_qwen_ci.emulator.conformance.frames import DONE, Frame, split_frames
from langchain_qwen_ci.emulator.conformance.json_fields import json_object
from langchain_qwen_ci.errors.text_safety import escape_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_qwen_ci.http.hosts import Host
    from langchain_qwen_ci.models import NativeEndpoint

_OK = 200
# An endpoint that sends without end must not fill the memory. Real answers are far smaller.
_MAX_REPLY_BYTES = 16 * 2**20
_CONNECT_TIMEOUT_SECONDS = 10.0
_MAX_DETAIL_LENGTH = 300  # characters; details are printed on one line


@dataclass(frozen=True, slots=True)
class Request:
    """A request to the endpoint.

    Attributes:
        path: the URL's path.
        body: the JSON body; other methods than POST have none.
        headers: headers besides the usual ones.
        key: an API key to send in place of the endpoint's own.
        method: the HTTP method.
    """

    path: str
    body: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    key: str | None = None
    method: Literal["DELETE", "GET", "POST"] = "POST"

    @property
    def cache_key(self) -> str:
        """A string that is the same for equal requests only."""
        return json.dumps([self.method, self.path, self.body, dict(self.headers), self.key])


@dataclass(frozen=True)
class Reply:
    """A complete HTTP response."""

    status: int
    headers: Mapping[str, str]
    text: str

    @cached_property  # about twenty checks read the same reply
    def frames(self) -> tuple[Frame, ...]:
        """The text, split at blank lines, even if it is not a stream."""
        return split_frames(self.text)

    def stream(self) -> tuple[Frame, ...]:
        """Return the frames of a streamed answer.

        Raises:
            NoAnswerError: the reply is an error or has no data.
        """
        data = (value for frame in self.frames for value in frame.values("data"))
        if self.status != _OK or all(value in ("", DONE) for value in data):
            raise NoAnswerError(f"HTTP {self.status} in place of a stream: {self.text}")
        return self.frames

    def document(self) -> dict[str, Any]:
        """Return the JSON object of an answer that is not streamed.

        Raises:
            NoAnswerError: the reply is an error.
            ViolationError: the body is not a JSON object.
        """
        if self.status != _OK:
            raise NoAnswerError(f"HTTP {self.status} in place of an answer: {self.text}")
        return json_object(self.text)


@dataclass(slots=True)
class Endpoint:
    """An endpoint, and the model that is tested there.

    Equal requests are sent once, however many checks read the reply, because answers cost money.

    Attributes:
        client: sends the requests; the caller closes it.
        host: where the requests go.
        api_key: the key that the endpoint accepts.
        model: the name of the model.
        native_endpoint: the path of the native API that serves the model.
        timeout: maximum seconds from the start of a request to the end of its reply.
    """

    client: httpx.AsyncClient
    host: Host
    api_key: str = field(repr=False)
    model: str
    native_endpoint: NativeEndpoint
    timeout: float
    _replies: dict[str, Reply | str] = field(default_factory=dict, repr=False)
    _unreachable: str = ""

    async def reply(self, request: Request) -> Reply:
        """Send a request, or return the reply to an equal one that was sent before.

        Raises:
            NoAnswerError: there is no complete reply.
        """
        key = request.cache_key
        if key not in self._replies:
            try:
                self._replies[key] = await self._send(request)
            except NoAnswerError as error:
                self._replies[key] = str(error)
        reply = self._replies[key]
        if isinstance(reply, str):
            raise NoAnswerError(reply)
        return reply

    def printable(self, text: str) -> str:
        """Return text of the endpoint as one line without control characters and API keys.

        Control characters are escaped before the key is replaced, because they could hide it; the
        key is replaced before the text is cut, because a cut could leave a part of it.
        """
        # A key becomes three characters, so this start is long enough even if it has only keys.
        start = text[: _MAX_DETAIL_LENGTH * (1 + len(self.api_key))]
        line = escape_line(start)
        for written_key in {self.api_key, json.dumps(self.api_key)[1:-1]}:
            line = line.replace(written_key, "***")
        return line if len(line) <= _MAX_DETAIL_LENGTH else f"{line[:_MAX_DETAIL_LENGTH]}…"

    async def _send(self, request: Request) -> Reply:
        if self._unreachable:  # otherwise each of 100 checks would wait for the timeout
            raise NoAnswerError(self._unreachable)
        try:
            async with asyncio.timeout(self.timeout):
                return await self._read(request)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            self._unreachable = f"The endpoint cannot be reached ({_describe(error)})."
            raise NoAnswerError(self._unreachable) from error
        except TimeoutError as error:
            timed_out = f"No complete answer came within {self.timeout:g} s."
            if not any(isinstance(reply, Reply) for reply in self._replies.values()):
                self._unreachable = timed_out
            raise NoAnswerError(timed_out) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise NoAnswerError(f"The answer was interrupted ({_describe(error)}).") from error

    async def _read(self, request: Request) -> Reply:
        headers = {
            "Authorization": f"Bearer {request.key or self.api_key}",
            "Accept-Encoding": "identity",  # httpx decompresses without a limit on the size
            **request.headers,
        }
        url = self.host.request_url(request.path)
        # `_send` limits the time of the whole exchange.
        timeout = httpx.Timeout(None, connect=_CONNECT_TIMEOUT_SECONDS)
        body = bytearray()
        sent = request.body if request.method == "POST" else None
        async with self.client.stream(
            request.method, url, json=sent, headers=headers, timeout=timeout
        ) as response:
            if response.headers.get("content-encoding", "identity") != "identity":
                raise NoAnswerError("The answer is compressed, although that was not requested.")
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > _MAX_REPLY_BYTES:
                    raise NoAnswerError(f"The answer is longer than {_MAX_REPLY_BYTES} bytes.")
        try:
            return Reply(response.status_code, response.headers, body.decode())
        except UnicodeDecodeError as error:
            raise NoAnswerError("The answer is not UTF-8.") from error


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".removesuffix(": ")
