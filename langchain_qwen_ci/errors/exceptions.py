"""The exception classes; `langchain_qwen_ci.errors` shows them as a tree."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from langchain_core.exceptions import (
    ModelAPIError,
    ModelAuthenticationError,
    ModelConnectionError,
    ModelError,
    ModelInvalidRequestError,
    ModelNotFoundError,
    ModelPermissionDeniedError,
    ModelRateLimitError,
    ModelTimeoutError,
)
from langchain_core.messages import AIMessage

from langchain_qwen_ci.errors.text_safety import escape_unprintable, mask_repeated_secrets
from langchain_qwen_ci.metadata import code_executions, plugin_counts


class QwenError(ModelError):
    """Base class of every error of this package."""

    partial: AIMessage | None = None
    """The message received before the error: text, reasoning, code, usage. None if nothing was
    received."""

    def __str__(self) -> str:
        return escape_unprintable(super().__str__())

    def mask(self, secrets: Collection[str]) -> None:
        """Replace secrets by asterisks: some gateways repeat the key that they reject.

        Causes that contain one are removed: their classes are those of other packages.
        """
        self.args = tuple(
            mask_repeated_secrets(argument, secrets) if isinstance(argument, str) else argument
            for argument in self.args
        )
        cause = self.__cause__
        while cause is not None:
            if mask_repeated_secrets(str(cause), secrets) != str(cause):
                self.__cause__ = self.__context__ = None
                return
            cause = cause.__cause__ or cause.__context__

    @property
    def response(self) -> PartialResponse:
        """The partial message for LangChain's tracers; in your own code read `partial`.

        Raises:
            AttributeError: nothing was received.
        """
        if self.partial is None:
            raise AttributeError("Nothing was received before the error.")
        return PartialResponse(self.partial, getattr(self, "status_code", None))


class PartialResponse:
    """A partial message with the interface of an HTTP response.

    LangChain records `error.response` in the trace of the model's run on every path. Without it
    only `stream` and `astream` would record the output received before an error.
    """

    def __init__(self, partial: AIMessage, status_code: int | None) -> None:
        self._partial = partial
        self.status_code = status_code
        # The service's response headers say nothing to a reader, and headers added by gateways
        # may be secret, so no headers are traced.
        self.headers: Mapping[str, str] = {}

    def json(self) -> dict[str, Any]:
        """The partial message as plain data, without empty values."""
        message = self._partial
        fields = {
            "text": str(message.text),
            "reasoning": message.additional_kwargs.get("reasoning_content"),
            "code_executions": code_executions(message),
            "plugin_counts": plugin_counts(message),
            "tool_calls": message.tool_calls,
            "usage": message.usage_metadata,
            "request_id": message.response_metadata.get("request_id"),
        }
        return {name: value for name, value in fields.items() if value}


class QwenInputError(QwenError, ModelInvalidRequestError, ValueError):
    """The input is invalid; no request was sent."""


class ToolsNotAllowedError(QwenInputError):
    """Function tools were given while the code interpreter is on; this package allows only one."""


class QwenBudgetError(QwenError, ValueError):
    """A limit set by the caller was reached: the answer was ended, or no request was sent.

    Attributes:
        limit: what is limited: "tokens" or "executions".
        allowed: the limit.
        used: how many were used.
    """

    def __init__(self, *, limit: str, allowed: int, used: int) -> None:
        super().__init__(f"The limit of {allowed} {limit} was reached: {used} were used.")
        self.limit = limit
        self.allowed = allowed
        self.used = used


class QwenAPIError(QwenError):
    """The service answered with an error.

    Attributes:
        status_code: the HTTP status, also of an error inside a stream; None if none was given.
        code: the service's error code, such as `"InvalidParameter"` or `"Throttling.RateQuota"`.
        request_id: the request's id, which Alibaba Cloud's support asks for.
        retry_after: seconds to wait before the next attempt, if the service named them.
        url: the URL that was not found, without its query; None for other errors.
    """

    advice = ""
    """What the user can do; appended to the message."""

    advice_elsewhere = ""
    """What the user can do if the host is not Alibaba's; replaces `advice` there if it is set."""

    def __init__(
        self,
        message: str,
        *,
        status_code: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status_code = status_code
        self.code = code
        self.request_id = request_id
        self.retry_after: float | None = None
        self.url: str | None = None

    def mask(self, secrets: Collection[str]) -> None:
        super().mask(secrets)
        self.message = mask_repeated_secrets(self.message, secrets)
        self.code = self.code and mask_repeated_secrets(self.code, secrets)
        self.request_id = self.request_id and mask_repeated_secrets(self.request_id, secrets)

    def __str__(self) -> str:
        details = [
            f"HTTP {self.status_code}" if self.status_code else "",
            self.code or "",
            f"request {self.request_id}" if self.request_id else "",
            self.url or "",
        ]
        known = ", ".join(filter(None, details))
        text = f"{self.message} ({known})" if known else self.message
        return escape_unprintable(f"{text} {self.advice}".rstrip())


class QwenInvalidRequestError(QwenAPIError, ModelInvalidRequestError, ValueError):
    """The service does not accept the request."""


class QwenAuthenticationError(QwenAPIError, ModelAuthenticationError, ValueError):
    """The API key is missing, wrong, or belongs to another region."""

    advice = (
        "Set DASHSCOPE_API_KEY, or pass api_key; keys are bound to a region, so check region too."
    )
    advice_elsewhere = "Set DASHSCOPE_API_KEY to a key of this server, or pass api_key."


class QwenPermissionDeniedError(QwenAPIError, ModelPermissionDeniedError, ValueError):
    """The key has no permission: no access to the model or workspace, or a bill is unpaid."""

    advice = "Check the model's and the workspace's permissions and the account's bills."
    advice_elsewhere = "Check what the key of this server permits."


class QwenModelNotFoundError(QwenAPIError, ModelNotFoundError, ValueError):
    """The model does not exist, or not in this region."""

    advice = "Check the model's name, and that the region offers it."
    advice_elsewhere = (
        "Check the model's name and base_url: the path may be wrong, and not the model. Most "
        "servers have the API below /v1."
    )


class QwenRateLimitError(QwenAPIError, ModelRateLimitError):
    """Too many requests or tokens at the moment."""

    advice = "Wait, send fewer requests at once, or ask for a higher quota."


class QwenServerError(QwenAPIError, ModelAPIError):
    """The service failed."""

    advice = "Try again later; Alibaba Cloud's support asks for the request's id."
    advice_elsewhere = "Try again later, or look into the log of the server."


class QwenConnectionError(QwenError, ModelConnectionError):
    """The service could not be reached."""


class QwenTimeoutError(QwenConnectionError, ModelTimeoutError):
    """The service did not answer in time, or sent nothing for too long during an answer."""

    def __str__(self) -> str:
        """The message, and whether a program was running: no data comes while code runs."""
        text = super().__str__()
        executions = code_executions(self.partial) if self.partial else ()
        is_running = any(execution["status"] == "in_progress" for execution in executions)
        return f"{text} A program was running." if is_running else text


class QwenCertificateError(QwenConnectionError, ValueError):
    """The service's TLS certificate is not trusted; no request was sent."""

    is_retryable = False


class QwenStreamError(QwenError, ModelAPIError):
    """The answer ended early or cannot be read; `partial` is the message so far."""


class QwenAnswerLimitError(QwenStreamError, ValueError):
    """The answer is larger than the limits allow; `partial` is the message so far."""

    is_retryable = False
