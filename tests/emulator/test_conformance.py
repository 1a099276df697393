"""The judge: the emulator keeps every fact, and each check finds an endpoint that does not."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest

from langchain_qwen_ci.emulator import EmulatorServer, Status
from langchain_qwen_ci.emulator.conformance import CHECKS, Verdict, judge

KEY = "sk-of-the-endpoint-under-judgement"
URL = "http://127.0.0.1:9"
# Kept from before a fixture takes them out of the environment.
LIVE_KEY = os.environ.get("DASHSCOPE_API_KEY", "")
LIVE_URL = os.environ.get("DASHSCOPE_BASE_URL", "https://dashscope.aliyuncs.com")
LIVE_MODEL = os.environ.get("QWEN_LIVE_MODEL", "qwen3-max")
NAMES = {check.name: check for check in CHECKS}


# The emulator's answers, recorded once; and transports that replay them, spoilt.


@dataclass(frozen=True)
class Answer:
    """One answer, and the request it belongs to."""

    request: httpx.Request
    status: int
    headers: dict[str, str]
    body: str

    @property
    def asked(self) -> dict[str, Any]:
        return json.loads(self.request.content)


Spoil = Callable[[Answer], Answer]


class Recorder(httpx.AsyncBaseTransport):
    """Passes requests on, and keeps what came."""

    def __init__(self) -> None:
        self.kept: dict[Any, Answer] = {}
        self._network = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._network.handle_async_request(request)
        body = (await response.aread()).decode()
        await response.aclose()
        headers = {"x-request-id": response.headers["x-request-id"]}
        answer = Answer(request, response.status_code, headers, body)
        self.kept[name_of(request)] = answer
        return httpx.Response(answer.status, headers=headers, content=body)

    async def aclose(self) -> None:
        await self._network.aclose()


def name_of(request: httpx.Request) -> Any:
    told = [request.headers.get(name) for name in ("authorization", "accept", "x-dashscope-sse")]
    return request.url.path, *told, request.content


@pytest.fixture(scope="module")
def recorded() -> dict[Any, Answer]:
    recorder = Recorder()
    with EmulatorServer(api_key=KEY) as server:
        list(judge(server.url, KEY, transport=recorder))
    return recorder.kept


def spoilt(recorded: dict[Any, Answer], spoil: Spoil) -> httpx.MockTransport:
    async def answer(request: httpx.Request) -> httpx.Response:
        if name_of(request) not in recorded:  # made of a spoilt answer
            return httpx.Response(404)
        told = spoil(replace(recorded[name_of(request)], request=request))
        return httpx.Response(told.status, headers=told.headers, content=told.body)

    return httpx.MockTransport(answer)


def judged(name: str, transport: httpx.AsyncBaseTransport) -> Verdict:
    (verdict,) = judge(URL, KEY, checks=[NAMES[name]], transport=transport, timeout=30.0)
    return verdict


# Ways to spoil an answer.


def status(number: int) -> Spoil:
    return lambda answer: replace(answer, status=number)


def swap(pattern: str, new: str) -> Spoil:
    return lambda answer: replace(answer, body=re.sub(pattern, new, answer.body))


def accepts(answer: Answer) -> Answer:
    """What should be refused is answered."""
    return replace(
        answer, status=200, body='{"output":{"choices":[]},"choices":[],"output_text":""}'
    )


def nameless(answer: Answer) -> Answer:
    return replace(answer, headers={})


def payloads(change: Callable[[list[Any]], Any]) -> Spoil:
    """Change the JSON of all frames, or that of a document."""

    def spoil(answer: Answer) -> Answer:
        lines = answer.body.split("\n")
        places = [n for n, line in enumerate(lines) if re.match(r"(data: ?)?\{", line)]
        heads = [lines[n][: lines[n].index("{")] for n in places]
        found = [
            json.loads(lines[n].removeprefix(head)) for n, head in zip(places, heads, strict=True)
        ]
        change(found)
        for n, head, payload in zip(places, heads, found, strict=True):
            lines[n] = head + json.dumps(payload, ensure_ascii=False)
        return replace(answer, body="\n".join(lines))

    return spoil


def each(change: Callable[[Any], Any]) -> Spoil:
    return payloads(lambda found: [change(payload) for payload in found])


def frames(change: Callable[[list[str]], list[str]]) -> Spoil:
    def spoil(answer: Answer) -> Answer:
        kept = change(answer.body.removesuffix("\n\n").split("\n\n"))
        return replace(answer, body="".join(f"{frame}\n\n" for frame in kept))

    return spoil


def without(word: str) -> Spoil:
    """Frames that have a word are left out."""
    return frames(lambda found: [frame for frame in found if word not in frame])


def where(asked: Callable[[Answer], bool], spoil: Spoil) -> Spoil:
    return lambda answer: spoil(answer) if asked(answer) else answer


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every object within JSON."""
    if isinstance(value, dict):
        yield value
    for part in value.values() if isinstance(value, dict) else value:
        if isinstance(part, dict | list):
            yield from objects(part)


