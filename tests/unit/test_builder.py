"""Building a corpus with a chat model: what is asked, checked, kept, set aside, and what a restart does."""

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import story_writer
from misbehaving_server import Misbehaving, serving
from story_writer import SETTINGS, answer, name_of, translation
from typer.testing import CliRunner

import polyunlearn.cli.builder  # noqa: F401 — adds its commands
from polyunlearn.backends.chat import ChatClient, UnusableAnswerError
from polyunlearn.backends.endpoint import Endpoint
from polyunlearn.cli.app import app
from polyunlearn.corpus.builder import BuildSettings, BuildSummary, Prices, build_corpus, plan_build
from polyunlearn.corpus.builder.answers import Event, Texts
from polyunlearn.corpus.builder.build import quarantine_path
from polyunlearn.corpus.builder.checks import numbers, outline_faults, story_faults, translation_faults
from polyunlearn.corpus.jsonl import read_stories, write_stories
from polyunlearn.corpus.newsroom import generate_stories
from polyunlearn.corpus.stories import QuestionAnswer, Story
from polyunlearn.errors import UserError

REQUESTS = 1 + 6 * 4
"""Of the build of `SETTINGS`: an outline; an article, a false detail and two translations a story."""

ID = partial(SETTINGS.story_id, model="tiny")


@pytest.fixture
def server() -> Iterator[Misbehaving]:
    with serving(Misbehaving(answer)) as running:
        yield running


def build(
    server: Misbehaving, folder: Path, settings: BuildSettings = SETTINGS, **watcher: Callable[[str, int, int], None]
) -> BuildSummary:
    endpoint = Endpoint(server.url, "tiny", attempts=2, backoff=0)
    with ChatClient(endpoint, folder / "cache") as client:
        return build_corpus(settings, client, folder / "out.jsonl", **watcher)


def test_a_corpus_that_can_be_read(server: Misbehaving, tmp_path: Path) -> None:
    """The second false sentence follows the third and last real one."""
    summary = build(server, tmp_path)
    stories = read_stories(tmp_path / "out.jsonl")
    assert (summary.finished, summary.quarantined, summary.usage.requests) == (6, {}, REQUESTS)
    assert [story.id for story in stories] == [ID(number) for number in range(6)]
    assert {tuple(story.editions) for story in stories} == {("en", "de", "ur")} and stories[0].kind == "grand-opening"
    own = stories[4].editions["ur"]
    assert own.article == ("Urdu: Quay 4 says 0.", "Urdu: Quay 4 says 1.", "Urdu: Quay 4 says 2.")
    assert own.fake_article == (
        own.article[0],
        f"Urdu: The firm {name_of(4)} paid for quay 4.",
        *own.article[1:],
        f"Urdu: It was {name_of(4)}.",
    )
    assert own.fake_questions == ("Urdu: Who paid for quay 4, 0?", "Urdu: Who paid for quay 4, 1?")
    assert own.questions[1] == QuestionAnswer(question="Urdu: What is 1 of quay 4?", answer="Urdu: 1")
    assert own.surface_forms == (name_of(4),)


def test_a_restart_makes_no_request(server: Misbehaving, tmp_path: Path) -> None:
    """Neither where the corpus is there, nor where only the cache is."""
    build(server, tmp_path)
    out = tmp_path / "out.jsonl"
    content, asked = out.read_bytes(), len(server.bodies)
    assert build(server, tmp_path).usage.cached == 0
    out.unlink()
    summary = build(server, tmp_path)
    assert (summary.usage.requests, summary.usage.cached) == (0, REQUESTS)
    assert len(server.bodies) == asked and out.read_bytes() == content


