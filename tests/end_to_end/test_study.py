"""A study on the tiny model by the commands that a user types."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest
from commands import command

from polyunlearn.languages import PAPER_LANGUAGES

SMALL = ["stories=4", "learning.passes=2", "unlearning.steps=4", "unlearning.measure_every=2", "unlearning.batch=4", "scoring.max_new_tokens=4",
         "scoring.wordings=2", "scoring.answered_wordings=2", "scoring.candidates=4", "learning.from_layer=2", "unlearning.from_layer=1"]  # fmt: skip


def settings(model: Path, *more: str) -> list[str]:
    return [part for item in (f"model={model}", *SMALL, *more) for part in ("--set", item)]


def rows(folder: Path) -> list[tuple[object, ...]]:
    files = [str(path) for path in (folder / "cells").glob("*.parquet")]
    return duckdb.read_parquet(files).order("cell, step, language, asks, story, wording, metric").fetchall()


@pytest.fixture(scope="module")
def finished(gemma_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("study") / "whole"
    result = command("study", "run", "quickstart", "--out", str(out), *settings(gemma_folder))
    assert result.returncode == 0, result.stderr
    return out


def test_a_study_has_every_cell_and_a_report(finished: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text())
    states = [cell["state"] for cell in summary["cells"]]
    assert states == ["base", "gold", *(["learned"] + ["unlearned"] * 4) * 2]
    assert {cell["strategy"] for cell in summary["cells"] if cell["state"] == "unlearned"} == {"english", "source", "english+source", "all"}
    for cell in summary["cells"]:
        assert set(cell["by_language"]) == set(PAPER_LANGUAGES)
        assert all(0 <= figures["fake_rank"] <= 1 and figures["n"] == 8 for figures in cell["by_language"].values())
    text = (finished / "report.html").read_text()
    assert 'dir="rtl"' in text and "<script src" not in text and "http" not in text.replace("http-equiv", "")
    assert (finished / "rows.csv").read_text().count("\n") == len(rows(finished)) + 1


def test_stored_answers_are_scored_again_as_they_were(finished: Path, tmp_path: Path) -> None:
    """What was written of each answer, its mean over a story's wordings, and of these over four stories; and ROUGE, which was not, from 0 to 1."""
    out = tmp_path / "scores.json"
    names = ("says", "chrf", "off_script", "rouge_l")
    result = command("score", str(finished), *(part for name in names for part in ("--metric", name)), "--json", str(out))
    assert result.returncode == 0, result.stderr
    files = [str(path) for path in (finished / "cells").glob("*.parquet")]
    answers = duckdb.read_parquet(files)  # noqa: F841 — read by its name
    stored = duckdb.sql(
        "SELECT metric, asks, cell, language, avg(value) FROM (SELECT metric, asks, cell, language, story, avg(value) AS value FROM answers "
        "WHERE \"end\" AND metric IN ('says', 'chrf', 'off_script') GROUP BY ALL) GROUP BY ALL"
    ).fetchall()
    found = {
        (own["metric"], own["asks"], own["cell"], own["language"]): own["value"]["mean"] for own in json.loads(out.read_text())["scores"]
    }
    assert len(stored) == 5 * 12 * 9
    assert all(found[key] == pytest.approx(value) for *key_parts, value in stored for key in [tuple(key_parts)])
    assert all(0 <= value <= 1 for (metric, *_), value in found.items() if metric == "rouge_l") and len(found) == 8 * 12 * 9
    wrong = command("score", str(finished), "--metric", "rouge")
    assert wrong.returncode == 2 and "did you mean 'rouge_l'" in wrong.stderr


def test_every_strategy_takes_the_same_steps(finished: Path) -> None:
    cells = [cell for cell in json.loads((finished / "summary.json").read_text())["cells"] if cell["state"] == "unlearned"]
    assert {cell["steps"] for cell in cells} == {4}


def test_weights_that_no_cell_needs_are_gone(finished: Path) -> None:
    assert not list(finished.rglob("*.safetensors"))
    assert not [path for path in finished.rglob(".*") if path.is_file()]


