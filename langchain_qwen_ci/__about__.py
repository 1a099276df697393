"""The version of this package, and the versions that a bug report needs."""

from __future__ import annotations

__version__ = "0.1.0"

_REPORTED_PACKAGES = (
    "langchain-core",
    "langgraph",
    "langchain",
    "httpx",
    "pydantic",
    "langsmith",
    "openai",
)


def versions() -> str:
    """Return the versions of this package, of Python, and of packages it works with, as lines."""
    # Only the command line needs them.
    import platform  # noqa: PLC0415
    from importlib import metadata  # noqa: PLC0415

    lines = [
        f"langchain-qwen-ci {__version__}",
        f"Python {platform.python_version()} ({platform.python_implementation()})",
        platform.platform(),
    ]
    for package in _REPORTED_PACKAGES:
        try:
            lines.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            lines.append(f"{package} not installed")
    return "\n".join(lines)
