"""Property tests: any bytes result in an answer, or in a `QwenError` with the message so far.

`end_to_end.check_stream` has the properties. `PROPERTY_EXAMPLES=100000` runs more examples.
Inputs that failed once are in `test_malformed_streams.py`.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from corrupted_streams import corrupt, split_randomly
from decode import WIRES
from end_to_end import check_stream
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mock_service import MockService
from stream_corpus import CORPUS
from unusual_streams import ERROR_STREAMS, STREAMS_WITH_OPTIONAL_FIELDS

from langchain_qwen_ci.errors import QwenError

pytestmark = [
    pytest.mark.filterwarnings("ignore:Chat Completions runs code"),
    pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning"),
]

examples = settings(
    max_examples=int(os.environ.get("PROPERTY_EXAMPLES", "300")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
stream_names = st.sampled_from(sorted(CORPUS))
randoms = st.randoms(use_true_random=False)


@examples
@given(stream_names, randoms)
def test_corrupted_stream(name, random):
    api = CORPUS[name].api
    body = corrupt(CORPUS[name].body, api, random)
    check_stream(api, body, lambda body: split_randomly(body, random))


@examples
@given(st.sampled_from(sorted(WIRES)), st.binary(max_size=200), randoms)
def test_random_bytes(api, body, random):
    check_stream(api, body, lambda body: split_randomly(body, random))


@examples
@given(
    st.sampled_from(sorted(WIRES)),
    st.sampled_from([ERROR_STREAMS, STREAMS_WITH_OPTIONAL_FIELDS]),
    randoms,
)
def test_corrupted_error_or_optional_fields(api, bodies, random):
    body = corrupt(bodies[api], api, random)
    check_stream(api, body, lambda body: split_randomly(body, random))


@settings(examples, max_examples=examples.max_examples // 4)
@given(stream_names, randoms, st.sampled_from([None, "v1"]))
def test_entry_points_agree_on_a_corrupted_stream(name, random, version):
    api = CORPUS[name].api
    body = corrupt(CORPUS[name].body, api, random)
    model = MockService([body]).model(api=api, max_retries=0, output_version=version)
    entry_points: tuple[Callable[[], object], ...] = (
        lambda: model.invoke("?"),
        lambda: [chunk.text for chunk in model.stream("?")],
        lambda: model.stream_events("?", version="v3").output,
    )
    errors = [_qwen_error(call) for call in entry_points]
    assert len({type(error) for error in errors}) == 1
    texts = {error.partial.text for error in errors if error and error.partial}
    assert len(texts) <= 1


def _qwen_error(call: Callable[[], object]) -> QwenError | None:
    try:
        call()
    except QwenError as error:
        return error
    return None
