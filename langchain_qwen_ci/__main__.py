"""`python -m langchain_qwen_ci "question"`: ask, and watch it think, run code and answer.

Exit codes: 0 answered, 1 the call failed, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import warnings
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Protocol, get_args

from langchain_qwen_ci import (
    ChatQwenCodeInterpreter,
    __version__,
    code_executions,
    plugin_counts,
)
from langchain_qwen_ci.catalogue import Api
from langchain_qwen_ci.errors import QwenError
from langchain_qwen_ci.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.messages import AIMessage, AIMessageChunk
    from rich.console import Console

_PACE = 0.015  # seconds between frames of the emulator: about the speed of the real service
_INTERRUPTED = 130
_REPORTED = ("langchain-core", "langgraph", "langchain", "httpx", "pydantic", "openai")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        The exit code.
    """
    parser = _parser()
    chosen = parser.parse_args(arguments)
    if chosen.version:
        print(_versions())
        return 0
    question = chosen.question or _from_input()
    if not question:
        parser.error("no question: pass one, or write it to standard input")
    try:
        with ExitStack() as stack:
            stack.enter_context(warnings.catch_warnings())
            warnings.showwarning = _warn
            model = _model(chosen, stack)
            screen = _Json() if chosen.json else _screen()
            _ask(model, question, screen)
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (QwenError, ValueError, ImportError) as error:
        print(f"{type(error).__name__}: {printable(str(error))}", file=sys.stderr)
        return 1
    return 0


def _warn(message: Warning | str, *_: Any, **__: Any) -> None:
    """A warning without the place in the code, which is nothing to the user of a program."""
    print(f"Warning: {printable(str(message))}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m langchain_qwen_ci",
        description="Ask Qwen, and watch it think, run code and answer. With DASHSCOPE_API_KEY "
        "(or DASHSCOPE_BASE_URL) set it asks that service, else the emulator on this machine.",
    )
    parser.add_argument("question", nargs="?", help="default: standard input")
    parser.add_argument("--model", default="qwen3-max")
    parser.add_argument(
        "--api",
        default="dashscope",
        choices=get_args(Api),
        help="responses also shows what the code printed (default: dashscope)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document at the end")
    parser.add_argument(
        "--version", action="store_true", help="print the versions that a report of a bug needs"
    )
    return parser


def _versions() -> str:
    lines = [f"langchain-qwen-ci {__version__}", f"Python {platform.python_version()}"]
    lines.append(platform.platform())
    for name in _REPORTED:
        try:
            lines.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            lines.append(f"{name} is not installed")
    return "\n".join(lines)


def _from_input() -> str:
    return "" if sys.stdin.isatty() else sys.stdin.read().strip()


def _model(chosen: argparse.Namespace, stack: ExitStack) -> ChatQwenCodeInterpreter:
    if os.environ.get("DASHSCOPE_API_KEY") or os.environ.get("DASHSCOPE_BASE_URL"):
        model = ChatQwenCodeInterpreter(model=chosen.model, api=chosen.api)
    else:
        from langchain_qwen_ci.emulator import EmulatorServer  # noqa: PLC0415  # an extra

        server = stack.enter_context(EmulatorServer(pace=0 if chosen.json else _PACE))
        print("DASHSCOPE_API_KEY is not set: asking the emulator.", file=sys.stderr)
        model = ChatQwenCodeInterpreter(
            model=chosen.model, api=chosen.api, base_url=server.url, api_key="emulator"
        )
    stack.callback(model.close)
    return model


def _ask(model: ChatQwenCodeInterpreter, question: str, screen: Screen) -> None:
    whole: AIMessageChunk | None = None
    try:
        for chunk in model.stream(question):
            whole = chunk if whole is None else whole + chunk
            screen.show(chunk)
    except QwenError as error:
        if error.partial is not None:
            screen.end(error.partial)
        raise
    if whole is not None:
        screen.end(whole)


class Screen(Protocol):
    """Where an answer is shown."""

    def show(self, chunk: AIMessageChunk) -> None:
        """Show what a chunk adds."""

    def end(self, message: AIMessage) -> None:
        """Show what is known at the end."""


