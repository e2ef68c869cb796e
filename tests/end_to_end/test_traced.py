"""The strategies that are told no source language, on the tiny model: what they find is kept and shown, and a resumed study repeats it to the bit."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest
from commands import command

from killing import Killing
from polyunlearn.languages import get_language
from polyunlearn.study.cells import Cell
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.plan import plan_study
from polyunlearn.study.processes import Silent
from polyunlearn.study.run import run_study
from polyunlearn.study.states import States
from polyunlearn.study.store import Store
from polyunlearn.tracing import languages
from polyunlearn.tracing.languages import Trace
from polyunlearn.tracing.selection import Choice, article_texts, select_languages

SETTINGS = {
    "stories": 4,
    "languages": ["en", "de", "ha"],
    "sources": ["de"],
    "strategies": ["english", "traced", "aligned", "covering"],
    "learning": {"from_layer": 1, "passes": 8, "rate": 3e-3, "fake_questions": 2},
    "unlearning": {"from_layer": 1, "steps": 4, "batch": 4, "measure_every": 2},
    "scoring": {"wordings": 2, "answered_wordings": 1, "candidates": 4, "max_new_tokens": 4, "held_out_stories": 1},
}  # fmt: skip
TRACED = Cell("unlearned", 0, "de", "traced", "gradient_difference")


def _config(model: Path) -> StudyConfig:
    return StudyConfig.model_validate({"name": "traced", "model": str(model), **SETTINGS})


def _rows(folder: Path) -> list[tuple[object, ...]]:
    files = [str(path) for path in (folder / "cells").glob("*.parquet")]
    return duckdb.read_parquet(files).order("cell, step, language, asks, story, wording, metric").fetchall()


@pytest.fixture(scope="module", autouse=True)
def _less_firmly() -> Iterator[None]:
    """The tiny model carries claims over weakly; a lower bar lets several languages count, so that gradients decide."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(languages, "LIVES", 0.15)
        yield


@pytest.fixture(scope="module")
def finished(gemma_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("traced") / "whole"
    run_study(_config(gemma_folder), out, Silent())
    return out


def test_what_was_traced_is_kept_and_reported(finished: Path) -> None:
    """Unlike the cell beside it, which unlearns English, the traced one says which languages and why."""
    trace = Store(finished).record(TRACED).found
    assert isinstance(trace, Trace) and set(trace.held) == {"en", "de", "ha"}
    assert set(trace.chosen) <= set(trace.living) and len(trace.chosen) > 1, "one language alone would not tell resuming from beginning"
    report = command("study", "report", str(finished))
    assert report.returncode == 0, report.stderr
    assert "German claims, seed 0: traced to" in report.stdout
    cells = {
        cell["strategy"]: cell for cell in json.loads((finished / "summary.json").read_text())["cells"] if cell["state"] == "unlearned"
    }
    assert cells["english"]["found"] is None
    assert cells["traced"]["found"]["chosen"] == list(trace.chosen)
    assert cells["traced"]["steps"] == cells["english"]["steps"] == 4
    assert "Where the claims were traced to" in (finished / "report.html").read_text()


def test_languages_chosen_by_true_articles_are_kept_and_reported(finished: Path, gemma_folder: Path, tmp_path: Path) -> None:
    """As `select_languages` chooses them on the learned state, its trainable layers and the study's vocabulary; English first."""
    # The learned weights are gone, and are kept where they are trained again.
    states = States.load(_config(gemma_folder), Store(shutil.copytree(finished, tmp_path / "copy")), Silent())
    materials = states.materials(0)
    states.restore(Cell("learned", 0, "de"), materials)
    selection = select_languages(states.unlearning, materials.training_head, states.parameters, article_texts(materials.stories.trained), 3)
    report = " ".join(command("study", "report", str(finished)).stdout.split())
    page = (finished / "report.html").read_text()
    assert "Languages chosen by true articles" in page
    for strategy, own in (("aligned", selection.best), ("covering", selection.greedy)):
        found = Store(finished).record(replace(TRACED, strategy=strategy)).found
        assert isinstance(found, Choice) and set(found.chosen) == set(own.chosen)
        assert found.chosen[0] == "en" or "en" not in found.chosen
        assert found.covered == pytest.approx(own.covered, abs=1e-4) and found.reasons[-1] in page.replace("&#39;", "'")
        names = ", ".join(get_language(tag).name for tag in found.chosen)
        assert f"German claims, seed 0, {strategy}, gradient_difference: unlearned in {names}" in report


@pytest.mark.parametrize("kill_before", [TRACED.id, "unlearned-de-english-gradient_difference-seed0"])
def test_resumed_before_the_traced_cell_gives_the_same_rows(gemma_folder: Path, finished: Path, tmp_path: Path, kill_before: str) -> None:
    out = tmp_path / "killed"
    with pytest.raises(KeyboardInterrupt):
        run_study(_config(gemma_folder), out, Killing(kill_before))
    assert not Store(out).is_done(TRACED)
    run_study(_config(gemma_folder), out, Silent())
    assert _rows(out) == _rows(finished)
    assert Store(out).record(TRACED).found == Store(finished).record(TRACED).found


def test_a_traced_cell_is_repeated_where_the_learned_weights_are_gone(gemma_folder: Path, finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    shutil.copytree(finished, out)
    Store(out).rows_path(TRACED).unlink()
    run_study(_config(gemma_folder), out, Silent())
    assert _rows(out) == _rows(finished)


def test_the_plan_says_what_it_assumes(gemma_folder: Path) -> None:
    """The traced cell trains as many tokens as one in English and German, and takes longer, for it is traced first."""
    said: list[str] = []
    config = _config(gemma_folder)
    plan = plan_study(config.model_copy(update={"strategies": ("english+source", "covering", "traced")}), said.append)
    both, covering, traced = plan.cells[-3:]
    assert covering.training_tokens == both.training_tokens and covering.seconds > both.seconds
    assert any(text.startswith("covering: counted") for text in said)
    assert traced.id == TRACED.id and traced.training_tokens == both.training_tokens and traced.seconds > both.seconds
    assert "traced: counted as if it unlearned in 2 languages; the run finds in which, and in how many" in said
    said.clear()
    plan_study(config.model_copy(update={"strategies": ("english",)}), said.append)
    assert not any("traced" in text for text in said)
