"""Benchmarks by lm-evaluation-harness on tiny models, with a task and data on disk: no network."""

import json
from pathlib import Path

import pytest
import torch
from tiny import own_log_probs, sharp

from polyunlearn.errors import UserError
from polyunlearn.study.benchmarks import BenchmarkScore, benchmark_study, evaluate, read_task
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.run import run_study

QUESTIONS = [
    {"question": f"In which town was stand {number} of the fair?", "choices": ["Accra", "Bergen", "Hanoi"], "answer": number % 3}
    for number in range(9)
]
TASK = """
task: towns
dataset_path: json
dataset_kwargs:
  cache_dir: {cache}
  data_files:
    test: towns.jsonl
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{answer}}}}"
metric_list:
  - metric: acc
"""


class Watcher:
    """Remembers what a run said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def cell(self, name: str, number: int, count: int) -> None:
        self.said.append(f"{number}/{count} {name}")

    def work(self, what: str, done: int, total: int) -> None:
        pass

    def say(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("task")
    (folder / "towns.jsonl").write_text("".join(json.dumps(own) + "\n" for own in QUESTIONS))
    (folder / "towns.yaml").write_text(TASK.format(cache=folder / "cache"))
    return folder / "towns.yaml"


@pytest.fixture(scope="module")
def study(gemma_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study of the tiny model whose weights were not kept."""
    folder = tmp_path_factory.mktemp("study") / "out"
    settings = {
        "name": "tiny", "model": str(gemma_folder), "stories": 3, "languages": ("en", "de"), "sources": ("de",), "strategies": ("english",),
        "learning": {"passes": 1, "rate": 0.01}, "unlearning": {"steps": 1, "batch": 2, "wordings": 1}, "scoring": {"wordings": 1, "candidates": 3, "max_new_tokens": 2},
    }  # fmt: skip
    run_study(StudyConfig.model_validate(settings), folder, Watcher())
    return folder


def test_accuracy_is_that_of_the_model_s_own_log_probs(task: Path, llama_folder: Path) -> None:
    """A question is answered right where its answer, behind a space, has the largest sum of log-probs; acc is the share of these.

    The standard error of a share p of n is sqrt(p (1 - p) / (n - 1)).
    """
    pytest.importorskip("lm_eval")
    loaded = sharp(llama_folder)
    right = 0
    for own in QUESTIONS:
        asked = loaded.encoder.tokenizer(own["question"])["input_ids"]
        sums = []
        for choice in own["choices"]:
            ids = loaded.encoder.tokenizer(f"{own['question']} {choice}")["input_ids"]
            log_probs = own_log_probs(loaded, tuple(ids))
            sums.append(sum(log_probs[place - 1, ids[place]].item() for place in range(len(asked), len(ids))))
        right += max(range(3), key=lambda at: sums[at]) == own["answer"]
    (score,) = evaluate(loaded, read_task(str(task)), "a-cell")
    share = right / 9
    assert 0 < right < 9
    assert score == BenchmarkScore("a-cell", "towns", "acc", pytest.approx(share), pytest.approx((share * (1 - share) / 8) ** 0.5), 9)


def test_the_model_is_left_as_it_was(task: Path, gemma_folder: Path) -> None:
    pytest.importorskip("lm_eval")
    loaded = sharp(gemma_folder)
    before = {name: own.clone() for name, own in loaded.model.state_dict().items()}
    said = own_log_probs(loaded, (1, 50, 60, 70))
    settings = read_task(str(task))
    once, again = evaluate(loaded, settings, "x"), evaluate(loaded, settings, "x")
    assert once == again and settings == read_task(str(task))
    assert all(torch.equal(before[name], own) for name, own in loaded.model.state_dict().items())
    assert torch.equal(said, own_log_probs(loaded, (1, 50, 60, 70)))


def test_every_state_of_a_study_or_those_named(task: Path, study: Path) -> None:
    """Weights that were not kept are trained once more; afterwards they are there."""
    pytest.importorskip("lm_eval")
    watcher = Watcher()
    scores = benchmark_study(study, str(task), [], watcher)
    names = ["base-seed0", "gold-seed0", "learned-de-seed0", "unlearned-de-english-gradient_difference-seed0"]
    assert [own.cell for own in scores] == names
    assert [f"{at}/4 {task} on {name}" for at, name in enumerate(names, start=1)] == [
        one for one in watcher.said if " on " in one and "/4" in one[:3]
    ]
    assert sum("training it once more" in one for one in watcher.said) == 3
    watcher = Watcher()
    assert benchmark_study(study, str(task), [names[2]], watcher) == [scores[2]]
    assert not any("training it once more" in one or "every state shares" in one for one in watcher.said)


def test_a_cell_that_is_not_there(task: Path, study: Path) -> None:
    with pytest.raises(UserError, match="unknown cell 'learned-fr-seed0': did you mean 'learned-de-seed0'"):
        benchmark_study(study, str(task), ["learned-fr-seed0"], Watcher())


def test_a_cell_that_is_not_finished(task: Path, study: Path) -> None:
    cell = study / "cells" / "gold-seed0.parquet"
    away = cell.rename(cell.with_suffix(".away"))
    try:
        with pytest.raises(UserError, match="gold-seed0 is not finished"):
            benchmark_study(study, str(task), ["gold-seed0"], Watcher())
    finally:
        away.rename(cell)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("task: [unclosed", "not plain YAML"),
        ("task: x\nprocess_docs: !function utils.run", "!function, are not read"),
        ("output_type: multiple_choice", "names no task"),
        ("- task: x", "names no task"),
        ("task: x\ndataset_kwargs: {data_files: {test: gone.jsonl}}", "gone.jsonl is not there"),
        ("task: x\ndataset_kwargs: {data_files: [gone.jsonl]}", "gone.jsonl is not there"),
    ],
)
def test_a_bad_task_file(tmp_path: Path, text: str, part: str) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(UserError, match=part) as caught:
        read_task(str(tmp_path / "bad.yaml"))
    assert "bad.yaml" in str(caught.value)


def test_a_task_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        read_task(str(tmp_path / "none.yaml"))


def test_data_lies_beside_its_task(task: Path) -> None:
    settings = read_task(str(task))
    assert isinstance(settings, dict) and settings["dataset_kwargs"]["data_files"] == {"test": str((task.parent / "towns.jsonl").resolve())}
    assert read_task("arc_easy") == "arc_easy"


def test_a_task_that_the_harness_cannot_run(tmp_path: Path, gemma_folder: Path) -> None:
    pytest.importorskip("lm_eval")
    (tmp_path / "odd.jsonl").write_text('{"question": "?"}\n')
    (tmp_path / "odd.yaml").write_text(TASK.format(cache=tmp_path / "cache").replace("towns", "odd"))
    with pytest.raises(UserError, match="task 'odd' could not be run"):
        evaluate(sharp(gemma_folder), read_task(str(tmp_path / "odd.yaml")), "x")


def test_without_the_harness_the_command_is_named(gemma_folder: Path, task: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "lm_eval", None)
    with pytest.raises(UserError, match=r"pip install -e '.\[lm-eval\]'"):
        evaluate(sharp(gemma_folder), read_task(str(task)), "x")