class _Json:
    """One document, for other programs to read."""

    def show(self, chunk: AIMessageChunk) -> None:
        pass

    def end(self, message: AIMessage) -> None:
        document = {
            "answer": str(message.text),
            "reasoning": message.additional_kwargs.get("reasoning_content", ""),
            "code_executions": code_executions(message),
            "plugin_counts": plugin_counts(message),
            "usage": message.usage_metadata,
            "finish_reason": message.response_metadata.get("finish_reason"),
            "model": message.response_metadata.get("model_name"),
            "request_id": message.response_metadata.get("request_id"),
        }
        # What steers a terminal stands inside of strings, where JSON takes an escape as well.
        print(printable(json.dumps(document, ensure_ascii=False, indent=2)))


def _screen() -> Screen:
    try:
        from rich.console import Console  # noqa: PLC0415  # an extra
    except ModuleNotFoundError:
        return _Plain()
    return _Rich(Console(highlight=False))


class _Plain:
    """Text without colours."""

    def __init__(self) -> None:
        self._stage = ""

    def show(self, chunk: AIMessageChunk) -> None:
        for block in chunk.content_blocks:
            stage = str(block["type"])
            if stage != self._stage and self._stage:
                # Code ends with its line, everything else in the middle of one.
                self._write("\n" if self._stage.startswith("server") else "\n\n")
            self._stage = stage
            self._block(dict(block))

    def end(self, message: AIMessage) -> None:
        self._write("\n\n")
        self._facts(printable(_facts(message)))

    def _block(self, block: dict[str, Any]) -> None:
        match block:
            case {"type": "reasoning", "reasoning": text} | {"type": "text", "text": text}:
                self._write(printable(text))
            case {"type": "server_tool_call", "args": {"code": code}} if code:
                self._code(printable(code))
            case {"type": "server_tool_call_chunk", "args": piece}:
                self._code(printable(json.loads(f'"{piece}"')))
            case {"type": "server_tool_result", "output": str(output)}:
                self._output(printable(output))

    def _code(self, code: str) -> None:
        self._write(f">>> {code}\n")

    def _output(self, output: str) -> None:
        self._write(f"{output}\n")

    def _facts(self, facts: str) -> None:
        self._write(f"{facts}\n")

    def _write(self, text: str) -> None:
        print(text, end="", flush=True)


class _Rich(_Plain):
    """Thinking dim, code highlighted."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def _block(self, block: dict[str, Any]) -> None:
        match block:
            case {"type": "reasoning", "reasoning": text}:
                self._console.print(printable(text), end="", style="dim", markup=False)
            case _:
                super()._block(block)

    def _code(self, code: str) -> None:
        from rich.panel import Panel  # noqa: PLC0415  # an extra
        from rich.syntax import Syntax  # noqa: PLC0415

        source = Syntax(code, "python", theme="ansi_dark", word_wrap=True)
        self._console.print(Panel(source, title="code_interpreter", title_align="left"))

    def _output(self, output: str) -> None:
        from rich.panel import Panel  # noqa: PLC0415  # an extra
        from rich.text import Text  # noqa: PLC0415

        self._console.print(Panel(Text(output), title="output", title_align="left"))

    def _facts(self, facts: str) -> None:
        self._console.print(facts, style="dim", markup=False)


def _facts(message: AIMessage) -> str:
    counts = plugin_counts(message)
    facts = [f"{name} × {count}" for name, count in counts.items()] or ["no code was shown"]  # noqa: RUF001
    if usage := message.usage_metadata:
        thought = usage.get("output_token_details", {}).get("reasoning")
        thinking = f", {thought} of them reasoning" if thought else ""
        facts.append(f"{usage['input_tokens']} tokens in, {usage['output_tokens']} out{thinking}")
    facts.append(message.response_metadata.get("finish_reason") or "broken off")
    return " · ".join(facts)


if __name__ == "__main__":
    sys.exit(main())
