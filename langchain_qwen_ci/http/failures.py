"""Converts failures of httpx, and redirects, to the errors of this package."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import httpx

from langchain_qwen_ci.errors import (
    QwenCertificateError,
    QwenConnectionError,
    QwenInvalidRequestError,
    QwenStreamError,
    QwenTimeoutError,
)

if TYPE_CHECKING:
    from langchain_qwen_ci.errors import QwenError


def shown_url(request: httpx.Request, *, with_path: bool = True) -> str:
    """Return the URL of a request for an error message: without query and workspace."""
    url = request.url
    host = url.netloc.decode("ascii")
    if workspace := request.headers.get("x-dashscope-workspace"):
        host = host.replace(f"{workspace.lower()}.", "***.")
    path = url.raw_path.partition(b"?")[0].decode("ascii")
    return f"{url.scheme}://{host}{path if with_path else ''}"


def unpickled_advice(lost: tuple[str, ...]) -> str:
    """Return what to do about fields that were lost in a pickle."""
    return (
        f"The model was unpickled, and pickles do not contain {', '.join(lost)}: create the model "
        "in this process, or set DASHSCOPE_API_KEY and DASHSCOPE_WORKSPACE in its environment and "
        "the other fields on the model."
    )


def connect_error(failure: httpx.HTTPError) -> QwenConnectionError:
    """Convert a failure before the head of a response."""
    host = _host(failure)
    if isinstance(failure, httpx.ConnectTimeout):
        return QwenTimeoutError(
            f"{host} could not be connected to in time. Check the network, the proxy settings "
            "and base_url, or pass a longer connect_timeout."
        )
    if isinstance(failure, httpx.TimeoutException):
        return QwenTimeoutError(
            f"{host} did not answer in time ({type(failure).__name__}). Pass a longer "
            "timeout, or check the network and base_url."
        )
    if _is_certificate_error(failure):
        return QwenCertificateError(
            f"The certificate of {host} is not trusted ({failure}), so nothing was sent. Check "
            "base_url; a certificate authority of your own goes into SSL_CERT_FILE."
        )
    return QwenConnectionError(
        f"{host} could not be reached ({_describe(failure)}). Check the network, the proxy "
        "settings and base_url."
    )


def _host(failure: httpx.HTTPError) -> str:
    try:
        return shown_url(failure.request, with_path=False)
    except RuntimeError:  # httpx has not connected the failure with a request
        return "The service"


def _is_certificate_error(failure: BaseException | None) -> bool:
    # httpx wraps the error of the ssl module several times.
    while failure is not None:
        if isinstance(failure, ssl.SSLCertVerificationError):
            return True
        failure = failure.__cause__ or failure.__context__
    return False


def stream_error(failure: httpx.HTTPError) -> QwenError:
    """Convert a failure while the body of a response was read."""
    if isinstance(failure, httpx.TimeoutException):
        return QwenTimeoutError(
            "The service fell silent in the middle of its answer. Where code or reasoning takes "
            "long, pass a longer stream_chunk_timeout, or None."
        )
    return QwenStreamError(f"The answer broke off: {_describe(failure)}.")


def _describe(failure: httpx.HTTPError) -> str:
    return str(failure) or type(failure).__name__


def redirect_error(status_code: int, location: str) -> QwenInvalidRequestError:
    """Return the error for a redirect, which is not followed: the key is for one host only."""
    url = httpx.URL(location)  # httpx has already parsed it without an error
    message = "The service redirects, which is not followed: check base_url."
    if url.host:
        target = f"{url.scheme}://{url.netloc.decode()}"  # without the path, which may be secret
        # Only https: the constructor refuses plain http to most hosts.
        advice = (
            "if that is where your key belongs, set base_url to it"
            if url.scheme == "https"
            else "check base_url"
        )
        message = f"The service redirects to {target}, which is not followed: {advice}."
    return QwenInvalidRequestError(message, status_code=status_code)
