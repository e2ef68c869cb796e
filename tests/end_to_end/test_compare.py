"""A small comparison of methods on the tiny model, by the commands that a user types."""

import json
from pathlib import Path

import duckdb
import pytest
from commands import command

SETTINGS = ["stories=4", "neighbours=2", "retain_stories=2", "sources=[de]", "seeds=[1,2]", "languages=[en,de,fr]", "strategies=[english+source]",
            "methods=[gradient_difference,npo]", "learning.from_layer=2", "learning.passes=2", "unlearning.from_layer=1",
            "unlearning.steps=4", "unlearning.measure_every=1", "unlearning.batch=4", "unlearning.rate=1e-3", "scoring.candidates=4"]  # fmt: skip


def settings(model: Path, *more: str) -> list[str]:
    return [part for item in (f"model={model}", *SETTINGS, *more) for part in ("--set", item)]


@pytest.fixture(scope="module")
def finished(gemma_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("compare") / "study"
    result = command("study", "run", "methods", "--out", str(out), *settings(gemma_folder))
    assert result.returncode == 0, result.stderr
    return out


def test_every_point_has_ranks_and_bits_and_no_answers(finished: Path) -> None:
    """Four stories, two kinds, three languages: 24 ranks a point, of 3 texts; no greedy answer anywhere."""
    found = duckdb.read_parquet([str(path) for path in (finished / "cells").glob("unlearned-*.parquet")])  # noqa: F841 — read by its name
    counts = duckdb.sql(
        "SELECT step, metric, count(*) // count(DISTINCT cell) FROM found WHERE NOT \"end\" AND metric IN ('first', 'bits_per_byte') "
        "GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    assert counts == [(step, metric, count) for step in (1, 2, 3) for metric, count in (("bits_per_byte", 3), ("first", 24))]
    assert duckdb.sql("SELECT count(*) FROM found WHERE metric = 'says'").fetchall() == [(0,)]
    scored = command("score", str(finished), "--metric", "chrf")
    assert scored.returncode == 2 and "no answer was stored" in scored.stderr
    cells = json.loads((finished / "summary.json").read_text())["cells"]
    assert all(own["fake_count"] is None and own["n"] == 0 for cell in cells for own in cell["by_language"].values())


@pytest.mark.parametrize("budget", ["0", "0.02", "1"])
def test_compare_writes_what_it_prints(finished: Path, tmp_path: Path, budget: str) -> None:
    """At no budget at all nothing that cost anything is kept; at a budget of 1 the last state is, unless bits per byte doubled."""
    files = ["--json", str(tmp_path / "c.json"), "--markdown", str(tmp_path / "c.md")]
    result = command("study", "compare", str(finished), "--budget", budget, *files)
    assert result.returncode == 0, result.stderr
    data = json.loads((tmp_path / "c.json").read_text())
    assert {(row["method"], row["strategy"], row["seeds"]) for row in data["rows"]} == {
        (method, "english+source", 2) for method in ("gradient_difference", "npo")
    }
    for row in data["rows"]:
        assert row["cost"]["utility_loss"] <= float(budget) + 1e-9
        assert (row["cost"]["seconds"] == 0) == (row["cost"]["steps"] == 0) == (row["unmoved"] == 2)
    assert data["steps"] == [0, 1, 2, 3, 4] and f"{float(budget):.1%}" in result.stdout
    assert (tmp_path / "c.md").read_text().count("npo") == 2


def test_the_report_has_the_comparison(finished: Path) -> None:
    report = (finished / "report.html").read_text()
    assert "At the same loss of utility" in report and "No question was answered greedily" in report