def setting(name: str, new: Any) -> Spoil:
    """Every field of that name gets a value."""

    def change(payload: Any) -> None:
        for found in list(objects(payload)):
            if name in found:
                found[name] = new

    return each(change)


def dropping(name: str) -> Spoil:
    def change(payload: Any) -> None:
        for found in list(objects(payload)):
            found.pop(name, None)

    return each(change)


def snapshots(name: str) -> Spoil:
    """Texts are repeated from their beginning."""

    def change(found: list[Any]) -> None:
        so_far = ""
        for payload in found:
            for place in objects(payload):
                if isinstance(place.get(name), str):
                    so_far += place[name]
                    place[name] = so_far

    return payloads(change)


def numbered(name: str) -> Spoil:
    """The field is another one in every frame."""

    def change(found: list[Any]) -> None:
        for number, payload in enumerate(found):
            place = payload.get("response", payload)
            if name in place:
                place[name] = f"{number}"

    return payloads(change)


def last(name: str, new: Any) -> Spoil:
    return payloads(
        lambda found: [place.update({name: new}) for place in objects(found[-1]) if name in place]
    )


def keep_last_tool(payload: Any) -> None:
    output = payload["output"]
    if "tool_info" in output:
        output["tool_info"] = output["tool_info"][-1:]


def runs(change: Callable[[dict[str, Any]], Any]) -> Spoil:
    """Change the items of code that has run, wherever they stand."""

    def spoil(payload: Any) -> None:
        for place in objects(payload):
            if place.get("type") == "code_interpreter_call":
                change(place)

    return each(spoil)


