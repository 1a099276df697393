"""Chooses the exception class for an error that the service reported.

The error code decides before the HTTP status: billing errors come with 429 and with 400, and an
error inside a 200 stream may have no status at all.
"""

from __future__ import annotations

from langchain_qwen_ci.errors.exceptions import (
    QwenAPIError,
    QwenAuthenticationError,
    QwenInvalidRequestError,
    QwenModelNotFoundError,
    QwenPermissionDeniedError,
    QwenRateLimitError,
    QwenServerError,
)

# Native and OpenAI-compatible codes, from Model Studio's error code reference. An entry also covers
# every code that continues it with a dot: "Throttling" covers "Throttling.RateQuota".
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
    """Build the exception for an error of the service.

    Args:
        message: the service's message.
        status_code: HTTP status, if one was given.
        code: the service's error code, if one was given.
        request_id: the service's id of the request.
    """
    error_class = _by_code(code) or _by_status(status_code)
    return error_class(message, status_code=status_code, code=code, request_id=request_id)


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
