"""`QwenCodeInterpreterNode`: the model as a node that brings its own state into any graph."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import MethodType
from typing import TYPE_CHECKING, Any, Literal, cast, get_type_hints
from uuid import uuid4

from langchain_core.load import dumps
from langchain_core.messages import AIMessage, convert_to_messages
from langchain_core.runnables import Runnable
from langchain_core.runnables.config import RunnableConfig
from langgraph.runtime import get_runtime
from langgraph.types import Command
from typing_extensions import TypedDict

from langchain_qwen_ci.errors import QwenBudgetError, QwenError
from langchain_qwen_ci.graph.budget import Budget
from langchain_qwen_ci.graph.history import prepare_history
from langchain_qwen_ci.graph.state import (
    NodeInput,
    channels_from_message,
)
from langchain_qwen_ci.graph.streaming import (
    in_graph_run,
    stream_code_executions,
)
from langchain_qwen_ci.metadata import MODEL_PROVIDER
from langchain_qwen_ci.request.messages import to_prompt
from langchain_qwen_ci.request.tools import ToolSet
from langchain_qwen_ci.response.text_messages import to_text_message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from langchain_core.messages import BaseMessage
    from langgraph.runtime import Runtime

    from langchain_qwen_ci.graph.history import HistoryPolicy

    ChatModel = Runnable[Any, AIMessage]
    ModelChoice = ChatModel | Callable[[Any, Runtime[Any]], ChatModel]
    ErrorPolicy = Literal["raise", "message"]


class QwenCodeInterpreterNode(Runnable[Any, Any]):
    """A node that lets Qwen think, run code and answer.

    It reads `messages` and writes `messages`, `code_executions` (what ran) and `plugin_counts`
    (how often). `add_node` alone brings these into a graph's state.

    Args:
        model: a `ChatQwenCodeInterpreter`, or a function of state and runtime that returns one.
        name: of the node.
        system_prompt: goes before the messages of the state, and not into it.
        messages_key: where the state has its messages.
        history: what to do with tool calls and results of other agents: "text" turns them into
            lines of text, "drop" leaves them out, "pass" sends them, "error" refuses them; or a
            function of the messages that returns those to send.
        goto: where to go from here: a node's name, or several.
        live: whether to write `CodeExecutionEvent`s to the custom stream.
        on_error: "raise" leaves errors to LangGraph's retry policy and error handler; "message"
            turns an error of the model into a message with what had arrived, so that a graph can
            go on: its `response_metadata["error"]` says what went wrong. A limit that is reached
            is always such a message.
        budget: limits on what a thread may use.

    Example:
        ```python
        builder = StateGraph(CodeInterpreterState)
        builder.add_node(QwenCodeInterpreterNode(ChatQwenCodeInterpreter()))
        builder.add_edge(START, "code_interpreter")
        graph = builder.compile()
        graph.invoke({"messages": [("user", "What is 7 to the power of 5?")]})
        ```

    Raises:
        ToolsNotAllowedError: the model is bound to function tools.
        ValueError: the history or error policy is none.
    """

    def __init__(  # noqa: PLR0913  # each is a choice of its own, by name
        self,
        model: ModelChoice,
        *,
        name: str = "code_interpreter",
        system_prompt: str | None = None,
        messages_key: str = "messages",
        history: HistoryPolicy = "text",
        goto: str | Sequence[str] | None = None,
        emit_events: bool = True,
        on_error: ErrorPolicy = "raise",
        budget: Budget | None = None,
    ) -> None:
        if isinstance(model, Runnable):
            _reject_bound_tools(model)
        # What is wrong is said here, and not in the middle of a run.
        prepare_history([], history, None)
        if on_error not in ("raise", "message"):
            raise ValueError(f'on_error {on_error!r} is neither "raise" nor "message".')
        self.name = self._node = name
        self._model = model
        self._system_prompt = system_prompt
        self._key = messages_key
        self._history = history
        self._goto = goto
        self._emit_events = emit_events
        self._on_error = on_error
        self._budget = budget or Budget()
        if messages_key != "messages":
            self._read_from(messages_key)

    def __call__(self, state: NodeInput, config: RunnableConfig | None = None) -> Any:
        """`invoke`. Its hints are how `add_node` learns what the node reads and writes."""
        return self.invoke(state, config)

    def invoke(
        self,
        input: Any,  # noqa: A002  # as Runnable calls it
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Any:
        """Answer the messages of a state.

        Args:
            input: the state: a dictionary or object with messages, or a list of messages.
            config: goes on to the model.
            kwargs: arguments of the model's call.

        Returns:
            An update of the state, within a `Command` if there is a `goto`; for a list, a list.
        """
        visit = self._start_visit(input)
        if visit.message is None:
            with (
                stream_code_executions(self._node, enabled=self._emit_events),
                visit.errors_to_message(),
            ):
                visit.message = visit.model.invoke(visit.messages, config, **kwargs)
        return self._update(visit)

    async def ainvoke(
        self,
        input: Any,  # noqa: A002  # as Runnable calls it
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Any:
        """`invoke`, for asyncio."""
        visit = self._start_visit(input)
        if visit.message is None:
            with (
                stream_code_executions(self._node, enabled=self._emit_events),
                visit.errors_to_message(),
            ):
                visit.message = await visit.model.ainvoke(visit.messages, config, **kwargs)
        return self._update(visit)

    def cache_key(self, state: Any) -> str:
        """For `add_node(cache_policy=CachePolicy(key_func=node.cache_key))`.

        LangGraph's default key holds the ids of messages, which are never the same. This one holds
        what the model reads, and the model. A node whose model is a function cannot know what it
        would choose: its function is in the key, by name.
        """
        messages = prepare_history(self._messages(state), self._history, self._system_prompt)
        turns = [replace(visit, reasoning="") for visit in to_prompt(messages)]
        cache_text = f"{self.name}\n{_cache_identity(self._model)}\n{turns!r}"
        return hashlib.sha256(cache_text.encode("utf-8", "surrogatepass")).hexdigest()

    def _start_visit(self, state: Any) -> _Visit:
        messages = self._messages(state)
        stopped = self._budget.exceeded(_channel(state, "plugin_counts") or {}, messages)
        model = self._model if isinstance(self._model, Runnable) else self._resolve_model(state)
        return _Visit(
            model=model,
            messages=prepare_history(messages, self._history, self._system_prompt),
            state=state,
            on_error=self._on_error,
            message=_to_update(stopped) if stopped else None,
        )

    def _resolve_model(self, state: Any) -> ChatModel:
        """What the function chooses; the rule about tools holds for it, too."""
        choose = cast("Callable[[Any, Runtime[Any] | None], ChatModel]", self._model)
        model = choose(state, in_graph_run(get_runtime))
        _reject_bound_tools(model)
        return model

    def _messages(self, state: Any) -> list[BaseMessage]:
        given = state if isinstance(state, list) else _channel(state, self._key)
        if given is None:
            raise ValueError(
                f"The state has no {self._key!r}: pass messages_key, or a list of messages."
            )
        return convert_to_messages(given if isinstance(given, list) else [given])

    def _update(self, visit: _Visit) -> Any:
        """What the node writes."""
        message = _normalised(cast("AIMessage", visit.message), visit.model)
        update: Any = (
            [message]
            if isinstance(visit.state, list)
            else {self._key: [message], **channels_from_message(message)}
        )
        return Command(update=update, goto=self._goto) if self._goto else update

    def _read_from(self, key: str) -> None:
        """`add_node` reads the hints of `__call__`: this node's own have another key."""
        hints = get_type_hints(NodeInput, include_extras=True)
        hints[key] = hints.pop("messages")

        def call(self: QwenCodeInterpreterNode, state: Any, config: Any = None) -> Any:
            return self.invoke(state, config)

        schema = TypedDict("NodeInput", hints)  # type: ignore[misc]  # as dynamic as the key
        call.__annotations__ = {"state": schema, "config": RunnableConfig}
        setattr(self, "__call__", MethodType(call, self))  # noqa: B010  # not what calling calls


