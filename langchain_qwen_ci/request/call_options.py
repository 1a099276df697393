"""Merges the model's fields with the arguments of a call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from langchain_qwen_ci.errors import QwenInputError
from langchain_qwen_ci.request.accepted_names import (
    drop_unsupported,
    flatten_model_kwargs,
    rename_arguments,
    to_list,
)
from langchain_qwen_ci.request.parameters import Parameters

if TYPE_CHECKING:
    from collections.abc import Sequence

_TOKEN_LIMITS = ("max_tokens", "max_completion_tokens")


@dataclass(frozen=True, slots=True)
class CallOptions:
    """The options of one call: the model's fields, overridden by the call's arguments.

    Attributes:
        parameters: the fields, validated.
        extra: arguments of the call that are not fields: tools, and parameters of the service that
            this package does not declare.
    """

    parameters: Parameters
    extra: Mapping[str, Any]

    @classmethod
    def merge(
        cls,
        fields: Parameters,
        arguments: Mapping[str, Any],
        stop: str | Sequence[str] | None = None,
    ) -> CallOptions:
        """Merge the model's fields with the arguments of a call.

        Args:
            fields: the chat model.
            arguments: the keyword arguments of the call.
            stop: the call's own stop sequences; a string is one of them.

        Raises:
            QwenInputError: a value is out of range, or two arguments contradict each other.
        """
        arguments = rename_arguments(drop_unsupported(arguments))
        if stop is not None:
            if arguments.get("stop") is not None:
                raise QwenInputError("Pass stop or stop_sequences, not both.")
            arguments["stop"] = to_list(stop)
        values = {name: getattr(fields, name) for name in Parameters.model_fields}
        model_kwargs = arguments.get("model_kwargs", fields.model_kwargs)
        if isinstance(model_kwargs, Mapping):  # another type is an error of the validation below
            values = _override(values, flatten_model_kwargs(model_kwargs))
        values = _override(values, arguments)
        extra = {
            name: value
            for name, value in values.items()
            if name not in Parameters.model_fields and value is not None
        }
        try:
            parameters = Parameters.model_validate(values)
        except ValidationError as error:
            raise QwenInputError(_describe(error)) from None  # the values may be secrets
        return cls(parameters, extra)


def _describe(error: ValidationError) -> str:
    """Return the names of the wrong arguments and what is wrong with each, without the values."""
    return "; ".join(
        ": ".join(filter(None, [".".join(map(str, details["loc"])), details["msg"]]))
        for details in error.errors(include_url=False, include_context=False, include_input=False)
    )


def _override(values: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with those of `arguments` instead, where there are any."""
    if any(arguments.get(name) is not None for name in _TOKEN_LIMITS):
        # Each is a limit of the same length, so one replaces the other.
        values = {**values, **dict.fromkeys(_TOKEN_LIMITS)}
    return {**values, **arguments}
