"""The targets, each a ratio or difference of values that were measured in the same run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from clients import APIS, PEERS

Key = tuple[str, str, str, str, str]
Values = Mapping[Key, float]


@dataclass(frozen=True)
class Target:
    """A limit and how to compute the value that it limits.

    Attributes:
        at_most: True if the value must not exceed the limit, False if it must reach it.
        httpx: the limit with httpx; None if there is none.
        fast: the limit with the fast transport; None if there is none.
        measured: the values of this client, by API; the worst one counts.
    """

    what: str
    at_most: bool
    httpx: float | None
    fast: float | None
    measured: Callable[[Values, str], dict[str, float]]


@dataclass(frozen=True)
class Outcome:
    """A target's limit and its measured values for one transport."""

    target: Target
    client: str
    limit: float
    values: dict[str, float]

    @property
    def worst(self) -> float:
        return (max if self.target.at_most else min)(self.values.values())

    @property
    def verdict(self) -> str:
        limit, worst = self.limit, self.worst
        met = worst <= limit if self.target.at_most else worst >= limit
        return "met" if met else f"missed by {abs(worst - limit) / limit:.0%}"


def outcomes(values: Values, clients: tuple[str, ...]) -> list[Outcome]:
    """Return the outcome of every target that was measured."""
    result = []
    for target in TARGETS:
        for client in clients:
            limit = target.httpx if client == "ours" else target.fast
            measured = target.measured(values, client)
            if limit is not None and measured:
                result.append(Outcome(target, client, limit, measured))
    return result


def _less_than_peers(entry_point: str, stream: str = "medium", apis: tuple[str, ...] = APIS):
    """CPU of the best chat model of others, divided by ours."""

    def measured(values: Values, client: str) -> dict[str, float]:
        result = {}
        for api in apis:
            own = values.get(("cpu", api, stream, client, entry_point))
            peers = [
                values[key]
                for peer in PEERS[api]
                if peer.startswith("Chat")
                and (key := ("cpu", api, stream, peer, entry_point)) in values
            ]
            if own and peers:
                result[api] = min(peers) / own
        return result

    return measured


def _of_raw_httpx(entry_point: str, stream: str, apis: tuple[str, ...] = APIS):
    """Our CPU, divided by that of raw httpx and parse."""

    def measured(values: Values, client: str) -> dict[str, float]:
        return {
            api: values[own] / values[base]
            for api in apis
            if (own := ("cpu", api, stream, client, entry_point)) in values
            and (base := ("cpu", api, stream, "raw httpx", "stream")) in values
        }

    return measured


def _exponents(measure: str):
    def measured(values: Values, client: str) -> dict[str, float]:
        return {
            f"{key[1]} {key[2]} {key[4]}": value
            for key, value in values.items()
            if key[0] == f"{measure} exponent" and key[3] == client
        }

    return measured


def _first_token(values: Values, client: str) -> dict[str, float]:
    return {
        api: values[own] - values[base]
        for api in APIS
        if (own := ("first", api, "medium", client, "stream")) in values
        and (base := ("first", api, "medium", "raw httpx", "stream")) in values
    }


def _traced(entry_point: str):
    def measured(values: Values, client: str) -> dict[str, float]:
        return {
            api: values[traced] / values["cpu", api, "medium", client, entry_point]
            for api in APIS
            if (traced := ("cpu", api, "medium", client, f"{entry_point} traced")) in values
        }

    return measured


def _ratio(measure: str, base: str, *, inverse: bool = False, stream: str = "", api: str = ""):
    """One value of ours over one of another client, or the other way round."""

    def measured(values: Values, client: str) -> dict[str, float]:
        entry_point = "astream" if stream else ""
        own = values.get((measure, api, stream, client, entry_point))
        other = values.get((measure, api, stream, base, entry_point))
        if not own or not other:
            return {}
        return {api or "all": other / own if inverse else own / other}

    return measured


_COMPATIBLE = ("chat_completions", "responses")
_NATIVE = ("dashscope",)
_200 = {"inverse": True, "stream": "paced 200", "api": "chat_completions"}
TARGETS = (
    Target("stream, medium: times less than the best peer", False, 6, 9,
           _less_than_peers("stream")),
    Target("astream, medium: times less than the best peer", False, 6, 10,
           _less_than_peers("astream")),
    Target("invoke, medium: times less than the best peer", False, 10, 20,
           _less_than_peers("invoke")),
    Target("ainvoke, medium: times less than the best peer", False, 10, 30,
           _less_than_peers("ainvoke")),
    Target("stream, medium: of raw httpx and parse", True, 2.0, 1.4,
           _of_raw_httpx("stream", "medium")),
    Target("invoke, medium: of raw httpx and parse", True, 1.45, 0.75,
           _of_raw_httpx("invoke", "medium")),
    Target("invoke, native large: of raw httpx and parse", True, 0.75, 0.65,
           _of_raw_httpx("invoke", "large", _NATIVE)),
    Target("invoke, native large: times less than ChatTongyi", False, 25, 25,
           _less_than_peers("invoke", "large", _NATIVE)),
    Target("growth of CPU with chunks: exponent", True, 1.05, 1.05, _exponents("cpu")),
    Target("growth of memory with chunks: exponent", True, 1.05, 1.05, _exponents("memory")),
    Target("first token: ms after raw httpx", True, 0.4, 0.4, _first_token),
    Target("200 paced async streams: times less than ChatOpenAI", False, 2.4, 6,
           _ratio("cpu", "ChatOpenAI", **_200)),
    Target('node, stream_mode="messages": times less than ChatOpenAI', False, 3, 4,
           _less_than_peers("node", apis=_COMPATIBLE)),
    Target("stream: traced, of not traced", True, 1.15, 1.15, _traced("stream")),
    Target("invoke: traced, of not traced", True, 1.15, 1.15, _traced("invoke")),
    Target("cold process to first token: of ChatOpenAI", True, 0.6, 0.6,
           _ratio("cold", "ChatOpenAI")),
    Target("import and construct: of importing core and httpx", True, 1.15, None,
           _ratio("import", "core and httpx")),
)  # fmt: skip
