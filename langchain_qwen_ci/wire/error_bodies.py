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

# Names under which servers give the reason of an error; the first one that is set counts.
_REASONS = ("message", "msg", "detail", "error_description", "error_msg", "errors", "reason")
# Names that are no reason.
_NO_REASONS = frozenset(
    {"code", "error", "id", "object", "param", "request_id", "status", "success", "type"}
)


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
        if not isinstance(payload, dict):
            continue
        error = payload.get("error")
        fields = {**payload, **error} if isinstance(error, dict) else payload
        is_explained = any(value for name, value in fields.items() if name not in _NO_REASONS)
        if is_explained and _reason(payload) is None:
            return {**payload, "message": f"The service answered: {excerpt(frame.data)}"}
        return payload
    return {"message": f"The service answered: {excerpt(body)}"} if body.strip() else {}


def service_error(payload: dict[str, Any], status_code: int | None) -> QwenAPIError:
    """Return the exception for an error object.

    Known shapes are `{"code", "message", "request_id"}` of DashScope, OpenAI's `{"error": {"code",
    "type", "message"}, "request_id"}`, the `{"error": "message"}` of gateways, FastAPI's
    `{"detail": …}`, and the problem documents of RFC 9457.
    """
    inner = payload.get("error")
    error = inner if isinstance(inner, dict) else payload
    code = error.get("code") or (error.get("type") if error is inner else None)
    request_id = payload.get("request_id") or error.get("request_id") or error.get("id")
    return api_error(
        error_message(_reason(payload)),
        status_code=status_code,
        code=error_field(code),
        request_id=error_field(request_id),
    )


def _reason(payload: dict[str, Any]) -> str | None:
    """Return the reason that an error object gives; None if there is none."""
    inner = payload.get("error")
    for source in (inner, payload):
        if not isinstance(source, dict):
            continue
        texts = (_text(source.get(name)) for name in _REASONS)
        text, title = next(filter(None, texts), ""), _text(source.get("title"))
        if text or title:
            return ": ".join(filter(None, dict.fromkeys([title, text])))
    return None if isinstance(inner, dict) else _text(inner) or None


def _text(value: object) -> str:
    """Return a reason as text. FastAPI lists one for each invalid field, with its place."""
    if not value:
        return ""
    match value:
        case {"msg": str(message), "loc": [*place]}:  # "input" may repeat the whole request
            return f"{'.'.join(map(str, place))}: {message}"
        case {"message": str(message)} | {"msg": str(message)} | {"reason": str(message)}:
            return message
        case list():
            return "; ".join(filter(None, map(_text, value)))
    return str(value).strip()


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
