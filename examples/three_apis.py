"""One question by three APIs, and the answer as an object.

Run it with DASHSCOPE_API_KEY set, or without: then it asks the emulator.
"""

import os
import warnings
from contextlib import ExitStack

from pydantic import BaseModel

from langchain_qwen_ci import ChatQwenCodeInterpreter, code_executions, plugin_counts
from langchain_qwen_ci.emulator import EmulatorServer


class Result(BaseModel):
    """What came out."""

    value: int


with ExitStack() as stack:
    if os.environ.get("DASHSCOPE_API_KEY"):
        place = {}
    else:
        server = stack.enter_context(EmulatorServer())
        place = {"base_url": server.url, "api_key": "any"}

    warnings.filterwarnings("ignore", message="Chat Completions runs code")
    for api in ("dashscope", "responses", "chat_completions"):
        model = ChatQwenCodeInterpreter(api=api, **place)
        message = model.invoke("What is 7 to the power of 5?")
        print(f"{api}: {message.content}")
        for execution in code_executions(message):
            print("  ran:", execution["code"], "→", execution.get("output", "(not shown)"))
        print("  counted:", plugin_counts(message) or "(not shown)")

        result = model.with_structured_output(Result).invoke("What is 7 to the power of 5?")
        print("  as an object:", repr(result))
