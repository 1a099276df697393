"""`python -m langchain_qwen_ci.emulator`: runs the emulator until Ctrl-C."""

from __future__ import annotations

import argparse
import sys
import threading

from langchain_qwen_ci.emulator import EmulatorServer


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m langchain_qwen_ci.emulator",
        description="Qwen's code-interpreter-enabled endpoints on this machine.",
    )
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one")
    parser.add_argument("--pace", type=float, default=0.02, help="seconds between two frames")
    parser.add_argument("--api-key", help="the only key to accept (default: any)")
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="accept requests for this host, besides localhost; can be repeated",
    )
    arguments = parser.parse_args()
    server = EmulatorServer(
        port=arguments.port,
        pace=arguments.pace,
        api_key=arguments.api_key,
        allowed_hosts=arguments.allow_host,
    )
    try:
        server.start()
    except OSError as error:
        print(f"Port {arguments.port} cannot be used ({error.strerror}).", file=sys.stderr)
        return 1
    print(f"Listening on {server.url}; Ctrl-C ends it. Point a client at it with")
    key = "the key" if arguments.api_key else "anything"
    print(f"  DASHSCOPE_BASE_URL={server.url} DASHSCOPE_API_KEY={key!r}")
    print(f"  OPENAI_BASE_URL={server.url}/compatible-mode/v1 OPENAI_API_KEY={key!r}", flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        print()
    finally:
        server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