SHARED = {
    "request-id-header": (nameless, "the header is missing"),
    "interpreter-stands-alone": (accepts, "this is answered"),
    "interpreter-streams": (accepts, "this is answered"),
    "wrong-key": (status(403), "HTTP 403"),
    "stop": (swap(r'"content":"', '"content":"e'), "e is in"),
    "reasoning-tokens": (dropping("reasoning_tokens"), "there is no"),
}
FRAMED = {
    "frame-numbers": (swap(r"(?m)^id:2$", "id:7"), "the list of ids"),
    "colons": (swap(r"(?m)^data:", "data: "), "there is a space"),
    "end": (frames(lambda found: [*found, "data:[DONE]"]), "there is a [DONE]"),
    "error-body": (dropping("request_id"), "there is no request_id"),
}
BREACHES: dict[str, dict[str, tuple[Spoil, str]]] = {
    "dashscope": {
        **SHARED,
        **FRAMED,
        "frames": (swap(r":HTTP_STATUS/200\n", ""), "no comment with its status"),
        "finish-reason": (setting("finish_reason", None), "before the end is null"),
        "increments": (snapshots("reasoning_content"), "pieces repeat"),
        "reasoning": (setting("reasoning_content", ""), "no frame has reasoning_content"),
        "strings": (dropping("reasoning_content"), "there is no"),
        "empty-end": (last("content", "42"), 'is ["42", ""]'),
        "code": (setting("code", ""), "shows no code"),
        "code-stays": (each(keep_last_tool), "was shown, and then"),
        "code-only": (
            swap(r'"code":("[^"]*")', r'"code":\1,"output":"42"'),
            'is ["code", "output"] and not ["code"]',
        ),
        "count": (dropping("plugins"), "0 runs are counted"),
        "count-of-programs": (setting("count", 9), "the count is 9 and not 2"),
        "usage": (last("output_tokens", 1), "output_tokens falls"),
        "inferences": (setting("input_tokens", 10), "10 in the first frame and 10 in the last"),
        "request-id": (numbered("request_id"), "the number of request_ids"),
        "conversation": (swap('"stop"', '"length"'), 'is "length" and not "stop"'),
        "document": (dropping("request_id"), "there is no request_id"),
        "accept-header": (
            where(lambda answer: "x-dashscope-sse" not in answer.request.headers, accepts),
            "this is no stream",
        ),
        "max-tokens": (swap('"length"', '"stop"'), 'is "stop" and not "length"'),
        "interpreter-thinks": (accepts, "this is answered"),
        "thinking-is-incremental": (accepts, "this is answered"),
        "thinking-is-in-messages": (swap("InvalidParameter", "Other"), "400, Other and not 400"),
        "wrong-path": (swap("url error", "error"), "the message is"),
        "list-content": (accepts, "this is answered"),
        "unknown-model": (status(400), "HTTP 400"),
    },
    "responses": {
        **{name: SHARED[name] for name in ("request-id-header", "wrong-key", "reasoning-tokens")},
        **FRAMED,
        "frames": (swap(r"(?m)^event:.*\n", ""), "0 lines of"),
        "beginning": (swap('"queued"', '"completed"'), "the beginning is"),
        "sequence": (setting("sequence_number", 1), "the list of sequence_numbers"),
        "response-id": (numbered("id"), "the number of ids"),
        "items": (
            frames(lambda found: [*found[:-2], found[-1]]),
            "the list of items that were done",
        ),
        "item-ids": (setting("item_id", "msg_of_another"), "there is no such item"),
        "message-events": (without("event:response.content_part.done"), "events of a message"),
        "reasoning-events": (
            without("event:response.reasoning_text.done"),
            "events of a reasoning",
        ),
        "code-events": (without("call.interpreting"), "events of a code_interpreter_call"),
        "increments": (setting("delta", "1"), "pieces repeat"),
        "message": (swap('"type":"output_text"', '"type":"blob"'), 'a part is "blob"'),
        "reasoning": (setting("summary", []), "there is no summary.0.text"),
        "code": (runs(lambda run: run.update(outputs=[])), "there is no outputs.0.logs"),
        "code-added": (
            runs(lambda run: run.update(code="" if run["status"] == "in_progress" else "1")),
            'the code is "" and not "1"',
        ),
        "fence": (setting("logs", "42"), 'the logs are "42"'),
        "repeated-items": (setting("output", []), "the list of items is []"),
        "usage": (setting("total_tokens", 0), "total_tokens is 0"),
        "count": (setting("count", 9), "the count is 9 and not 2"),
        "details": (dropping("plugins"), "there is no x_details.-1.plugins"),
        "no-count": (swap('"usage":{', '"usage":{"x_tools":{},'), "x_tools is there"),
        "document": (runs(lambda run: run.pop("outputs")), "there is no outputs"),
        "conversation": (swap('"completed"', '"incomplete"'), 'status is "incomplete"'),
        "previous-response": (
            where(lambda answer: "previous_response_id" in answer.asked, status(400)),
            "HTTP 400",
        ),
        "older-path": (status(404), "HTTP status is 404"),
        "max-tokens": (swap("response.incomplete", "response.completed"), "the last event is"),
        "fewest-tokens": (accepts, "this is answered"),
        "interpreter-thinks": (swap("enable_thinking", "it"), "the error is"),
        "extractor-searches": (swap("response.failed", "response.completed"), "the last event is"),
        "unknown-model": (status(500), "HTTP 500"),
    },
    "chat_completions": {
        **SHARED,
        "frames": (swap(r"(?m)^data:", "id:1\ndata:"), "the number of a frame's lines is 2"),
        "colons": (swap(r"(?m)^data: ", "data:"), "a frame begins with data:{"),
        "end": (without("[DONE]"), "the number of [DONE]s is 0"),
        "chunks": (numbered("id"), "the number of ids"),
        "deltas": (swap('"content":null', '"content":""'), "a delta is"),
        "role": (setting("role", "user"), 'the role is "user"'),
        "finish-reason": (swap('"finish_reason":null', '"finish_reason":"null"'), "before the end"),
        "increments": (snapshots("content"), "pieces repeat"),
        "reasoning": (setting("reasoning_content", None), "no delta has reasoning_content"),
        "usage-at-the-end": (without('"choices":[]'), "choices of the last chunk"),
        "usage-unasked": (
            where(lambda answer: "stream_options" not in answer.asked, setting("usage", {})),
            "usage is {}",
        ),
        "usage": (setting("total_tokens", 0), "total_tokens is 0"),
        "no-code": (swap('"content":', '"tool_info":[],"content":'), "a chunk has tool_info"),
        "conversation": (swap('"stop"', '"length"'), 'is ["length"] and not ["stop"]'),
        "document": (setting("object", "other"), 'the object is "other"'),
        "max-tokens": (swap('"length"', '"stop"'), 'is "stop" and not "length"'),
        "refusal-texts": (swap("Agent mode", "It"), "the message is"),
        "interpreter-thinks": (accepts, "this is answered"),
        "interpreter-is-no-tool": (accepts, "this is answered"),
        "error-body": (dropping("type"), "there is no error.type"),
        "unknown-model": (status(400), "HTTP 400"),
    },
}
CASES = [
    (f"{api}/{name}", spoil, said)
    for api, breaches in BREACHES.items()
    for name, (spoil, said) in breaches.items()
]


