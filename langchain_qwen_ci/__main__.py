"""The command line: `python -m langchain_qwen_ci "question"` shows reasoning, code and answer.

Exit codes: 0 success, 1 the call failed or standard output could not be written, 2 wrong usage, 130
interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import warnings
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, Protocol, get_args

from langchain_qwen_ci import (
    ChatQwenCodeInterpreter,
    code_delta,
    code_executions,
    plugin_counts,
)
from langchain_qwen_ci.__about__ import versions
from langchain_qwen_ci.errors import QwenError
from langchain_qwen_ci.errors.text_safety import escape_unencodable, escape_unprintable
from langchain_qwen_ci.models import Api

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from langchain_core.messages import AIMessage, AIMessageChunk
    from rich.console import Console

_PACE = 0.015  # seconds between two frames of the emulator, about the speed of the real service
_EXIT_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        The exit code.
    """
    for stream in (sys.stdout, sys.stderr):
        escape_unencodable(stream)
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.version:
        print(versions())
        return 0
    question = arguments.question or _read_question(parser)
    if not question:
        parser.error("no question: pass one, or write it to standard input")
    if sys.stdout is None:  # it was closed by the parent process, for example with `>&-`
        parser.error("standard output is closed")
    _handle_interrupts()
    try:
        with ExitStack() as stack:
            stack.enter_context(warnings.catch_warnings())
            warnings.showwarning = _show_warning
            model = _model(arguments, stack)
            display = _DisplayWithFallback(_JsonDisplay if arguments.json else _text_display)
            _run_question(model, question, display)
    except KeyboardInterrupt:
        _report("\nInterrupted.")
        return _EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe has closed it, for example `| head`
        _discard_output()
        return 0
    except (QwenError, ValueError, ImportError, OSError) as error:
        _report(f"{type(error).__name__}: {escape_unprintable(str(error))}")
        return 1
    return 1 if display.has_failed else 0


def _handle_interrupts() -> None:
    """Let the first Ctrl-C end the answer, and the second one the process."""

    def interrupt(*_: object) -> None:
        # Here and not where the exception is caught: a second Ctrl-C may come before that.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        raise KeyboardInterrupt

    # A process in the background of a shell ignores Ctrl-C.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)


def _read_question(parser: argparse.ArgumentParser) -> str:
    if sys.stdin is None or sys.stdin.isatty():
        return ""
    try:
        return sys.stdin.read().strip()
    except UnicodeDecodeError:
        parser.error(f"standard input is not text in the encoding {sys.stdin.encoding}")


def _report(text: str) -> None:
    """Print a line to standard error; an answer is not lost because this fails."""
    if sys.stderr is not None:  # None if it was closed; `print` would use standard output
        with suppress(OSError):
            print(text, file=sys.stderr, flush=True)


