"""Which job a process takes next; that jobs beside each other do what they do in turn is in the end-to-end tests."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import psutil
import pytest
import torch
from torch import nn

from polyunlearn.errors import UserError
from polyunlearn.study import run
from polyunlearn.study.cells import Cell
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.processes import Jobs, Silent, _choice, run_beside
from polyunlearn.study.runner import cell_jobs
from polyunlearn.study.states import States
from polyunlearn.study.store import Store


def begin(kept: str) -> str:
    return kept


def begin_badly(kept: str) -> str:
    raise UserError(f"{kept}: pip install peft")


def do(kept: str, job: str) -> None:
    if job == "bad":
        raise ValueError(f"{kept}: {job}")
    if job == "killed":
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def work(tmp_path: Path) -> Jobs[Cell]:
    return cell_jobs(StudyConfig(name="mine", sources=("de", "fr"), seeds=(1, 2)), tmp_path)


BASE, GOLD, LEARNED = Cell("base", 1), Cell("gold", 1), Cell("learned", 1, "de")
ENGLISH, TRACED = (Cell("unlearned", 1, "de", own, "npo") for own in ("english", "traced"))


def test_what_others_wait_for_comes_first(work: Jobs[Cell]) -> None:
    """Learned before gold, which nothing builds upon; base before gold where a traced cell reads its rows."""
    assert _choice(work, [BASE, GOLD, LEARNED, ENGLISH], [], 0, {}) == LEARNED
    assert _choice(work, [GOLD, BASE, ENGLISH, TRACED], [LEARNED], 1, {0: 1}) == BASE


def test_nothing_begins_before_what_it_builds_upon(work: Jobs[Cell]) -> None:
    assert _choice(work, [ENGLISH], [LEARNED], 1, {0: 1}) is None
    assert _choice(work, [TRACED], [BASE], 1, {0: 1}) is None
    assert _choice(work, [ENGLISH, TRACED], [BASE], 1, {0: 1}) == ENGLISH


def test_a_process_keeps_to_its_seed_and_others_take_another(work: Jobs[Cell]) -> None:
    waiting = [Cell("gold", 1), Cell("gold", 2), Cell("base", 2)]
    assert _choice(work, waiting, [], 0, {0: 2, 1: 1}) == Cell("gold", 2)
    assert _choice(work, waiting, [], 2, {0: 1, 1: 1}) == Cell("gold", 2)
    assert _choice(work, waiting, [], 0, {0: 3, 1: 2}) == Cell("gold", 1)


def test_an_error_is_raised_when_what_is_in_hand_is_done() -> None:
    """Of three jobs in two processes the second fails; the first is done by then or after."""
    plain = Jobs(begin, ("kept",), do, name=str, seed=lambda job: 0, before=lambda job: set())
    with pytest.raises(ValueError, match="kept: bad"):
        list(run_beside(plain, ["good", "bad", "fine"], 2, Silent()))
    assert sorted(run_beside(plain, ["good", "fine"], 2, Silent())) == ["fine", "good"]
    with pytest.raises(UserError, match=r"killed: its process was killed.*fewer --workers goes on"):
        list(run_beside(plain, ["killed"], 1, Silent()))


RUN = """
import sys
sys.path.insert(0, {folder!r})
from test_processes import begin, wait_long
from polyunlearn.study.processes import Jobs, Silent, run_beside
if __name__ == "__main__":
    list(run_beside(Jobs(begin, ({place!r},), wait_long, name=str, seed=lambda job: 0, before=lambda job: set()), ["a"], 1, Silent()))
"""


def wait_long(place: str, job: str) -> None:
    Path(place).write_text(str(os.getpid()))
    time.sleep(300)


def test_processes_end_with_the_run_that_began_them(tmp_path: Path) -> None:
    """Else they would go on writing into a folder whose lock is free again."""
    place, script = tmp_path / "pid", tmp_path / "run.py"
    script.write_text(RUN.format(folder=str(Path(__file__).parent), place=str(place)))
    parent = subprocess.Popen([sys.executable, str(script)])
    until = time.monotonic() + 60
    while not (place.exists() and place.read_text()) and time.monotonic() < until:
        assert parent.poll() is None
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    worker = psutil.Process(int(place.read_text()))
    worker.wait(timeout=20)


def test_what_keeps_a_process_from_beginning_is_said() -> None:
    """It was told as a process that was killed for lack of memory."""
    plain = Jobs(begin_badly, ("lora",), do, name=str, seed=lambda job: 0, before=lambda job: set())
    with pytest.raises(UserError, match=r"^lora: pip install peft$"):
        list(run_beside(plain, ["good", "fine"], 2, Silent()))


def test_a_run_of_several_processes_gives_the_device_back_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU what this process had allocated is else kept from the others."""
    done: list[str] = []
    monkeypatch.setattr(run.States, "load", lambda *arguments: SimpleNamespace(parameters={}))
    monkeypatch.setattr(run, "study_manifest", lambda states: {"study": {}})
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: done.append("given back"))
    monkeypatch.setattr(run, "run_beside", lambda *arguments: done.append("begun") or iter(()))
    run.run_study(StudyConfig(name="mine", sources=("de",)), tmp_path / "study", Silent(), workers=2)
    assert done == ["given back", "begun"]


class Slow(States):
    """Trains nothing, for as long as it takes the others to look for what is not there."""

    trained: ClassVar[list[Cell]] = []

    def train(self, cell: Cell, *_: Any) -> Any:
        self.trained.append(cell)
        time.sleep(0.3)


def test_a_lost_state_is_trained_again_once(tmp_path: Path) -> None:
    """Three that start from it beside each other: one makes it, the others wait for it."""
    weights, nothing = {"layers.0.w": nn.Parameter(torch.ones(2))}, cast("Any", None)
    states = [Slow(nothing, Store(tmp_path), nothing, nothing, nothing, weights, Silent(), {}) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda own: own.weights(LEARNED, nothing), states))
    assert Slow.trained == [LEARNED]
    assert [own["layers.0.w"].tolist() for own in found] == [[1.0, 1.0]] * 3
