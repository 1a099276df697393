"""A self-hosted server or a gateway: a URL that ends in /v1, and other models.

Uses the server at QWEN_BASE_URL (with QWEN_MODEL and QWEN_API_KEY) if it is set, otherwise the
emulator, which has the paths of OpenAI-compatible servers, too. For a server that needs no key, set
QWEN_API_KEY to nothing.
"""

import os
import warnings
from contextlib import ExitStack

from langchain_qwen_ci import ChatQwenCodeInterpreter, code_executions, plugin_counts
from langchain_qwen_ci.emulator import EmulatorServer

with ExitStack() as stack:
    base_url = os.environ.get("QWEN_BASE_URL")
    if base_url is None:
        base_url = f"{stack.enter_context(EmulatorServer()).url}/v1"
    model_name = os.environ.get("QWEN_MODEL", "qwen3.5-27b")

    warnings.filterwarnings("ignore", message="Chat Completions runs code")
    for api in ("responses", "chat_completions"):
        model = ChatQwenCodeInterpreter(
            model=model_name,
            api=api,
            base_url=base_url,
            api_key=os.environ.get("QWEN_API_KEY", "any"),
        )
        message = model.invoke("What is 7 to the power of 5?")
        print(f"{api}: {message.content}")
        for execution in code_executions(message):
            print("  ran:", execution["code"], "→", execution.get("output", "(not returned)"))
        print("  plugin counts:", plugin_counts(message) or "(not returned)")