def _discard_output() -> None:
    """Discard what standard output still buffers: Python would fail to write it at exit."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """Print a warning without file name and line, which do not help a user of the command."""
    _report(f"Warning: {escape_unprintable(str(message))}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m langchain_qwen_ci",
        description="Ask Qwen a question and show its reasoning, the code that it runs and the "
        "answer. Uses the service if DASHSCOPE_API_KEY (or DASHSCOPE_BASE_URL) is set, otherwise "
        "an emulator on this machine.",
    )
    parser.add_argument("question", nargs="?", help="default: standard input")
    parser.add_argument("--model", default="qwen3-max")
    parser.add_argument(
        "--api",
        default="dashscope",
        choices=get_args(Api),
        help="responses also shows the output of the code (default: dashscope)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document at the end")
    parser.add_argument(
        "--version", action="store_true", help="print the versions that a bug report needs"
    )
    return parser


def _model(arguments: argparse.Namespace, stack: ExitStack) -> ChatQwenCodeInterpreter:
    if os.environ.get("DASHSCOPE_API_KEY") or os.environ.get("DASHSCOPE_BASE_URL"):
        model = ChatQwenCodeInterpreter(model=arguments.model, api=arguments.api)
    else:
        from langchain_qwen_ci.emulator import EmulatorServer  # noqa: PLC0415  # an extra

        server = stack.enter_context(EmulatorServer(pace=0 if arguments.json else _PACE))
        _report("DASHSCOPE_API_KEY is not set: asking the emulator.")
        model = ChatQwenCodeInterpreter(
            model=arguments.model, api=arguments.api, base_url=server.url, api_key="emulator"
        )
    stack.callback(model.close)
    return model


def _run_question(model: ChatQwenCodeInterpreter, question: str, display: Display) -> None:
    message: AIMessageChunk | None = None
    try:
        for chunk in model.stream(question):
            message = chunk if message is None else message + chunk
            display.show(chunk)
    except QwenError as error:
        if error.partial is not None:
            display.end(error.partial)
        raise
    except KeyboardInterrupt:
        if message is not None:
            display.end(message)
        raise
    if message is not None:
        display.end(message)


class Display(Protocol):
    """Prints an answer while it is received."""

    def show(self, chunk: AIMessageChunk) -> None:
        """Print the content of a chunk."""

    def end(self, message: AIMessage) -> None:
        """Print what is known only at the end: counts, usage and finish reason."""


class _DisplayWithFallback:
    """Prints to standard error if standard output cannot be written: the answer is paid for.

    Attributes:
        has_failed: whether standard output could not be written, for example on a full disk.
    """

    def __init__(self, make_display: Callable[[], Display]) -> None:
        self._make_display = make_display
        self._display = make_display()
        self._message: AIMessageChunk | None = None
        self.has_failed = False

    def show(self, chunk: AIMessageChunk) -> None:
        self._message = chunk if self._message is None else self._message + chunk
        try:
            self._display.show(chunk)
        except OSError as error:
            self._fall_back(error)

    def end(self, message: AIMessage) -> None:
        try:
            self._display.end(message)
        except OSError as error:
            self._fall_back(error)
            self._display.end(message)

    def _fall_back(self, error: OSError) -> None:
        """Print the answer so far to standard error, and from now on the rest of it."""
        if self.has_failed or isinstance(error, BrokenPipeError):
            raise error
        self.has_failed = True
        _report(f"Standard output cannot be written ({error.strerror}). The answer:")
        _discard_output()
        sys.stdout = sys.stderr
        self._display = self._make_display()
        if self._message is not None:
            self._display.show(self._message)


class _JsonDisplay:
    """Prints one JSON document at the end, for other programs."""

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
        # Control characters can only be inside strings, where JSON allows the same escapes.
        text = escape_unprintable(json.dumps(document, ensure_ascii=False, indent=2))
        print(text, flush=True)


def _text_display() -> Display:
    try:
        from rich.console import Console  # noqa: PLC0415  # an extra
    except ModuleNotFoundError:
        return _PlainDisplay()

    class PipeConsole(Console):
        def on_broken_pipe(self) -> None:
            raise  # noqa: PLE0704  # rich calls it in an except block, and would exit with code 1

    return _RichDisplay(PipeConsole(highlight=False))


class _PlainDisplay:
    """Prints text without colours."""

    def __init__(self) -> None:
        self._part = ""  # the id of the program, or the type of other blocks, printed last

    def show(self, chunk: AIMessageChunk) -> None:
        for block in map(dict, chunk.content_blocks):
            part = str(block.get("id") or block["type"])
            if part != self._part and self._part:
                # Outputs end with a line break; all other parts end in the middle of a line.
                self._write("\n" if self._part == "server_tool_result" else "\n\n")
            self._part = part
            self._show_block(block)

    def end(self, message: AIMessage) -> None:
        self._write("\n\n")
        self._show_summary(escape_unprintable(_summary(message)))

    def _show_block(self, block: dict[str, Any]) -> None:
        match block:
            case {"type": "reasoning", "reasoning": text} | {"type": "text", "text": text}:
                self._write(escape_unprintable(text))
            case {"type": "server_tool_call", "name": "code_interpreter"}:
                self._write(">>> ")
                self._show_code(escape_unprintable(code_delta(block)))
            case {"type": "server_tool_call_chunk"}:  # more code of the same program
                self._show_code(escape_unprintable(code_delta(block)))
            case {"type": "server_tool_result", "output": str(output)}:
                self._show_output(escape_unprintable(output))

    def _show_code(self, code: str) -> None:
        self._write(code)

    def _show_output(self, output: str) -> None:
        self._write(f"{output}\n")

    def _show_summary(self, summary: str) -> None:
        self._write(f"{summary}\n")

    def _write(self, text: str) -> None:
        print(text, end="", flush=True)


class _RichDisplay(_PlainDisplay):
    """Prints reasoning dimmed and code highlighted."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def _show_block(self, block: dict[str, Any]) -> None:
        match block:
            case {"type": "reasoning", "reasoning": text}:
                self._console.print(escape_unprintable(text), end="", style="dim", markup=False)
            case _:
                super()._show_block(block)

    def _show_code(self, code: str) -> None:
        from rich.syntax import Syntax  # noqa: PLC0415  # an extra

        # Not a panel, which could not grow with the code.
        source = Syntax("", "python", theme="ansi_dark").highlight(code)
        if not code.endswith("\n"):
            source.remove_suffix("\n")  # the lexer appends it
        self._console.print(source, end="", soft_wrap=True)

    def _show_output(self, output: str) -> None:
        from rich.panel import Panel  # noqa: PLC0415  # an extra
        from rich.text import Text  # noqa: PLC0415

        self._console.print(Panel(Text(output), title="output", title_align="left"))

    def _show_summary(self, summary: str) -> None:
        self._console.print(summary, style="dim", markup=False)


def _summary(message: AIMessage) -> str:
    counts = plugin_counts(message)
    parts = [f"{name} × {count}" for name, count in counts.items()] or ["no code was shown"]  # noqa: RUF001
    if usage := message.usage_metadata:
        reasoning = usage.get("output_token_details", {}).get("reasoning")
        suffix = f", {reasoning} of them reasoning" if reasoning else ""
        parts.append(f"{usage['input_tokens']} tokens in, {usage['output_tokens']} out{suffix}")
    parts.append(message.response_metadata.get("finish_reason") or "interrupted")
    return " · ".join(parts)


if __name__ == "__main__":
    sys.exit(main())
