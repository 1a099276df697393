"""Type hints can be resolved at runtime: LangChain and LangGraph read those of public methods."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
import typing
from collections.abc import Callable, Iterator
from typing import Any

import dashscope_streams as dashscope
import pytest
from langchain_core.messages import AIMessage
from pydantic import BaseModel

from langchain_qwen_ci import ChatQwenCodeInterpreter

NAME = "langchain_qwen_ci"
PUBLIC_MODULES = [
    NAME,
    f"{NAME}.agents",
    f"{NAME}.chat_models",
    f"{NAME}.emulator",
    f"{NAME}.emulator.conformance",
    f"{NAME}.errors",
    f"{NAME}.graph",
    f"{NAME}.metadata",
    f"{NAME}.tracing",
]


def is_public(name: str) -> bool:
    return not name.startswith("_") or name == "__init__"


def public_objects() -> Iterator[Any]:
    for module_name in PUBLIC_MODULES:
        module = importlib.import_module(module_name)
        own = (name for name, value in vars(module).items() if is_own(value, module_name))
        for name in getattr(module, "__all__", None) or filter(is_public, own):
            yield getattr(module, name)


def is_own(value: object, module_name: str) -> bool:
    return getattr(value, "__module__", None) == module_name


def functions() -> Iterator[Callable[..., Any]]:
    """Yield public functions, and public methods that the package defines, inherited ones too."""
    for value in public_objects():
        for cls in inspect.getmro(value) if inspect.isclass(value) else ():
            for name, member in vars(cls).items():
                function = getattr(member, "__func__", getattr(member, "fget", member))
                if is_public(name) and inspect.isfunction(function):
                    yield function
        if inspect.isfunction(value):
            yield value


FUNCTIONS = {
    f"{function.__module__}.{function.__qualname__}": function
    for function in functions()
    if function.__module__.partition(".")[0] == NAME
}


def test_functions_of_every_public_module_are_found():
    assert f"{NAME}.chat_models.chat_model.ChatQwenCodeInterpreter.bind_tools" in FUNCTIONS
    assert f"{NAME}.chat_models.langchain_hooks.LangChainHooks.stream" in FUNCTIONS
    assert f"{NAME}.graph.node.QwenCodeInterpreterNode.invoke" in FUNCTIONS
    assert f"{NAME}.emulator.server.EmulatorServer.inject_fault" in FUNCTIONS
    assert f"{NAME}.metadata.code_executions" in FUNCTIONS


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_type_hints_are_resolved(function):
    hints = typing.get_type_hints(function)
    assert hints.keys() == function.__annotations__.keys()


def test_import_of_the_package_imports_no_optional_parts():
    program = (
        "import sys, langchain_qwen_ci\n"
        "roots = {name.partition('.')[0] for name in sys.modules}\n"
        "emulator = [name for name in sys.modules if 'langchain_qwen_ci.emulator' in name]\n"
        "print(sorted(roots & {'langgraph', 'langchain', 'starlette', 'uvicorn'}), emulator)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.decode().strip() == "[] []"


class Result(BaseModel):
    """The result."""

    value: int


def models(mock_service) -> tuple[ChatQwenCodeInterpreter, ChatQwenCodeInterpreter]:
    failing = mock_service(ConnectionError("unreachable"))
    usage = dashscope.usage(9, 9)
    answering = mock_service(
        dashscope.stream(
            dashscope.frame(content='{"value": 42}', usage=usage),
            dashscope.frame(finish_reason="stop", usage=usage),
        )
    )
    return failing.model(max_retries=0), answering.model()


def test_structured_output_of_a_model_with_fallbacks(mock_service):
    model, other = models(mock_service)
    chain = model.with_fallbacks([other]).with_structured_output(Result)
    assert chain.invoke("?") == Result(value=42)


def test_tools_of_a_model_with_fallbacks(mock_service):
    model, other = models(mock_service)
    chain = model.with_fallbacks([other]).bind_tools([{"type": "code_interpreter"}])
    message = chain.invoke("?")
    assert isinstance(message, AIMessage)
    assert message.text == '{"value": 42}'
