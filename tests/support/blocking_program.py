"""The first calls of a process, in an event loop where whatever blocks raises; see
`test_blocking.py`. The emulator is in the same process, and its event loop is checked, too."""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
import warnings

import httpx
from blockbuster import BlockBuster, BlockBusterFunction, BlockingError

from langchain_qwen_ci import ChatQwenCodeInterpreter
from langchain_qwen_ci.emulator import EmulatorServer

QUESTION = "What is 7 to the power of 5?"
CALLS_AT_ONCE = 5


def observe() -> BlockBuster:
    """All that blockbuster knows, and what reads certificates, which it does not know."""
    detection = BlockBuster()
    for name in ("load_verify_locations", "load_default_certs"):
        detection.functions[name] = BlockBusterFunction(ssl.SSLContext, name)
    detection.activate()
    return detection


def counted(name: str, built: list[str]) -> None:
    original = getattr(httpx, name)

    def build(*arguments, **options):
        built.append(name)
        return original(*arguments, **options)

    setattr(httpx, name, build)


async def blocks_are_seen() -> bool:
    try:
        time.sleep(0)  # noqa: ASYNC251  # on purpose
    except BlockingError:
        return True
    return False


async def answers(model: ChatQwenCodeInterpreter) -> list[str]:
    together = await asyncio.gather(*(model.ainvoke(QUESTION) for _ in range(CALLS_AT_ONCE)))
    streamed = [chunk.text async for chunk in model.astream(QUESTION)]
    in_a_thread = await asyncio.to_thread(model.invoke, QUESTION)
    return [*(message.text for message in together), "".join(streamed), in_a_thread.text]


def main() -> None:
    warnings.filterwarnings("ignore", message="Chat Completions runs code")
    built: list[str] = []
    for name in ("create_ssl_context", "AsyncClient"):
        counted(name, built)
    with EmulatorServer() as server:
        model = ChatQwenCodeInterpreter(api=sys.argv[1], base_url=server.url, api_key="any")
        detection = observe()
        observed = asyncio.run(blocks_are_seen())
        text = asyncio.run(answers(model))
        detection.deactivate()
    json.dump({"blocks are seen": observed, "answers": text, "built": sorted(built)}, sys.stdout)


if __name__ == "__main__":
    main()
