"""Errors, retries and partial answers, with faults injected by the emulator.

No key is needed, nor would one help: the real service cannot be asked to fail.
"""

from langchain_qwen_ci import ChatQwenCodeInterpreter, code_executions
from langchain_qwen_ci.emulator import Cut, EmulatorServer, Stall, Status
from langchain_qwen_ci.errors import QwenStreamError, QwenTimeoutError

QUESTION = "What is 7 to the power of 5?"
SLOW_DOWN = Status(429, "Throttling.RateQuota", "Slow down.", {"retry-after-ms": "100"})


with EmulatorServer(faults=(SLOW_DOWN,)) as server:
    model = ChatQwenCodeInterpreter(base_url=server.url, api_key="any")
    print("Told to slow down:", model.invoke(QUESTION).content)
    print("  requests:", len(server.requests))

# An answer that breaks off is raised, since its code has run: here is what there was of it.
with EmulatorServer(faults=(Cut(after=25),)) as server:
    model = ChatQwenCodeInterpreter(base_url=server.url, api_key="any")
    try:
        model.invoke(QUESTION)
    except QwenStreamError as error:
        print("Broken off:", error)
        print("  ran:", code_executions(error.partial)[0]["code"])

# Where code may run twice, it is asked for again.
with EmulatorServer(faults=(Cut(after=25),)) as server:
    model = ChatQwenCodeInterpreter(base_url=server.url, api_key="any", retry_cut_answers=True)
    print("Asked again:", model.invoke(QUESTION).content)
    print("  requests:", len(server.requests))

with EmulatorServer(faults=(Stall(after=25, seconds=60),)) as server:
    model = ChatQwenCodeInterpreter(base_url=server.url, api_key="any", total_timeout=0.5)
    try:
        model.invoke(QUESTION)
    except QwenTimeoutError as error:
        print("Too late:", error)
        print("  thought:", error.partial.additional_kwargs["reasoning_content"])
