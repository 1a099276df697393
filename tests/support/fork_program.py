"""A program that asks, forks, and asks on both sides; run by `test_fork.py`.

Prints what was answered, one a line: by the parent and by its children.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from langchain_qwen_ci import ChatQwenCodeInterpreter


def tell(line: str) -> None:
    """In one write: others write, too."""
    os.write(1, f"{line}\n".encode())


def connections() -> set[int]:
    """The ports of this process's connections."""
    found = set()
    for fd in Path("/proc/self/fd").iterdir():
        with suppress(OSError), socket.socket(fileno=os.dup(int(fd.name))) as one:
            if one.family == socket.AF_INET:
                found.add(one.getsockname()[1])
    return found


def forked(work: Callable[[], str], used: int = 0) -> int:
    """Begin some work in a forked process, while the parent has so many connections in use."""
    of_the_parent = connections()
    pid = os.fork()
    if pid:
        return pid
    given_up = threading.Timer(20, os._exit, (3,))  # where a lock that nobody holds is waited for
    given_up.daemon = True
    given_up.start()
    tell(work())
    gc.collect()
    if len(connections() & of_the_parent) > used:
        tell("a child has connections of its parent")
    sys.exit(0)  # and not os._exit: what Python does at exit must not hang, either


def ended(pid: int) -> None:
    _, status = os.waitpid(pid, 0)
    if status:
        tell(f"a child ended with {status}")


def main(url: str, transport: str) -> None:
    model = ChatQwenCodeInterpreter(base_url=url, api_key="any", transport=transport)

    def ask(who: str) -> str:
        return f"{who}: {model.invoke(who).content}"

    def aask(who: str) -> str:
        return f"{who}: {asyncio.run(model.ainvoke(who)).content}"

    tell(ask("first"))  # its connection is kept, and copied into the children
    children = [forked(lambda who=who: ask(who)) for who in ("one", "two", "three")]
    children.append(forked(lambda: aask("four")))
    tell(ask("parent"))
    for pid in children:
        ended(pid)

    async def within_a_loop() -> None:
        await model.ainvoke("first")
        child = forked(lambda: ask("child of a loop"))
        tell(f"loop: {(await model.ainvoke('loop')).content}")
        ended(child)

    asyncio.run(within_a_loop())

    stream = model.stream("stream")
    next(stream)

    def ask_and_close() -> str:
        answer = ask("child of a stream")
        model.close()  # ends no stream of the parent
        return answer

    child = forked(ask_and_close, used=1)
    tell("stream: " + "".join(str(chunk.content) for chunk in stream))
    ended(child)

    held = model._transport(model.api)._client._lock
    with held:  # as another thread may, in the moment of the fork
        child = forked(lambda: ask("child of a lock"))
    ended(child)


if __name__ == "__main__":
    main(*sys.argv[1:])
