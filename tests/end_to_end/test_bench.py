"""The benchmark on the tiny model: that both ways do the same work, not how fast."""

import json
import math
import sys
from pathlib import Path

import pytest
from commands import Done, command

from polyunlearn.bench import cases as bench_cases
from polyunlearn.bench import material
from polyunlearn.bench.run import choose, difference, run_bench
from polyunlearn.errors import UserError


def _bench(model: Path, only: str, out: Path) -> Done:
    return command("bench", "--model", str(model), "--case", only, "--json", str(out))


TOLERANCES = {
    "gradient-difference step, body": 1e-4,
    "gradient-difference step, LoRA": 1e-4,
    "NPO step, body, reference resident or kept": 1e-4,
    "DPO step, body": 1e-4,
    "ranking 24 names": 1e-3,
    "greedy answers against one by one": 0.0,
    "greedy answers against fixed batches": 0.0,
}
"""How far the values of both ways may lie apart."""


@pytest.mark.parametrize(("name", "tolerance"), TOLERANCES.items())
def test_both_ways_agree(gemma_folder: Path, name: str, tolerance: float) -> None:
    case = next(case for case in bench_cases.cases(4) if case.name == name)
    usual, ours = (case.make(str(gemma_folder), way)().values for way in ("usual", "ours"))
    assert case.exact and len(ours) > 1 and difference(usual, ours) <= tolerance


def test_every_exact_case_is_compared() -> None:
    assert set(TOLERANCES) == {case.name for case in bench_cases.cases(4) if case.exact}


def test_the_command_measures_both_ways_in_processes_of_their_own(gemma_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "bench.json"
    result = _bench(gemma_folder, "greedy answers against fixed", out)
    assert result.returncode == 0, result.stderr
    (figure,) = json.loads(out.read_text())["figures"]
    assert figure["name"] == "greedy answers against fixed batches" and figure["max_abs_difference"] == 0
    assert figure["ratio"] == pytest.approx(figure["usual_seconds"] / figure["ours_seconds"])
    assert min(figure["peak_bytes_usual"], figure["peak_bytes_ours"]) > 2**26 and 0 < figure["gemm_share"] < 1.5


def test_dpo_is_that_of_trl(gemma_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ln 2 at the reference, and the same losses on the way down, at a rate at which a difference in tokens or gradients would show."""
    monkeypatch.setattr(bench_cases, "RATE", 1e-3)
    monkeypatch.setattr(material, "STEPS", 3)
    case = next(case for case in bench_cases.cases(4) if case.name == "DPO step, body")
    usual, ours = (case.make(str(gemma_folder), way)().values for way in ("usual", "ours"))
    assert len(ours) == 3
    assert ours[0] == pytest.approx(math.log(2), abs=1e-6)
    assert ours[2] < ours[1] - 0.05 < ours[0] - 0.1
    assert usual == pytest.approx(ours, abs=1e-4)


def test_without_trl_its_case_is_left_out(gemma_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trl", None)
    said: list[str] = []
    every = bench_cases.cases(4)
    assert choose(every, "", said.append) == [case for case in every if case.name != "DPO step, body"]
    message = "DPO step, body: its usual way needs trl, which is not installed; type in polyunlearn's folder: pip install -e '.[bench]'"
    assert said == [f"left out: {message}"]
    with pytest.raises(UserError) as raised:
        next(run_bench(str(gemma_folder), "DPO", said.append))
    assert str(raised.value) == message


def test_with_trl_no_case_is_left_out() -> None:
    said: list[str] = []
    every = bench_cases.cases(4)
    assert choose(every, "", said.append) == every
    assert not said


def test_an_unknown_case_is_refused(gemma_folder: Path, tmp_path: Path) -> None:
    result = _bench(gemma_folder, "dancing", tmp_path / "bench.json")
    assert result.returncode == 2 and "no case holds 'dancing'; the cases are: gradient-difference step, body;" in result.stderr
    assert not list(tmp_path.iterdir())


def test_difference_by_hand() -> None:
    """|1 - 1.5| = 0.5 is the largest; different numbers of values are never alike, nor is one that is no number."""
    assert difference([1.0, 2.0], [1.5, 2.25]) == 0.5
    assert difference([1.0], [1.0, 2.0]) == float("inf")
    assert difference([1.0, 2.0], [1.0, float("nan")]) == float("inf")
