"""The chat client against a server that misbehaves: what is asked again, what is told to the user, what is kept."""

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from misbehaving_server import Misbehaving, serving

from polyunlearn.backends.cache import AnswerCache
from polyunlearn.backends.chat import ChatClient, UnusableAnswerError, Usage
from polyunlearn.backends.endpoint import Endpoint, StoppedError, read_parameters
from polyunlearn.backends.translation import AT_ONCE, ChatTranslator
from polyunlearn.errors import UserError

GOOD = '{"colour": "red"}'


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now, self.sleeps = 0.0, list[float]()

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.sleeps.append(seconds)

    def clock(self) -> float:
        return self.now


@pytest.fixture
def server() -> Iterator[Misbehaving]:
    with serving(Misbehaving(lambda prompt: GOOD)) as running:
        yield running


@pytest.fixture
def time() -> Time:
    return Time()


def client_of(server: Misbehaving, cache: Path, time: Time, **changes: Any) -> ChatClient:
    endpoint = Endpoint(server.url, "tiny", **({"timeout": 10.0, "attempts": 4} | changes))
    return ChatClient(endpoint, cache, sleep=time.sleep, clock=time.clock)


def colour(value: Any) -> str:
    if "colour" not in value:
        raise ValueError("there is no colour")
    return str(value["colour"])


def ask(server: Misbehaving, cache: Path, time: Time, **changes: Any) -> str:
    with client_of(server, cache, time, **changes) as client:
        return client.ask("Which?", colour, 0.0)


@pytest.mark.parametrize(
    "fault",
    [(500, {}, ""), (503, {}, "busy"), (408, {}, ""), (429, {}, "{}"), "cut", "text", "list", "hang up", (200, {}, '{"error": "busy"}')],
)
def test_what_may_pass_is_asked_again_after_growing_pauses(server: Misbehaving, tmp_path: Path, time: Time, fault: Any) -> None:
    """Two failures: pauses of 1 and 2 s, then the answer."""
    server.faults = [fault, fault]
    assert ask(server, tmp_path, time) == "red"
    assert len(server.bodies) == 3 and time.sleeps == [1.0, 2.0]
    assert server.bodies[0] == server.bodies[2]


def test_a_timeout_is_asked_again(server: Misbehaving, tmp_path: Path, time: Time) -> None:
    server.faults = ["stall"]
    assert ask(server, tmp_path, time, timeout=0.2) == "red"
    assert len(server.bodies) == 2 and time.sleeps == [1.0]


def test_retry_after_is_honoured_and_never_shortens_our_own_pause(server: Misbehaving, tmp_path: Path, time: Time) -> None:
    """The second failure's own pause is 2 s; the endpoint asks for 7, 0 and nothing that can be read."""
    server.faults = [(429, {"Retry-After": "7"}, ""), (429, {"Retry-After": "0"}, ""), (429, {"Retry-After": "soon"}, "")]
    assert ask(server, tmp_path, time) == "red"
    assert time.sleeps == [7.0, 2.0, 4.0]


def test_retry_after_may_be_a_date(server: Misbehaving, tmp_path: Path, time: Time) -> None:
    server.faults = [(503, {"Retry-After": format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)}, "")]
    assert ask(server, tmp_path, time) == "red"
    assert 80 < time.sleeps[0] <= 100


def test_an_hour_of_waiting_is_told_instead(server: Misbehaving, tmp_path: Path, time: Time) -> None:
    server.faults = [(429, {"Retry-After": "3600"}, "")]
    with pytest.raises(UserError, match="asks us to wait 3600 s"):
        ask(server, tmp_path, time)
    assert time.sleeps == []


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("cut", "broke off"),
        ("text", "up to /v1"),
        ((500, {}, '{"error": {"message": "out of\\nmemory"}}'), r"500 \(out of memory\)"),
        ((200, {}, '{"error": {"message": "no upstream"}}'), r"an error \(no upstream\)"),
    ],
)
def test_what_does_not_pass_is_reported(server: Misbehaving, tmp_path: Path, time: Time, fault: Any, message: str) -> None:
    server.faults = [fault] * 9
    with pytest.raises(UserError, match=message) as caught:
        ask(server, tmp_path, time)
    assert "4 times" in str(caught.value) and server.url in str(caught.value)
    assert len(server.bodies) == 4


