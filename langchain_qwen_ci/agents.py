"""The interpreter beside tools, in agents: as a tool of theirs, or by turns.

The service takes function tools or the interpreter in one request, never both. So an agent that
has tools asks a second model (`code_interpreter_tool`), or asks one model by turns, now with tools
and now with the interpreter (`CodeInterpreterMiddleware`). Needs the extra `agents`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

try:
    from langchain.agents.middleware import AgentMiddleware, AgentState, ExtendedModelResponse
except ModuleNotFoundError as missing:
    if missing.name != "langchain":
        raise
    raise ImportError("Agents need langchain: pip install 'langchain-qwen-ci[agents]'") from missing
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import BaseTool, StructuredTool, tool
from langgraph.types import Command
from pydantic import BaseModel, Field

from langchain_qwen_ci.chat_models import ChatQwenCodeInterpreter
from langchain_qwen_ci.graph.history import prepare_history
from langchain_qwen_ci.graph.state import CodeInterpreterChannels, channels_from_message
from langchain_qwen_ci.graph.streaming import stream_code_executions
from langchain_qwen_ci.response.text_messages import to_text_message

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from langchain.agents.middleware import ModelRequest, ModelResponse
    from langchain.tools.tool_node import ToolCallRequest
    from langchain_core.messages import BaseMessage

    from langchain_qwen_ci.graph.history import HistoryPolicy

_DESCRIPTION = (
    "Solves a task by writing Python and running it in a sandbox: arithmetic, statistics, dates, "
    "text and data. It knows nothing of this conversation, so give it everything that it needs."
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
    """The interpreter as a tool for any agent that calls tools.

    Args:
        model: with the interpreter on. It is asked with the task alone.
        name: of the tool.
        description: tells the agent's model what it is for.
        system_prompt: for `model`.

    Returns:
        A tool whose content is the answer and whose artifact holds `code_executions` and
        `plugin_counts`. `CodeExecutionsMiddleware` brings those into the agent's state.
    """

    def task_messages(task: str) -> list[BaseMessage]:
        return prepare_history([HumanMessage(task)], "pass", system_prompt)

    def run(task: str) -> tuple[str, CodeInterpreterChannels]:
        with stream_code_executions(name):
            return _content_and_artifact(model.invoke(task_messages(task)))

    async def arun(task: str) -> tuple[str, CodeInterpreterChannels]:
        with stream_code_executions(name):
            return _content_and_artifact(await model.ainvoke(task_messages(task)))

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
    """Brings what `code_interpreter_tool` ran into the agent's state.

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
    """A tool's message, with what its artifact says of executions as an update of the state."""
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
    """Lets an agent's model use tools in one turn and the interpreter in another.

    By default the model decides: it is given one more tool, `use_code_interpreter`, and the turn
    after it has called that is one with the interpreter, and with no tools. Such a turn answers,
    and so ends the agent's work.

    Args:
        when: decides instead, from the request, whether a turn is one with the interpreter.
        model: for turns with the interpreter, where the agent's own is not a
            `ChatQwenCodeInterpreter`.
        history: what to do with the calls and results of the turns before; see
            `QwenCodeInterpreterNode`.
        live: whether to write `CodeExecutionEvent`s to the custom stream.

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
    ) -> Any:  # noqa: ANN401  # as AgentMiddleware has it
        if not self._when(request):
            return handler(_without_interpreter(request))
        with stream_code_executions(self.name, enabled=self._emit_events):
            return _with_channels(handler(self._with_interpreter(request)))

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> Any:  # noqa: ANN401  # as AgentMiddleware has it
        if not self._when(request):
            return await handler(_without_interpreter(request))
        with stream_code_executions(self.name, enabled=self._emit_events):
            return _with_channels(await handler(self._with_interpreter(request)))

    def _with_interpreter(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        """The request without tools, and with the interpreter on.

        Raises:
            TypeError: the model has no interpreter.
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
            response_format=None,
            model_settings={**request.model_settings, "enable_code_interpreter": True},
        )


def _interpreter_requested(request: ModelRequest[Any]) -> bool:
    """Whether the model has just asked for the interpreter."""
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
    """The answer, with its executions and counts as an update of the state."""
    response.result = [
        to_text_message(message) if isinstance(message, AIMessage) else message
        for message in response.result
    ]
    (answer,) = (message for message in response.result if isinstance(message, AIMessage))
    return ExtendedModelResponse(
        model_response=response, command=Command(update=dict(channels_from_message(answer)))
    )
