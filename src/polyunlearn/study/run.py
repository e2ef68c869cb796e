"""Running a study: every cell that is not on disk yet, parents before children, in this process."""

import hashlib
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock, Timeout
from torch import Tensor, nn

from polyunlearn.errors import UserError
from polyunlearn.files import explained
from polyunlearn.models.body import Body, has_dropout
from polyunlearn.models.embedded import cache_folder
from polyunlearn.models.forward import sequence_rows
from polyunlearn.models.loading import LoadedModel, load_model
from polyunlearn.models.memory import give_back_freed, peak_rss_bytes
from polyunlearn.models.rows import TokenRow
from polyunlearn.models.trainable import TrainablePlan, check_layer, load_state, make_trainable, restore, save_state, snapshot
from polyunlearn.scoring.rows import Row
from polyunlearn.study.cells import Cell, study_cells
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.materials import Materials, Stories, make_materials, study_stories
from polyunlearn.study.measurement import end_rows, point_rows, token_rows, trajectory_steps
from polyunlearn.study.stages import cell_steps, frozen_layers, train_stage
from polyunlearn.study.store import CellRecord, Store
from polyunlearn.study.trace import trace_state
from polyunlearn.training.loop import Step
from polyunlearn.training.mixtures import TRACED


class Watcher(Protocol):
    """Told what a run does, so that a person can follow it."""

    def cell(self, cell: Cell, number: int, count: int) -> None:
        """A cell begins (`number` from 1 of `count` that are left)."""

    def work(self, what: str, done: int, total: int) -> None:
        """Part of the cell's work is done."""

    def say(self, text: str) -> None:
        """Something worth a line happened."""


@dataclass
class _Run:
    config: StudyConfig
    store: Store
    learning: LoadedModel
    unlearning: LoadedModel
    """The same model; each body computes only once what its stage never trains."""
    parameters: Mapping[str, nn.Parameter]
    base: Mapping[str, Tensor]
    watcher: Watcher

    def loaded(self, cell: Cell) -> LoadedModel:
        return self.unlearning if cell.state == "unlearned" else self.learning


def run_study(config: StudyConfig, folder: Path, watcher: Watcher) -> None:
    """Run or continue a study in `folder`; when it returns, every cell's rows are there.

    Raises:
        UserError: where the folder holds another study, is in use, or cannot be written.
    """
    stories = {seed: study_stories(config, seed) for seed in config.seeds}
    store = Store(folder)
    try:
        with FileLock(_lock_path(folder), timeout=0):
            _run(config, store, stories, watcher)
    except Timeout as error:
        raise UserError(f"{folder}: another run is writing there; wait for it, or give another folder with --out") from error
    except OSError as error:
        raise explained(error, folder) from error


def _lock_path(folder: Path) -> Path:
    """One lock a study folder, kept beside the models so that nothing is left where the study could not begin."""
    locks = cache_folder() / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    return locks / (hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16] + ".lock")


def _run(config: StudyConfig, store: Store, stories: Mapping[int, Stories], watcher: Watcher) -> None:
    loaded = load_model(config.model, frozen_layers=frozen_layers(config, "learned"), say=watcher.say)
    ends = (end - 1 for end in config.unlearning.to_layers(config.methods))
    for layer in (config.learning.from_layer, config.unlearning.from_layer, *ends):
        check_layer(loaded.model, layer)
    watcher.say(loaded.device_reason)
    if frozen_layers(config, "learned") and has_dropout(loaded.model):
        watcher.say("the model has dropout: layers that do not train are computed each time")
    store.open(_manifest(config, stories, loaded))
    for part in store.folder.rglob(".*.part"):
        part.unlink()
    frozen = frozen_layers(config, "unlearned")
    unlearning = loaded if frozen == frozen_layers(config, "learned") else replace(loaded, body=Body(loaded.model, frozen))
    parameters = make_trainable(loaded.model, TrainablePlan(**config.trainable.model_dump(), from_layer=frozen))
    run = _Run(config, store, loaded, unlearning, parameters, snapshot(parameters), watcher)
    todo = [cell for cell in study_cells(config) if not store.is_done(cell)]
    materials: dict[int, Materials] = {}
    for number, cell in enumerate(todo, start=1):
        if cell.seed not in materials:
            restore(run.parameters, run.base)
            materials = {cell.seed: make_materials(config, stories[cell.seed], loaded)}
            watcher.say("computing what every state shares")
            _keep_what_is_shared(run, cell.seed, materials[cell.seed])
        watcher.cell(cell, number, len(todo))
        _run_cell(run, cell, materials[cell.seed])
        _drop_weights(run)
    _drop_weights(run)


