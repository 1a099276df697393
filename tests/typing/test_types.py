"""The types of the package as type checkers see them in a user's program."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from langchain_core.caches import BaseCache
from langchain_core.callbacks import BaseCallbackHandler, BaseCallbackManager
from langchain_core.language_models import ModelProfile
from langchain_core.rate_limiters import BaseRateLimiter

from langchain_qwen_ci import ChatQwenCodeInterpreter

# What the module imports for type checkers only.
_IMPORTED = (
    BaseCache,
    BaseCallbackHandler,
    BaseCallbackManager,
    BaseRateLimiter,
    Callable,
    ModelProfile,
)
NAMES = {imported.__name__: imported for imported in _IMPORTED}

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".mypy_cache"
MYPY = ["mypy", "--no-error-summary"]
CHECKERS = {
    # One of the two settings has the plugin of pydantic, which many users have, and many have not.
    "mypy": [*MYPY, "--config-file=mypy.ini", f"--cache-dir={CACHE / 'user'}", "user_program.py"],
    "mypy with pydantic's plugin": [
        *(*MYPY, "--config-file=mypy_with_plugin.ini"),
        *(f"--cache-dir={CACHE / 'user_with_plugin'}", "user_program.py"),
    ],
    # basedpyright is pyright, and brings what runs it, which pyright's own package downloads.
    "pyright": [
        "basedpyright",
        "--project=pyrightconfig.json",
        "--level=error",
        f"--pythonpath={sys.executable}",
    ],
}


@pytest.mark.timeout(600)  # type checkers read all of LangChain, when there is no cache yet
@pytest.mark.parametrize("checker", CHECKERS)
def test_a_users_program_passes(checker: str):
    # Not started in the root of the repository, so that they read the installed package.
    done = subprocess.run(
        [sys.executable, "-m", *CHECKERS[checker]],
        cwd=HERE,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _declared() -> dict[str, tuple[str, Any]]:
    """The arguments of `__init__` that only type checkers see: their types and defaults."""
    module = sys.modules[ChatQwenCodeInterpreter.__module__]
    tree = ast.parse(Path(str(module.__file__)).read_text())
    arguments = next(
        node.args
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name == "__init__"
    )
    return {
        argument.arg: (ast.unparse(argument.annotation), ast.literal_eval(default))
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    }


def test_the_arguments_for_type_checkers_are_the_fields():
    declared = _declared()
    fields = ChatQwenCodeInterpreter.model_fields
    assert set(declared) == set(fields)
    for name, (_, default) in declared.items():
        field = fields[name]
        assert default == (... if field.default_factory else field.default), name


def _without_limits(annotation: Any) -> Any:
    """A type without its `Annotated`, which holds the range that a field allows."""
    holder = type("Holder", (), {"__annotations__": {"field": annotation}})
    return get_type_hints(holder)["field"]


def test_the_arguments_for_type_checkers_have_the_types_of_the_fields():
    declared = {name: annotation for name, (annotation, _) in _declared().items()}
    assert declared.pop("api_key") == "SecretStr | str | None"
    assert declared.pop("http_client") == "httpx.Client | httpx2.Client | None"
    assert declared.pop("http_async_client") == "httpx.AsyncClient | httpx2.AsyncClient | None"
    names = {**vars(sys.modules[ChatQwenCodeInterpreter.__module__]), **NAMES}
    for name, annotation in declared.items():
        field = ChatQwenCodeInterpreter.model_fields[name]
        assert eval(annotation, names) == _without_limits(field.annotation), name
