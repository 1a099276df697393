"""Costs in LangSmith, from a table of your own. Off unless you ask for it.

LangSmith knows the prices of some models; Qwen's depend on region, tier and contract. What is added
here stands in the metadata of the model's run, never in `message.usage_metadata`, which other
programs add up as tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from langchain_qwen_ci.response.content_blocks import MODEL_PROVIDER

_TOKENS = 1_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """What a million tokens cost, in dollars, which is what LangSmith shows.

    Attributes:
        input: of tokens that the model reads.
        output: of tokens that it writes; reasoning is written, too.
        cached_input: of tokens read from the service's cache; None: as `input`.
    """

    input: float
    output: float
    cached_input: float | None = None


Prices = Mapping[str, Price] | Callable[[str, Mapping[str, Any]], Price | None]


def with_costs(prices: Prices) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Fill in the costs of Qwen models' runs.

    Args:
        prices: by model name; or a function of model name and usage, for prices with tiers, that
            returns None where it knows none.

    Returns:
        A function for `langsmith.Client(hide_metadata=…)`, which sees the metadata of every run
        before it is sent. Runs of other models are left as they are.

    Example:
        ```python
        client = langsmith.Client(hide_metadata=with_costs({"qwen3-max": Price(1.2, 6.0)}))
        model.invoke("…", {"callbacks": [LangChainTracer(client=client)]})
        ```
    """
    price_of = prices if callable(prices) else lambda model, _: prices.get(model)

    def fill_in(metadata: dict[str, Any]) -> dict[str, Any]:
        usage, model = metadata.get("usage_metadata"), metadata.get("ls_model_name")
        if metadata.get("ls_provider") != MODEL_PROVIDER or not usage or not model:
            return metadata
        price = price_of(model, usage)
        return (
            {**metadata, "usage_metadata": {**usage, **_costs(usage, price)}} if price else metadata
        )

    return fill_in


def _costs(usage: Mapping[str, Any], price: Price) -> dict[str, float]:
    cached = (usage.get("input_token_details") or {}).get("cache_read", 0)
    cached_price = price.input if price.cached_input is None else price.cached_input
    input_cost = (usage["input_tokens"] - cached) * price.input + cached * cached_price
    output_cost = usage["output_tokens"] * price.output
    return {
        "input_cost": input_cost / _TOKENS,
        "output_cost": output_cost / _TOKENS,
        "total_cost": (input_cost + output_cost) / _TOKENS,
    }
