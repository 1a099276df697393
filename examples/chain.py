"""A chain of prompt, model and parser, streamed; the code, streamed; a message with all of it.

Uses the service if DASHSCOPE_API_KEY is set, otherwise the emulator.
"""

import os
from contextlib import ExitStack

from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate

from langchain_qwen_ci import ChatQwenCodeInterpreter, code_delta, code_executions, plugin_counts
from langchain_qwen_ci.emulator import EmulatorServer

with ExitStack() as stack:
    if os.environ.get("DASHSCOPE_API_KEY"):
        model = ChatQwenCodeInterpreter(model="qwen3-max")
    else:
        server = stack.enter_context(EmulatorServer())
        model = ChatQwenCodeInterpreter(model="qwen3-max", base_url=server.url, api_key="any")

    prompt = ChatPromptTemplate.from_messages(
        [("system", "Compute, do not guess."), ("user", "What is {base} to the power of {n}?")]
    )

    chain = prompt | model | StrOutputParser()
    for piece in chain.stream({"base": 123, "n": 21}):
        print(piece, end="", flush=True)
    print()

    # Reasoning, code and text, each as soon as it is received.
    printed = None
    for chunk in (prompt | model).stream({"base": 6, "n": 3}):
        for block in chunk.content_blocks:
            if text := block.get("reasoning") or block.get("text") or code_delta(block):
                part = block.get("id") or block["type"]
                print(text if part == printed else f"\n{text}", end="")
                printed = part
    print()

    message = (prompt | model).invoke({"base": 7, "n": 5})
    for execution in code_executions(message):
        print("ran:", execution["code"])
    print("plugin counts:", plugin_counts(message))
