"""The chat model: its fields, LangChain's hooks, and one call from input to output.

`chat_model` declares the model and prepares a call, `langchain_hooks` runs it for each of
LangChain's entry points, `call` connects the request, the transport and the message builder.
"""

from langchain_qwen_ci.chat_models.chat_model import ChatQwenCodeInterpreter

__all__ = ["ChatQwenCodeInterpreter"]
