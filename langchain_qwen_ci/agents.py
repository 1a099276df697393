"""The code interpreter in agents that also have function tools.

One request can use function tools or the interpreter, not both. So either the interpreter is a tool
of the agent and runs in a second model (`code_interpreter_tool`), or one model uses tools in some
turns and the interpreter in others (`CodeInterpreterMiddleware`). Needs the extra `agents`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

try:
    from langchain.agents.middleware import (
        AgentMiddleware,
        AgentState,
        ExtendedModelResponse,
        ModelRequest,
        ModelResponse,
    )
    from langchain.tools.tool_node import ToolCallRequest
except ModuleNotFoundError as missing:
    if missing.name != "langchain":
        raise
    raise ImportError("Agents need langchain: pip install 'langchain-qwen-ci[agents]'") from missing
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import BaseTool, StructuredTool, tool
from langgraph.types import Command
from pydantic import BaseModel, Field

from langchain_qwen_ci.chat_models import ChatQwenCodeInterpreter
from langchain_qwen_ci.graph.history import HistoryPolicy, prepare_history
from langchain_qwen_ci.graph.state import CodeInterpreterChannels, channels_from_message
from langchain_qwen_ci.graph.streaming import stream_code_executions
from langchain_qwen_ci.response.text_messages import to_text_message

_DESCRIPTION = (
    "Solves a task by writing Python and running it in a sandbox: arithmetic, statistics, dates, "
    "text and data. It does not see this conversation, so give it everything that it needs."
)


class _Task(BaseModel):
    task: str = Field(description="What to compute, with all data that is needed.")


def code_interpreter_tool(
    model: ChatQwenCodeInterpreter,
    *,
    name: str = "code_interpreter",
    description: str = _DESCRIPTION,
    system_prompt: str | None = None,
) -> BaseTool:
    """Return the interpreter as a tool for any agent that calls tools.

    Args:
        model: the model that runs the task, with the interpreter on. It receives only the task.
        name: the name of the tool.
        description: the description of the tool for the agent's model.
        system_prompt: the system prompt of `model`.

    Returns:
        A tool whose content is the answer and whose artifact has `code_executions` and
        `plugin_counts`. `CodeExecutionsMiddleware` adds those to the agent's state.
    """

    def to_messages(task: str) -> list[BaseMessage]:
        return prepare_history([HumanMessage(task)], "pass", system_prompt)

    def run(task: str) -> tuple[str, CodeInterpreterChannels]:
        with stream_code_executions(name):
            return _content_and_artifact(model.invoke(to_messages(task)))

    async def arun(task: str) -> tuple[str, CodeInterpreterChannels]:
        with stream_code_executions(name):
            return _content_and_artifact(await model.ainvoke(to_messages(task)))

    return StructuredTool.from_function(
        run,
        arun,
        name=name,
        description=description,
        args_schema=_Task,
        response_format="content_and_artifact",
    )


def _content_and_artifact(message: AIMessage) -> tuple[str, CodeInterpreterChannels]:
    return str(message.text), channels_from_message(message)


class CodeInterpreterAgentState(AgentState[Any], CodeInterpreterChannels):
    """An agent's state with `code_executions` and `plugin_counts`."""


class CodeExecutionsMiddleware(AgentMiddleware[CodeInterpreterAgentState, Any, Any]):
    """Adds the executions and counts of `code_interpreter_tool` to the agent's state.

    Example:
        ```python
        agent = create_agent(
            model, [code_interpreter_tool(qwen)], middleware=[CodeExecutionsMiddleware()]
        )
        agent.invoke({"messages": […]})["code_executions"]
        ```
    """

    state_schema = CodeInterpreterAgentState

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
        super().__init__()
        self.tools = [] if when else [_request_interpreter]
        self._when = when or _interpreter_requested
        self._model = model
        self._history = history
        self._emit_events = emit_events

    def wrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], ModelResponse[Any]],
    ) -> Any:  # noqa: ANN401  # AgentMiddleware's signature
        if not self._when(request):
            return handler(_without_interpreter(request))
        with stream_code_executions(self.name, enabled=self._emit_events):
            return _with_channels(handler(self._with_interpreter(request)))

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> Any:  # noqa: ANN401  # AgentMiddleware's signature
        if not self._when(request):
            return await handler(_without_interpreter(request))
        with stream_code_executions(self.name, enabled=self._emit_events):
            return _with_channels(await handler(self._with_interpreter(request)))

    def _with_interpreter(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        """Return the request without tools and with the interpreter on.

        Raises:
            TypeError: the model has no code interpreter.
        """
        model = self._model or request.model
        if not isinstance(model, ChatQwenCodeInterpreter):
            raise TypeError(
                f"A {type(model).__name__} has no code interpreter: pass "
                "CodeInterpreterMiddleware(model=ChatQwenCodeInterpreter(…))."
            )
        return request.override(
            model=model,
            messages=cast("Any", prepare_history(request.messages, self._history, None)),
            tools=[],
            tool_choice=None,
            model_settings={**request.model_settings, "enable_code_interpreter": True},
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


def _with_channels(response: ModelResponse[Any]) -> ExtendedModelResponse[Any]:
    """Add the executions and counts of the answer as an update of the state."""
    response.result = [
        to_text_message(message) if isinstance(message, AIMessage) else message
        for message in response.result
    ]
    (answer,) = (message for message in response.result if isinstance(message, AIMessage))
    return ExtendedModelResponse(
        model_response=response, command=Command(update=dict(channels_from_message(answer)))
    )