def test_the_emulator_keeps_every_fact():
    with EmulatorServer(api_key=KEY) as server:
        told = [(v.check.name, v.outcome, v.detail) for v in judge(server.url, KEY)]
    assert told == [(check.name, "passed", "") for check in CHECKS]


@pytest.mark.parametrize(
    ("model", "skipped"),
    [
        (
            "qwen3.5-plus",
            ["dashscope/empty-end", "dashscope/list-content", "dashscope/strings"],
        ),
        ("qwen3.7-max", []),
    ],
)
def test_the_emulator_keeps_the_facts_of_models_that_think_by_themselves(model, skipped):
    of_thinking = [f"{api}/interpreter-thinks" for api in BREACHES]
    with EmulatorServer(api_key=KEY) as server:
        outcomes = {v.check.name: v.outcome for v in judge(server.url, KEY, model=model)}
    assert sorted(n for n in outcomes if outcomes[n] == "skipped") == sorted(skipped + of_thinking)
    assert set(outcomes.values()) == {"passed", "skipped"}


def test_there_is_a_breach_of_every_fact():
    assert sorted(name for name, _, _ in CASES) == sorted(NAMES)


@pytest.mark.parametrize(("name", "spoil", "said"), CASES, ids=[name for name, _, _ in CASES])
def test_a_check_finds_a_breach_of_its_fact(recorded, name, spoil, said):
    assert judged(name, spoilt(recorded, lambda answer: answer)).outcome == "passed"
    verdict = judged(name, spoilt(recorded, spoil))
    assert verdict.outcome == {"failure": "failed", "remark": "remark"}[verdict.check.weight]
    assert said in verdict.detail


# More ways to break a fact than the one in the table.


def entry_comes_empty(found: list[Any]) -> None:
    first = next(payload for payload in found if "tool_info" in payload["output"])
    first["output"]["tool_info"][0]["code_interpreter"]["code"] = ""
    del first["usage"]["plugins"]


@pytest.mark.parametrize("name", ["dashscope/code-stays", "dashscope/count"])
def test_an_entry_of_tool_info_may_come_empty_and_be_filled_later(recorded, name):
    assert judged(name, spoilt(recorded, payloads(entry_comes_empty))).outcome == "passed"


