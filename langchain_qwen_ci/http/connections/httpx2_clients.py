"""Clients of httpx2, a fork of httpx, which users may pass instead of those of httpx.

Its classes have the same names and interface, but are not those of httpx. It is not a dependency,
and is never imported here: whoever passes such a client has imported it.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any

import httpx


def classes_named(name: str) -> tuple[type[Any], ...]:
    """Return the class of this name in httpx and, if that is imported, the one in httpx2."""
    modules = (httpx, sys.modules.get("httpx2"))
    found = (getattr(module, name, None) for module in modules)
    return tuple(one for one in found if isinstance(one, type))


def raise_as_httpx(error: Any) -> None:  # noqa: ANN401  # any exception
    """Raise the error of httpx that corresponds to one of httpx2; do nothing with another one.

    Raises:
        httpx.HTTPError: as `httpx2.HTTPError`, or its subclass of the same name.
    """
    if isinstance(error, httpx.HTTPError) or not isinstance(error, classes_named("HTTPError")):
        return
    converted = _kind(error)(str(error))
    # The request remains one of httpx2; what is used of it is the same in both.
    with suppress(RuntimeError):  # httpx2 has not connected the error with a request
        converted.request = error.request
    raise converted from error


def _kind(error: object) -> type[httpx.HTTPError]:
    """Return the first class of an error that httpx has under the same name."""
    for name in (kind.__name__ for kind in type(error).__mro__):
        kind = getattr(httpx, name, None)
        # `HTTPStatusError`, which hooks of a client may raise, needs a response of httpx.
        if isinstance(kind, type) and issubclass(kind, httpx.RequestError):
            return kind
    return httpx.HTTPError
