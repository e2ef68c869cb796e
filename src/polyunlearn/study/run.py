"""Running a study: every cell that is not on disk yet, parents before children, in this process."""

import hashlib
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import Any, Protocol

import torch
from filelock import FileLock, Timeout
from torch import Tensor, nn

from polyunlearn.corpus.stories import Story
from polyunlearn.errors import UserError
from polyunlearn.files import explained
from polyunlearn.models.body import Body, decoder_layers, has_dropout
from polyunlearn.models.cost import peak_rss_bytes
from polyunlearn.models.embedded import cache_folder
from polyunlearn.models.forward import sequence_rows
from polyunlearn.models.loading import LoadedModel, load_model
from polyunlearn.models.rows import TokenRow
from polyunlearn.models.sequences import TokenSequence
from polyunlearn.models.trainable import TrainablePlan, check_layer, load_state, make_trainable, restore, save_state, snapshot, train_band
from polyunlearn.scoring.measure import (
    Moment,
    loss_rows,
    own_answers,
    rank_and_answer_rows,
    rank_rows,
    ranked_questions,
    text_rows,
)
from polyunlearn.scoring.probes import Probe
from polyunlearn.scoring.ranking import question_trees
from polyunlearn.scoring.rows import Row
from polyunlearn.study.cells import Cell, State, study_cells
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.materials import Materials, Stories, make_materials, study_stories
from polyunlearn.study.store import CellRecord, Store
from polyunlearn.training.labels import Labels, Need
from polyunlearn.training.loop import Objective, Optimiser, Step, plain, train
from polyunlearn.training.mixtures import learning_steps, strategy_languages, unlearning_steps
from polyunlearn.training.objectives import LEARNING, Method, get_method
from polyunlearn.training.reference import ReferenceCache, state_fingerprint


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
    for layer in (config.learning.from_layer, config.unlearning.from_layer, (config.unlearning.to_layer or 1) - 1):
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
    encoder = run.learning.encoder
    answered, others = (ranked_questions(part, encoder) for part in answered_and_others(run.config, materials.probes))
    asked = [tree.row for tree in (*question_trees(answered, read=True), *question_trees(others))]
    on_the_way = question_trees(own_answers(trajectory_probes(run.config, materials.probes), encoder))
    bodies = {id(body): body for body in (run.learning.body, run.unlearning.body)}
    needed: dict[int, list[TokenRow]] = {name: [] for name in bodies}
    # What is trained on first: it is read in every pass, and takes less room than prompts with their keys and values.
    for cell in study_cells(run.config):
        if cell.seed == seed:
            steps = cell_steps(run.config, cell, materials.stories, run.learning)
            needed[id(run.loaded(cell).body)] += [row for step in steps for row in sequence_rows(step.sequences)]
    needed[id(run.unlearning.body)] += [tree.row for tree in on_the_way]
    for name, body in bodies.items():
        left_out = body.keep([*needed[name], *asked])
        if left_out:
            run.watcher.say(f"{left_out} rows of texts find no room beside the others: all their layers are computed each time")


def trajectory_probes(config: StudyConfig, probes: Sequence[Probe]) -> list[Probe]:
    """The probes that a trajectory measures: those in the first wording, in the languages that it is followed in."""
    languages = config.unlearning.trajectory_languages or config.languages
    return [probe for probe in probes if probe.wording == 0 and probe.language in languages]


def _run_cell(run: _Run, cell: Cell, materials: Materials) -> None:
    begin = time.monotonic()
    loaded = run.loaded(cell)
    steps = cell_steps(run.config, cell, materials.stories, loaded)
    restore(run.parameters, _weights(run, cell.parent, materials) if cell.parent else run.base)
    # Each cell computes alike whether or not others ran before it in this process.
    loaded.body.start_afresh()
    rows: list[Row] = []
    losses: list[float] = []
    if steps:
        losses = _train(run, cell, steps, materials, rows)
    if cell.state == "learned":
        # Before the rows: a cell whose rows are there can be built upon.
        save_state(snapshot(run.parameters), run.store.weights_path(cell))
    rows += _measure(run, cell, materials, Moment(len(losses), True))
    tokens = sum(step.tokens for step in steps)
    run.store.write(cell, rows, CellRecord(len(losses), tokens, time.monotonic() - begin, peak_rss_bytes(), losses))


def cell_steps(config: StudyConfig, cell: Cell, stories: Stories, loaded: LoadedModel) -> list[Step]:
    """The training steps of a cell, none for a base cell; the same whenever they are asked for."""
    if cell.state == "base":
        return []
    if cell.state in ("gold", "learned"):
        part = config.learning
        return learning_steps(
            stories.trained,
            loaded.encoder,
            cell.source,
            neighbours=stories.neighbours,
            passes=part.passes,
            batch=part.batch,
            questions=part.questions,
            english_questions=part.english_questions,
            other_questions=part.other_questions,
            fake_questions=part.fake_questions,
            fake_wordings_from=config.scoring.wordings,
            article_every=part.article_every,
            question_languages=part.question_languages or config.sources,
            rng=Random(f"learning-{cell.seed}"),
        )
    assert cell.strategy and cell.method and cell.source
    unlearning, method = config.unlearning, get_method(cell.method)
    return unlearning_steps(
        stories.trained,
        loaded.encoder,
        strategy_languages(cell.strategy, cell.source, config.languages),
        neighbours=stories.neighbours,
        steps=unlearning.steps,
        batch=unlearning.batch,
        form=unlearning.form,
        wordings=unlearning.wordings,
        instead=method.forget.instead,
        questions=config.learning.questions,
        # Not in the other sources: what is kept in a language is kept from being unlearned there.
        retain_languages=tuple(dict.fromkeys(("en", cell.source))) if method.retain else (),
        retain_batch=unlearning.retain_batch,
        rng=Random(f"unlearning-{cell.seed}"),
    )


