"""Every error that a call can raise, as one tree.

```
QwenError                          base class; also langchain_core's ModelError
├── QwenInputError                 invalid input; no request was sent           (ValueError)
│   └── ToolsNotAllowedError       function tools while the interpreter is on
├── QwenBudgetError                a limit on tokens or executions was reached  (ValueError)
├── QwenAPIError                   the service answered with an error
│   ├── QwenInvalidRequestError    400 and other 4xx                            (ValueError)
│   ├── QwenAuthenticationError    401, or no key at all                        (ValueError)
│   ├── QwenPermissionDeniedError  403, unpaid bills                            (ValueError)
│   ├── QwenModelNotFoundError     404                                          (ValueError)
│   ├── QwenRateLimitError         429                                          retryable
│   └── QwenServerError            408, 409, 5xx                                retryable
├── QwenConnectionError            the service could not be reached             retryable
│   ├── QwenTimeoutError           no answer, or no data for too long           retryable
│   └── QwenCertificateError       the TLS certificate is not trusted           (ValueError)
└── QwenStreamError                the answer ended early or cannot be read     retryable
    └── QwenAnswerLimitError       the answer is larger than the limits allow   (ValueError)
```

Each leaf also inherits the class of `langchain_core.exceptions` with the same meaning, so code
written for any provider catches it. Errors that a retry cannot solve are `ValueError`s too, because
LangGraph's default retry policy does not retry those.

`is_retryable` says whether the same request may succeed later. It does not say that the first
request had no effect: once a stream has started, code may have run.
"""

from langchain_qwen_ci.errors.exceptions import (
    PartialResponse,
    QwenAnswerLimitError,
    QwenAPIError,
    QwenAuthenticationError,
    QwenBudgetError,
    QwenCertificateError,
    QwenConnectionError,
    QwenError,
    QwenInputError,
    QwenInvalidRequestError,
    QwenModelNotFoundError,
    QwenPermissionDeniedError,
    QwenRateLimitError,
    QwenServerError,
    QwenStreamError,
    QwenTimeoutError,
    ToolsNotAllowedError,
)
from langchain_qwen_ci.errors.service_errors import api_error

__all__ = [
    "PartialResponse",
    "QwenAPIError",
    "QwenAnswerLimitError",
    "QwenAuthenticationError",
    "QwenBudgetError",
    "QwenCertificateError",
    "QwenConnectionError",
    "QwenError",
    "QwenInputError",
    "QwenInvalidRequestError",
    "QwenModelNotFoundError",
    "QwenPermissionDeniedError",
    "QwenRateLimitError",
    "QwenServerError",
    "QwenStreamError",
    "QwenTimeoutError",
    "ToolsNotAllowedError",
    "api_error",
]
