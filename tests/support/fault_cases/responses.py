"""Responses of the server: complete, cut, and with errors."""

from __future__ import annotations

import json
from typing import Any

import dashscope_streams
import responses_streams
from fault_server import KEEP, Play, chunked, head
from stream_corpus import REQUEST_ID


def stream_head(**headers: str | int) -> bytes:
    return head(Content_Type="text/event-stream;charset=UTF-8", **headers)


def complete_response(body: bytes, **headers: str | int) -> Play:
    """A correct response on a connection that stays open."""
    return (stream_head(**headers, Content_Length=len(body)) + body, KEEP)


def closed_after(body: bytes, *then: Any) -> Play:
    """A body that is ended by closing the connection."""
    return (stream_head(Connection="close") + body, *then)


def open_chunks(body: bytes, *then: Any) -> Play:
    """A chunked body without the last chunk."""
    return (stream_head(Transfer_Encoding="chunked") + chunked(body, ends=False), *then)


def error_response(wire: str, status: int, code: str, **headers: str | int) -> Play:
    return document(error_body(wire, code), status, **headers)


def document(body: bytes, status: int = 200, **headers: str | int) -> Play:
    result = head(status, Content_Type="application/json", Content_Length=len(body), **headers)
    return (result + body, KEEP)


def error_body(wire: str, code: str) -> bytes:
    result = {"message": "No.", "code": code}
    if wire == "chat_completions":
        return json.dumps({"error": result, "request_id": REQUEST_ID}).encode()
    return json.dumps({**result, "request_id": REQUEST_ID}).encode()


def error_frame(wire: str, status: int, code: str) -> bytes:
    """An error inside a stream, in the format of each API."""
    if wire == "chat_completions":
        return b"data: " + error_body(wire, code) + b"\n\n"
    if wire == "dashscope":
        return dashscope_streams.error_frame(status, code, "No.")
    error = {"code": code, "message": f"<{status}> {code}: No."}
    failed = responses_streams.response("failed", error=error)
    return responses_streams.stream(responses_streams.event("failed", response=failed))


_OPENAI_CODES = {
    "InvalidParameter": "invalid_parameter_error",
    "InvalidApiKey": "invalid_api_key",
    "AccessDenied": "access_denied",
    "ModelNotFound": "model_not_found",
    "Throttling": "limit_requests",
    "InternalError": "internal_error",
}


def error_code(wire: str, code: str) -> str:
    return _OPENAI_CODES.get(code, code) if wire == "chat_completions" else code


def encoded_response(body: bytes, encoding: str) -> Play:
    return complete_response(body, Content_Encoding=encoding)
