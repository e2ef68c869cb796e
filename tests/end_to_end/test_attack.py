"""Attacks on a study of the tiny model, by the command that a user types."""

import json
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

SETTINGS = ["stories=4", "neighbours=3", "sources=[de]", "seeds=[0]", "languages=[en,de]", "strategies=[english,source]", "learning.from_layer=2",
            "learning.passes=2", "unlearning.from_layer=1", "unlearning.steps=2", "unlearning.batch=4", "scoring.candidates=4",
            "scoring.max_new_tokens=2"]  # fmt: skip
ATTACKS = ("benign_relearning", "few_shot", "pruning", "quantisation", "random_steering", "relearning", "steering")


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "polyunlearn", *arguments], capture_output=True, text=True, check=False)


def values(folder: Path) -> list[tuple[object, ...]]:
    files = [str(path) for path in (folder / "attacks").glob("*/*.parquet")]
    return duckdb.read_parquet(files).order("ALL").fetchall()


@pytest.fixture(scope="module")
def finished(gemma_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("attacked") / "study"
    overrides = [part for item in (f"model={gemma_folder}", *SETTINGS) for part in ("--set", item)]
    result = command("study", "run", "quickstart", "--out", str(out), *overrides)
    assert result.returncode == 0, result.stderr
    early = command("attack", str(out), "--only", "prunning")
    assert early.returncode == 2 and "did you mean 'pruning'" in early.stderr
    return out


def test_every_attack_on_every_state_and_the_same_again(finished: Path, tmp_path: Path) -> None:
    """Gold, learned and two unlearned states; their weights are gone, so they are trained once more. A second run has nothing to do; one whose
    files were lost writes the same."""
    files = ["--json", str(tmp_path / "a.json"), "--markdown", str(tmp_path / "a.md")]
    result = command("attack", str(finished), *files)
    assert result.returncode == 0, result.stderr
    assert {(path.parent.name, path.stem) for path in finished.glob("attacks/*/*.parquet")} == {
        (attack, cell)
        for attack in ATTACKS
        for cell in ("gold-seed0", "learned-de-seed0", *(f"unlearned-de-{own}-gradient_difference-seed0" for own in ("english", "source")))
    }
    found = json.loads((tmp_path / "a.json").read_text())["rows"]
    # Four forms of quantisation, three of pruning, two of few shots, five points each in two languages and on true news; two layers steered and two
    # at random, each at three strengths (not after layer 1, which gold has in common with learned); in two query languages.
    assert len(found) == 2 * 2 * (4 + 3 + 2 + 10 + 5 + 6 + 6)
    assert {row["attempt"]["attack"] for row in found} == set(ATTACKS)
    assert (tmp_path / "a.md").read_text().count("| relearning |") == 2 * 2 * 10 + 2
    assert "What attacks bring back" in (finished / "report.html").read_text()
    written = values(finished)
    lost = finished / "attacks" / "relearning" / "unlearned-de-source-gradient_difference-seed0.parquet"
    lost.unlink()
    again = command("attack", str(finished), "--only", "relearning", "--strategy", "source")
    assert again.returncode == 0, again.stderr
    assert values(finished) == written and "trained" not in again.stderr


def test_an_unfinished_study_is_not_attacked(finished: Path) -> None:
    result = command("attack", str(finished), "--strategy", "all")
    assert result.returncode == 2 and "no strategy 'all' in this study; it has english, source" in result.stderr
    cell = finished / "cells" / "unlearned-de-english-gradient_difference-seed0.parquet"
    away = cell.rename(cell.with_suffix(".away"))
    result = command("attack", str(finished))
    away.rename(cell)
    assert result.returncode == 2 and "unlearned-de-english-gradient_difference-seed0 is not finished" in result.stderr