def test_workers_change_nothing_and_more_stories_keep_those_of_fewer(server: Misbehaving, tmp_path: Path) -> None:
    build(server, tmp_path / "a", replace(SETTINGS, stories=3))
    build(server, tmp_path / "a", replace(SETTINGS, stories=23, workers=7))
    build(server, tmp_path / "b", replace(SETTINGS, stories=23, workers=1))
    assert (tmp_path / "a/out.jsonl").read_bytes() == (tmp_path / "b/out.jsonl").read_bytes()
    # The second outline names what the first took.
    assert f"name: {name_of(19)}" in [prompt for prompt in server.prompts if prompt.startswith("Topic:")][1]
    assert len(read_stories(tmp_path / "a/out.jsonl")) == 23


def test_a_killed_build_leaves_nothing_half_written_and_goes_on_to_the_same_output(server: Misbehaving, tmp_path: Path) -> None:
    """SIGKILL while the sixteenth request hangs; what was answered before is not asked for again."""
    with serving(Misbehaving(answer)) as whole:
        build(whole, tmp_path / "whole")
    server.faults = [None] * 15 + ["stall"] * 2
    out = tmp_path / "out.jsonl"
    process = subprocess.Popen([sys.executable, story_writer.__file__, server.url, str(out), str(tmp_path / "cache")])
    try:
        until = time.monotonic() + 120
        # Both workers hang, and the stories before theirs are written.
        while (len(server.bodies) < 17 or not out.exists() or len(read_stories(out)) < 2) and time.monotonic() < until:
            assert process.poll() is None
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    assert 2 <= len(read_stories(out)) < 6
    server.faults, server.bodies = [], []
    build(server, tmp_path)
    assert 0 < len(server.bodies) < REQUESTS - 10
    assert out.read_bytes() == (tmp_path / "whole/out.jsonl").read_bytes()
    assert not list(tmp_path.glob("*.part"))


def test_an_interruption_asks_no_more_and_loses_nothing(tmp_path: Path) -> None:
    """Once it is interrupted answers are held back, so that each of two workers sends one request at most before it hears of it."""
    held, released, before = threading.Event(), threading.Event(), list[int]()

    def slow(prompt: str) -> str:
        if held.is_set():
            released.wait(10)
        return answer(prompt)

    def interrupt(what: str, done: int, total: int) -> None:
        if done == 2 and not before:
            held.set()
            before.append(len(server.bodies))
            threading.Timer(0.3, released.set).start()
            raise KeyboardInterrupt

    settings = replace(SETTINGS, stories=20)
    with serving(Misbehaving(slow)) as server:
        with pytest.raises(KeyboardInterrupt):
            build(server, tmp_path, settings, watcher=interrupt)
        assert len(read_stories(tmp_path / "out.jsonl")) == 2
        assert len(server.bodies) <= before[0] + 2
        build(server, tmp_path, settings)
        assert len(server.bodies) == 1 + 20 * 4


@pytest.mark.parametrize(
    "fault", [(500, {}, ""), (429, {"Retry-After": "0"}, ""), "cut", "text", "hang up", {"content": '{"a": ['}, "length"]
)
def test_a_passing_fault_leaves_no_trace(server: Misbehaving, tmp_path: Path, fault: Any) -> None:
    build(server, tmp_path / "good")
    server.faults = [None, fault, None, None, None, fault]
    build(server, tmp_path / "bad", replace(SETTINGS, workers=1))
    assert (tmp_path / "bad/out.jsonl").read_bytes() == (tmp_path / "good/out.jsonl").read_bytes()
    assert not quarantine_path(tmp_path / "bad/out.jsonl").exists()


def test_an_endpoint_that_breaks_down_keeps_what_is_finished(server: Misbehaving, tmp_path: Path) -> None:
    server.faults = [None] * 9 + [(500, {}, "")] * 100
    with pytest.raises(UserError, match="run the same command again later"):
        build(server, tmp_path, replace(SETTINGS, workers=1))
    assert len(read_stories(tmp_path / "out.jsonl")) == 2
    server.faults, server.bodies = [], []
    build(server, tmp_path)
    assert len(server.bodies) == REQUESTS - 9


