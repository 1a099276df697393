"""What can go wrong, as one tree.

```
QwenError                          everything below; also langchain_core's ModelError
├── QwenInputError                 refused here, before anything was sent        (ValueError)
│   └── ToolsNotAllowedError       function tools while the interpreter is on
├── QwenBudgetError                a limit on tokens or executions was reached   (ValueError)
├── QwenAPIError                   the service refused, or failed
│   ├── QwenInvalidRequestError    400 and other 4xx                             (ValueError)
│   ├── QwenAuthenticationError    401, or no key at all                         (ValueError)
│   ├── QwenPermissionDeniedError  403, unpaid bills                             (ValueError)
│   ├── QwenModelNotFoundError     404                                           (ValueError)
│   ├── QwenRateLimitError         429                                           retryable
│   └── QwenServerError            408, 409, 5xx                                 retryable
├── QwenConnectionError            the service could not be reached              retryable
│   ├── QwenTimeoutError           it did not answer, or fell silent, in time    retryable
│   └── QwenCertificateError       its certificate is not trusted                (ValueError)
└── QwenStreamError                the answer broke off, or cannot be read       retryable
    └── QwenAnswerLimitError       it is larger than what is taken               (ValueError)
```

Each leaf is also the class of `langchain_core.exceptions` that means the same, so that code
written for any provider catches it. Errors that no retry can cure are `ValueError`s too, since
that is what LangGraph's default retry policy does not retry.

`is_retryable` says whether the same request may succeed later; it is not a promise that the
first one had no effect: once a stream has begun, code may have run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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

from langchain_qwen_ci.metadata import code_executions, plugin_counts
from langchain_qwen_ci.printable import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_core.messages import AIMessage


class QwenError(ModelError):
    """Any failure of a call to Qwen."""

    partial: AIMessage | None = None
    """What had arrived before the failure: text, reasoning, code, usage. None if nothing had."""

    def __str__(self) -> str:
        return printable(super().__str__())

    @property
    def response(self) -> Arrived:
        """For traces; read `partial` instead.

        Raises:
            AttributeError: nothing had arrived.
        """
        if self.partial is None:
            raise AttributeError("Nothing had arrived.")
        return Arrived(self.partial, getattr(self, "status_code", None))


class Arrived:
    """What had arrived before an error, in the shape of an HTTP response.

    LangChain records the `response` that an error has in the trace of the model's run, by every
    way that the call was made. What was received is otherwise recorded for `stream` alone.
    """

    def __init__(self, partial: AIMessage, status_code: int | None) -> None:
        self._partial = partial
        self.status_code = status_code
        # Those of the service are of no use to a reader, and what gateways add may be secret.
        self.headers: Mapping[str, str] = {}

    def json(self) -> dict[str, Any]:
        """The partial message as plain data, without what is empty."""
        message = self._partial
        told = {
            "text": str(message.text),
            "reasoning": message.additional_kwargs.get("reasoning_content"),
            "code_executions": code_executions(message),
            "plugin_counts": plugin_counts(message),
            "tool_calls": message.tool_calls,
            "usage": message.usage_metadata,
            "request_id": message.response_metadata.get("request_id"),
        }
        return {name: value for name, value in told.items() if value}


class QwenInputError(QwenError, ModelInvalidRequestError, ValueError):
    """The input cannot be sent; nothing was."""


class ToolsNotAllowedError(QwenInputError):
    """Function tools were given while the code interpreter is on: the service takes only one."""


class QwenBudgetError(QwenError, ValueError):
    """A limit was reached: the answer was ended, or nothing was sent. Trying again is no cure.

    Attributes:
        limit: what it is a limit on: "tokens" or "executions".
        allowed: how many of them.
        used: how many there were.
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
        code: the service's own code, such as `"InvalidParameter"` or `"Throttling.RateQuota"`.
        request_id: what Alibaba Cloud's support asks for.
        retry_after: seconds to wait before trying again, where the service named them.
    """

    advice = ""

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

    def __str__(self) -> str:
        facts = [
            f"HTTP {self.status_code}" if self.status_code else "",
            self.code or "",
            f"request {self.request_id}" if self.request_id else "",
        ]
        known = ", ".join(filter(None, facts))
        told = f"{self.message} ({known})" if known else self.message
        return printable(f"{told} {self.advice}".rstrip())


class QwenInvalidRequestError(QwenAPIError, ModelInvalidRequestError, ValueError):
    """The service does not accept the request."""


class QwenAuthenticationError(QwenAPIError, ModelAuthenticationError, ValueError):
    """The API key is missing, wrong, or of another region."""

    advice = (
        "Set DASHSCOPE_API_KEY, or pass api_key; keys are bound to a region, so check region too."
    )


class QwenPermissionDeniedError(QwenAPIError, ModelPermissionDeniedError, ValueError):
    """The key may not do this: no access to the model or workspace, or a bill is unpaid."""

    advice = "Check the model's and the workspace's permissions and the account's bills."


class QwenModelNotFoundError(QwenAPIError, ModelNotFoundError, ValueError):
    """The service does not know the model, or not in this region."""

    advice = "Check the model's name, and that the region offers it."


class QwenRateLimitError(QwenAPIError, ModelRateLimitError):
    """Too many requests or tokens for now."""

    advice = "Wait, send fewer requests at once, or ask for a higher quota."


class QwenServerError(QwenAPIError, ModelAPIError):
    """The service failed."""

    advice = "Try again later; Alibaba Cloud's support wants the request's id."


class QwenConnectionError(QwenError, ModelConnectionError):
    """The service could not be reached."""


class QwenTimeoutError(QwenConnectionError, ModelTimeoutError):
    """The service did not answer, or fell silent in the middle of an answer."""

    def __str__(self) -> str:
        """Silence while code runs is no sign of a dead connection: it is said which it was."""
        said = super().__str__()
        runs = code_executions(self.partial) if self.partial else ()
        running = any(run["status"] == "in_progress" for run in runs)
        return f"{said} A program was running." if running else said


class QwenCertificateError(QwenConnectionError, ValueError):
    """The service has not shown a certificate that is trusted; nothing was sent."""

    is_retryable = False


class QwenStreamError(QwenError, ModelAPIError):
    """The answer broke off before its end, or cannot be read; `partial` is the message so far."""


class QwenAnswerLimitError(QwenStreamError, ValueError):
    """The answer was ended because it is larger than what is taken; `partial` is what was."""

    is_retryable = False


# Codes decide before the status does: billing comes as 429 and as 400, and an error inside a
# 200 stream may have no status at all. Native and OpenAI-compatible codes, error-code
# reference of Model Studio; an entry also covers every code that continues it with a dot.
_BY_CODE: dict[str, type[QwenAPIError]] = {
    "Arrearage": QwenPermissionDeniedError,
    "CommodityNotPurchased": QwenPermissionDeniedError,
    "PrepaidBillOverdue": QwenPermissionDeniedError,
    "PostpaidBillOverdue": QwenPermissionDeniedError,
    "AllocationQuota": QwenPermissionDeniedError,
    "AccessDenied": QwenPermissionDeniedError,
    "Model.AccessDenied": QwenPermissionDeniedError,
    "Workspace.AccessDenied": QwenPermissionDeniedError,
    "access_denied": QwenPermissionDeniedError,
    "InvalidApiKey": QwenAuthenticationError,
    "NOT AUTHORIZED": QwenAuthenticationError,
    "invalid_api_key": QwenAuthenticationError,
    "ModelNotFound": QwenModelNotFoundError,
    "Model.NotExist": QwenModelNotFoundError,
    "WorkSpaceNotFound": QwenModelNotFoundError,
    "model_not_found": QwenModelNotFoundError,
    "Throttling": QwenRateLimitError,
    "limit_requests": QwenRateLimitError,
    "limit_burst_rate": QwenRateLimitError,
    "insufficient_quota": QwenRateLimitError,
    "InvalidParameter": QwenInvalidRequestError,
    "BadRequest": QwenInvalidRequestError,
    "DataInspectionFailed": QwenInvalidRequestError,
    "invalid_parameter_error": QwenInvalidRequestError,
    "data_inspection_failed": QwenInvalidRequestError,
    "InternalError": QwenServerError,
    "InternalError.Algo.InvalidParameter": QwenInvalidRequestError,
    "SystemError": QwenServerError,
    "ModelServiceFailed": QwenServerError,
    "InvokePluginFailed": QwenServerError,
    "RequestTimeOut": QwenServerError,
    "internal_error": QwenServerError,
    "server_error": QwenServerError,
    "ModelServingError": QwenServerError,
    "ModelUnavailable": QwenServerError,
    "ServiceUnavailable": QwenServerError,
    "GatewayTimeout": QwenServerError,
}

_BY_STATUS: dict[int, type[QwenAPIError]] = {
    401: QwenAuthenticationError,
    403: QwenPermissionDeniedError,
    404: QwenModelNotFoundError,
    408: QwenServerError,
    409: QwenServerError,
    429: QwenRateLimitError,
}

_FIRST_SERVER_STATUS = 500


def api_error(
    message: str,
    *,
    status_code: int | None = None,
    code: str | None = None,
    request_id: str | None = None,
) -> QwenAPIError:
    """The error of the tree that fits what the service said."""
    kind = _by_code(code) or _by_status(status_code)
    return kind(message, status_code=status_code, code=code, request_id=request_id)


def _by_code(code: str | None) -> type[QwenAPIError] | None:
    while code:
        if code in _BY_CODE:
            return _BY_CODE[code]
        code = code.rpartition(".")[0]
    return None


def _by_status(status_code: int | None) -> type[QwenAPIError]:
    if status_code is None:
        return QwenAPIError
    if status_code >= _FIRST_SERVER_STATUS:
        return QwenServerError
    return _BY_STATUS.get(status_code, QwenInvalidRequestError)