def test_a_timeout_that_lasts_is_reported(server: Misbehaving, tmp_path: Path, time: Time) -> None:
    server.faults = ["stall"] * 2
    with pytest.raises(UserError, match=r"no answer within 0\.1 s \(2 times\)"):
        ask(server, tmp_path, time, timeout=0.1, attempts=2)


def test_an_endpoint_that_is_not_there(tmp_path: Path, time: Time) -> None:
    with serving(Misbehaving()) as gone:
        pass
    with pytest.raises(UserError, match="could not be reached"):
        ask(gone, tmp_path, time)


@pytest.mark.parametrize("status", [400, 404, 422, 301])
def test_a_wrong_request_is_not_repeated(server: Misbehaving, tmp_path: Path, time: Time, status: int) -> None:
    server.faults = [(status, {}, '{"error": "no such model"}')]
    with pytest.raises(UserError, match=rf"{status} \(no such model\); check the address"):
        ask(server, tmp_path, time)
    assert len(server.bodies) == 1


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_request_that_is_refused_among_others_is_refused_for_itself(server: Misbehaving, tmp_path: Path, time: Time, status: int) -> None:
    """Too long, say: others go on, also where all before it are in the cache. That the address or key is wrong still stops."""
    fault = (status, {}, '{"error": "too long"}')
    server.faults = [None, fault, None, (404, {}, "")]
    with client_of(server, tmp_path, time) as client:
        client.ask("a", colour, 0.0)
        with pytest.raises(UnusableAnswerError, match=rf"status {status} \(too long\)"):
            client.ask("b", colour, 0.0)
        assert client.ask("c", colour, 0.0) == "red"
        with pytest.raises(UserError, match="404; check the address"):
            client.ask("d", colour, 0.0)
    server.faults = [fault]
    with client_of(server, tmp_path, time) as client:
        client.ask("a", colour, 0.0)
        with pytest.raises(UnusableAnswerError):
            client.ask("b", colour, 0.0)


def test_three_refusals_in_a_row_stop(server: Misbehaving, tmp_path: Path, time: Time) -> None:
    """Credit that is used up refuses every request, and none of them is at fault; an answer between begins the count anew."""
    fault = (400, {}, '{"error": "no credit"}')
    server.faults = [None, fault, fault, None, fault, fault, fault]
    with client_of(server, tmp_path, time) as client:
        for name, refused in (("a", False), ("b", True), ("c", True), ("d", False), ("e", True), ("f", True)):
            if refused:
                with pytest.raises(UnusableAnswerError, match="no credit"):
                    client.ask(name, colour, 0.0)
            else:
                client.ask(name, colour, 0.0)
        with pytest.raises(UserError, match=r"status 400 \(no credit\); check the address") as stopped:
            client.ask("g", colour, 0.0)
    assert not isinstance(stopped.value, UnusableAnswerError)


def test_the_key_comes_from_the_environment(server: Misbehaving, tmp_path: Path, time: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", " secret\n")
    ask(server, tmp_path, time, key_variable="MY_KEY")
    assert server.headers[0]["Authorization"] == "Bearer secret"
    assert all("secret" not in path.read_text() for path in tmp_path.rglob("*.json"))


@pytest.mark.parametrize(("key", "state"), [("", "is not set"), ("wrong", "is not accepted")])
def test_a_refused_key_names_its_variable(
    server: Misbehaving, tmp_path: Path, time: Time, monkeypatch: pytest.MonkeyPatch, key: str, state: str
) -> None:
    monkeypatch.setenv("POLYUNLEARN_API_KEY", key)
    server.faults = [(401, {}, "")]
    with pytest.raises(UserError, match=f"POLYUNLEARN_API_KEY {state}"):
        ask(server, tmp_path, time)
    assert ("Authorization" in server.headers[0]) == bool(key)


def test_a_key_that_no_header_can_hold(server: Misbehaving, tmp_path: Path, time: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYUNLEARN_API_KEY", "schlüssel")
    with pytest.raises(UserError, match="copy it again"):
        ask(server, tmp_path, time)


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ({"content": '{"colour": "re'}, "not a whole JSON object"),
        ({"content": "I would say red."}, "not a whole JSON object"),
        ({"content": '{"shade": "red"}'}, "there is no colour"),
        ({"content": '{"colour": "\\ud800"}'}, "surrogate"),
        ({"content": '{"a":' * 100_000 + "}"}, "JSON object|recursion"),
        ("length", "cut off"),
        ("silent", "no text"),
        ("bare", "no chat completion"),
    ],
)
def test_an_answer_of_no_use_is_asked_for_again_with_what_was_wrong(
    server: Misbehaving, tmp_path: Path, time: Time, fault: Any, why: str
) -> None:
    server.faults = [fault]
    assert ask(server, tmp_path, time) == "red"
    first, second = server.prompts
    assert second.startswith(first) and first == "Which?"
    assert "could not be used" in second
    assert time.sleeps == []
    server.faults = [fault] * 3
    with pytest.raises(UnusableAnswerError, match=why) as caught:
        ask(server, tmp_path / "other", time)
    assert len(caught.value.reasons) == 3 and len(server.bodies) == 5


