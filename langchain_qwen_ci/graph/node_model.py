"""The model of a node: which objects are accepted, and the models inside bindings and fallbacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from inspect import iscoroutinefunction, signature
from typing import Any

from langchain_core.language_models import BaseLLM
from langchain_core.load import dumps
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import BaseLLMOutputParser
from langchain_core.prompts import BasePromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import (
    Runnable,
    RunnableAssign,
    RunnableParallel,
    RunnablePassthrough,
    RunnablePick,
    RunnableSequence,
)
from langchain_core.runnables.base import RunnableEach
from langchain_core.runnables.configurable import (
    DynamicRunnable,
    RunnableConfigurableAlternatives,
)
from langchain_core.tools import BaseTool
from langgraph.pregel.protocol import PregelProtocol
from langgraph.runtime import Runtime

from langchain_qwen_ci.request.accepted_names import to_list
from langchain_qwen_ci.request.tools import ToolSet

ChatModel = Runnable[Any, AIMessage]
ModelChoice = ChatModel | Callable[[Any, Runtime[Any]], ChatModel]

# Runnables whose output is never a message. Any other Runnable may return one, for example a
# RunnableLambda that calls a model.
_NO_MODELS = (
    BaseLLM,
    BaseLLMOutputParser,
    BasePromptTemplate,
    BaseRetriever,
    BaseTool,
    PregelProtocol,
    RunnableAssign,
    RunnableEach,
    RunnableParallel,
    RunnablePassthrough,
    RunnablePick,
)
_ACCEPTED = (
    'pass a ChatQwenCodeInterpreter(model="…"), or a function of state and runtime that returns one'
)


def check_model_choice(model: object) -> None:
    """Reject anything but a model or a function that returns one.

    Raises:
        TypeError: the argument is neither.
        ToolsNotAllowedError: the model has bound function tools.
    """
    if isinstance(model, Runnable):
        check_model(model)
    elif isinstance(model, type):
        raise TypeError(f"The class {model.__name__} is no chat model: {_ACCEPTED}.")
    elif not callable(model):
        raise TypeError(f"{_describe(model)} is no chat model: {_ACCEPTED}.")
    elif iscoroutinefunction(model) or iscoroutinefunction(type(model).__call__):
        raise TypeError(
            "The function that returns the node's model must not be async, because `invoke` calls "
            "it as well."
        )
    else:
        _check_function(model)


def _check_function(function: Callable[..., Any]) -> None:
    """Reject a method of a model, and a function that cannot be called with state and runtime.

    Raises:
        TypeError: it is one of them.
    """
    owner = getattr(function, "__self__", None)
    if isinstance(owner, Runnable):
        raise TypeError(
            f"A method of a {type(owner).__name__} is no chat model: pass the model itself, or a "
            "function of state and runtime that returns it."
        )
    try:
        parameters = signature(function)
    except ValueError:  # some functions written in C have none
        return
    try:
        parameters.bind(None, None)
    except TypeError as error:
        raise TypeError(
            "The function that returns the node's model is called with two arguments, the state "
            f"and the runtime: {error}."
        ) from None


def check_model(model: object) -> None:
    """Reject an object that is no model, and a model with bound function tools.

    Raises:
        TypeError: the object is no model.
        ToolsNotAllowedError: the model has bound function tools.
    """
    for source in _message_sources(model):
        if not isinstance(source, Runnable) or isinstance(source, _NO_MODELS):
            inside = "" if source is model else f", which a {type(model).__name__} ends with,"
            raise TypeError(f"{_describe(source)}{inside} is no chat model: {_ACCEPTED}.")
    for _, bound in unwrap_models(model):
        tools = [*to_list(bound.get("tools") or ()), *to_list(bound.get("functions") or ())]
        ToolSet.from_any(tools).reject_functions()


def unwrap_models(model: Any, bound: Mapping[str, Any] | None = None) -> Iterator[tuple[Any, Any]]:
    """Yield the models inside bindings, retries and fallbacks, with the arguments bound to each."""
    bound = {**getattr(model, "kwargs", {}), **(bound or {})}
    inner = None if isinstance(model, RunnableEach) else getattr(model, "bound", None)
    if inner:
        yield from unwrap_models(inner, bound)
    elif inner := getattr(model, "runnables", None):  # with fallbacks
        for fallback in inner:
            yield from unwrap_models(fallback, bound)
    else:
        yield model, bound


def cache_identity(model: ModelChoice) -> str:
    """Return the part of a cache key that identifies a model and its configuration."""
    if not isinstance(model, Runnable):
        return f"{model.__module__}.{model.__qualname__}"
    return "\n".join(
        f"{dumps(inner_model)} {bound!r}" for inner_model, bound in unwrap_models(model)
    )


def _message_sources(model: object) -> Iterator[object]:
    """Yield the objects whose output a model returns: the last steps, defaults and alternatives."""
    for inner, _ in unwrap_models(model):
        if isinstance(inner, RunnableSequence):
            yield from _message_sources(inner.last)
        elif isinstance(inner, DynamicRunnable):
            yield from _message_sources(inner.default)
            if isinstance(inner, RunnableConfigurableAlternatives):
                for alternative in inner.alternatives.values():
                    if isinstance(alternative, Runnable):  # others are functions that return one
                        yield from _message_sources(alternative)
        else:
            yield inner


def _describe(value: object) -> str:
    if isinstance(value, BaseTool):
        return f"The tool {value.name}"
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'An' if name[0] in 'AEIOaeio' else 'A'} {name}"
