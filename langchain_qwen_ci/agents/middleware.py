"""Middlewares: executions and counts in the state, and an interpreter that is on in some turns."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, cast

from langchain.agents.middleware import (
    AgentMiddleware,
    AgentState,
    ExtendedModelResponse,
    ModelRequest,
    ModelResponse,
)
from langchain.tools.tool_node import ToolCallRequest
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.types import Command

from langchain_qwen_ci.chat_models import ChatQwenCodeInterpreter
from langchain_qwen_ci.graph.history import HistoryPolicy, prepare_history
from langchain_qwen_ci.graph.state import CodeInterpreterChannels, channels_from_message
from langchain_qwen_ci.graph.streaming import stream_code_executions
from langchain_qwen_ci.response.text_messages import to_text_message


class CodeInterpreterAgentState(AgentState[Any], CodeInterpreterChannels):
    """An agent's state with `code_executions` and `plugin_counts`."""


class CodeExecutionsMiddleware(AgentMiddleware[CodeInterpreterAgentState, Any, Any]):
    """Adds executions and counts to the agent's state: those of `code_interpreter_tool`, and those
    of the agent's own model if its interpreter is on.

    Args:
        emit_events: whether `CodeExecutionEvent`s of the agent's model are written to the custom
            stream.

    Example:
        ```python
        agent = create_agent(
            model, [code_interpreter_tool(qwen)], middleware=[CodeExecutionsMiddleware()]
        )
        agent.invoke({"messages": […]})["code_executions"]
        ```
    """

    state_schema = CodeInterpreterAgentState

    def __init__(self, *, emit_events: bool = True) -> None:
        super().__init__()
        self._emit_events = emit_events

    def wrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], ModelResponse[Any]],
    ) -> Any:  # noqa: ANN401  # AgentMiddleware's signature
        with stream_code_executions(self.name, enabled=self._emit_events):
            return _with_channels(request, handler(request))

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> Any:  # noqa: ANN401  # AgentMiddleware's signature
        with stream_code_executions(self.name, enabled=self._emit_events):
            return _with_channels(request, await handler(request))

    def wrap_tool_call(
        self,
        request: ToolCallRequest,
        handler: Callable[[ToolCallRequest], ToolMessage | Command[Any]],
    ) -> ToolMessage | Command[Any]:
        return _to_state_update(handler(request))

    async def awrap_tool_call(
        self,
        request: ToolCallRequest,
        handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]],
    ) -> ToolMessage | Command[Any]:
        return _to_state_update(await handler(request))


def _to_state_update(result: ToolMessage | Command[Any]) -> ToolMessage | Command[Any]:
    """Add the executions and counts in a tool message's artifact as an update of the state."""
    artifact = getattr(result, "artifact", None)
    if not isinstance(artifact, dict) or "code_executions" not in artifact:
        return result
    channels = {name: artifact[name] for name in ("code_executions", "plugin_counts")}
    return Command(update={"messages": [result], **channels})


USE_INTERPRETER_TOOL = "use_code_interpreter"


@tool(USE_INTERPRETER_TOOL)
def _request_interpreter(task: str) -> str:
    """Take the next turn with a code interpreter in place of the other tools: write Python, have
    it run, and answer. Call this when something must be computed, and say what."""
    return f"The code interpreter is on, and no other tool. Do this now: {task}"


