"""The interpreter as a tool of an agent."""

from __future__ import annotations

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.tools import BaseTool, StructuredTool
from pydantic import BaseModel, Field

from langchain_qwen_ci.chat_models import ChatQwenCodeInterpreter
from langchain_qwen_ci.graph.history import prepare_history
from langchain_qwen_ci.graph.node_model import check_model
from langchain_qwen_ci.graph.state import CodeInterpreterChannels, channels_from_message
from langchain_qwen_ci.graph.streaming import stream_code_executions

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

    Raises:
        TypeError: `model` is no chat model.
        ToolsNotAllowedError: the model has bound function tools.
    """
    check_model(model)

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
