"""Adds costs to LangSmith's runs, from your own table of prices. Optional.

LangSmith has the prices of some models; those of Qwen depend on region, tier and contract. Costs
are added to the metadata of the model's run, not to `message.usage_metadata`, which other programs
sum up as tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from langchain_qwen_ci.metadata import MODEL_PROVIDER

_TOKENS_PER_PRICE = 1_000_000
_CACHE_CREATION_RATE = 1.25  # of the price of input tokens


@dataclass(frozen=True, slots=True)
class Price:
    """Prices in US dollars for a million tokens, the currency that LangSmith shows.

    Attributes:
        input: price of input tokens.
        output: price of output tokens, including reasoning.
        cached_input: price of input tokens read from the service's cache; None: same as `input`.
            The service charges 10 % of `input` with the explicit context cache, 20 % with the
            implicit one.
        cache_creation: price of input tokens written to the explicit context cache; None: 125 % of
            `input`, which is what the service charges.
    """

    input: float
    output: float
    cached_input: float | None = None
    cache_creation: float | None = None


Prices = Mapping[str, Price] | Callable[[str, Mapping[str, Any]], Price | None]


def with_costs(prices: Prices) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return a function that adds costs to the metadata of Qwen models' runs.

    Args:
        prices: prices by model name; or a function of model name and usage, for prices with tiers,
            that returns None for unknown prices.

    Returns:
        A function for `langsmith.Client(hide_metadata=…)`, which LangSmith calls with the metadata
        of every run before it is sent. It does not change runs of other models.

    Example:
        ```python
        client = langsmith.Client(hide_metadata=with_costs({"qwen3-max": Price(1.2, 6.0)}))
        model.invoke("…", {"callbacks": [LangChainTracer(client=client)]})
        ```
    """
    price_of = prices if callable(prices) else lambda model, _: prices.get(model)

    def add_costs(metadata: dict[str, Any]) -> dict[str, Any]:
        usage, model = metadata.get("usage_metadata"), metadata.get("ls_model_name")
        if metadata.get("ls_provider") != MODEL_PROVIDER or not usage or not model:
            return metadata
        price = price_of(model, usage)
        return (
            {**metadata, "usage_metadata": {**usage, **_costs(usage, price)}} if price else metadata
        )

    return add_costs


def _costs(usage: Mapping[str, Any], price: Price) -> dict[str, float]:
    details = usage.get("input_token_details") or {}
    # Both are part of the input tokens.
    read, written = details.get("cache_read", 0), details.get("cache_creation", 0)
    read_price = price.input if price.cached_input is None else price.cached_input
    write_price = (
        _CACHE_CREATION_RATE * price.input if price.cache_creation is None else price.cache_creation
    )
    input_cost = (
        (usage["input_tokens"] - read - written) * price.input
        + read * read_price
        + written * write_price
    )
    output_cost = usage["output_tokens"] * price.output
    return {
        "input_cost": input_cost / _TOKENS_PER_PRICE,
        "output_cost": output_cost / _TOKENS_PER_PRICE,
        "total_cost": (input_cost + output_cost) / _TOKENS_PER_PRICE,
    }
