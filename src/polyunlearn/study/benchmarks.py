"""Public benchmarks on the states of a study, by lm-evaluation-harness (Gao et al., github.com/EleutherAI/lm-evaluation-harness).

A task is a name that the harness knows, whose data it downloads, or a YAML file of one's own in its format with data beside it, which needs no
network. A file is read as plain YAML: its `!function` tags, which run code, are refused.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from polyunlearn.errors import UserError, unknown_name
from polyunlearn.intervals import RESAMPLES
from polyunlearn.models.loading import LoadedModel
from polyunlearn.study.cells import Cell, study_cells
from polyunlearn.study.states import States, Watcher, study_manifest, writing
from polyunlearn.study.store import Store

BATCH = 8
"""Sequences that the harness reads at a time."""


@dataclass(frozen=True)
class BenchmarkScore:
    """One metric of a task on a cell's state, as the harness reports it: over `n` of its questions, with the standard error of that mean; None where
    the harness gives none."""

    cell: str
    task: str
    metric: str
    value: float
    standard_error: float | None
    n: int


def benchmark_study(folder: Path, task: str, cells: Sequence[str], watcher: Watcher) -> list[BenchmarkScore]:
    """Run a task on every finished state of a study, or on the `cells` named; states whose weights are gone are trained once more.

    Raises:
        UserError: where the folder holds no study, a cell is not in it or not finished, the task cannot be read, the model or corpus are others
            now, the folder is in use, or lm-eval is not installed.
    """
    given = read_task(task)
    store = Store(folder)
    config = store.config()
    chosen = _chosen(store, list(study_cells(config)), cells)
    scores = []
    with writing(folder):
        states = States.load(config, store, watcher)
        store.check(study_manifest(states))
        for number, cell in enumerate(chosen, start=1):
            watcher.cell(f"{task} on {cell.id}", number, len(chosen))
            states.restore(cell, states.materials(cell.seed))
            scores += evaluate(states.learning, given, cell.id)
    return scores


def _chosen(store: Store, cells: Sequence[Cell], names: Sequence[str]) -> list[Cell]:
    by_name = {cell.id: cell for cell in cells}
    for name in names:
        if name not in by_name:
            raise unknown_name("cell", name, by_name)
        if not store.is_done(by_name[name]):
            raise UserError(f"{store.folder}: {name} is not finished; go on with: polyunlearn study run")
    found = [cell for cell in cells if store.is_done(cell) and (not names or cell.id in names)]
    if not found:
        raise UserError(f"{store.folder}: no cell is finished yet; see: polyunlearn study status {store.folder}")
    return found


def read_task(task: str) -> str | dict[str, Any]:
    """What the harness is given: the settings in a YAML file, its data files found beside it, or the name of one of its tasks.

    Raises:
        UserError: where a file is not there, not plain YAML, lacks `task`, or names data that is not there.
    """
    path = Path(task)
    if path.suffix not in (".yaml", ".yml"):
        return task
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{task}: {error.strerror or error}; give a task of lm-evaluation-harness, by name or as a YAML file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(
            f"{task}: not plain YAML ({str(error).splitlines()[0]}); tags that run code, such as !function, are not read"
        ) from error
    if not isinstance(settings, dict) or not isinstance(settings.get("task"), str):
        raise UserError(
            f"{task}: names no task; write the settings of one task of lm-evaluation-harness, with a line such as task: my_questions"
        )
    arguments = settings.get("dataset_kwargs")
    if isinstance(arguments, dict) and "data_files" in arguments:
        settings["dataset_kwargs"] = arguments | {"data_files": _beside(path, arguments["data_files"])}
    return settings


def _beside(task: Path, files: Any) -> Any:
    """Data files, in whatever shape they are listed, by their full paths."""
    if isinstance(files, Mapping):
        return {split: _beside(task, own) for split, own in files.items()}
    if isinstance(files, list):
        return [_beside(task, own) for own in files]
    found = task.parent / str(files)
    if not found.is_file():
        raise UserError(f"{task}: its data file {found} is not there")
    return str(found.resolve())


def evaluate(loaded: LoadedModel, task: str | dict[str, Any], cell: str) -> list[BenchmarkScore]:
    """Run a task, a name or settings, on the model as it is; raises `UserError` where lm-eval is missing or cannot run the task."""
    try:
        from lm_eval import simple_evaluate
        from lm_eval.models.huggingface import HFLM
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise UserError(
            f"benchmarks need lm-evaluation-harness ({error}); type in polyunlearn's folder: pip install -e '.[lm-eval]'"
        ) from error
    # Reading the list of the harness's own tasks takes a while.
    manager = TaskManager(include_defaults=isinstance(task, str))
    if isinstance(task, str) and task not in manager.all_tasks:
        near = get_close_matches(task, manager.all_tasks, 3)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise UserError(f"unknown task {task!r}: {hint}list them with: lm-eval ls tasks; or give a YAML file of your own")
    loaded.model.eval()
    model = HFLM(pretrained=loaded.model, tokenizer=loaded.encoder.tokenizer, batch_size=BATCH)
    # The harness writes into the settings that it is given.
    asked = task if isinstance(task, str) else deepcopy(task)
    try:
        found = simple_evaluate(model=model, tasks=[asked], task_manager=manager, log_samples=False, bootstrap_iters=RESAMPLES)
    except Exception as error:  # The harness and its data sets raise whatever they like.
        name = task if isinstance(task, str) else task["task"]
        raise UserError(f"task {name!r} could not be run: {(str(error).strip() or repr(error)).splitlines()[0]}") from error
    return _scores(found or {}, cell)


def _scores(found: Mapping[str, Any], cell: str) -> list[BenchmarkScore]:
    """The harness's figures; it names each "metric,filter", and its standard error "metric_stderr,filter"."""
    scores = []
    for task, figures in found.get("results", {}).items():
        counts = found.get("n-samples", {}).get(task, {})
        for key, value in figures.items():
            metric, _, chosen = key.partition(",")
            if chosen and isinstance(value, (int, float)) and not metric.endswith("_stderr"):
                error = figures.get(f"{metric}_stderr,{chosen}")
                known = float(error) if isinstance(error, (int, float)) else None
                label = metric if chosen == "none" else f"{metric} ({chosen})"
                scores.append(BenchmarkScore(cell, task, label, float(value), known, int(counts.get("effective", 0))))
    return scores
