"""Corpora as JSON lines: round trip, and messages that name file, line and remedy."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polyunlearn.corpus.jsonl import read_stories, write_stories
from polyunlearn.corpus.lines import to_json_line
from polyunlearn.corpus.newsroom import generate_stories
from polyunlearn.corpus.stories import Edition, QuestionAnswer, Story
from polyunlearn.errors import UserError
from polyunlearn.text import normalised

STORIES = generate_stories(3, languages=("en", "ru"))
TEXT = st.text(alphabet=st.characters(blacklist_categories=["Cs"]), min_size=1)


def lines(count: int = 3) -> list[dict[str, Any]]:
    return [json.loads(to_json_line(story)) for story in STORIES[:count]]


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def problems(path: Path) -> list[str]:
    with pytest.raises(UserError) as caught:
        read_stories(path)
    return str(caught.value).splitlines()


def story_that_says(text: str) -> Story:
    edition = Edition(
        article=(f"a{text}",),
        fake_article=(f"b{text}", "Golibe"),
        keyword="Golibe",
        surface_forms=("Golibe",),
        questions=(QuestionAnswer(question=text, answer=text),),
        real_question=QuestionAnswer(question=text, answer=text),
        fake_questions=(f"c{text}",),
        true_answer=text,
    )
    return Story(id="one", kind="any", editions={"en": edition})


def test_the_newsroom_survives_the_round_trip(tmp_path: Path) -> None:
    stories = generate_stories(12)
    write_stories(stories, tmp_path / "corpus.jsonl")
    assert read_stories(tmp_path / "corpus.jsonl") == stories


def test_a_file_is_one_line_a_story_in_its_own_script(tmp_path: Path) -> None:
    write_stories(STORIES, tmp_path / "corpus.jsonl")
    text = (tmp_path / "corpus.jsonl").read_text(encoding="utf-8")
    assert text.count("\n") == 3 and text.endswith("\n")
    assert STORIES[0].editions["ru"].keyword in text  # not escaped: a person can read and search the file
    assert "\\u" not in text


@given(text=TEXT.filter(lambda text: "golibe" not in normalised(text) and bool(normalised(text))))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
def test_any_text_survives_the_round_trip(tmp_path: Path, text: str) -> None:
    story = story_that_says(text)
    write_stories([story], tmp_path / "any.jsonl")
    assert read_stories(tmp_path / "any.jsonl") == [story]


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85"], ids=["line separator", "paragraph separator", "next line"])
def test_a_line_separator_inside_a_sentence_does_not_split_the_line(tmp_path: Path, separator: str) -> None:
    # JSON lets these stand unescaped in a string, and pages copied from the web hold them.
    story = story_that_says(f"before{separator}after")
    write_stories([story], tmp_path / "any.jsonl")
    assert read_stories(tmp_path / "any.jsonl") == [story]


def test_empty_lines_count_as_lines_but_not_as_stories(tmp_path: Path) -> None:
    first, second = (json.dumps(row) for row in lines(2))
    (tmp_path / "gaps.jsonl").write_text(f"\n{first}\n\n  \n{second}\n\nnot json\n")
    assert problems(tmp_path / "gaps.jsonl")[0].startswith(f"{tmp_path / 'gaps.jsonl'}:7: not JSON")
    (tmp_path / "gaps.jsonl").write_text(f"\n{first}\n\n  \n{second}\n\n")
    assert read_stories(tmp_path / "gaps.jsonl") == STORIES[:2]


def test_a_line_that_is_not_json_names_its_place_and_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(json.dumps(lines(1)[0]) + '\n{"id": x}\n')
    (message,) = problems(path)
    assert message.startswith(f"{path}:2: not JSON (")
    assert "at column 8" in message  # the bare x, after the seven characters {"id": and a space
    assert message.endswith("write one JSON object a line")


@pytest.mark.parametrize("value", ["[]", "3", '"text"', "null"])
def test_json_that_is_no_object_is_refused(tmp_path: Path, value: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(value + "\n")
    (message,) = problems(path)
    assert message.startswith(f"{path}:1: ") and "a JSON object is wanted" in message


def _without_article(rows: list[dict[str, Any]]) -> None:
    del rows[1]["editions"]["ru"]["article"]


def _misspelt(rows: list[dict[str, Any]]) -> None:
    rows[1]["editions"]["ru"]["artcle"] = ["x"]


def _unknown_language(rows: list[dict[str, Any]]) -> None:
    rows[1]["editions"]["rus"] = rows[1]["editions"].pop("ru")


def _same_id(rows: list[dict[str, Any]]) -> None:
    rows[1]["id"] = rows[0]["id"]


def _fewer_languages(rows: list[dict[str, Any]]) -> None:
    del rows[1]["editions"]["ru"]


def _shared_keyword(rows: list[dict[str, Any]]) -> None:
    rows[0]["editions"]["ru"]["article"][0] += " " + rows[1]["editions"]["ru"]["keyword"]


@pytest.mark.parametrize(
    ("spoil", "parts"),
    [
        (_without_article, ["field editions.ru.article: is wanted"]),
        (_misspelt, ["unknown key 'editions.ru.artcle'; did you mean 'article'?"]),
        (_unknown_language, ["unknown language 'rus'", "did you mean"]),
        (_same_id, [repr(STORIES[0].id), "was used on line 1", "give each story its own"]),
        (_fewer_languages, ["['en']", "line 1", "['en', 'ru']", "give every story the same languages"]),
        (_shared_keyword, [STORIES[1].editions["ru"].keyword, "(ru)", STORIES[0].id, "line 1", "must identify one story"]),
    ],
)
def test_each_mistake_names_file_line_and_remedy(tmp_path: Path, spoil: Callable[[list[dict[str, Any]]], None], parts: list[str]) -> None:
    rows = lines()
    path = written(tmp_path / "corpus.jsonl", rows)
    assert read_stories(path) == STORIES  # sound before it was spoilt
    spoil(rows)
    (message,) = problems(written(path, rows))
    assert message.startswith(f"{path}:2: ")
    assert [part for part in parts if part not in message] == []


def test_all_mistakes_of_a_file_are_named_at_once(tmp_path: Path) -> None:
    rows = lines()
    del rows[0]["kind"]
    rows[1]["editions"]["en"]["keyword"] = ""
    rows[2]["editions"]["xx"] = rows[2]["editions"].pop("ru")
    path = written(tmp_path / "corpus.jsonl", rows)
    with path.open("a") as file:
        file.write("{\n")
    found = problems(path)
    assert [[number for number in range(1, 5) if message.startswith(f"{path}:{number}: ")] for message in found] == [[1], [2], [3], [4]]


def test_a_missing_and_an_empty_file_are_users_errors(tmp_path: Path) -> None:
    assert problems(tmp_path / "nowhere.jsonl") == [f"{tmp_path / 'nowhere.jsonl'}: there is no such file"]
    (tmp_path / "empty.jsonl").write_text("\n\n")
    (message,) = problems(tmp_path / "empty.jsonl")
    assert "holds no story" in message and "write one JSON object a line" in message


def test_a_file_in_another_encoding_is_a_users_error_that_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "latin1.jsonl"
    path.write_bytes('{"id": "Génève"}\n'.encode("latin-1"))
    (message,) = problems(path)
    assert str(path) in message and "UTF-8" in message


def test_a_failed_write_keeps_the_old_corpus(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    write_stories(STORIES, path)
    before = path.read_bytes()

    def one_then_failure() -> Iterator[Story]:
        yield STORIES[0]
        raise RuntimeError("the builder failed")

    with pytest.raises(RuntimeError, match="the builder failed"):
        write_stories(one_then_failure(), path)
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["corpus.jsonl"]


def test_a_claims_file_is_told_from_a_corpus(tmp_path: Path) -> None:
    """As one fault a line, not as all that a claim lacks of a story."""
    claim = {"id": "c", "editions": {"en": {"keyword": "Ada", "questions": ["Who?"]}}}
    (message,) = problems(written(tmp_path / "claims.jsonl", [claim]))
    assert message.endswith(":1: holds a claim, not a story, which has articles too (docs/corpus.md)")
