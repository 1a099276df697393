"""Measures of new processes: imports, and the way to the first token."""

from __future__ import annotations

import subprocess
import sys
import time

# Optional packages that other clients of this environment need. Where they are installed, some
# packages import them, so they are hidden: a plain installation does not have them.
_HIDE = "import sys; sys.modules['httpx_aiohttp'] = sys.modules['aiohttp'] = None\n"
_OURS = (
    "from langchain_qwen_ci import ChatQwenCodeInterpreter\n"
    "model = ChatQwenCodeInterpreter(model='qwen3-max-small', api='chat_completions', "
    "api_key='any', base_url={url!r}{more})\n"
)
IMPORTS = {
    "core and httpx": "import langchain_core.language_models.chat_models, httpx\n",
    "ours": _OURS.format(url="http://127.0.0.1:9", more=""),
}
_FIRST_TOKEN = (
    "next(iter(model.stream('?')))\n"
    "import time, os; print(time.process_time(), flush=True); os._exit(0)\n"
)
COLD = {
    "ours": _HIDE + _OURS + _FIRST_TOKEN,
    "ours fast": (_OURS + _FIRST_TOKEN).replace("{more}", ", transport='fast'"),
    "ChatOpenAI": _HIDE
    + "from langchain_openai import ChatOpenAI\n"
    + "model = ChatOpenAI(model='qwen3-max-small', api_key='any', "
    + "base_url={url!r} + '/compatible-mode/v1')\n"
    + _FIRST_TOKEN,
}


def import_time(name: str) -> float:
    """CPU seconds of these imports in a new process, without the start of Python."""
    program = (
        _HIDE + "import time; started = time.process_time()\n" + IMPORTS[name] + "import os\n"
        "print(time.process_time() - started, flush=True); os._exit(0)"
    )
    return float(_output(program))


def cold_start(name: str, url: str) -> tuple[float, float]:
    """Wall and CPU seconds from the start of a process to the first chunk of a stream."""
    program = COLD[name].format(url=url, more="")
    started = time.perf_counter()
    cpu = float(_output(program))
    return time.perf_counter() - started, cpu


def _output(program: str) -> str:
    command = [sys.executable, "-W", "ignore", "-c", program]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
