"""`QwenCodeInterpreterNode`: the model as a node that brings its own state into any graph."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import MethodType
from typing import TYPE_CHECKING, Any, Literal, cast, get_type_hints
from uuid import uuid4

from langchain_core.exceptions import ModelError
from langchain_core.load import dumps
from langchain_core.messages import AIMessage, convert_to_messages
from langchain_core.runnables import Runnable
from langchain_core.runnables.config import RunnableConfig
from langgraph.runtime import get_runtime
from langgraph.types import Command, RetryPolicy
from typing_extensions import TypedDict

from langchain_qwen_ci.answer import as_text
from langchain_qwen_ci.blocks import INTERPRETER, PROVIDER
from langchain_qwen_ci.errors import QwenBudgetError, QwenError
from langchain_qwen_ci.graph_state import (
    CodeInterpreterState,
    NodeInput,
    StateExecution,
    add_counts,
    channels_of,
    merge_executions,
)
from langchain_qwen_ci.history import prepared
from langchain_qwen_ci.live import (
    CodeExecutionEvent,
    CodeExecutionsTransformer,
    live_executions,
    within_a_graph,
)
from langchain_qwen_ci.messages import to_prompt
from langchain_qwen_ci.metadata import plugin_counts
from langchain_qwen_ci.tools import Tools

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from langchain_core.messages import BaseMessage
    from langgraph.runtime import Runtime

    from langchain_qwen_ci.history import HistoryPolicy

    ChatModel = Runnable[Any, AIMessage]
    ModelChoice = ChatModel | Callable[[Any, Runtime[Any]], ChatModel]
    ErrorPolicy = Literal["raise", "message"]

__all__ = [
    "QWEN_RETRY_POLICY",
    "Budget",
    "CodeExecutionEvent",
    "CodeExecutionsTransformer",
    "CodeInterpreterState",
    "QwenCodeInterpreterNode",
    "StateExecution",
    "add_counts",
    "merge_executions",
]


_LANGGRAPHS_RULE = cast("Callable[[Exception], bool]", RetryPolicy().retry_on)


def _may_succeed_later(error: Exception) -> bool:
    """What the error says of itself; LangGraph's own rule for errors of other kinds."""
    return error.is_retryable if isinstance(error, ModelError) else _LANGGRAPHS_RULE(error)


QWEN_RETRY_POLICY = RetryPolicy(retry_on=_may_succeed_later)
"""For `add_node(retry_policy=…)`: asks an error whether the same request may succeed later.

LangGraph's default knows errors of networks only, and would not try a rate limit again. A request
that broke off in the middle is tried again too, and its code may then have run twice.
"""


@dataclass(frozen=True, slots=True)
class Budget:
    """What one thread may use of the interpreter; None sets no limit.

    A request that has begun is not cut by it: for that, see the model's `max_request_tokens` and
    `max_code_executions`.

    Attributes:
        executions: calls of the interpreter, by the state's `plugin_counts`; in a graph within a
            graph, which counts its own, by the messages of the state where those tell of more.
        tokens: by the usage of the messages of Qwen models that the state holds.
    """

    executions: int | None = None
    tokens: int | None = None

    def exceeded(
        self, counts: Mapping[str, int], messages: Sequence[Any]
    ) -> QwenBudgetError | None:
        """The limit that the thread has reached, if it has."""
        told = sum(plugin_counts(message).get(INTERPRETER, 0) for message in messages)
        runs = max(told, counts.get(INTERPRETER, 0))
        if self.executions is not None and runs >= self.executions:
            return QwenBudgetError(limit="executions", allowed=self.executions, used=runs)
        tokens = sum(map(_tokens, messages))
        if self.tokens is not None and tokens >= self.tokens:
            return QwenBudgetError(limit="tokens", allowed=self.tokens, used=tokens)
        return None


