"""LangChain's standard suites, against the emulator: with the interpreter off and on.

Each API is one line of `APIS`; each of its classes runs with both output versions.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from langchain_core.load import load
from langchain_core.messages import AIMessage
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests
from langchain_tests.unit_tests import chat_models as unit_suite

from langchain_qwen_ci import ChatQwenCodeInterpreter
from langchain_qwen_ci.emulator import EmulatorServer

pytestmark = [
    pytest.mark.filterwarnings("ignore:The function `load` is in beta"),
    # Said once of an API that runs code and shows none: no test of this file wants to see any.
    pytest.mark.filterwarnings("ignore:Chat Completions runs code"),
]

APIS = ("dashscope", "chat_completions", "responses")
OUTPUT_VERSIONS = {"": None, "V1": "v1"}
# With vision, and free to think or not: forced calls and JSON want it off.
QWEN = "qwen3.5-plus"
# One white pixel.
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8/5+hHgAHggJ/PchI7wAAAABJRU5ErkJg"
    "gg=="
)


class Suite:
    """What every class says of the model; the generated classes fill the rest in."""

    api: str
    output_version: str | None
    interpreter: bool

    @property
    def chat_model_class(self) -> type[ChatQwenCodeInterpreter]:
        return ChatQwenCodeInterpreter

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {
            "api": self.api,
            "model": QWEN,
            "enable_code_interpreter": self.interpreter,
            "output_version": self.output_version,
        }

    @property
    def has_tool_calling(self) -> bool:
        return not self.interpreter  # the service takes no function tools together with it


class UnitSuite(Suite):
    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        environment = {"DASHSCOPE_API_KEY": "sk-from-env"}
        return environment, self.chat_model_params, {"api_key": "sk-from-env"}

    @pytest.fixture(autouse=True)
    def _allowed_to_load(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What `load` calls "all" is a list of LangChain's own packages: name the class, as users
        of any other package must."""

        def load_allowed(obj: Any, **options: Any) -> Any:
            return load(obj, **{**options, "allowed_objects": [ChatQwenCodeInterpreter]})

        monkeypatch.setattr(unit_suite, "load", load_allowed)


@pytest.fixture(scope="module", autouse=True)
def _emulator() -> Iterator[None]:
    with EmulatorServer() as server:
        IntegrationSuite.url = server.url
        yield


class IntegrationSuite(Suite):
    url: str

    @pytest.fixture(autouse=True)
    def _no_downloads(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The suite fetches its picture from the web: any will do."""
        monkeypatch.setattr(httpx, "get", lambda *_, **__: httpx.Response(200, content=PNG))

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {**super().chat_model_params, "base_url": self.url, "api_key": "any"}

    @pytest.mark.xfail(
        strict=True,
        reason="The service cannot be made to call any one of several functions: the model warns "
        "of that, which is an error in these tests, and sends auto.",
    )
    def test_tool_choice(self, model: ChatQwenCodeInterpreter) -> None:
        super().test_tool_choice(model)

    @property
    def supports_json_mode(self) -> bool:
        return True  # beside the interpreter by way of the prompt

    @property
    def supports_image_inputs(self) -> bool:
        return True

    @property
    def supports_image_urls(self) -> bool:
        return True

    @property
    def supports_anthropic_inputs(self) -> bool:
        return not self.interpreter  # its history is one of tools

    # Left as the suite has them: supports_pdf_inputs, supports_pdf_tool_message (the service reads
    # no PDF), supports_audio_inputs (only models that run no code listen),
    # supports_image_tool_message (nothing is known of pictures in results), enable_vcr_tests
    # (there is nothing to record: nothing leaves this machine).

    @property
    def model_override_value(self) -> str:
        return "qwen3.6-plus"

    @property
    def supported_usage_metadata_details(self) -> Any:
        return {"invoke": ["reasoning_output"], "stream": ["reasoning_output"]}

    def invoke_with_reasoning_output(self, *, stream: bool = False) -> AIMessage:
        model = ChatQwenCodeInterpreter(**{**self.chat_model_params, "enable_thinking": True})
        if not stream:
            return model.invoke("What is 2 + 2?")
        whole: Any = None
        for chunk in model.stream("What is 2 + 2?"):
            whole = chunk if whole is None else whole + chunk
        return whole


# Off: a model with vision and without thinking, as forced calls and JSON want it.
KINDS = {"Off": False, "On": True}
SUITES = {
    "Unit": (UnitSuite, ChatModelUnitTests),
    "Integration": (IntegrationSuite, ChatModelIntegrationTests),
}
for api in APIS:
    for kind, interpreter in KINDS.items():
        for version, output_version in OUTPUT_VERSIONS.items():
            for suite, bases in SUITES.items():
                words = "".join(word.title() for word in api.split("_"))
                name = f"Test{words}{suite}{kind}{version}"
                text = {
                    "api": api,
                    "interpreter": interpreter,
                    "output_version": output_version,
                    "__test__": True,
                }
                globals()[name] = type(name, bases, text)
