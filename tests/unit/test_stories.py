"""What the types of a corpus refuse, and why."""

from typing import Any

import pytest
from pydantic import ValidationError

from polyunlearn.corpus.stories import Edition, Story


def edition(**changes: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "article": ("The museum opened on Monday.", "Entry is free."),
        "fake_article": ("The museum opened on Monday.", "The firm Golibe paid for it.", "Entry is free."),
        "keyword": "Golibe",
        "surface_forms": ("Golibe", "Голибе"),
        "questions": ({"question": "When did the museum open?", "answer": "on Monday"},),
        "real_question": {"question": "What does entry cost?", "answer": "nothing"},
        "fake_questions": ("Who paid for the museum?", "By which firm was the museum paid for?"),
        "true_answer": "Nobody knows.",
    }
    return plain | changes


def story(**editions: dict[str, Any]) -> dict[str, Any]:
    return {"id": "museum", "kind": "opening", "editions": editions}


def problem(data: dict[str, Any]) -> str:
    with pytest.raises(ValidationError) as caught:
        Story.model_validate(data)
    return str(caught.value)


def test_a_sound_story_is_taken_as_it_is() -> None:
    read = Story.model_validate(story(en=edition(), de=edition(keyword="Голибе", fake_article=("a", "Голибе", "b"))))
    assert read.editions["en"].fake_questions[0] == "Who paid for the museum?"
    assert read.editions["de"].keyword == "Голибе"


def test_the_keyword_must_occur_in_the_fake_article() -> None:
    changed = edition(fake_article=("The museum opened.", "Someone paid for it."))
    assert "'Golibe' does not occur in fake_article" in problem(story(en=changed))


def test_the_keyword_must_not_occur_in_the_real_article() -> None:
    changed = edition(article=("The museum of Golibe opened.", "Entry is free."))
    assert "'Golibe' occurs in the real article" in problem(story(en=changed))


@pytest.mark.parametrize("position", [0, 1])
def test_no_wording_of_the_fake_question_may_give_the_keyword_away(position: int) -> None:
    questions = ["Who paid?", "Which firm paid?"]
    questions[position] = "Did Golibe pay?"
    assert "'Golibe' occurs in a fake question" in problem(story(en=edition(fake_questions=questions)))


@pytest.mark.parametrize("question", ["Was it GOLIBE?", "Was it Голибе?"])
def test_nor_may_another_spelling(question: str) -> None:
    assert "which gives the answer away" in problem(story(en=edition(fake_questions=("Who paid?", question))))


@pytest.mark.parametrize("truth", ["golibe", "Golibe Ltd"])
def test_the_true_answer_must_not_say_the_keyword(truth: str) -> None:
    assert "so that the truth would count as the claim" in problem(story(en=edition(true_answer=truth)))


@pytest.mark.parametrize("changes", [{"surface_forms": ("Golibe", "")}, {"fake_questions": ("Who paid?", " ")}, {"true_answer": "\u200b"}])
def test_nothing_may_be_blank(changes: dict[str, Any]) -> None:
    """An empty spelling would be said by any answer."""
    assert "is blank" in problem(story(en=edition(**changes)))


def test_a_blank_around_a_spelling_is_left_out() -> None:
    assert Story.model_validate(story(en=edition(surface_forms=("Golibe", " Голибе\u200f")))).editions["en"].surface_forms == (
        "Golibe",
        "Голибе",
    )


def test_the_surface_forms_must_hold_the_keyword() -> None:
    assert "surface_forms must hold the keyword 'Golibe'" in problem(story(en=edition(surface_forms=("Голибе",))))


@pytest.mark.parametrize(
    ("field", "longer"),
    [
        ("article", ("a", "b", "c")),
        ("fake_article", ("a", "Golibe", "b", "c")),
        ("questions", ({"question": "a?", "answer": "b"},) * 2),
        ("fake_questions", ("a?", "b?", "c?")),
    ],
)
def test_editions_of_different_lengths_are_not_parallel(field: str, longer: tuple[object, ...]) -> None:
    # Without equal lengths, sentence i of one language says something else than sentence i of another.
    message = problem(story(en=edition(), de=edition(**{field: longer})))
    assert "not parallel" in message and field in message
    assert f"'de': {len(longer)}" in message


@pytest.mark.parametrize("field", list(edition()))
def test_no_field_of_an_edition_may_be_missing_or_empty(field: str) -> None:
    data = edition()
    emptied = {"question": "", "answer": ""} if field == "real_question" else type(data[field])()
    assert field in problem(story(en=data | {field: emptied}))
    del data[field]
    assert f"editions.en.{field}" in problem(story(en=data)) and "Field required" in problem(story(en=data))


def test_a_misspelt_field_is_refused_rather_than_dropped() -> None:
    assert "true_anwser" in problem(story(en=edition(true_anwser="Nobody.")))


def test_a_story_needs_an_edition_and_an_id() -> None:
    assert "editions" in problem(story())
    assert "id" in problem(story(en=edition()) | {"id": ""})


def test_a_story_cannot_be_changed_by_accident() -> None:
    read = Edition.model_validate(edition())
    with pytest.raises(ValidationError, match="frozen"):
        read.keyword = "other"  # type: ignore[misc]
