"""`QwenCodeInterpreterNode`: the model as a LangGraph node with its own state channels."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import MethodType
from typing import Any, Literal, cast, get_type_hints
from uuid import uuid4

from langchain_core.messages import AIMessage, BaseMessage, convert_to_messages
from langchain_core.runnables import Runnable
from langchain_core.runnables.config import RunnableConfig
from langgraph.runtime import Runtime, get_runtime
from langgraph.types import Command
from typing_extensions import TypedDict

from langchain_qwen_ci.errors import QwenBudgetError, QwenError
from langchain_qwen_ci.graph.budget import Budget
from langchain_qwen_ci.graph.history import HistoryPolicy, prepare_history
from langchain_qwen_ci.graph.node_model import (
    ChatModel,
    ModelChoice,
    cache_identity,
    check_model,
    check_model_choice,
    unwrap_models,
)
from langchain_qwen_ci.graph.state import NodeInput, channels_from_message
from langchain_qwen_ci.graph.streaming import in_graph_run, node_in_graph, stream_code_executions
from langchain_qwen_ci.metadata import MODEL_PROVIDER
from langchain_qwen_ci.request.messages import to_prompt
from langchain_qwen_ci.response.text_messages import to_text_message

ErrorPolicy = Literal["raise", "message"]


class QwenCodeInterpreterNode(Runnable[Any, Any]):
    """A LangGraph node that answers with Qwen's code interpreter.

    It reads `messages` and writes `messages`, `code_executions` and `plugin_counts`. `add_node`
    adds these channels to the graph's state.

    Args:
        model: a `ChatQwenCodeInterpreter`, or a function of state and runtime that returns one.
        name: the name of the node, by default "code_interpreter". A given name is also the `name`
            of the node's messages, by which a supervisor tells its workers apart.
        system_prompt: sent before the messages of the state; not written to the state.
        messages_key: the key of the messages in the state.
        history: how tool calls and tool results of other agents are converted before they are sent:
            "text" converts them to text, "drop" removes them, "pass" sends them unchanged, "error"
            raises an error; or a function of the messages that returns the messages to send.
        goto: the name of the next node, or several. They are the node's destinations in drawings of
            the graph, and compiling the graph fails if one of them does not exist.
        emit_events: whether `CodeExecutionEvent`s are written to the custom stream.
        on_error: "raise" leaves errors to LangGraph's retry policy and error handler. "message"
            converts an error of the model to a message with the partial output, so that the graph
            continues; its `response_metadata["error"]` describes the error. Reaching a limit always
            produces such a message.
        budget: limits for one thread.

    Example:
        ```python
        from langgraph.graph import START, StateGraph

        from langchain_qwen_ci import (
            ChatQwenCodeInterpreter,
            CodeInterpreterState,
            QwenCodeInterpreterNode,
            code_executions,
        )

        builder = StateGraph(CodeInterpreterState)
        builder.add_node(QwenCodeInterpreterNode(ChatQwenCodeInterpreter()))
        builder.add_edge(START, "code_interpreter")
        graph = builder.compile()
        state = graph.invoke({"messages": [("human", "What is 7 to the power of 5?")]})
        print(state["messages"][-1].text)
        print(code_executions(state))  # [{"id": …, "code": "7**5", "message_id": …, …}]
        ```

    Raises:
        TypeError: `model` is neither a model nor a function that returns one, or an async function.
        ToolsNotAllowedError: the model has bound function tools.
        ValueError: the value of `history` or `on_error` is unknown.
    """

    def __init__(  # noqa: PLR0913  # independent options, all by name
        self,
        model: ModelChoice,
        *,
        name: str | None = None,
        system_prompt: str | None = None,
        messages_key: str = "messages",
        history: HistoryPolicy = "text",
        goto: str | Sequence[str] | None = None,
        emit_events: bool = True,
        on_error: ErrorPolicy = "raise",
        budget: Budget | None = None,
    ) -> None:
        if isinstance(model, QwenCodeInterpreterNode):
            raise TypeError("A node is no model: pass the ChatQwenCodeInterpreter itself.")
        check_model_choice(model)
        prepare_history([], history, None)  # raises an error for an unknown value
        if on_error not in ("raise", "message"):
            raise ValueError(f'on_error {on_error!r} is neither "raise" nor "message".')
        self.name = self._node = name or "code_interpreter"
        self._message_name = name
        self._model = model
        self._system_prompt = system_prompt
        self._key = messages_key
        self._history = history
        self._goto = goto
        self._emit_events = emit_events
        self._on_error = on_error
        self._budget = budget or Budget()
        if messages_key != "messages" or goto:
            self._annotate_call(messages_key, (goto,) if isinstance(goto, str) else goto or ())

    def __call__(self, state: NodeInput, config: RunnableConfig | None = None) -> Any:
        """Same as `invoke`. `add_node` reads the node's input channels from these annotations."""
        return self.invoke(state, config)

    def invoke(
        self,
        input: Any,  # noqa: A002  # Runnable's parameter name
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Any:
        """Answer the messages of a state.

        Args:
            input: the state (a dictionary or an object with messages) or a list of messages.
            config: passed to the model.
            kwargs: arguments of the model's call.

        Returns:
            An update of the state, inside a `Command` if `goto` is set. For a list of messages, a
            list with the answer.
        """
        run = self._start_run(input)
        if run.message is None:
            with (
                stream_code_executions(node_in_graph(self._node), enabled=self._emit_events),
                run.errors_to_message(),
            ):
                run.message = run.model.invoke(run.messages, config, **kwargs)
        return self._update(run)

    async def ainvoke(
        self,
        input: Any,  # noqa: A002  # Runnable's parameter name
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Any:
        """Asynchronous form of `invoke`."""
        run = self._start_run(input)
        if run.message is None:
            with (
                stream_code_executions(node_in_graph(self._node), enabled=self._emit_events),
                run.errors_to_message(),
            ):
                run.message = await run.model.ainvoke(run.messages, config, **kwargs)
        return self._update(run)

    def cache_key(self, state: Any) -> str:
        """Return a cache key, for `add_node(cache_policy=CachePolicy(key_func=node.cache_key))`.

        LangGraph's default key contains message ids, which are new in every run. This key contains
        the content that is sent, the configuration of the model, and the ids of Qwen's answers in
        the state. If the model is a function, the key contains the function's name, because the
        returned model is not known.
        """
        messages = self._messages(state)
        sent = prepare_history(messages, self._history, self._system_prompt)
        prompt = [replace(message, reasoning="") for message in to_prompt(sent)]
        # LangGraph stores what the node has written, with the id of the answer. A thread can have
        # an id once only: `add_messages` would put the answer into the place of the older one. The
        # ids of the answers that the thread has lead to another key, and so to another answer.
        ids = [message.id for message in messages if _is_from_qwen(message)]
        cache_text = f"{self._message_name}\n{cache_identity(self._model)}\n{ids}\n{prompt!r}"
        return hashlib.sha256(cache_text.encode("utf-8", "surrogatepass")).hexdigest()

    def _start_run(self, state: Any) -> _NodeRun:
        messages = self._messages(state)
        stopped = self._budget.exceeded(_channel(state, "plugin_counts") or {}, messages)
        model = self._model if isinstance(self._model, Runnable) else self._resolve_model(state)
        return _NodeRun(
            model=model,
            messages=prepare_history(messages, self._history, self._system_prompt),
            state=state,
            on_error=self._on_error,
            message=_error_message(stopped) if stopped else None,
        )

    def _resolve_model(self, state: Any) -> ChatModel:
        """Call the function that returns the model, and check the model's tools."""
        choose = cast("Callable[[Any, Runtime[Any] | None], ChatModel]", self._model)
        model = choose(state, in_graph_run(get_runtime))
        check_model(model)
        return model

    def _messages(self, state: Any) -> list[BaseMessage]:
        given = state if isinstance(state, list) else _channel(state, self._key)
        if given is None:
            raise ValueError(
                f"The state has no {self._key!r}: pass messages_key, or a list of messages."
            )
        return convert_to_messages(given if isinstance(given, list) else [given])

    def _update(self, run: _NodeRun) -> Any:
        message = _normalize(cast("AIMessage", run.message), run.model)
        if self._message_name:
            message = message.model_copy(update={"name": self._message_name})
        update: Any = (
            [message]
            if isinstance(run.state, list)
            else {self._key: [message], **channels_from_message(message)}
        )
        return Command(update=update, goto=self._goto) if self._goto else update

    def _annotate_call(self, key: str, destinations: Sequence[str]) -> None:
        """Give `__call__` annotations of this node's messages key and destinations.

        `add_node` reads the input channels from the first one, and from the return annotation where
        the node may go, for drawings and for a check of the names.
        """
        hints = get_type_hints(NodeInput, include_extras=True)
        hints[key] = hints.pop("messages")

        def call(self: QwenCodeInterpreterNode, state: Any, config: Any = None) -> Any:
            return self.invoke(state, config)

        schema = TypedDict("NodeInput", hints)  # type: ignore[misc]  # the key is dynamic
        result = Command[Literal[tuple(destinations)]] if destinations else Any  # type: ignore[misc]
        call.__annotations__ = {"state": schema, "config": RunnableConfig, "return": result}
        # Python looks up `__call__` on the class when it calls the node; `add_node` reads the
        # annotations from the instance.
        setattr(self, "__call__", MethodType(call, self))  # noqa: B010


@dataclass
class _NodeRun:
    """One run of a node: its model and messages, and the message that it returns."""

    model: ChatModel
    messages: list[BaseMessage]
    state: Any
    on_error: ErrorPolicy
    message: AIMessage | None

    @contextmanager
    def errors_to_message(self) -> Iterator[None]:
        """Convert an error to a message if `on_error` is "message" or a limit was reached."""
        try:
            yield
        except QwenError as error:
            if self.on_error == "raise" and not isinstance(error, QwenBudgetError):
                raise
            self.message = _error_message(error)


def _error_message(error: QwenError) -> AIMessage:
    """Return a message with the partial output and a description of an error."""
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


def _normalize(message: AIMessage, model: ChatModel) -> AIMessage:
    """Convert content blocks to text, unless the model itself has `output_version="v1"`.

    A v3 run produces content blocks whatever the model's output version is.
    """
    has_blocks = any(
        getattr(inner_model, "output_version", None) == "v1"
        for inner_model, _ in unwrap_models(model)
    )
    return message if has_blocks else to_text_message(message)


def _channel(state: Any, key: str) -> Any:
    """Return a channel of a state, which may be a dictionary or an object."""
    return state.get(key) if isinstance(state, dict) else getattr(state, key, None)


def _is_from_qwen(message: BaseMessage) -> bool:
    return message.response_metadata.get("model_provider") == MODEL_PROVIDER
