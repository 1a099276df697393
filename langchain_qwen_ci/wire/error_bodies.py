"""Converts error bodies of the service to exceptions, and quotes bytes in error messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_qwen_ci.errors import api_error
from langchain_qwen_ci.errors.text_safety import escape_line
from langchain_qwen_ci.wire.json_values import parse_json
from langchain_qwen_ci.wire.sse import SSEParser

if TYPE_CHECKING:
    from langchain_qwen_ci.errors import QwenAPIError

EXCERPT_BYTES = 200


def parse_error_body(body: bytes) -> dict[str, Any]:
    """Return the JSON object in the body of an HTTP error.

    The Content-Type is ignored: a recorded 401 of the service had none. The object may also be the
    data of a server-sent event. Any other body becomes the message of the error.
    """
    parser = SSEParser()
    for frame in (*parser.feed(body), *parser.close()):
        try:
            payload = parse_json(frame.data)
        except ValueError:
            continue
        if isinstance(payload, dict):
            return payload
    return {"message": f"The service answered: {excerpt(body)}"} if body.strip() else {}


def service_error(payload: dict[str, Any], status_code: int | None) -> QwenAPIError:
    """Return the exception for an error object.

    Four shapes are known: `{"code", "message", "request_id"}` of DashScope, OpenAI's
    `{"error": {"code", "type", "message"}, "request_id"}`, `{"error": "message"}`, which
    gateways send, and `{"detail": …}` of servers that are written with FastAPI.
    """
    inner = payload.get("error") or _fastapi_message(payload.get("detail"))
    error = inner if isinstance(inner, dict) else payload
    code = error.get("code") or (error.get("type") if error is inner else None)
    request_id = payload.get("request_id") or error.get("request_id") or error.get("id")
    return api_error(
        error_message(error.get("message") or (inner if isinstance(inner, str) else None)),
        status_code=status_code,
        code=error_field(code),
        request_id=error_field(request_id),
    )


def _fastapi_message(detail: object) -> str | None:
    """Return the text of FastAPI's `detail`: a message, or a list of invalid fields."""
    if not isinstance(detail, list):
        return detail if isinstance(detail, str) else None
    errors = [error for error in detail if isinstance(error, dict) and error.get("msg")]
    return "; ".join(
        f"{'.'.join(map(str, error['loc']))}: {error['msg']}"
        if isinstance(error.get("loc"), list)
        else str(error["msg"])
        for error in errors
    )


def error_message(message: object) -> str:
    """Return the service's message as one printable line."""
    return escape_line(str(message or "The service gives no reason."))


def error_field(value: object) -> str | None:
    """Return an error code or request id as printable text; None if it is empty."""
    return escape_line(str(value)) if value else None


def excerpt(data: bytes) -> str:
    """Return the first bytes as printable text, to be quoted in an error message."""
    text = data[:EXCERPT_BYTES].decode("utf-8", "replace")
    return escape_line(f"{text}…" if len(data) > EXCERPT_BYTES else text)