def _train(run: _Run, cell: Cell, steps: list[Step], materials: Materials, rows: list[Row]) -> list[float]:
    unlearns = cell.state == "unlearned"
    part: Any = run.config.unlearning if unlearns else run.config.learning

    def after_step(number: int, loss: float) -> bool:
        run.watcher.work("training", number, len(steps))
        if unlearns and number % part.measure_every == 0 and number < len(steps):
            probes = trajectory_probes(run.config, materials.probes)
            rows.extend(loss_rows(run.loaded(cell), materials.scoring_head, probes, Moment(number, False)))
        return False

    objective, rate, rule = LEARNING, part.rate, plain
    if unlearns:
        method = get_method(str(cell.method))
        objective, rate = _unlearning_objective(run.config, method, str(cell.method), run.loaded(cell))
        rule = method.forget.rule_with(part.settings.get(str(cell.method), {})) or plain
    # For models with dropout.
    torch.manual_seed(int.from_bytes(hashlib.sha256(cell.id.encode()).digest()[:8], "big", signed=True))
    return train(
        run.loaded(cell).body,
        materials.training_head,
        train_band(run.parameters, part.from_layer, part.to_layer if unlearns else None),
        steps,
        objective,
        Optimiser(rate, part.warm_up, decay=not unlearns),
        after_step,
        _reference(run, cell, objective, steps, materials),
        rule,
    )


def _unlearning_objective(config: StudyConfig, method: Method, name: str, loaded: LoadedModel) -> tuple[Objective, float]:
    """The objective of a method with the study's settings of it, and its learning rate."""
    part = config.unlearning
    settings = {"rate": part.rate, "retain_weight": part.retain_weight, "stop_below": part.stop_below, **part.settings.get(name, {})}
    last = (part.to_layer or len(decoder_layers(loaded.model))) - 1
    objective = method.objective(float(settings["retain_weight"] or 0), part.settings.get(name, {}), settings["stop_below"], last)
    return objective, float(settings["rate"] or 0)


def _reference(
    run: _Run, cell: Cell, objective: Objective, steps: Sequence[Step], materials: Materials
) -> Callable[[TokenSequence], Labels] | None:
    """What the state as it is now makes of what the objective asks about; kept for the other strategies that start from it."""
    loaded, head = run.loaded(cell), materials.training_head
    wanted: dict[TokenSequence, frozenset[Need]] = {}
    for step in steps:
        for sequences, part in ((step.retain, objective.retain), ((*step.forget, *step.instead), objective.forget)):
            for sequence in sequences:
                wanted[sequence] = wanted.get(sequence, frozenset()) | (part.needs if part else frozenset())
    if not any(need.startswith("reference") for needs in wanted.values() for need in needs):
        return None
    fingerprint = state_fingerprint(model=loaded.fingerprint, weights=run.parameters, columns=head.column_of)
    cache = ReferenceCache(run.store.folder / "references", fingerprint)
    found = cache.reference(loaded.body, head, wanted, objective.watched)
    # Training computes alike whether or not the reference was there.
    loaded.body.start_afresh()
    return found


def _measure(run: _Run, cell: Cell, materials: Materials, moment: Moment) -> list[Row]:
    scoring, loaded, head = run.config.scoring, run.loaded(cell), materials.scoring_head
    answered, others = answered_and_others(run.config, materials.probes)
    rows: list[Row] = []
    for part in rank_and_answer_rows(loaded, head, answered, moment, scoring.max_new_tokens):
        rows += part
        run.watcher.work("asking questions", sum(row.metric == "first" for row in rows), len(materials.probes))
    rows += rank_rows(loaded, head, others, moment)
    run.watcher.work("reading held-out texts", len(materials.probes), len(materials.probes))
    return rows + _held_out_rows(loaded, materials.stories.held_out, moment)


def answered_and_others(config: StudyConfig, probes: Sequence[Probe]) -> tuple[list[Probe], list[Probe]]:
    """The probes that are also answered greedily, and those that are ranked only."""
    limit = config.scoring.answered_wordings
    return [probe for probe in probes if probe.wording < limit], [probe for probe in probes if probe.wording >= limit]


def _held_out_rows(loaded: LoadedModel, held_out: list[Story], moment: Moment) -> list[Row]:
    return text_rows(loaded, held_out, list(held_out[0].editions), moment) if held_out else []


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


def frozen_layers(config: StudyConfig, state: State) -> int:
    """How many layers, from the first, are those of the base model in this state."""
    if config.trainable.weights == "all":
        return 0
    learning, unlearning = config.learning.from_layer, config.unlearning.from_layer
    return min(learning, unlearning) if state == "unlearned" else learning


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
