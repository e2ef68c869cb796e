"""A small comparison of methods on the tiny model, by the commands that a user types."""

import json
from pathlib import Path

import duckdb
import pytest
from commands import command

SETTINGS = ["stories=4", "neighbours=2", "retain_stories=2", "sources=[de]", "seeds=[1,2]", "languages=[en,de,fr]", "strategies=[english+source]",
            "methods=[gradient_difference,npo]", "learning.from_layer=2", "learning.passes=2", "unlearning.from_layer=1",
            "learning.question_languages=[de]", "unlearning.steps=4", "unlearning.measure_every=1", "unlearning.batch=4", "unlearning.rate=1e-3", "scoring.candidates=4"]  # fmt: skip


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


def test_methods_that_differ_in_how_the_stage_trains_stand_in_one_comparison(gemma_folder: Path, tmp_path: Path) -> None:
    """The preset of the systems: eleven ways of the same steps, of which two, in branches, are measured at the end alone; layers of one's own."""
    changes = [item for item in SETTINGS if not item.startswith("methods=")]
    band = ["unlearning.settings.npo@projected={projection: language, from_layer: 2, to_layer: 3}"]
    out = tmp_path / "study"
    words = [part for item in (f"model={gemma_folder}", *changes, "seeds=[1]", *band) for part in ("--set", item)]
    result = command("study", "run", "systems", "--out", str(out), *words)
    assert result.returncode == 0, result.stderr
    result = command("study", "compare", str(out), "--json", str(tmp_path / "c.json"))
    assert result.returncode == 0, result.stderr
    ways = json.loads((tmp_path / "c.json").read_text())["ways"]
    assert len(ways) == len({way["method"] for way in ways}) == 11 and all(way["cells"] == 1 for way in ways)
    rows = duckdb.read_parquet([str(path) for path in (out / "cells").glob("unlearned-*.parquet")])  # noqa: F841 — read by its name
    steps = dict(duckdb.sql("SELECT split_part(cell, 'source-', 2), list(DISTINCT step ORDER BY step) FROM rows GROUP BY cell").fetchall())
    assert steps["npo@merged-seed1"] == [4] and steps["npo@distilled-seed1"] == [8] and steps["npo@shared-seed1"] == [1, 2, 3, 4]
    ends = duckdb.sql(
        "SELECT list(value ORDER BY story, language, wording) FROM rows WHERE \"end\" AND metric = 'loss' GROUP BY cell"
    ).fetchall()
    # No two ways are the same by a slip.
    assert len({tuple(values) for (values,) in ends}) == 11
