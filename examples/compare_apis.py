"""The same question through each API, as a message and as structured output.

Uses the service if DASHSCOPE_API_KEY is set, otherwise the emulator.
"""

import os
import warnings
from contextlib import ExitStack

from pydantic import BaseModel

from langchain_qwen_ci import ChatQwenCodeInterpreter, code_executions, plugin_counts
from langchain_qwen_ci.emulator import EmulatorServer


class Result(BaseModel):
    """The result of a calculation."""

    value: int


with ExitStack() as stack:
    if os.environ.get("DASHSCOPE_API_KEY"):
        connection = {}
    else:
        server = stack.enter_context(EmulatorServer())
        connection = {"base_url": server.url, "api_key": "any"}

    warnings.filterwarnings("ignore", message="Chat Completions runs code")
    for api in ("dashscope", "responses", "chat_completions"):
        model = ChatQwenCodeInterpreter(api=api, **connection)
        message = model.invoke("What is 7 to the power of 5?")
        print(f"{api}: {message.content}")
        for execution in code_executions(message):
            print("  ran:", execution["code"], "→", execution.get("output", "(not returned)"))
        print("  plugin counts:", plugin_counts(message) or "(not returned)")

        result = model.with_structured_output(Result).invoke("What is 7 to the power of 5?")
        print("  structured output:", repr(result))
