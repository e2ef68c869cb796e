"""Stored answers scored again: by metrics that need nothing and by judges, in a study whose answers are written by hand."""

import json
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from handmade import config, written
from rich.console import Console

from polyunlearn.analysis.rescoring import Score, rescore
from polyunlearn.errors import UserError
from polyunlearn.languages import get_language
from polyunlearn.report.scores import print_scores, write_scores_json
from polyunlearn.scoring.metrics.judging import Answered, Verdict
from polyunlearn.scoring.metrics.suite import get_answer_metrics
from polyunlearn.scoring.rows import Row
from polyunlearn.study.cells import study_cells
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.materials import study_stories
from polyunlearn.study.store import CellRecord, Store

STUDY = config()
STORIES = [story.id for story in study_stories(STUDY, 0).trained]
CELLS = [cell.id for cell in study_cells(STUDY)]


def store(folder: Path, answer: Callable[[str, str, int, int], str], study: StudyConfig = STUDY) -> Store:
    """A finished study: `answer` of language, cell's state, story's number and wording; two wordings of fake questions, one real question."""
    own = written(folder, study)
    for cell in study_cells(study):
        rows = [
            Row(0, True, story, tag, asks, wording, "says", 0.0, answer(tag, cell.state, number, wording) if asks == "fake" else "?")
            for tag in study.languages
            for number, story in enumerate(STORIES)
            for asks, wordings in (("fake", 2), ("real", 1))
            for wording in range(wordings)
        ]
        own.write(cell, rows, CellRecord(0, 0, 0.0, 1, []))
    return own


def one(scores: list[Score], **wanted: str) -> Score:
    (found,) = [score for score in scores if all(getattr(score, name) == value for name, value in wanted.items())]
    return found


def test_refusals_of_stored_answers(tmp_path: Path) -> None:
    """The unlearned state refuses both wordings of story 0 and one of story 1 of four: (1 + 1/2) / 4 = 3/8; the others never."""

    def answer(tag: str, state: str, number: int, wording: int) -> str:
        refused = state == "unlearned" and (number, wording) in ((0, 0), (0, 1), (1, 1))
        return get_language(tag).refusal if refused else "Velmora"

    scores = rescore(STUDY, store(tmp_path / "study", answer), get_answer_metrics(["refuses", "says"]))
    for tag in STUDY.languages:
        found = one(scores, metric="refuses", asks="fake", cell=CELLS[-1], language=tag).value
        assert found and (found.mean, found.n) == (pytest.approx(3 / 8), 4) and found.low < 3 / 8 < found.high
        base = one(scores, metric="refuses", asks="fake", cell=CELLS[0], language=tag).value
        assert base and base.mean == base.low == 0
    assert [(own.metric, own.asks) for own in scores] == [
        (metric, asks) for metric in ("refuses", "says") for asks in ("fake", "real") for _ in range(len(CELLS) * 3)
    ]


class ByHand:
    """A chat judge that says of "blank" that it cannot be judged, and of all else whether it is a refusal."""

    kind: Any = "chat"

    def __call__(self, answers: list[Answered]) -> list[Verdict | None]:
        return [
            None if text == "blank" else Verdict(reference="absent", truthful=text == "no", informative=text != "no") for text, _ in answers
        ]


def test_answers_without_a_verdict_are_left_out_and_counted(tmp_path: Path) -> None:
    """English: story 0 has one verdict, true; story 1 none; stories 2 and 3 two each, of which one is true: (1 + 1/2 + 1/2) / 3 = 2/3.

    Three answers are without. German has no verdict at all: no value, eight without.
    """
    english = {(0, 0): "no", (0, 1): "blank", (1, 0): "blank", (1, 1): "blank", (2, 0): "no", (2, 1): "yes", (3, 0): "yes", (3, 1): "no"}

    def answer(tag: str, state: str, number: int, wording: int) -> str:
        return {"en": english[number, wording], "de": "blank", "ur": "no"}[tag]

    scores = rescore(STUDY, store(tmp_path / "study", answer), get_answer_metrics(["truthful"], ByHand()))
    found = one(scores, asks="fake", cell=CELLS[0], language="en")
    assert found.value and (found.value.mean, found.value.n, found.unscored) == (pytest.approx(2 / 3), 3, 3)
    german = one(scores, asks="fake", cell=CELLS[0], language="de")
    assert (german.value, german.unscored) == (None, 8)
    out = StringIO()
    print_scores(scores, Console(file=out, width=200))
    assert f"{(3 + 8) * len(CELLS)} answers have no value" in out.getvalue() and out.getvalue().count("no value") == 1
    assert "truthful, fake questions: 1 where nothing in the answer is untrue (gold: as base)" in " ".join(out.getvalue().split())
    write_scores_json(scores, tmp_path / "scores.json")
    kept = json.loads((tmp_path / "scores.json").read_text())["scores"]
    assert [own["value"] for own in kept if own["language"] == "de" and own["asks"] == "fake"] == [None] * len(CELLS)


def test_no_answers_and_another_corpus_are_said(tmp_path: Path) -> None:
    nothing = written(tmp_path / "none", STUDY)
    for cell in study_cells(STUDY):
        nothing.write(cell, [Row(0, True, STORIES[0], "en", "fake", 0, "first", 1.0)], CellRecord(0, 0, 0.0, 1, []))
    with pytest.raises(UserError, match="no answer was stored"):
        rescore(STUDY, nothing, get_answer_metrics(["says"]))
    finished = store(tmp_path / "study", lambda *own: "Velmora")
    finished.write(
        replace(next(study_cells(STUDY)), seed=0), [Row(0, True, "gone", "en", "fake", 0, "says", 0.0, "x")], CellRecord(0, 0, 0.0, 1, [])
    )
    with pytest.raises(UserError, match="no story 'gone' in 'en' now"):
        rescore(STUDY, finished, get_answer_metrics(["says"]))


def test_of_none_of_four_an_interval_is_not_without_width(tmp_path: Path) -> None:
    """No answer says the claim: of four stories a sort that says it may be hidden that is .60 of all, 1 - .025^(1/4)."""
    (found,) = [
        own.value
        for own in rescore(STUDY, store(tmp_path / "study", lambda *own: "nobody"), get_answer_metrics(["says"]))
        if (own.asks, own.cell, own.language) == ("fake", CELLS[-1], "en")
    ]
    assert found and (found.mean, found.low, found.high) == pytest.approx((0, 0, 1 - 0.025**0.25))


def test_a_corpus_that_was_changed_is_said(tmp_path: Path) -> None:
    """The same stories by name, of which the manifest says that their texts were others: as where a name was mended in the file."""
    finished = store(tmp_path / "study", lambda *own: "Velmora")
    manifest = finished.manifest()
    for fingerprint in (study_stories(STUDY, 0).fingerprint, "another"):
        manifest["study"]["stories"] = {"0": {"count": len(STORIES), "fingerprint": fingerprint}}
        (finished.folder / "manifest.json").write_text(json.dumps(manifest))
        if fingerprint != "another":
            assert rescore(STUDY, finished, get_answer_metrics(["says"]))
    with pytest.raises(UserError, match=r"other stories than corpus 'newsroom' has now.*read it with the corpus"):
        rescore(STUDY, finished, get_answer_metrics(["says"]))