@dataclass
class _Visit:
    """One visit of a node: what it asks, and the message it ends with."""

    model: ChatModel
    messages: list[BaseMessage]
    state: Any
    on_error: ErrorPolicy
    message: AIMessage | None

    @contextmanager
    def errors_to_message(self) -> Iterator[None]:
        """Make a message of an error where that is wanted, and of a limit that is reached."""
        try:
            yield
        except QwenError as error:
            if self.on_error == "raise" and not isinstance(error, QwenBudgetError):
                raise
            self.message = _to_update(error)


def _to_update(error: QwenError) -> AIMessage:
    """An error as a message: what had arrived, and what went wrong."""
    partial = error.partial or AIMessage("", response_metadata={"model_provider": MODEL_PROVIDER})
    details: dict[str, Any] = {"type": type(error).__name__, "message": str(error)}
    if isinstance(error, QwenBudgetError):
        details |= {"limit": error.limit, "allowed": error.allowed, "used": error.used}
    update = {
        "id": f"lc_{uuid4()}",
        "content": partial.content or str(error),
        "response_metadata": {**partial.response_metadata, "error": details},
    }
    return partial.model_copy(update=update)


def _normalised(message: AIMessage, model: ChatModel) -> AIMessage:
    """As the model says it, whichever way the graph is streamed."""
    wants_blocks = any(
        getattr(bare, "output_version", None) == "v1" for bare, _ in _unwrap_models(model)
    )
    return message if wants_blocks else to_text_message(message)


def _unwrap_models(model: Any, bound: Mapping[str, Any] | None = None) -> Iterator[tuple[Any, Any]]:
    """The models inside bindings, retries and fallbacks, and what is bound to each."""
    bound = {**getattr(model, "kwargs", {}), **(bound or {})}
    if inner := getattr(model, "bound", None):
        yield from _unwrap_models(inner, bound)
    elif inner := getattr(model, "runnables", None):  # with fallbacks
        for one in inner:
            yield from _unwrap_models(one, bound)
    else:
        yield model, bound


def _reject_bound_tools(model: ChatModel) -> None:
    """Refuse a model that is bound to function tools.

    Raises:
        ToolsNotAllowedError: it is.
    """
    for _, bound in _unwrap_models(model):
        ToolSet.from_any([*bound.get("tools", ()), *bound.get("functions", ())]).reject_functions()


def _cache_identity(model: ModelChoice) -> str:
    if not isinstance(model, Runnable):
        return f"{model.__module__}.{model.__qualname__}"
    return "\n".join(f"{dumps(bare)} {bound!r}" for bare, bound in _unwrap_models(model))


def _channel(state: Any, key: str) -> Any:
    """A channel of a state that is a dictionary, or an object."""
    return state.get(key) if isinstance(state, dict) else getattr(state, key, None)
