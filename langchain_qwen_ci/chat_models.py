"""`ChatQwenCodeInterpreter`: its fields, and thin hooks between LangChain and the house.

One call: messages → `messages.to_prompt` → `wire.request` → `transport` → bytes → `wire.decoder`
→ events → `chunks`.
"""

from __future__ import annotations

import os
import warnings
from contextlib import aclosing, closing
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, Self

from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.model_profile import ModelProfile
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.utils import secret_from_env
from langchain_core.utils.utils import LC_ID_PREFIX
from pydantic import Field, PrivateAttr, SecretStr, field_validator, model_validator

from langchain_qwen_ci import catalogue
from langchain_qwen_ci._version import __version__
from langchain_qwen_ci.chunks import PROVIDER, Answer, chunk_encoder
from langchain_qwen_ci.errors import QwenInputError
from langchain_qwen_ci.messages import to_prompt
from langchain_qwen_ci.parameters import (
    Parameters,
    as_function,
    is_interpreter,
    refuse_tools,
    resolve,
    thinking,
)
from langchain_qwen_ci.transport import Destination, Transport
from langchain_qwen_ci.wire.dashscope import DashScopeWire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from langchain_core.callbacks import (
        AsyncCallbackManagerForLLMRun,
        CallbackManagerForLLMRun,
    )
    from langchain_core.language_models import LanguageModelInput, LangSmithParams
    from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
    from langchain_core.runnables import Runnable
    from langchain_core.tools import BaseTool

    from langchain_qwen_ci.wire import Wire, WireRequest

_WIRES: dict[str, Wire] = {"dashscope": DashScopeWire()}
