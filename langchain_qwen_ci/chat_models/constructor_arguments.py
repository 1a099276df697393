"""Prepares the arguments of the model's constructor, and explains those that it does not have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import BaseCallbackHandler
from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from langchain_qwen_ci.errors import QwenInputError
from langchain_qwen_ci.request.accepted_names import (
    SERVICE_PARAMETERS,
    Unsupported,
    drop_unsupported,
    nearest_name,
    rename_arguments,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

# Parameters of the service that ChatOpenAI has as fields. Here they are sent through model_kwargs.
_SERVICE_PARAMETERS = ("logprobs", "top_logprobs")
# Fields that do not accept None themselves, which means the default in other models.
_NONE_MEANS_DEFAULT = ("default_headers", "max_retries", "model_kwargs")
_OPENAI_PARAMETERS = (
    "context_management",
    "include",
    "logit_bias",
    "prompt_cache_options",
    "service_tier",
    "truncation",
    "verbosity",
)
_BIND_TOOLS = Unsupported("tools are bound to a model: pass them to bind_tools.")
# Only the constructor rejects these: as arguments of a call they are sent to the service.
_UNSUPPORTED_FIELDS: Mapping[str, Unsupported] = {
    "tools": _BIND_TOOLS,
    "functions": _BIND_TOOLS,
    "search_options": Unsupported("pass model_kwargs={'search_options': …}."),
    "n": Unsupported("a message holds one answer: for more of them, use batch.", (None, 1)),
    "frequency_penalty": Unsupported(
        "the service has presence_penalty, and repetition_penalty with another scale (1 is none); "
        "model_kwargs={'frequency_penalty': …} sends it to another server."
    ),
    "reasoning": Unsupported(
        'pass reasoning_effort="…", api="responses"; model_kwargs={"reasoning": {…}} sends other '
        "keys there."
    ),
    **{
        name: Unsupported(
            f"the service documents no such parameter; model_kwargs={{{name!r}: …}} sends it."
        )
        for name in _OPENAI_PARAMETERS
    },
}


def prepare_arguments(arguments: Mapping[str, Any], fields: Collection[str]) -> dict[str, Any]:
    """Return the arguments of the constructor under the names of its fields.

    Args:
        arguments: the arguments as the caller wrote them.
        fields: the names of the model's fields, which take precedence over the tables of names.

    Raises:
        QwenInputError: an argument has no counterpart, or two names of one field are given.
    """
    foreign = {name: value for name, value in arguments.items() if name not in fields}
    foreign = drop_unsupported(drop_unsupported(foreign), _UNSUPPORTED_FIELDS)
    own = {name: value for name, value in arguments.items() if name in fields}
    prepared = _move_service_parameters(rename_arguments({**own, **foreign}), fields)
    for name in _NONE_MEANS_DEFAULT:
        if name in prepared and prepared[name] is None:
            del prepared[name]
    if isinstance(prepared.get("callbacks"), BaseCallbackHandler):
        prepared["callbacks"] = [prepared["callbacks"]]
    if isinstance(prepared.get("tags"), str):
        prepared["tags"] = [prepared["tags"]]
    return prepared


def _move_service_parameters(arguments: dict[str, Any], fields: Collection[str]) -> dict[str, Any]:
    """Move parameters of the service that are not fields to `model_kwargs`."""
    names = [name for name in _SERVICE_PARAMETERS if name in arguments and name not in fields]
    parameters = {name: value for name in names if (value := arguments.pop(name)) is not None}
    if not parameters:
        return arguments
    model_kwargs = arguments.get("model_kwargs") or {}
    if twice := parameters.keys() & model_kwargs.keys():
        raise QwenInputError(f"{', '.join(sorted(twice))}: given in model_kwargs as well.")
    return {**arguments, "model_kwargs": {**model_kwargs, **parameters}}


def explain_unknown(error: ValidationError, fields: Collection[str]) -> ValidationError:
    """Return the error with the nearest field for each unknown argument, if it has such arguments.

    The other errors of the constructor are then left out, because most of them follow from a
    misspelt name. Values are left out, because they may be secrets.
    """
    unknown = [
        details["loc"]
        for details in error.errors(include_url=False, include_context=False, include_input=False)
        if details["type"] == "extra_forbidden"
    ]
    if not unknown:
        return error
    explained = [
        InitErrorDetails(
            type=PydanticCustomError(
                "extra_forbidden", "{advice}", {"advice": _advice(loc, fields)}
            ),
            loc=loc,
            input=None,
        )
        for loc in unknown
    ]
    return ValidationError.from_exception_data(error.title, explained, hide_input=True)


def _advice(loc: tuple[int | str, ...], fields: Collection[str]) -> str:
    name = str(loc[-1])
    nearest = name if name in SERVICE_PARAMETERS else nearest_name(name, fields)
    if nearest in fields:
        return f"{name}: did you mean {nearest}?"
    question = "no such argument." if nearest in (name, None) else f"did you mean {nearest}?"
    return (
        f"{name}: {question} Parameters of the service without a field are passed in "
        f"model_kwargs={{{nearest or name!r}: …}}."
    )