def test_a_content_filter_refuses_one_request_alone(server: Misbehaving, tmp_path: Path, time: Time) -> None:
    server.faults = [(400, {}, '{"error": {"code": "content_filter", "message": "harmful"}}')]
    with pytest.raises(UnusableAnswerError, match="content filter"):
        ask(server, tmp_path, time)


@pytest.mark.parametrize(
    "text", [f"```json\n{GOOD}\n```", f"Here it is: {GOOD} I hope it helps", f"<think>{{maybe}}</think>{GOOD}", f"{{maybe}}</think>{GOOD}"]
)
def test_what_stands_around_the_object_does_no_harm(tmp_path: Path, time: Time, text: str) -> None:
    with serving(Misbehaving(lambda prompt: text)) as server:
        assert ask(server, tmp_path, time) == "red"


def test_a_restart_is_free(server: Misbehaving, tmp_path: Path, time: Time) -> None:
    """One request of 11 tokens in and 5 out, after one whose answer was of no use: 22 and 10; then nothing is asked."""
    server.faults = [{"content": "no"}]
    with client_of(server, tmp_path, time) as client:
        client.ask("Which?", colour, 0.0)
        assert client.usage == Usage(requests=2, cached=0, tokens_in=22, tokens_out=10)
    with client_of(server, tmp_path, time) as client:
        assert client.ask("Which?", colour, 0.0) == "red"
        assert client.usage == Usage(cached=1)
    assert len(server.bodies) == 2 and len(list(tmp_path.rglob("*.json"))) == 1


def test_parameters_are_added_or_taken_out_and_make_another_answer(server: Misbehaving, tmp_path: Path, time: Time) -> None:
    ask(server, tmp_path, time)
    ask(server, tmp_path, time, parameters={"top_p": 0.5})
    ask(server, tmp_path, time, parameters={"max_tokens": None})
    plain, more, fewer = server.bodies
    assert more == {**plain, "top_p": 0.5}
    assert plain == {**fewer, "max_tokens": 4096}


@pytest.mark.parametrize("content", ["", "[]", '{"answer": 3}', '{"answer": "cut', '{"answer": "{}"}'])
def test_a_spoilt_cache_file_is_asked_for_anew(server: Misbehaving, tmp_path: Path, time: Time, content: str) -> None:
    ask(server, tmp_path, time)
    [path] = tmp_path.rglob("*.json")
    whole = path.read_text()
    path.write_text(content)
    assert ask(server, tmp_path, time) == "red"
    assert path.read_text() == whole and json.loads(whole)["request"]["model"] == "tiny"


