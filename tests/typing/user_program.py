"""A program as a user writes it; `test_types.py` checks its types. It is never run.

What has a `type: ignore` or a `pyright: ignore` has to be an error: both checkers report an ignore
that hides nothing.
"""

from __future__ import annotations

from typing import assert_type

from langchain.agents import create_agent
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tools import BaseTool, tool
from langgraph.graph import START, StateGraph
from pydantic import BaseModel, SecretStr

from langchain_qwen_ci import (
    QWEN_RETRY_POLICY,
    ChatQwenCodeInterpreter,
    CodeExecution,
    CodeInterpreterState,
    QwenCodeInterpreterNode,
    code_executions,
    plugin_counts,
)
from langchain_qwen_ci.agents import (
    CodeExecutionsMiddleware,
    CodeInterpreterMiddleware,
    code_interpreter_tool,
)
from langchain_qwen_ci.errors import QwenAPIError, QwenError, QwenRateLimitError
from langchain_qwen_ci.graph import Budget

# Constructing a model.

model = ChatQwenCodeInterpreter()
ChatQwenCodeInterpreter(api_key="sk-any")
ChatQwenCodeInterpreter(api_key=SecretStr("sk-any"))
ChatQwenCodeInterpreter(
    model="qwen3-max",
    api="responses",
    api_key="sk-any",
    region="ap-southeast-1",
    base_url="https://dashscope-intl.aliyuncs.com",
    temperature=0.7,
    top_p=1,
    max_tokens=1000,
    timeout=30,
    max_retries=3,
    builtin_tools=["web_search"],
    tags=["mine"],
    metadata={"team": "mine"},
    output_version="v1",
)
ChatQwenCodeInterpreter(api_key=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
ChatQwenCodeInterpreter(api="soap")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
ChatQwenCodeInterpreter(temprature=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
assert_type(model.api_key, SecretStr | None)
assert_type(model.temperature, float | None)

# Asking it.

message = model.invoke("What is 7 to the power of 5?")
assert_type(message, AIMessage)
text: str = message.text
assert_type(code_executions(message), list[CodeExecution])
code: str = code_executions(message)[0]["code"]
output: str | None = code_executions(message)[0].get("output")
assert_type(plugin_counts(message), dict[str, int])

for chunk in model.stream("What is 7 to the power of 5?", temperature=0.2):
    assert_type(chunk, AIMessageChunk)
    print(chunk.content_blocks)

answers: list[AIMessage] = model.batch(["one", "two"])


async def ask() -> str:
    async with model:
        async for part in model.astream("?"):
            print(part.text)
        return (await model.ainvoke("?")).text


with ChatQwenCodeInterpreter(api_key="sk-any") as closing:
    chain = ChatPromptTemplate.from_messages([("user", "{question}")]) | closing | StrOutputParser()
    print(chain.invoke({"question": "?"}).upper())

# Structured output and tools.


class Result(BaseModel):
    """What came out."""

    value: int


result = model.with_structured_output(Result).invoke("What is 6 times 7?")
if isinstance(result, Result):
    print(result.value + 1)


@tool
def orders(year: int) -> str:
    """The orders of a year."""
    return f"{year}: none"


with_tools = ChatQwenCodeInterpreter(enable_code_interpreter=False).bind_tools(
    [orders], tool_choice="orders"
)
assert_type(with_tools.invoke("?"), AIMessage)
assert_type(with_tools.invoke("?", max_completion_tokens=100), AIMessage)
ChatQwenCodeInterpreter(enable_code_interpreter=False, max_completion_tokens=100).bind_tools(orders)

# Errors.

try:
    model.invoke("?")
except QwenRateLimitError as error:
    print(error.is_retryable)
except QwenAPIError as error:
    print(error.status_code, error.request_id)
except QwenError as error:
    if error.partial is not None:
        print(error.partial.text, code_executions(error.partial))

# A graph.

builder = StateGraph(CodeInterpreterState)
node = QwenCodeInterpreterNode(model, system_prompt="Be brief.", budget=Budget(executions=20))
builder.add_node(node, retry_policy=QWEN_RETRY_POLICY)
builder.add_edge(START, "code_interpreter")
graph = builder.compile()
state = graph.invoke({"messages": [HumanMessage("?")]})
print(state["messages"][-1].content, state["code_executions"], state["plugin_counts"])


def last_code(state: CodeInterpreterState) -> str:
    """How a node of the user's reads the state."""
    executions = state.get("code_executions", [])
    return executions[-1]["code"] if executions else ""


# Agents.

compute = code_interpreter_tool(model, name="compute")
assert_type(compute, BaseTool)
create_agent(model, [orders, compute], middleware=[CodeExecutionsMiddleware()])
create_agent(model, [orders], middleware=[CodeInterpreterMiddleware()])
