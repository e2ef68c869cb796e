"""The benchmark on the tiny model: that both ways do the same work, not how fast."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from polyunlearn.bench.run import difference


def _bench(model: Path, only: str, out: Path) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "-m", "polyunlearn", "bench", "--model", str(model), "--only", only, "--json", str(out)]
    return subprocess.run(arguments, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("only", "names", "tolerance"),
    [
        ("greedy answers against fixed", ["greedy answers against fixed batches"], 0.0),
        ("ranking", ["ranking 24 names", "ranking 24 names, study vocabulary"], 1e-3),
        (
            "NPO step",
            ["NPO step, body, reference resident or kept", "NPO step, body, reference resident or kept, study vocabulary"],
            1e-4,
        ),
        ("step, LoRA", ["gradient-difference step, LoRA", "gradient-difference step, LoRA, study vocabulary"], 1e-4),
    ],
)
def test_both_ways_agree(gemma_folder: Path, tmp_path: Path, only: str, names: list[str], tolerance: float) -> None:
    out = tmp_path / "bench.json"
    result = _bench(gemma_folder, only, out)
    assert result.returncode == 0, result.stderr
    figures = json.loads(out.read_text())["figures"]
    assert [figure["name"] for figure in figures] == names
    assert figures[0]["max_abs_difference"] <= tolerance
    assert all(figure["max_abs_difference"] is None for figure in figures[1:])
    for figure in figures:
        assert figure["ratio"] == pytest.approx(figure["usual_seconds"] / figure["ours_seconds"])
        assert min(figure["peak_bytes_usual"], figure["peak_bytes_ours"]) > 2**26 and 0 < figure["gemm_share"] < 1.5


def test_an_unknown_case_is_refused(gemma_folder: Path, tmp_path: Path) -> None:
    result = _bench(gemma_folder, "dancing", tmp_path / "bench.json")
    assert result.returncode == 2 and "no case holds 'dancing'; the cases are: gradient-difference step, body;" in result.stderr
    assert not list(tmp_path.iterdir())


def test_difference_by_hand() -> None:
    """|1 - 1.5| = 0.5 is the largest; different numbers of values are never alike."""
    assert difference([1.0, 2.0], [1.5, 2.25]) == 0.5
    assert difference([1.0], [1.0, 2.0]) == float("inf")