@pytest.mark.parametrize(
    ("name", "spoil", "said"),
    [
        ("dashscope/frames", swap("event:result", "event:message"), 'is "message"'),
        ("dashscope/frames", swap("(?m)^data:(.*)$", r"data:\1\ndata:"), "2 lines of 'data'"),
        ("dashscope/frames", swap('"request_id"', "request_id"), "this is no JSON object"),
        ("dashscope/frames", swap("(?m)^data:.*$", "data:[]"), "this is no JSON object: []"),
        ("dashscope/finish-reason", frames(lambda found: found[:-1]), 'at the end is "null"'),
        ("dashscope/increments", frames(lambda found: found[-2:]), "comes at once"),
        ("dashscope/code-stays", each(lambda p: p["output"].setdefault("tool_info", [])), "empty"),
        ("dashscope/count", dropping("tool_info"), "1 runs are counted where []"),
        ("dashscope/error-body", accepts, "this is answered"),
        ("dashscope/wrong-key", swap("InvalidApiKey", "Other"), "Other and not 401"),
        ("responses/end", frames(lambda found: found[:-1]), "the end is []"),
        ("responses/end", frames(lambda found: [*found, found[-2]]), "the last event is"),
        ("responses/frames", swap("event:response", "event:other"), "the event of a frame"),
        ("responses/sequence", dropping("sequence_number"), "there is no sequence_number"),
        ("responses/increments", setting("text", "other"), "the sum of the deltas"),
        ("responses/code", runs(lambda run: run.update(status="failed")), "the status of a run"),
        ("responses/code-events", runs(lambda run: run.update(type="other")), "no item is a code"),
        ("responses/count", setting("count", True), "is true and no count"),
        ("chat_completions/end", frames(lambda found: [*found[:-2], found[-1], found[-2]]), "last"),
        ("chat_completions/deltas", swap('"delta":{', '"other":{'), "there is no delta"),
        ("chat_completions/error-body", swap('"error":', '"fault":'), "there is no error"),
    ],
)
def test_other_breaches_are_found_too(recorded, name, spoil, said):
    verdict = judged(name, spoilt(recorded, spoil))
    assert verdict.outcome == "failed"
    assert said in verdict.detail


def in_a_frame(answer: Answer) -> Answer:
    """A refusal as it was recorded within a stream: HTTP 200, and the status in a comment."""
    body = f"id:1\nevent:error\n:HTTP_STATUS/{answer.status}\ndata:{answer.body}\n\n"
    return replace(answer, status=200, body=body)


@pytest.mark.parametrize("name", ["error-body", "interpreter-thinks", "wrong-key"])
def test_a_native_error_may_come_within_a_stream(recorded, name):
    assert judged(f"dashscope/{name}", spoilt(recorded, in_a_frame)).outcome == "passed"


def test_the_older_names_of_reasoning_are_right_as_well():
    with EmulatorServer(api_key=KEY, reasoning_events="reasoning_summary_text") as server:
        told = list(judge(server.url, KEY, checks=[c for c in CHECKS if c.api == "responses"]))
    assert {verdict.outcome for verdict in told} == {"passed"}


NONSENSE = [None, -1, True, "nonsense", [[]], {"a": []}]


@pytest.mark.parametrize("value", NONSENSE, ids=repr)
def test_nonsense_is_judged_and_raises_nothing(recorded, value):
    keys: set[str] = set()
    for answer in recorded.values():
        payloads(lambda found: keys.update(key for place in objects(found) for key in place))(
            answer
        )
    for key in sorted(keys):
        outcomes = {
            v.outcome for v in judge(URL, KEY, transport=spoilt(recorded, setting(key, value)))
        }
        assert outcomes <= {"passed", "failed", "remark"}


