"""Prepares a call: checks its input and builds the request, before anything is sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self

from langchain_core.messages import BaseMessage
from pydantic import ConfigDict, field_validator, model_validator

from langchain_qwen_ci import models
from langchain_qwen_ci.chat_models.call import Call
from langchain_qwen_ci.chat_models.langchain_hooks import LangChainHooks
from langchain_qwen_ci.http.settings import ConnectionSettings
from langchain_qwen_ci.request.accepted_names import check_call_arguments
from langchain_qwen_ci.request.call_options import CallOptions
from langchain_qwen_ci.request.messages import reject_unsupported_media, to_prompt
from langchain_qwen_ci.request.options import (
    check_api_support,
    resolve_options,
    resolve_thinking,
)
from langchain_qwen_ci.request.parameters import Parameters
from langchain_qwen_ci.request.service_rules import check_service_rules
from langchain_qwen_ci.request.tools import secret_fields, secret_texts
from langchain_qwen_ci.response.limits import RequestLimits
from langchain_qwen_ci.response.message_builder import MessageBuilder
from langchain_qwen_ci.tracing.execution_runs import trace_executions
from langchain_qwen_ci.wire.chat_completions import ChatCompletionsWire
from langchain_qwen_ci.wire.dashscope import DashScopeWire
from langchain_qwen_ci.wire.responses import ResponsesWire

if TYPE_CHECKING:
    from langchain_qwen_ci.response.observers import EventObserver
    from langchain_qwen_ci.tracing.parent_run import ParentRun
    from langchain_qwen_ci.wire import Wire

_WIRES: dict[models.Api, Wire] = {
    "dashscope": DashScopeWire(),
    "responses": ResponsesWire(),
    "chat_completions": ChatCompletionsWire(),
}


class CallPreparation(LangChainHooks, Parameters, ConnectionSettings):
    """The fields of the chat model, and the way from them and the input to a `Call`."""

    model_config = ConfigDict(protected_namespaces=(), use_attribute_docstrings=True)

    api: models.Api = "dashscope"
    """Which API of the service to use. "dashscope", the native API, returns code and call counts;
    "responses" also returns what the code printed; "chat_completions" returns neither."""

    @field_validator("output_version")
    @classmethod
    def _check_output_version(cls, version: str | None) -> str | None:
        if version not in (None, "v0", "v1"):
            raise ValueError('output_version takes "v0", for text as content, or "v1", for blocks.')
        return version

    @model_validator(mode="after")
    def _check_fields(self) -> Self:
        target = self._target
        check_api_support(self, target)
        interpreter = self.enable_code_interpreter
        resolve_thinking(self, target, interpreter=interpreter, effort=self.reasoning_effort)
        _warn_about_model(self.model, target, interpreter=interpreter)
        return self

    @property
    def _target(self) -> models.Target:
        return models.Target(self.api, self._service_address(self.api).host.is_alibaba)

    def _prepare_call(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None,
        arguments: dict[str, Any],
        run: ParentRun | None,
    ) -> Call:
        check_call_arguments(arguments, type(self).model_fields)
        call = CallOptions.merge(self, arguments, stop)
        transport = self._transport(self.api)
        target = models.Target(self.api, transport.host.is_alibaba)
        options = resolve_options(call, target)
        if secrets := secret_fields(options.server_tools):
            self._check_plain_http(transport.host, secrets)
        _warn_about_model(options.model, target, interpreter=options.enable_code_interpreter)
        prompt = to_prompt(messages)
        reject_unsupported_media(prompt, options)
        check_service_rules(prompt, options, target)
        wire = _WIRES[self.api]
        request = wire.request(prompt, options)
        self._check_size(request)
        return Call(
            transport=transport,
            wire=wire,
            request=request,
            policy=self._policy([*transport.secrets, *secret_texts(options.server_tools)]),
            builder=MessageBuilder(options.model),
            observers=tuple(self._observers(call.parameters, run)),
        )

    def _observers(self, parameters: Parameters, run: ParentRun | None) -> Iterator[EventObserver]:
        if self.trace_code_executions and (tracer := trace_executions(run)):
            yield tracer
        limits = RequestLimits(parameters.max_request_tokens, parameters.max_code_executions)
        if limits != RequestLimits():
            yield limits


def _warn_about_model(model: str, target: models.Target, *, interpreter: bool) -> None:
    models.warn_about_model(model, target, interpreter=interpreter)
    if interpreter and target.api == "chat_completions":
        models.warn_code_not_returned()