def test_turns_lie_evenly_over_a_minute(server: Misbehaving, tmp_path: Path, time: Time) -> None:
    """30 a minute: the second waits 2 s, the third until 4 s; after 10 idle seconds nothing need wait."""
    with client_of(server, tmp_path, time, per_minute=30) as client:
        for name in "abc":
            client.ask(name, colour, 0.0)
        assert time.sleeps == [2.0, 2.0]
        time.now += 10
        client.ask("d", colour, 0.0)
        assert time.sleeps == [2.0, 2.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"base_url": "localhost:8000"}, "http://localhost:8000/v1"),
        ({"base_url": "http://localhost:80o0/v1"}, "http://localhost:8000/v1"),
        ({"base_url": "http://[::1/v1"}, "http://localhost:8000/v1"),
        ({"base_url": "https:///v1"}, "http://localhost:8000/v1"),
        ({"base_url": "http://here/v1\n"}, "http://localhost:8000/v1"),
        ({"model": " "}, "no model"),
        ({"attempts": 0}, "one attempt"),
        ({"timeout": 0}, "timeout above 0"),
        ({"per_minute": 0}, "more than 0"),
    ],
)
def test_endpoints_that_make_no_sense(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Endpoint(**({"base_url": "http://here/v1", "model": "m"} | arguments))


def test_parameters_are_json_or_text() -> None:
    pairs = ["top_p=0.5", "max_tokens=null", "tier=flex", 'kwargs={"enable_thinking": false}', "stop=a=b"]
    wanted = {"top_p": 0.5, "max_tokens": None, "tier": "flex", "kwargs": {"enable_thinking": False}, "stop": "a=b"}
    assert read_parameters(pairs) == wanted
    for bad in ("top_p", "=3"):
        with pytest.raises(UserError, match="NAME=VALUE"):
            read_parameters([bad])
    with pytest.raises(UserError, match="parameter 'top_p=NaN': NaN is no number that can be sent"):
        read_parameters(["top_p=NaN"])


def test_a_password_in_the_address_is_not_shown() -> None:
    with pytest.raises(UserError, match="put the key into POLYUNLEARN_API_KEY instead") as caught:
        Endpoint("http://me:s3cret@here/v1", "m")
    assert "s3cret" not in str(caught.value)


def test_who_stops_need_not_wait_for_a_pause(server: Misbehaving, tmp_path: Path) -> None:
    """The endpoint asks for nine minutes; a thread that waits for them goes as soon as the client is stopped, and asks no more."""
    server.faults = [(429, {"Retry-After": "540"}, "")]
    with ChatClient(Endpoint(server.url, "tiny"), tmp_path) as client, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.ask, "Which?", colour, 0.0)
        with pytest.raises(TimeoutError):
            waiting.result(timeout=0.5)
        client.stop()
        with pytest.raises(StoppedError):
            waiting.result(timeout=20)
    assert len(server.bodies) == 1


@pytest.mark.parametrize("package", ["httpx2", "tenacity"])
def test_a_missing_package_is_named_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=r"pip install -e '.\[chat\]'"):
        ChatClient(Endpoint("http://here/v1", "m"), tmp_path)


def test_a_cache_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="a file stands where a folder is needed"):
        AnswerCache(tmp_path / "file").put({"a": 1}, "b")


def _upper(prompt: str) -> str:
    texts, _ = json.JSONDecoder().raw_decode(prompt, prompt.index("\n[") + 1)
    return json.dumps({"translations": [text.upper() for text in texts]})


def test_a_translator_keeps_order_over_several_requests(tmp_path: Path, time: Time) -> None:
    texts = [f"text {number}" for number in range(AT_ONCE + 3)]
    with serving(Misbehaving(_upper)) as server, client_of(server, tmp_path, time) as client:
        assert ChatTranslator(client).translate(texts, "de", "zh") == [text.upper() for text in texts]
        assert len(server.bodies) == 2 and "from German into Chinese" in server.prompts[0]
        assert ChatTranslator(client).translate([], "de", "zh") == []
        assert len(server.bodies) == 2


@pytest.mark.parametrize("bad", ['["a"]', '{"translations": ["a"]}', '{"translations": ["a", " "]}', '{"translations": ["a", 3]}'])
def test_a_translator_takes_only_as_many_texts_as_it_gave(tmp_path: Path, time: Time, bad: str) -> None:
    with serving(Misbehaving(_upper, [{"content": bad}])) as server, client_of(server, tmp_path, time) as client:
        assert ChatTranslator(client).translate(["one", "two"], "en", "de") == ["ONE", "TWO"]
        assert len(server.bodies) == 2