@pytest.mark.parametrize(
    "body", ["", "{}", "[]", "data:", "data: [DONE]\n\n", ": hello\n\n", "[" * 9**5]
)
@pytest.mark.parametrize("code", [200, 302, 500])
def test_an_answer_that_is_none_is_judged_and_raises_nothing(recorded, body, code):
    def spoil(answer: Answer) -> Answer:
        return replace(answer, status=code, body=body, headers={"location": "http://127.0.0.1:1/"})

    told = list(judge(URL, KEY, transport=spoilt(recorded, spoil)))
    assert len(told) == len(CHECKS)
    assert "passed" not in {v.outcome for v in told}


# Endpoints that are not there, or go on for ever.


class Body(httpx.AsyncByteStream):
    def __init__(self, *pieces: bytes | Exception, again: bool = False) -> None:
        self._pieces = pieces
        self._again = again

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            for piece in self._pieces:
                if isinstance(piece, Exception):
                    raise piece
                yield piece
            if not self._again:
                return


async def for_ever(request: httpx.Request) -> httpx.Response:
    await asyncio.Event().wait()
    raise AssertionError


def answering(body: Body, **headers: str) -> httpx.MockTransport:
    return httpx.MockTransport(lambda _: httpx.Response(200, headers=headers, stream=body))


@pytest.mark.parametrize(
    ("transport", "said"),
    [
        (httpx.AsyncHTTPTransport(), "The endpoint cannot be reached (ConnectError: "),
        (httpx.MockTransport(for_ever), "No whole answer came within 0.05 s."),
        (answering(Body(b"x" * 2**20, again=True)), "The answer is longer than 16777216 bytes."),
        (answering(Body(b"\xff\xfe")), "The answer is not UTF-8."),
        (answering(Body(b"x"), **{"content-encoding": "gzip"}), "The answer is compressed"),
        (answering(Body(b"x", httpx.ReadError("gone"))), "The answer broke off (ReadError: gone)."),
    ],
    ids=["nobody", "silence", "too much", "no text", "compressed", "broken"],
)
def test_an_endpoint_without_an_answer_fails_every_check(transport, said):
    timeout = 0.05 if "0.05" in said else 30.0
    told = list(judge(URL, KEY, transport=transport, timeout=timeout))
    assert {verdict.outcome for verdict in told} == {"failed"}
    assert all(verdict.detail.startswith(said) for verdict in told)