class CodeInterpreterMiddleware(CodeExecutionsMiddleware):
    """Lets an agent's model use tools in some turns and the interpreter in others.

    By default the model decides: it gets one more tool, `use_code_interpreter`. After it has called
    that tool, the next turn runs with the interpreter and without tools. The answer of such a turn
    ends the agent's run, because it calls none of the agent's tools. If the agent has a
    `response_format`, a second request fits that answer to the schema.

    Args:
        when: a function of the request that decides whether a turn uses the interpreter; the tool
            `use_code_interpreter` is not added then.
        model: the model for turns with the interpreter, if the agent's model is not a
            `ChatQwenCodeInterpreter`.
        history: how tool calls and results of earlier turns are converted; see
            `QwenCodeInterpreterNode`.
        emit_events: whether `CodeExecutionEvent`s are written to the custom stream.

    Raises:
        TypeError: `model` is no `ChatQwenCodeInterpreter`.
        ValueError: the value of `history` is unknown.

    Example:
        ```python
        model = ChatQwenCodeInterpreter(enable_code_interpreter=False)
        agent = create_agent(model, [search_orders], middleware=[CodeInterpreterMiddleware()])
        ```
    """

    def __init__(
        self,
        *,
        when: Callable[[ModelRequest[Any]], bool] | None = None,
        model: ChatQwenCodeInterpreter | None = None,
        history: HistoryPolicy = "text",
        emit_events: bool = True,
    ) -> None:
        super().__init__(emit_events=emit_events)
        if model is not None:
            _check_has_interpreter(model)
        prepare_history([], history, None)  # raises an error for an unknown value
        self.tools = [] if when else [_request_interpreter]
        self._when = when or _interpreter_requested
        self._model = model
        self._history = history

    def wrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], ModelResponse[Any]],
    ) -> Any:  # noqa: ANN401  # AgentMiddleware's signature
        return super().wrap_model_call(self._for_turn(request), handler)

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> Any:  # noqa: ANN401  # AgentMiddleware's signature
        return await super().awrap_model_call(self._for_turn(request), handler)

    def _for_turn(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        if self._when(request):
            return self._with_interpreter(request)
        return _without_interpreter(request)

    def _with_interpreter(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        """Return the request without tools and with the interpreter on.

        Raises:
            TypeError: the model has no code interpreter.
        """
        model = self._model or request.model
        _check_has_interpreter(model)
        return request.override(
            model=model,
            messages=cast("Any", prepare_history(request.messages, self._history, None)),
            tools=[],
            tool_choice=None,
            model_settings={**request.model_settings, "enable_code_interpreter": True},
        )


def _check_has_interpreter(model: object) -> None:
    if not isinstance(model, ChatQwenCodeInterpreter):
        raise TypeError(
            f"A {type(model).__name__} has no code interpreter: pass "
            "CodeInterpreterMiddleware(model=ChatQwenCodeInterpreter(…))."
        )


def _interpreter_requested(request: ModelRequest[Any]) -> bool:
    """Return whether the last tool calls include `use_code_interpreter`."""
    for message in reversed(request.messages):
        if not isinstance(message, ToolMessage):
            return False
        if message.name == USE_INTERPRETER_TOOL:
            return True
    return False


def _without_interpreter(request: ModelRequest[Any]) -> ModelRequest[Any]:
    if not isinstance(request.model, ChatQwenCodeInterpreter):
        return request
    settings = {**request.model_settings, "enable_code_interpreter": False}
    return request.override(model_settings=settings)


def _with_channels(
    request: ModelRequest[Any], response: ModelResponse[Any]
) -> ModelResponse[Any] | ExtendedModelResponse[Any]:
    """Add the executions and counts of the answer as an update of the state."""
    if _interpreter_is_on(request):
        response = replace(response, result=[_normalize(m, request) for m in response.result])
    for message in response.result:
        channels = channels_from_message(message)
        if any(channels.values()):  # a turn has one answer, and the results of its schema calls
            return ExtendedModelResponse(response, command=Command(update=dict(channels)))
    return response


def _interpreter_is_on(request: ModelRequest[Any]) -> bool:
    default = getattr(request.model, "enable_code_interpreter", False)
    return bool(request.model_settings.get("enable_code_interpreter", default))


def _normalize(message: BaseMessage, request: ModelRequest[Any]) -> BaseMessage:
    """Convert content blocks, which a v3 run produces, to text; see `QwenCodeInterpreterNode`."""
    has_blocks = getattr(request.model, "output_version", None) == "v1"
    if has_blocks or not isinstance(message, AIMessage):
        return message
    return to_text_message(message)