def test_killed_and_resumed_gives_the_same_rows(gemma_folder: Path, finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    arguments = [sys.executable, "-m", "polyunlearn", "study", "run", "quickstart", "--out", str(out), *settings(gemma_folder)]
    for cells in (1, 3, 6):
        # With as many threads as here: sums of floats depend on how they are split.
        alike = {**os.environ, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(arguments, env=alike, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and len(list(out.glob("cells/*.parquet"))) < cells:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(list(out.glob("cells/*.parquet"))) < 12, "the study must not be finished before it is resumed"
    result = command(*arguments[3:])
    assert result.returncode == 0, result.stderr
    assert rows(out) == rows(finished)


def test_another_study_in_the_same_folder_is_refused(gemma_folder: Path, finished: Path) -> None:
    result = command("study", "run", "quickstart", "--out", str(finished), *settings(gemma_folder, "unlearning.rate=1e-3"))
    assert result.returncode == 2
    assert "config.unlearning.rate: 2.5e-05 there, 0.001 asked" in result.stderr.replace("\n", " ")
    assert "--out" in result.stderr


def test_a_study_grows(gemma_folder: Path, tmp_path: Path) -> None:
    """One more method and strategy: the cells that are there stay, byte by byte; the new ones start from a learned state that is trained once more."""
    out = tmp_path / "study"
    for more in (["strategies=[english]"], ["strategies=[english, source]", "methods=[gradient_difference, npo]"]):
        before = {path.name: path.read_bytes() for path in out.glob("cells/*.parquet")}
        result = command("study", "run", "quickstart", "--out", str(out), *settings(gemma_folder, "sources=[de]", *more))
        assert result.returncode == 0, result.stderr
        after = {path.name: path.read_bytes() for path in out.glob("cells/*.parquet")}
        assert before.items() <= after.items()
    assert len(before) == 4 and len(after) == 7
    assert "7 of 7 cells are done" in command("study", "status", str(out)).stdout


def test_status_and_plan(finished: Path, gemma_folder: Path) -> None:
    status = command("study", "status", str(finished))
    assert "12 of 12 cells are done" in status.stdout
    plan = command("study", "plan", "quickstart", *settings(gemma_folder))
    assert plan.returncode == 0, plan.stderr
    assert "12 cells, about" in plan.stdout


def test_lora_trains_adapters_only(gemma_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    out = tmp_path / "lora"
    result = command(
        "study",
        "run",
        "quickstart",
        "--out",
        str(out),
        *settings(gemma_folder, "trainable.weights=lora", "sources=[de]", "keep_states=true"),
    )
    assert result.returncode == 0, result.stderr
    from safetensors import safe_open

    with safe_open(next(out.glob("states/*.safetensors")), "pt") as weights:
        names = list(weights.keys())
    assert names and all("lora_" in name for name in names)


def test_several_methods_and_named_languages(gemma_folder: Path, tmp_path: Path) -> None:
    """NPO beside gradient difference, in English and in German as a pivot: the reference is kept once, and the report tells methods apart."""
    out = tmp_path / "methods"
    more = ["sources=[de]", "languages=[en, de]", "learning.question_languages=[de]", "methods=[gradient_difference, npo]"]
    result = command("study", "run", "quickstart", "--out", str(out), *settings(gemma_folder, *more, "strategies=[english, pivot:de]"))
    assert result.returncode == 0, result.stderr
    cells = [cell for cell in json.loads((out / "summary.json").read_text())["cells"] if cell["state"] == "unlearned"]
    assert [(cell["strategy"], cell["method"]) for cell in cells] == [
        (strategy, method) for method in ("gradient_difference", "npo") for strategy in ("english", "pivot:de")
    ]
    assert len(list((out / "references").glob("*.safetensors"))) == 1
    report = (out / "report.html").read_text()
    assert all(f"</svg> {name}</span>" in report for name in ("english, npo", "pivot:de, gradient_difference"))


def test_cells_beside_each_other_give_the_rows_of_cells_in_turn(gemma_folder: Path, finished: Path, tmp_path: Path) -> None:
    """To 1e-4: processes have fewer threads each, and sums of floats depend on how they are split."""
    out = tmp_path / "beside"
    result = command("study", "run", "quickstart", "--out", str(out), "--workers", "2", *settings(gemma_folder))
    assert result.returncode == 0, result.stderr
    ours, theirs = rows(out), rows(finished)
    assert len(ours) == len(theirs)
    for own, other in zip(ours, theirs, strict=True):
        values = [(one, two) for one, two in zip(own, other, strict=True) if one != two]
        assert all(isinstance(one, float) and one == pytest.approx(two, rel=1e-4, abs=1e-4) for one, two in values), (own, other)
    assert not list(out.rglob("*.safetensors"))
