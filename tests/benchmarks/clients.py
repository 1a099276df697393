"""The clients under measurement.

Each function returns the entry points of one client: functions that take the name of a stream and
return an iterator, or an asynchronous one, over what the client makes of it. Each imports its
client itself, because a process measures one client only.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import floors
from streams import PATHS

EntryPoint = Callable[[str], Any]
EntryPoints = dict[str, EntryPoint]


def chat_model_entry_points(
    build: Callable[..., Any], node: Callable[[Any], Any], **streaming: Any
) -> EntryPoints:
    """Return the entry points of a LangChain chat model.

    Args:
        build: builds the model of a stream.
        node: makes a graph's node of the model.
        streaming: arguments for `build` with which `invoke` streams inside.
    """
    build = functools.cache(build)

    def invoke(name: str) -> Iterator[Any]:
        yield build(name, **streaming).invoke("?")

    async def ainvoke(name: str) -> AsyncIterator[Any]:
        yield await build(name, **streaming).ainvoke("?")

    def stream(name: str) -> Iterator[Any]:
        return build(name).stream("?")

    @functools.cache
    def graph(name: str) -> Any:
        return _graph(node(build(name)))

    return {
        "stream": stream,
        "invoke": invoke,
        "astream": lambda name: build(name).astream("?"),
        "ainvoke": ainvoke,
        "stream v1": lambda name: build(name, output_version="v1").stream("?"),
        "events v3": lambda name: build(name).stream_events("?", version="v3"),
        "node": lambda name: graph(name).stream(
            {"messages": [("user", "?")]}, stream_mode="messages"
        ),
        "stream traced": _traced(stream),
        "invoke traced": _traced(invoke),
    }


def _graph(node: Any) -> Any:
    """Return a graph with this node only."""
    from langgraph.graph import START, MessagesState, StateGraph

    builder = StateGraph(MessagesState)
    builder.add_node("model", node)
    builder.add_edge(START, "model")
    return builder.compile()


def invoking_node(model: Any) -> Callable[[Any], Any]:
    """Return the usual node of a chat model that has none of its own."""
    return lambda state: {"messages": [model.invoke(state["messages"])]}


def _traced(entry_point: EntryPoint) -> EntryPoint:
    """Trace every call to a LangSmith client that serializes all and sends nothing."""

    def traced(name: str) -> Iterator[Any]:
        from langsmith import tracing_context

        with tracing_context(enabled=True, client=_langsmith_client()):
            yield from entry_point(name)
        _langsmith_client().flush()

    return traced


@functools.cache
def _langsmith_client() -> Any:
    import requests
    from langsmith import Client

    class Accepting(requests.Session):
        def request(self, *args: Any, **kwargs: Any) -> requests.Response:
            response = requests.Response()
            response.status_code = 202
            response._content = b"{}"
            return response

    # What the service returns for `/info`: without it the client would ask for it.
    info = {
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
    return Client(api_url="http://127.0.0.1:9", api_key="any", session=Accepting(), info=info)


def ours(url: str, api: str, **fields: Any) -> EntryPoints:
    from langchain_qwen_ci import ChatQwenCodeInterpreter, QwenCodeInterpreterNode

    def build(name: str, **more: Any) -> Any:
        return ChatQwenCodeInterpreter(
            api=api, model=f"qwen3-max-{name}", base_url=url, api_key="any", **fields, **more
        )

    return chat_model_entry_points(build, QwenCodeInterpreterNode)


def chat_openai(url: str, api: str) -> EntryPoints:
    from langchain_openai import ChatOpenAI

    def build(name: str, **more: Any) -> Any:
        return ChatOpenAI(
            model=f"qwen3-max-{name}",
            base_url=f"{url}/compatible-mode/v1",
            api_key="any",
            use_responses_api=api == "responses",
            **more,
        )

    return chat_model_entry_points(build, invoking_node, streaming=True)


def chat_qwen(url: str, api: str) -> EntryPoints:
    from langchain_qwq import ChatQwen

    def build(name: str, **more: Any) -> Any:
        return ChatQwen(
            model=f"qwen3-max-{name}",
            api_base=f"{url}/compatible-mode/v1",
            api_key="any",
            **more,
        )

    return chat_model_entry_points(build, invoking_node, streaming=True)


def chat_tongyi(url: str, api: str) -> EntryPoints:
    import dashscope
    from langchain_community.chat_models import ChatTongyi

    dashscope.base_http_api_url = f"{url}/api/v1"

    def build(name: str, **more: Any) -> Any:
        return ChatTongyi(model=f"qwen3-max-{name}", api_key="any", streaming=True, **more)

    return chat_model_entry_points(build, invoking_node)


def chat_anthropic(url: str, api: str) -> EntryPoints:
    from langchain_anthropic import ChatAnthropic

    def build(name: str, **more: Any) -> Any:
        return ChatAnthropic(model=f"claude-{name}", base_url=url, api_key="any", **more)

    return chat_model_entry_points(build, invoking_node, streaming=True)


def openai_sdk(url: str, api: str) -> EntryPoints:
    import openai

    base_url = url + PATHS["responses"].removesuffix("/responses")
    client = openai.OpenAI(base_url=base_url, api_key="any")
    async_client = openai.AsyncOpenAI(base_url=base_url, api_key="any")

    def create(client: Any, name: str) -> Any:
        model = f"qwen3-max-{name}"
        if api == "responses":
            return client.responses.create(model=model, input="?", stream=True)
        question = [{"role": "user", "content": "?"}]
        return client.chat.completions.create(model=model, messages=question, stream=True)

    async def astream(name: str) -> AsyncIterator[Any]:
        async for event in await create(async_client, name):
            yield event

    return {"stream": lambda name: create(client, name), "astream": astream}


def dashscope_sdk(url: str, api: str) -> EntryPoints:
    import dashscope

    dashscope.base_http_api_url = f"{url}/api/v1"

    def request(name: str) -> dict[str, Any]:
        return {
            "model": f"qwen3-max-{name}",
            "messages": [{"role": "user", "content": "?"}],
            "api_key": "any",
            "stream": True,
            "incremental_output": True,
            "result_format": "message",
        }

    async def astream(name: str) -> AsyncIterator[Any]:
        async for response in await dashscope.AioGeneration.call(**request(name)):
            yield response

    return {
        "stream": lambda name: dashscope.Generation.call(**request(name)),
        "astream": astream,
    }


CLIENTS: dict[str, Callable[[str, str], EntryPoints]] = {
    "bare socket": floors.bare_socket,
    "raw httpx": floors.raw_httpx,
    "raw aiohttp": floors.raw_aiohttp,
    "ours": ours,
    "ours fast": functools.partial(ours, transport="fast"),
    "ChatOpenAI": chat_openai,
    "ChatQwen": chat_qwen,
    "ChatTongyi": chat_tongyi,
    "ChatAnthropic": chat_anthropic,
    "openai SDK": openai_sdk,
    "dashscope SDK": dashscope_sdk,
}
PEERS = {
    "chat_completions": ("openai SDK", "ChatOpenAI", "ChatQwen"),
    "responses": ("openai SDK", "ChatOpenAI"),
    "dashscope": ("dashscope SDK", "ChatTongyi"),
    "anthropic": ("ChatAnthropic",),
}
APIS = ("chat_completions", "responses", "dashscope")
