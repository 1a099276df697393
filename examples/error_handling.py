"""Errors, retries and partial answers, with faults injected by the emulator.

Always uses the emulator, because faults cannot be injected into the real service.
"""

from langchain_qwen_ci import ChatQwenCodeInterpreter, code_executions
from langchain_qwen_ci.emulator import Cut, EmulatorServer, Stall, Status
from langchain_qwen_ci.errors import QwenStreamError, QwenTimeoutError

QUESTION = "What is 7 to the power of 5?"
RATE_LIMIT = Status(429, "Throttling.RateQuota", "Slow down.", {"retry-after-ms": "100"})


with EmulatorServer(faults=(RATE_LIMIT,)) as server:
    model = ChatQwenCodeInterpreter(base_url=server.url, api_key="any")
    print("Retried after a rate limit:", model.invoke(QUESTION).content)
    print("  requests:", len(server.requests))

# An interrupted answer raises an error, because its code may have run. `partial` is the message
# received so far.
with EmulatorServer(faults=(Cut(after=25),)) as server:
    model = ChatQwenCodeInterpreter(base_url=server.url, api_key="any")
    try:
        model.invoke(QUESTION)
    except QwenStreamError as error:
        print("Interrupted:", error)
        print("  ran:", code_executions(error.partial)[0]["code"])

# `retry_cut_answers` repeats the request; its code may then run twice.
with EmulatorServer(faults=(Cut(after=25),)) as server:
    model = ChatQwenCodeInterpreter(base_url=server.url, api_key="any", retry_cut_answers=True)
    print("Repeated after an interruption:", model.invoke(QUESTION).content)
    print("  requests:", len(server.requests))

with EmulatorServer(faults=(Stall(after=25, seconds=60),)) as server:
    model = ChatQwenCodeInterpreter(base_url=server.url, api_key="any", total_timeout=0.5)
    try:
        model.invoke(QUESTION)
    except QwenTimeoutError as error:
        print("Timed out:", error)
        print("  reasoning:", error.partial.additional_kwargs["reasoning_content"])
