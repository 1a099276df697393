"""Ends the work on an answer when its client disconnects, so that no program runs on for nobody."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from starlette.responses import StreamingResponse

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import Receive, Scope, Send


class ClosingStreamingResponse(StreamingResponse):
    """A streaming response that closes its generator when the client disconnects.

    Starlette leaves the generator to the garbage collector, which would keep the responder and a
    worker of the sandbox for as long as that takes.
    """

    def __init__(
        self, frames: AsyncGenerator[bytes], media_type: str, headers: dict[str, str]
    ) -> None:
        super().__init__(frames, media_type=media_type, headers=headers)
        self._frames = frames

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._frames):
            await super().__call__(scope, receive, send)


async def run_while_connected(http: Request, work: Coroutine[Any, Any, Response]) -> Response:
    """Return the result of a coroutine; cancel it when the client disconnects.

    Starlette notices a disconnect only while it sends a response, and an answer that is not
    streamed may run programs for a long time before that. The body of the request must have been
    read.
    """

    async def wait_for_disconnect() -> None:
        while (await http.receive())["type"] != "http.disconnect":
            pass

    working = asyncio.ensure_future(work)
    disconnecting = asyncio.ensure_future(wait_for_disconnect())
    try:
        await asyncio.wait((working, disconnecting), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            working.cancel()
        return await working
    finally:
        working.cancel()
        disconnecting.cancel()