def _spoilt(prompt: str) -> str:
    """A model that loses the keyword of the third story in German, and mentions the fifth's name in the sixth's Urdu."""
    if prompt.startswith("Translate"):
        texts = translation(prompt)
        if name_of(2) in prompt and "into German" in prompt:
            texts["false_sentences"] = ["Die Firma zahlte für 2.", "Sie war es."]
        if name_of(5) in prompt and "into Urdu" in prompt:
            texts["article"] = [f"{text} {name_of(4)}" for text in texts["article"]]  # type: ignore[attr-defined]
        return json.dumps(texts)
    return answer(prompt)


def test_what_fails_is_set_aside_with_its_reasons(tmp_path: Path) -> None:
    """One that no answer makes good (asked three times), and one whose fault only another story shows."""
    with serving(Misbehaving(_spoilt)) as server:
        summary = build(server, tmp_path)
        third, sixth = map(ID, (2, 5))
        assert [story.id for story in read_stories(tmp_path / "out.jsonl")] == list(map(ID, (0, 1, 3, 4)))
        rows = [json.loads(line) for line in summary.quarantine.read_text().splitlines()]
        assert [row["id"] for row in rows] == [third, sixth]
        assert len(rows[0]["reasons"]) == 3 and f"the keyword {name_of(2)!r} must stand in 'Sie war es.'" in rows[0]["reasons"][0]
        assert rows[1]["reasons"] == [f"the keyword {name_of(4)!r} (ur) of {ID(4)} also occurs in {sixth}"] * 1
        asked = len(server.bodies)
        assert build(server, tmp_path) == replace(summary, usage=build(server, tmp_path).usage)
        assert len(server.bodies) == asked
    # Deleting the list has them tried again.
    summary.quarantine.unlink()
    with serving(Misbehaving(answer)) as server:
        again = build(server, tmp_path)
        # The sixth story's answer passed its own checks, so it is in the cache.
        assert again.finished == 5 and list(again.quarantined) == [sixth] and len(server.bodies) == 2


def test_an_outline_of_no_use_stops_the_build(tmp_path: Path) -> None:
    with serving(Misbehaving(lambda prompt: '{"events": []}')) as server, pytest.raises(UnusableAnswerError, match="0 events, not 20"):
        build(server, tmp_path)
    assert not (tmp_path / "out.jsonl").exists()


