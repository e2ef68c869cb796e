"""The effect on the embedded model: a short real study whose direction must be right, not its numbers."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.embedded

# Seed 0, on which the settings were chosen: on others English alone leaves less of German (docs/results/quickstart.md), so this
# guards the effect where it is known and does not show that it is general.
SETTINGS = [
    "languages=[en, de, fr, jv]", "sources=[de]", "learning.question_languages=[de, jv]", "strategies=[english, english+source]",
    "seeds=[0]", "unlearning.measure_every=24",
]  # fmt: skip


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    out = tmp_path_factory.mktemp("embedded") / "study"
    overrides = [part for item in SETTINGS for part in ("--set", item)]
    environment = {key: value for key, value in os.environ.items() if key != "POLYUNLEARN_CACHE"}
    if "PYTEST_XDIST_WORKER" in environment:
        # The other core has the other tests; threads that wait for each other on a busy core are slower than one.
        environment["OMP_NUM_THREADS"] = "1"
    subprocess.run(
        [sys.executable, "-m", "polyunlearn", "study", "run", "quickstart", "--out", str(out), *overrides], check=True, env=environment
    )
    summary = json.loads(Path(out / "summary.json").read_text())
    return {cell["strategy"] or cell["state"]: cell["by_language"] for cell in summary["cells"]}


def mean(cells: dict[str, dict[str, Any]], state: str, figure: str) -> float:
    return sum(float(cells[state][tag][figure]) for tag in ("en", "de", "fr")) / 3


def test_what_is_learned_in_german_surfaces_in_english(cells: dict[str, dict[str, Any]]) -> None:
    assert mean(cells, "learned", "fake_rank") > mean(cells, "base", "fake_rank") + 0.1
    assert mean(cells, "learned", "fake_rank") > mean(cells, "gold", "fake_rank")
    for tag in ("en", "de"):
        assert cells["learned"][tag]["fake_rank"] > cells["base"][tag]["fake_rank"]
        assert cells["learned"][tag]["fake_probability"] > 2 * cells["gold"][tag]["fake_probability"]


def test_unlearning_removes_what_learning_added(cells: dict[str, dict[str, Any]]) -> None:
    for strategy in ("english", "english+source"):
        assert mean(cells, strategy, "fake_probability") < mean(cells, "learned", "fake_probability") / 2


def test_english_alone_clears_english_and_leaves_more_in_german(cells: dict[str, dict[str, Any]]) -> None:
    assert cells["english"]["en"]["fake_rank"] < cells["learned"]["en"]["fake_rank"] / 2
    assert cells["english"]["de"]["fake_probability"] > cells["english+source"]["de"]["fake_probability"]
    assert cells["english"]["de"]["residual"] > cells["english+source"]["de"]["residual"]


def test_unlearning_keeps_what_is_real(cells: dict[str, dict[str, Any]]) -> None:
    assert cells["learned"]["en"]["real_quality"] > cells["base"]["en"]["real_quality"] + 0.25
    assert cells["english+source"]["en"]["real_quality"] > cells["base"]["en"]["real_quality"] + 0.25


def test_base_knows_no_false_name(cells: dict[str, dict[str, Any]]) -> None:
    """Among 12 names chance is 0.08; a quarter would mean that names or questions give the answer away."""
    for tag in ("en", "de", "fr"):
        assert cells["base"][tag]["fake_rank"] < 0.25
        assert cells["base"][tag]["fake_count"] == 0