def _keep_what_is_shared(run: _Run, seed: int, materials: Materials) -> None:
    """Compute what the layers that no stage trains make of a seed's probes and training texts, once for all its states."""
    asked, on_the_way = token_rows(run.config, run.learning, materials)
    bodies = {id(body): body for body in (run.learning.body, run.unlearning.body)}
    needed: dict[int, list[TokenRow]] = {name: [] for name in bodies}
    # What is trained on first: it is read in every pass, and takes less room than prompts with their keys and values.
    for cell in study_cells(run.config):
        # What a traced cell asks is not known yet: it computes that itself, each time in the same batches.
        if cell.seed == seed and cell.strategy != TRACED:
            steps = cell_steps(run.config, cell, materials.stories, run.learning)
            needed[id(run.loaded(cell).body)] += [row for step in steps for row in sequence_rows(step.sequences)]
    needed[id(run.unlearning.body)] += on_the_way
    for name, body in bodies.items():
        left_out = body.keep([*needed[name], *asked])
        if left_out:
            run.watcher.say(f"{left_out} rows of texts find no room beside the others: all their layers are computed each time")


def _run_cell(run: _Run, cell: Cell, materials: Materials) -> None:
    begin = time.monotonic()
    give_back_freed()
    loaded = run.loaded(cell)
    restore(run.parameters, _weights(run, cell.parent, materials) if cell.parent else run.base)
    # Each cell computes alike whether or not others ran before it in this process.
    loaded.body.start_afresh()
    trace = None
    if cell.strategy == TRACED:
        trace = trace_state(run.config, cell, materials, loaded, run.parameters, run.store, run.watcher.work)
    steps = cell_steps(run.config, cell, materials.stories, loaded, trace.chosen if trace else ())
    rows: list[Row] = []
    losses: list[float] = []
    seconds: list[float] = []
    if steps:
        losses, seconds = _train(run, cell, steps, materials, rows)
    if cell.state == "learned":
        # Before the rows: a cell whose rows are there can be built upon.
        save_state(snapshot(run.parameters), run.store.weights_path(cell))
    give_back_freed()
    rows += end_rows(run.config, loaded, materials, len(losses), run.watcher.work)
    tokens = [step.tokens for step in steps]
    record = CellRecord(len(losses), sum(tokens), time.monotonic() - begin, peak_rss_bytes(), losses, tokens, seconds, trace)
    run.store.write(cell, rows, record)


def _train(run: _Run, cell: Cell, steps: list[Step], materials: Materials, rows: list[Row]) -> tuple[list[float], list[float]]:
    """Train a cell's steps, measuring on the way into `rows`; returns the loss and the seconds of each."""
    loaded, points = run.loaded(cell), trajectory_steps(run.config, cell, len(steps))
    seconds: list[float] = []
    begin = time.monotonic()

    def after_step(number: int, loss: float) -> bool:
        nonlocal begin
        seconds.append(time.monotonic() - begin)
        run.watcher.work("training", number, len(steps))
        if number in points:
            rows.extend(point_rows(run.config, loaded, materials, number))
        begin = time.monotonic()
        return False

    references = run.store.folder / "references"
    return train_stage(run.config, cell, steps, loaded, materials.training_head, run.parameters, references, after_step), seconds


def _weights(run: _Run, cell: Cell, materials: Materials) -> Mapping[str, Tensor]:
    """The weights of a learned state, trained once more where they were lost."""
    path = run.store.weights_path(cell)
    if not path.is_file():
        run.watcher.say(f"{path.name} is gone; training it once more")
        restore(run.parameters, run.base)
        run.learning.body.start_afresh()
        _train(run, cell, cell_steps(run.config, cell, materials.stories, run.learning), materials, [])
        save_state(snapshot(run.parameters), path)
    return load_state(path)


def _drop_weights(run: _Run) -> None:
    """Remove the weights of learned states that no unfinished cell starts from."""
    if run.config.keep_states:
        return
    cells = list(study_cells(run.config))
    needed = {cell.parent for cell in cells if not run.store.is_done(cell)}
    for cell in cells:
        if cell.state == "learned" and cell not in needed and run.store.is_done(cell):
            run.store.weights_path(cell).unlink(missing_ok=True)


def _manifest(config: StudyConfig, stories: Mapping[int, Stories], loaded: LoadedModel) -> dict[str, Any]:
    packages = ("polyunlearn", "torch", "transformers", "tokenizers", "peft", "accelerate")
    return {
        "schema": 1,
        "study": {
            "config": config.model_dump(mode="json"),
            "model": {"name": loaded.name, "fingerprint": loaded.fingerprint},
            "stories": {str(seed): {"count": len(part.trained), "fingerprint": part.fingerprint} for seed, part in stories.items()},
        },
        "machine": {"platform": platform.platform(), "device": str(loaded.model.device), "python": platform.python_version()},
        "packages": {name: version(name) for name in packages},
    }
