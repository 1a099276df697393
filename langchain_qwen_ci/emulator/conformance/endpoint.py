"""The endpoint under judgement: requests, and answers that are read within bounds.

Written with plain httpx, and without the package's transport: the judge must be able to disagree
with it.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

from langchain_qwen_ci.emulator.conformance.checks import NoAnswerError
from langchain_qwen_ci.errors.text_safety import escape_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_qwen_ci.models import NativeEndpoint

_MOST_BYTES = 16 * 2**20
_CONNECT_SECONDS = 10.0
_LONGEST_DETAIL = 300


@dataclass(frozen=True, slots=True)
class Request:
    """What is posted.

    Attributes:
        key: another key than the subject's own.
    """

    path: str
    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)
    key: str | None = None

    @property
    def name(self) -> str:
        """What tells it from other requests."""
        return json.dumps([self.path, self.body, dict(self.headers), self.key])


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    text: str


@dataclass(slots=True)
class Endpoint:
    """An endpoint, and the model of it that is asked.

    Every request is sent once, however many checks look at its answer: answers cost money.

    Attributes:
        native_endpoint: the native path that serves the model.
        timeout: seconds within which an answer must have come to its end.
    """

    client: httpx.AsyncClient
    base_url: str
    api_key: str = field(repr=False)
    model: str
    native_endpoint: NativeEndpoint
    timeout: float
    _replies: dict[str, Reply | str] = field(default_factory=dict, repr=False)
    _dead: str = ""

    async def reply(self, request: Request) -> Reply:
        """The answer to a request.

        Raises:
            NoAnswerError: there is none, or it did not come to its end.
        """
        name = request.name
        if name not in self._replies:
            try:
                self._replies[name] = await self._sent(request)
            except NoAnswerError as error:
                self._replies[name] = str(error)
        reply = self._replies[name]
        if isinstance(reply, str):
            raise NoAnswerError(reply)
        return reply

    def printable(self, text: str) -> str:
        """What the endpoint has sent, as a line that steers no terminal and shows no key.

        Control characters are written out before the key is looked for, so that they cannot
        hide it; and it is looked for before the text is cut, so that no half of it remains.
        """
        start = text[: _LONGEST_DETAIL * (1 + len(self.api_key))]  # enough, if it is keys only
        line = escape_line(start)
        for form in {self.api_key, json.dumps(self.api_key)[1:-1]}:
            line = line.replace(form, "***")
        return line if len(line) <= _LONGEST_DETAIL else f"{line[:_LONGEST_DETAIL]}…"

    async def _sent(self, request: Request) -> Reply:
        if self._dead:  # do not wait for it again and again
            raise NoAnswerError(self._dead)
        try:
            async with asyncio.timeout(self.timeout):
                return await self._read(request)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            self._dead = f"The endpoint cannot be reached ({_said(error)})."
            raise NoAnswerError(self._dead) from error
        except TimeoutError as error:
            late = f"No whole answer came within {self.timeout:g} s."
            if not any(isinstance(reply, Reply) for reply in self._replies.values()):
                self._dead = late
            raise NoAnswerError(late) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise NoAnswerError(f"The answer broke off ({_said(error)}).") from error

    async def _read(self, request: Request) -> Reply:
        sent = {
            "Authorization": f"Bearer {request.key or self.api_key}",
            "Accept-Encoding": "identity",  # so that the bytes that come can be counted
            **request.headers,
        }
        url = f"{self.base_url}{request.path}"
        timeout = httpx.Timeout(None, connect=_CONNECT_SECONDS)
        body = bytearray()
        async with self.client.stream(
            "POST", url, json=request.body, headers=sent, timeout=timeout
        ) as response:
            if response.headers.get("content-encoding", "identity") != "identity":
                raise NoAnswerError("The answer is compressed, which was not asked for.")
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > _MOST_BYTES:
                    raise NoAnswerError(f"The answer is longer than {_MOST_BYTES} bytes.")
        try:
            return Reply(response.status_code, response.headers, body.decode())
        except UnicodeDecodeError as error:
            raise NoAnswerError("The answer is not UTF-8.") from error


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".removesuffix(": ")