def test_an_endpoint_that_is_silent_is_not_asked_again():
    asked = []

    async def silent(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return await for_ever(request)

    list(judge(URL, KEY, transport=httpx.MockTransport(silent), timeout=0.05))
    assert len(asked) == 1


def test_every_request_is_sent_once(recorded):
    sent = []

    def count(answer: Answer) -> Answer:
        sent.append(name_of(answer.request))
        return answer

    list(judge(URL, KEY, transport=spoilt(recorded, count)))
    assert len(sent) == len(set(sent)) == len(recorded)


def test_what_the_endpoint_says_steers_no_terminal_and_shows_no_key(recorded):
    said = f"\x1b[2J\u202e {KEY} " + "x" * 240 + KEY[:20] + KEY
    body = json.dumps({"code": "Odd", "message": said, "request_id": "1"}, ensure_ascii=False)

    def spoil(answer: Answer) -> Answer:
        return replace(answer, status=400, body=body)

    for verdict in judge(URL, KEY, transport=spoilt(recorded, spoil)):
        assert verdict.detail.isprintable()
        assert KEY not in verdict.detail
        assert len(verdict.detail) <= 301
    shown = judged("dashscope/unknown-model", spoilt(recorded, spoil)).detail
    assert "\\x1b[2J\\u202e *** xxx" in shown


@pytest.mark.parametrize("key", ["", " ", "two\nlines", "schlüssel", "sk-1 "])
def test_a_key_that_cannot_be_sent_is_said_and_not_shown(key):
    with pytest.raises(ValueError, match="The key cannot be sent as a header") as raised:
        judge(URL, key)
    assert key.strip() == "" or key.strip() not in str(raised.value)


# The command line.


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "langchain_qwen_ci.emulator.conformance", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_without_an_url_it_judges_the_emulator():
    # No proxy may stand before this machine.
    done = run("--api", "dashscope", HTTP_PROXY="http://127.0.0.1:9", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    *table, empty, counts = done.stdout.splitlines()
    assert len(table) == len([check for check in CHECKS if check.api == "dashscope"])
    assert table[0].startswith("passed  dashscope/frames ")
    assert (empty, counts) == ("", f"{len(table)} passed, 0 failed, 0 remark, 0 skipped")


def test_a_failure_is_shown_and_is_the_exit_code():
    with EmulatorServer(faults=(Status(500, message="\x1b[31mOut of order"),)) as server:
        done = run(
            "--base-url", server.url, "--only", "dashscope/code", DASHSCOPE_API_KEY="sk-right"
        )
    assert done.returncode == 1
    assert done.stderr == ""
    first, second, _, counts = done.stdout.splitlines()
    assert first.split() == ["failed", "dashscope/code", *NAMES["dashscope/code"].fact.split()]
    assert "recorded; seen: HTTP 500 in place of a stream" in second
    assert "[31mOut of order" in second
    assert "\x1b" not in done.stdout
    assert counts == "0 passed, 1 failed, 0 remark, 0 skipped"


def test_a_remark_is_no_failure():
    with EmulatorServer() as server:  # which takes any key
        done = run(
            *("--base-url", server.url, "--json"),
            *("--only", "dashscope/wrong-path", "--only", "dashscope/wrong-key"),
            *("--model", "qwen3.5-plus", "--endpoint", "text-generation"),
            DASHSCOPE_API_KEY="sk-right",
        )
    document = json.loads(done.stdout)
    assert document["counts"] == {"passed": 0, "failed": 1, "remark": 1, "skipped": 0}
    assert done.returncode == 1
    remark, failure = document["verdicts"]
    assert remark["name"] == "dashscope/wrong-path"
    assert (remark["weight"], remark["source"]) == ("remark", "reported")
    assert "this is answered" in remark["detail"]
    assert (failure["outcome"], failure["api"]) == ("failed", "dashscope")
    assert "sk-right" not in done.stdout + done.stderr


def test_an_endpoint_that_is_not_there_is_said_without_a_traceback():
    done = run("--base-url", "http://127.0.0.1:9", DASHSCOPE_API_KEY="sk-right")
    assert done.returncode == 1
    assert done.stderr == ""
    assert done.stdout.count("The endpoint cannot be reached") == len(CHECKS)
    assert done.stdout.endswith(f"\n0 passed, {len(CHECKS)} failed, 0 remark, 0 skipped\n")


@pytest.mark.parametrize(
    ("arguments", "key", "said"),
    [
        (["--base-url", URL], "", "set DASHSCOPE_API_KEY"),
        (["--base-url", URL], "sk-\x1b", "The key cannot be sent as a header"),
        (["--base-url", "ftp://127.0.0.1"], "sk-right", "must be like https://host"),
        (["--only", "dashscope/nothing"], "", "invalid choice"),
        (["--only", "dashscope/frames", "--api", "responses"], "", "no check of that --api"),
        (["--timeout", "0"], "", "invalid"),
        (["--timeout", "nan"], "", "invalid"),
        (["--api-key", "sk-secret"], "", "unrecognized arguments"),
    ],
)
def test_wrong_usage(arguments, key, said):
    done = run(*arguments, DASHSCOPE_API_KEY=key)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


# The real service, where there is a key for it.


@pytest.mark.enable_socket
@pytest.mark.timeout(1800)
@pytest.mark.skipif(
    os.environ.get("QWEN_LIVE_TESTS") != "1" or not LIVE_KEY,
    reason="asks the real service: set QWEN_LIVE_TESTS=1 and DASHSCOPE_API_KEY",
)
@pytest.mark.parametrize("api", BREACHES)
def test_the_service_keeps_every_fact(api):
    checks = [check for check in CHECKS if check.api == api]
    told = judge(LIVE_URL, LIVE_KEY, model=LIVE_MODEL, checks=checks)
    assert [f"{v.check.name}: {v.detail}" for v in told if v.outcome == "failed"] == []