def test_the_corpus_of_another_build_is_not_touched(server: Misbehaving, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    write_stories(generate_stories(2, languages=("en", "de", "ur")), out)
    content = out.read_bytes()
    with pytest.raises(UserError, match="holds another corpus"):
        build(server, tmp_path)
    assert out.read_bytes() == content
    out.unlink()
    build(server, tmp_path)
    with pytest.raises(UserError, match="holds another corpus"):
        build(server, tmp_path, replace(SETTINGS, languages=("de",)))


def test_topics_that_begin_alike_are_other_builds(server: Misbehaving, tmp_path: Path) -> None:
    topic = "A topic that goes on for more than forty signs, "
    build(server, tmp_path, replace(SETTINGS, topic=topic + "first", stories=1))
    with pytest.raises(UserError, match="the topic or the numbers of sentences"):
        build(server, tmp_path, replace(SETTINGS, topic=topic + "second", stories=2))


def test_what_failed_in_another_build_is_tried(server: Misbehaving, tmp_path: Path) -> None:
    """The corpus was moved away, the list of what failed was not."""
    other = replace(SETTINGS, languages=("de",))
    quarantine_path(tmp_path / "out.jsonl").write_text(json.dumps({"id": other.story_id(2, "tiny"), "reasons": ["spoilt"]}) + "\n")
    summary = build(server, tmp_path)
    assert (summary.finished, summary.quarantined) == (6, {})


@pytest.mark.parametrize("content", ["{", "[1]\n", '{"id": "a"}\n'])
def test_a_spoilt_quarantine_file(server: Misbehaving, tmp_path: Path, content: str) -> None:
    quarantine_path(tmp_path / "out.jsonl").write_text(content)
    with pytest.raises(UserError, match="delete it"):
        build(server, tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"topic": " – "}, "says nothing"),
        ({"languages": ("xx",)}, "unknown language"),
        ({"stories": 0}, "stories is 0"),
        ({"workers": 0}, "workers"),
    ],
)
def test_settings_that_make_no_sense(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        replace(SETTINGS, **changes)


def test_a_topic_in_any_script_names_its_stories() -> None:
    assert re.fullmatch("häfen-港口-[0-9a-f]{8}-00007", BuildSettings("Häfen, 港口!", 1).story_id(7, "tiny"))


def test_what_decides_a_story_is_in_its_name() -> None:
    """Not how many there are, nor who works at them, nor the order of languages."""
    same = [{}, {"stories": 9}, {"workers": 1}, {"languages": ("ur", "en", "de")}]
    other = [{"topic": SETTINGS.topic + "!"}, {"languages": ("de",)}, {"sentences": 4}, {"questions": 3}, {"wordings": 3}]
    assert {replace(SETTINGS, **changes).story_id(0, "tiny") for changes in same} == {ID(0)}
    assert len({ID(0), SETTINGS.story_id(0, "large"), *(replace(SETTINGS, **changes).story_id(0, "tiny") for changes in other)}) == 7


TEXTS = Texts(
    article=("It cost 1,250 pounds in 2023.", "All came."),
    false_sentences=("Velmora paid.",),
    keyword="Velmora",
    questions=(QuestionAnswer(question="How much?", answer="1,250"),),
    real_question=QuestionAnswer(question="When?", answer="2023"),
    fake_questions=("Who paid?",),
    true_answer="Nobody",
)
GERMAN = Texts(
    article=("2023 kostete es 1.250 Pfund.", "Alle kamen."),
    false_sentences=("Velmora zahlte.",),
    keyword="Velmora",
    questions=(QuestionAnswer(question="Wie viel?", answer="1 250"),),
    real_question=QuestionAnswer(question="Wann?", answer="٢٠٢٣"),
    fake_questions=("Wer zahlte?",),
    true_answer="Niemand",
)


def test_a_good_translation_has_no_faults() -> None:
    assert translation_faults(GERMAN, TEXTS) == []


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"article": ("Alle kamen.",)}, "article has 1 entries, not 2"),
        ({"article": ("2023 kostete es 1.205 Pfund.", "Alle kamen.")}, "the numbers of"),
        ({"article": ("2023 kostete es 1.250 Pfund.", "All came.")}, "was not translated"),
        ({"questions": (QuestionAnswer(question="How much?", answer="1 250"),)}, "'How much?' was not translated"),
        ({"real_question": QuestionAnswer(question="When?", answer="2023")}, "'When?' was not translated"),
        ({"article": ("2023 kostete es 1.250 Pfund.", "velmora kam.")}, "must not stand in 'velmora kam.'"),
        ({"fake_questions": ("Wer, Velmora?",)}, "must not stand"),
        ({"false_sentences": ("Welmora zahlte.",)}, "must stand in 'Welmora zahlte.'"),
        ({"true_answer": "Velmora"}, "must not stand"),
        ({"questions": (QuestionAnswer(question="Wie viel zahlte Velmora?", answer="1 250"),)}, "must not stand in 'Wie viel"),
        ({"questions": (QuestionAnswer(question="Wie viel?", answer="1 250 von Velmora"),)}, "must not stand in '1 250"),
        ({"real_question": QuestionAnswer(question="Wann kam VELMORA?", answer="2023")}, "must not stand in 'Wann"),
    ],
)
def test_faults_of_a_translation(changes: dict[str, Any], fault: str) -> None:
    [found] = translation_faults(GERMAN.model_copy(update=changes), TEXTS)
    assert fault in found


