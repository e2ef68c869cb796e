"""LINGTEA's protocol: every way with every seed, trained from the same model and measured; what is done is on disk, so that a run that was stopped goes on."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import accumulate
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn

from polyunlearn.cleaning.plan import Settings as Owners
from polyunlearn.files import remove_unfinished
from polyunlearn.lingtea.store import BEFORE, Record, Results, State
from polyunlearn.lingtea.tasks import FORGET, PARTS, Task
from polyunlearn.lingtea.ways import WAYS, Way, check_ways
from polyunlearn.models.body import Body, decoder_layers
from polyunlearn.models.loading import LoadedModel, load_model
from polyunlearn.models.memory import give_back_cached, peak_bytes
from polyunlearn.models.trainable import TrainablePlan, make_trainable, restore, snapshot
from polyunlearn.scoring.measure import Moment
from polyunlearn.scoring.rows import Row
from polyunlearn.study.states import Watcher, made_with, writing
from polyunlearn.training.loop import Optimiser, train
from polyunlearn.training.parallel_steps import first_steps
from polyunlearn.training.reference import ReferenceCache, needs_of

WARM_UP = 10
"""The rate rises over a tenth of the steps, and falls to nothing then."""


@dataclass(frozen=True)
class Settings:
    """How a task is unlearned: at most `steps` steps of `batch` items, on layers from `from_layer` on (None: those of `polyunlearn unlearn`).

    With `patience` training ends where as many epochs have passed without a lower score of what is to be forgotten, and the state with the lowest is kept.
    """

    steps: int = 72
    batch: int = 8
    patience: int | None = None
    from_layer: int | None = None


def run_lingtea(
    task: Task,
    model: str,
    out: Path,
    ways: Sequence[str],
    seeds: Sequence[int],
    settings: Settings,
    watcher: Watcher,
) -> list[State]:
    """Measure the model, unlearn the task by each of the `ways` (all where none is given) with each seed, and measure that; returns all that `out` holds then.

    Raises:
        UserError: for an unknown way, a model that cannot be loaded or trained so, or a folder that holds something else or is in use.
    """
    chosen = [(way, seed) for way in check_ways(ways) for seed in dict.fromkeys(seeds)]
    results = Results(out)
    with writing(out):
        loaded = load_model(model, say=watcher.say)
        watcher.say(loaded.device_reason)
        plan = Owners(from_layer=settings.from_layer).trainable(len(decoder_layers(loaded.model)))
        parameters = make_trainable(loaded.model, plan)
        results.open(_manifest(task, loaded, plan, settings))
        remove_unfinished(out, "states", "references")
        loaded = replace(loaded, body=Body(loaded.model, plan.from_layer))
        todo = [own for own in ((BEFORE, 0), *chosen) if not results.path(*own).is_file()]
        start = snapshot(parameters)
        for number, (way, seed) in enumerate(todo, start=1):
            watcher.cell(way if way == BEFORE else f"{way}, seed {seed}", number, len(todo))
            restore(parameters, start)
            results.write(_state(task, loaded, parameters, way, seed, settings, out, watcher))
    return results.states()


def _manifest(task: Task, loaded: LoadedModel, plan: TrainablePlan, settings: Settings) -> dict[str, Any]:
    decides = {
        "task": task.name,
        "languages": list(task.languages),
        "data": task.fingerprint(),
        "model": loaded.name,
        "fingerprint": loaded.fingerprint,
        "precision": str(loaded.model.dtype).removeprefix("torch."),
        **asdict(settings),
        "from_layer": plan.from_layer,
        **{f"way {name}": way.described(task) for name, way in WAYS.items()},
    }
    packages = ("polyunlearn", "torch", "transformers", "tokenizers", "accelerate")
    return {
        "schema": 1,
        "lingtea": decides,
        **made_with(loaded, packages),
    }


def _state(
    task: Task,
    loaded: LoadedModel,
    parameters: Mapping[str, nn.Parameter],
    way: str,
    seed: int,
    settings: Settings,
    out: Path,
    watcher: Watcher,
) -> State:
    begin = time.monotonic()
    give_back_cached()
    kept, taken = (0, 0) if way == BEFORE else _train(task, loaded, parameters, WAYS[way], seed, settings, out, watcher)
    # Each state is computed alike, whatever was computed before it.
    loaded.body.start_afresh()
    rows: list[Row] = []
    for done, part in enumerate(PARTS):
        watcher.work(f"measuring: {part}", done, len(PARTS))
        rows += task.rows(loaded, (part,), Moment(kept, True))
    return State(way, seed, tuple(rows), Record(kept, taken, time.monotonic() - begin, peak_bytes()))


def _train(
    task: Task,
    loaded: LoadedModel,
    parameters: Mapping[str, nn.Parameter],
    way: Way,
    seed: int,
    settings: Settings,
    out: Path,
    watcher: Watcher,
) -> tuple[int, int]:
    """Unlearn in place; returns after how many steps the state is that is kept, and how many were taken."""
    epochs = first_steps(way.epochs(task.trained(loaded.encoder), settings.batch, Random(f"lingtea-{seed}")), settings.steps)
    steps = [step for epoch in epochs for step in epoch]
    objective = way.objective(task)
    torch.manual_seed(seed)
    loaded.body.start_afresh()
    # Of the model as it was before, the same for all ways and seeds.
    known = ReferenceCache(out / "references", loaded.fingerprint)
    reference = known.reference(loaded.body, loaded.head, needs_of(steps, objective))
    loaded.body.start_afresh()
    lowest = Lowest(lambda: _score(task, loaded), lambda: snapshot(parameters))
    ends = set(accumulate(map(len, epochs)))

    def after_step(number: int, loss: float) -> bool:
        watcher.work("unlearning", number, len(steps))
        if not math.isfinite(loss):
            return True  # What is no number is not the lowest.
        if settings.patience is None or number not in ends:
            return False
        return lowest.look(number) >= settings.patience

    optimiser = Optimiser(way.rate_for(task.rate), warm_up=len(steps) // WARM_UP, decay=True)
    losses = train(loaded.body, loaded.head, parameters, steps, objective, optimiser, after_step, reference)
    if lowest.state is None:
        return len(losses), len(losses)
    restore(parameters, lowest.state)
    return lowest.step, len(losses)


class Lowest:
    """Of the states that were looked at the first with the lowest score: after which step, and what `keep` gave then."""

    def __init__(self, score: Callable[[], float], keep: Callable[[], dict[str, Tensor]]):
        self._score, self._keep = score, keep
        self._lowest = math.inf
        self._since = 0
        self.step = 0
        self.state: dict[str, Tensor] | None = None

    def look(self, step: int) -> int:
        """Look at the state as it is now; returns how many looks ago the lowest was."""
        score = self._score()
        self._since += 1
        if score < self._lowest:
            self._lowest, self._since, self.step, self.state = score, 0, step, self._keep()
        return self._since


def _score(task: Task, loaded: LoadedModel) -> float:
    """How much of what is to be forgotten is left: the mean over items and languages."""
    return fmean(row.value for row in task.rows(loaded, (FORGET,), Moment(0, False)) if row.metric == task.score)
