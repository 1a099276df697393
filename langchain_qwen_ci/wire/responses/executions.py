"""Reads the code, output, images and status of an execution from its item."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from langchain_qwen_ci.metadata import CODE_INTERPRETER
from langchain_qwen_ci.wire.json_values import as_string, parse_json

if TYPE_CHECKING:
    from langchain_qwen_ci.wire.events import ExecutionStatus

Payload = dict[str, Any]

_FENCED = re.compile(r"\s*```\w*\n(.*?)\n?```\s*", re.DOTALL)
# The text and the URL exclude brackets, so that the search takes linear time even in logs that
# consist of nothing but the beginnings of links.
_IMAGE_LINK = re.compile(r"!\[[^\[\]]*\]\(([^()\s]+)\)")
_TRACEBACK = "Traceback (most recent call last)"
FAILED_STATUSES = ("failed", "incomplete")


def is_execution(item: Payload) -> bool:
    """Return whether an item is an execution of code.

    vLLM streams an execution as `code_interpreter_call` and repeats it in the last frame as a call
    of an MCP server with the name of the interpreter.
    """
    return item["type"] == "code_interpreter_call" or (
        item["type"] == "mcp_call" and item.get("server_label") == CODE_INTERPRETER
    )


def to_code_interpreter_call(item: Payload) -> Payload:
    """Convert the item of an execution to the fields of a `code_interpreter_call`."""
    if item["type"] != "mcp_call":
        return item
    output = item.get("output")
    return {
        "id": item.get("id"),
        "code": code_of_arguments(as_string(item.get("arguments") or "")),
        "status": "failed" if item.get("error") else item.get("status"),
        "outputs": None if output is None else [{"type": "logs", "logs": as_string(output)}],
    }


def code_of_arguments(arguments: str) -> str:
    """Return the code of an MCP call: its arguments, or the field `code` of them."""
    if not arguments.lstrip().startswith("{"):
        return arguments
    try:
        code = parse_json(arguments.encode("utf-8", "surrogatepass")).get("code")
    except (ValueError, AttributeError):
        return arguments  # code that begins with a dictionary
    return code if isinstance(code, str) else arguments


def logs(outputs: list[Payload]) -> str | None:
    """Return what an execution printed, without the Markdown fence around it.

    None if the server reports no outputs: an empty list says so on vLLM and SGLang. Alibaba's
    service reports a program that printed nothing as an empty fence.
    """
    if not outputs:
        return None
    return "\n".join(
        fenced[1] if (fenced := _FENCED.fullmatch(text)) else text
        for output in outputs
        if (text := output.get("logs"))
    )


def images(outputs: list[Payload], logs: str) -> tuple[str, ...]:
    """Return the URLs of images that an execution drew.

    The service sends them as Markdown links in the logs, signed for about twelve hours; OpenAI's
    API has outputs of type "image".
    """
    linked = _IMAGE_LINK.findall(logs)
    return (
        *linked,
        *(as_string(output["url"]) for output in outputs if output.get("type") == "image"),
    )


def execution_status(item: Payload, logs: str) -> ExecutionStatus:
    """Return the status of an execution.

    The service reports a Python exception as "completed"; only the logs show it.
    """
    return "failed" if item.get("status") in FAILED_STATUSES or _TRACEBACK in logs else "completed"