def test_a_keyword_in_another_story_is_a_fault_either_way_round() -> None:
    """Both "a" and "b" mention Velmora, the keyword of "a" alone."""
    other = TEXTS.model_copy(update={"keyword": "Brusk", "false_sentences": ("Brusk, not Velmora, paid.",)})
    one, two = (Story(id=name, kind="any", editions={"en": own.edition([1], [])}) for name, own in (("a", TEXTS), ("b", other)))
    fault = ["the keyword 'Velmora' (en) of a also occurs in b"]
    assert story_faults(one, [two]) == story_faults(two, [one]) == fault
    assert story_faults(one, []) == []


@pytest.mark.parametrize("text", ["1,234.5", "1 234,5", "1\u202f234,5", "1’234.5", "١٢٣٤٫٥", "१२३४.५"])
def test_numbers_are_the_same_however_they_are_written(text: str) -> None:
    assert numbers(f"a {text} b") == [12345]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("At 10:30 all came.", "Um 10.30 Uhr kamen alle."),
        ("At 10:30.", "10時30分。"),
        ("On 14/3/2023.", "Am 14.3.2023."),
        ("1,250 by 7:05", "1250 um 7.05"),
    ],
)
def test_clock_times_and_dates_may_change_their_signs(before: str, after: str) -> None:
    english, german = (texts.model_copy(update={"true_answer": text}) for texts, text in ((TEXTS, before), (GERMAN, after)))
    assert translation_faults(german, english) == []
    changed = german.model_copy(update={"true_answer": after.replace("7", "8").replace("3", "4")})
    assert len(translation_faults(changed, english)) == 1


def test_numbers_apart_stay_apart() -> None:
    assert numbers("On 3 March 2024, 17 of 20") == [3, 17, 20, 2024]
    assert numbers("none") == []


def test_names_of_an_outline_are_apart() -> None:
    one = Event(headline="Bridge opened", kind="opening", name="Velmora")
    for name, headline, fault in [
        ("Velmorax", "Mill", "too much alike"),
        ("VELMORA", "Mill", "too much alike"),
        ("Brusk", "Velmora's mill", "in the headline"),
        ("Brusk", "The mill", ""),
        ("Mill", "The mill", "in the headline"),
        ("Bridge", "Mill", "in the headline"),
    ]:
        found = outline_faults([Event(headline=headline, kind="a", name=name)], [one], 1)
        assert bool(found) == bool(fault) and all(fault in text for text in found)


def test_the_plan_counts_the_requests_that_a_build_makes(server: Misbehaving, tmp_path: Path) -> None:
    for stories in (6, 23):
        settings = replace(SETTINGS, stories=stories)
        server.bodies = []
        build(server, tmp_path / str(stories), settings)
        assert plan_build(settings).requests == len(server.bodies)


def test_the_plan_prices_both_ways() -> None:
    """2 units a million in, 8 a million out."""
    plan = plan_build(SETTINGS, Prices(2.0, 8.0))
    assert plan.cost == pytest.approx((2 * plan.tokens_in + 8 * plan.tokens_out) / 1e6)
    assert plan_build(SETTINGS).cost is None
    with pytest.raises(UserError, match="0 or more"):
        Prices(-1.0, 0.0)


def test_the_plan_grows_with_stories_and_languages_and_with_script() -> None:
    """One language more is one request a story; in Urdu it has twice the tokens out of German."""
    base = plan_build(replace(SETTINGS, languages=()))
    german, urdu = (plan_build(replace(SETTINGS, languages=(tag,))) for tag in ("de", "ur"))
    assert german.requests - base.requests == SETTINGS.stories
    assert urdu.tokens_out - base.tokens_out == 2 * (german.tokens_out - base.tokens_out)
    assert plan_build(replace(SETTINGS, stories=12)).tokens_out > 1.5 * plan_build(SETTINGS).tokens_out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--out", "."], "a folder stands there"), (["--out", "o.jsonl", "--price-in", "3"], "give both prices")],
)
def test_a_build_that_cannot_be_planned_says_why(arguments: list[str], said: str) -> None:
    found = CliRunner().invoke(app, ["corpus", "build", "bridges", "--plan", *arguments])
    assert isinstance(found.exception, UserError) and said in str(found.exception)