def _tokens(message: BaseMessage) -> int:
    ours = getattr(message, "response_metadata", {}).get("model_provider") == PROVIDER
    usage = getattr(message, "usage_metadata", None)
    return usage["total_tokens"] if ours and usage else 0


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
        live: bool = True,
        on_error: ErrorPolicy = "raise",
        budget: Budget | None = None,
    ) -> None:
        if isinstance(model, Runnable):
            _refuse_bound_tools(model)
        # What is wrong is said here, and not in the middle of a run.
        prepared([], history, None)
        if on_error not in ("raise", "message"):
            raise ValueError(f'on_error {on_error!r} is neither "raise" nor "message".')
        self.name = self._node = name
        self._model = model
        self._system_prompt = system_prompt
        self._key = messages_key
        self._history = history
        self._goto = goto
        self._live = live
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
        turn = self._turn(input)
        if turn.message is None:
            with live_executions(self._node, on=self._live), turn.kept():
                turn.message = turn.model.invoke(turn.messages, config, **kwargs)
        return self._update(turn)

    async def ainvoke(
        self,
        input: Any,  # noqa: A002  # as Runnable calls it
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Any:
        """`invoke`, for asyncio."""
        turn = self._turn(input)
        if turn.message is None:
            with live_executions(self._node, on=self._live), turn.kept():
                turn.message = await turn.model.ainvoke(turn.messages, config, **kwargs)
        return self._update(turn)

    def cache_key(self, state: Any) -> str:
        """For `add_node(cache_policy=CachePolicy(key_func=node.cache_key))`.

        LangGraph's default key holds the ids of messages, which are never the same. This one holds
        what the model reads, and the model. A node whose model is a function cannot know what it
        would choose: its function is in the key, by name.
        """
        messages = prepared(self._messages(state), self._history, self._system_prompt)
        turns = [replace(turn, reasoning="") for turn in to_prompt(messages)]
        known = f"{self.name}\n{_identity(self._model)}\n{turns!r}"
        return hashlib.sha256(known.encode("utf-8", "surrogatepass")).hexdigest()

    def _turn(self, state: Any) -> _Turn:
        messages = self._messages(state)
        stopped = self._budget.exceeded(_of(state, "plugin_counts") or {}, messages)
        model = self._model if isinstance(self._model, Runnable) else self._chosen(state)
        return _Turn(
            model=model,
            messages=prepared(messages, self._history, self._system_prompt),
            state=state,
            on_error=self._on_error,
            message=_outcome(stopped) if stopped else None,
        )

    def _chosen(self, state: Any) -> ChatModel:
        """What the function chooses; the rule about tools holds for it, too."""
        choose = cast("Callable[[Any, Runtime[Any] | None], ChatModel]", self._model)
        model = choose(state, within_a_graph(get_runtime))
        _refuse_bound_tools(model)
        return model

    def _messages(self, state: Any) -> list[BaseMessage]:
        given = state if isinstance(state, list) else _of(state, self._key)
        if given is None:
            raise ValueError(
                f"The state has no {self._key!r}: pass messages_key, or a list of messages."
            )
        return convert_to_messages(given if isinstance(given, list) else [given])

    def _update(self, turn: _Turn) -> Any:
        """What the node writes."""
        message = _normalised(cast("AIMessage", turn.message), turn.model)
        update: Any = (
            [message]
            if isinstance(turn.state, list)
            else {self._key: [message], **channels_of(message)}
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
class _Turn:
    """One visit of a node: what it asks, and the message it ends with."""

    model: ChatModel
    messages: list[BaseMessage]
    state: Any
    on_error: ErrorPolicy
    message: AIMessage | None

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Make a message of an error where that is wanted, and of a limit that is reached."""
        try:
            yield
        except QwenError as error:
            if self.on_error == "raise" and not isinstance(error, QwenBudgetError):
                raise
            self.message = _outcome(error)


def _outcome(error: QwenError) -> AIMessage:
    """An error as a message: what had arrived, and what went wrong."""
    partial = error.partial or AIMessage("", response_metadata={"model_provider": PROVIDER})
    told: dict[str, Any] = {"type": type(error).__name__, "message": str(error)}
    if isinstance(error, QwenBudgetError):
        told |= {"limit": error.limit, "allowed": error.allowed, "used": error.used}
    update = {
        "id": f"lc_{uuid4()}",
        "content": partial.content or str(error),
        "response_metadata": {**partial.response_metadata, "error": told},
    }
    return partial.model_copy(update=update)


def _normalised(message: AIMessage, model: ChatModel) -> AIMessage:
    """As the model says it, whichever way the graph is streamed."""
    wants_blocks = any(getattr(bare, "output_version", None) == "v1" for bare, _ in _within(model))
    return message if wants_blocks else as_text(message)


def _within(model: Any, bound: Mapping[str, Any] | None = None) -> Iterator[tuple[Any, Any]]:
    """The models inside bindings, retries and fallbacks, and what is bound to each."""
    bound = {**getattr(model, "kwargs", {}), **(bound or {})}
    if inner := getattr(model, "bound", None):
        yield from _within(inner, bound)
    elif inner := getattr(model, "runnables", None):  # with fallbacks
        for one in inner:
            yield from _within(one, bound)
    else:
        yield model, bound


def _refuse_bound_tools(model: ChatModel) -> None:
    """Refuse a model that is bound to function tools.

    Raises:
        ToolsNotAllowedError: it is.
    """
    for _, bound in _within(model):
        Tools.sorted([*bound.get("tools", ()), *bound.get("functions", ())]).refuse_functions()


def _identity(model: ModelChoice) -> str:
    if not isinstance(model, Runnable):
        return f"{model.__module__}.{model.__qualname__}"
    return "\n".join(f"{dumps(bare)} {bound!r}" for bare, bound in _within(model))


def _of(state: Any, key: str) -> Any:
    """A channel of a state that is a dictionary, or an object."""
    return state.get(key) if isinstance(state, dict) else getattr(state, key, None)
