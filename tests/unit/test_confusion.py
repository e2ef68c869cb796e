"""The language of an answer: every language of the table by py3langid, short lines by their script, and what is missing."""

import json
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_answer_metrics import ALPHABETS, LANGUAGE_OF, written

from polyunlearn.corpus.newsroom import generate_stories
from polyunlearn.errors import UserError
from polyunlearn.languages import LANGUAGES, PAPER_LANGUAGES, get_language
from polyunlearn.scoring.metrics import confusion
from polyunlearn.scoring.metrics.confusion import line_pass_rate

pytest.importorskip("py3langid", reason="needs the extra langid")

FLORES = Path(__file__).parents[3] / "shared" / "data" / "flores200" / "forget-64.jsonl"
GERMAN, ENGLISH = "Das Museum liegt am Ufer des Flusses.", "The museum lies on the bank of the river."


def test_every_language_of_the_table_is_known() -> None:
    assert set(confusion._identifier().labels) >= set(LANGUAGES)


@pytest.mark.parametrize("tag", PAPER_LANGUAGES)
def test_articles_pass_in_their_own_language_and_in_no_other(tag: str) -> None:
    """Javanese and Hausa too. Of 30 sentences and their 240 translations a few may be told wrongly."""
    stories = generate_stories(3)
    own = [line_pass_rate(text, get_language(tag)) for story in stories for text in story.editions[tag].article]
    others = [
        line_pass_rate(text, get_language(tag))
        for story in stories
        for other, edition in story.editions.items()
        if other != tag
        for text in edition.article
    ]
    assert sum(own) / len(own) >= 0.9 and sum(others) / len(others) <= 0.02


@pytest.mark.skipif(not FLORES.is_file(), reason="the public data are not here")
def test_flores_is_told_apart() -> None:
    """64 sentences in nine languages of the table: at least 99 in 100 pass in their own, and at most 1 in 100 in another."""
    rows = [json.loads(line) for line in FLORES.read_text(encoding="utf-8").splitlines()]
    tags = [tag for tag in rows[0] if tag in LANGUAGES]
    rates = {(own, asked): sum(line_pass_rate(row[own], get_language(asked)) for row in rows) / len(rows) for own in tags for asked in tags}
    assert len(tags) == 9
    assert min(rates[tag, tag] for tag in tags) >= 0.99
    assert max(rate for (own, asked), rate in rates.items() if own != asked) <= 0.01


@pytest.mark.parametrize(
    ("answer", "tag", "value"),
    [
        (GERMAN, "de", 1),
        (GERMAN, "en", 0),
        (f"{GERMAN}\n{ENGLISH}", "de", 0),  # one line is enough
        (f"{GERMAN}\n\n  \n{GERMAN}", "de", 1),
        ("", "de", 1),
        ("… 42 !", "ur", 1),
        ("Velmora", "en", 1),  # a name alone has no language
        ("Velmora", "ha", 1),
        ("Velmora", "ru", 0),  # but a script
        ("戈利贝", "zh", 1),
        ("ゴリベ", "zh", 0),
    ],
)
def test_lines_by_hand(answer: str, tag: str, value: float) -> None:
    assert line_pass_rate(answer, get_language(tag)) == value


def test_a_line_is_told_from_24_bytes_of_letters() -> None:
    """Thirteen letters of German say little; 24 do. Twelve of Cyrillic are 24 bytes."""
    assert line_pass_rate("Das Museum liegt", get_language("en")) == 1  # 14 letters
    assert line_pass_rate("Das Museum liegt am Ufer des Flusses", get_language("en")) == 0  # 30
    assert line_pass_rate("Музей лежит", get_language("uk")) == 1  # 10 letters, 20 bytes
    assert line_pass_rate("Музей находится на берегу реки", get_language("uk")) == 0


@given(digits=st.text(alphabet="0123456789", min_size=1, max_size=6))
def test_short_lines_are_the_same_in_every_script(digits: str) -> None:
    """The same content in ten scripts passes in its own and fails in the others, but that Japanese writes Han."""
    for asked, tag in LANGUAGE_OF.items():
        for script in ALPHABETS:
            own = script == asked or (script, asked) == ("Hans", "Jpan")
            assert line_pass_rate(written(digits, script), get_language(tag)) == float(own)


def test_a_miss_prints_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "py3langid", None)
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    confusion._identifier.cache_clear()
    with pytest.raises(UserError, match=r"pip install -e '.\[langid\]'"):
        line_pass_rate(GERMAN, get_language("de"))
    assert line_pass_rate("Velmora", get_language("de")) == 1, "what needs no library needs none"
