"""The model states of a study: the model loaded once, and the weights of every cell, trained or read from disk."""

import hashlib
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
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
from polyunlearn.models.loading import LoadedModel, load_model, read_model
from polyunlearn.models.rows import TokenRow
from polyunlearn.models.trainable import TrainablePlan, load_state, make_trainable, restore, save_state, snapshot
from polyunlearn.study.cells import Cell, study_cells
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.materials import Materials, Stories, make_materials, study_stories
from polyunlearn.study.measurement import token_rows
from polyunlearn.study.own_answers import own_answers, retains_own
from polyunlearn.study.stages import cell_steps, check_layers, frozen_layers, retained_languages, train_stage
from polyunlearn.study.store import FP32, OWN_ANSWERS, Store
from polyunlearn.study.trace import find_languages
from polyunlearn.tracing.languages import Trace
from polyunlearn.tracing.selection import Choice
from polyunlearn.training.loop import Step
from polyunlearn.training.mixtures import FOUND
from polyunlearn.training.retaining import OwnAnswers


class Watcher(Protocol):
    """Told what a run does, so that a person can follow it."""

    def cell(self, name: str, number: int, count: int) -> None:
        """A part of the run begins (`number` from 1 of `count` that are left)."""

    def work(self, what: str, done: int, total: int) -> None:
        """Part of its work is done."""

    def say(self, text: str) -> None:
        """Something worth a line happened."""


@dataclass(frozen=True)
class Training:
    """What a cell was trained on, and how it went: of each step taken its loss and seconds."""

    steps: list[Step]
    losses: list[float]
    seconds: list[float]
    found: Trace | Choice | None = None
    """In which languages it unlearned, where its strategy was told none."""


@dataclass
class States:
    """A study's model, with the weights of whichever cell was restored or trained last."""

    config: StudyConfig
    store: Store
    learning: LoadedModel
    unlearning: LoadedModel
    """The same model; each body computes only once what its stage never trains."""
    plan: TrainablePlan
    parameters: Mapping[str, nn.Parameter]
    watcher: Watcher
    stories: Mapping[int, Stories]
    """By seed."""
    _at_hand: dict[int, Materials] = field(default_factory=dict)
    _shared: tuple[int, Body] | None = None
    """For which seed which body holds what states share."""

    @classmethod
    def load(cls, config: StudyConfig, store: Store, watcher: Watcher) -> "States":
        """Load the study's stories and model; raises `UserError` as `study_stories` does, and where the model cannot be loaded or lacks the layers that
        the study names."""
        stories = {seed: study_stories(config, seed) for seed in config.seeds}
        loaded = load_model(config.model, frozen_layers=frozen_layers(config, "learned"), say=watcher.say)
        check_layers(config, loaded.model)
        watcher.say(loaded.device_reason)
        if frozen_layers(config, "learned") and has_dropout(loaded.model):
            watcher.say("the model has dropout: layers that do not train are computed each time")
        frozen = frozen_layers(config, "unlearned")
        unlearning = loaded if frozen == frozen_layers(config, "learned") else replace(loaded, body=Body(loaded.model, frozen))
        plan = TrainablePlan(**config.trainable.model_dump(), from_layer=frozen)
        return cls(config, store, loaded, unlearning, plan, make_trainable(loaded.model, plan), watcher, stories)

    def base(self) -> Mapping[str, Tensor]:
        """What the trainable weights were before anything, read from the model anew: a copy that is held takes as much as their gradients."""
        return make_trainable(read_model(self.config.model), self.plan)

    def materials(self, seed: int) -> Materials:
        """The materials of a seed; those of one seed are held at a time."""
        if seed not in self._at_hand:
            self._at_hand = {seed: make_materials(self.config, self.stories[seed], self.learning)}
        return self._at_hand[seed]

    def share(self, seed: int, body: Body) -> None:
        """Have `body`, that of a stage, hold what its frozen layers make of a seed's probes and of what the stage trains on, for all the seed's states;
        the other stage's lets go of its own.

        A row's last bits depend on what it was computed with, so states are trained and measured alike only after this.
        """
        if self._shared == (seed, body):
            return
        materials = self.materials(seed)
        self.watcher.say("computing what the states of a stage share")
        asked, on_the_way = token_rows(self.config, self.learning, materials)
        # What is trained on first: it is read in every pass, and takes less room than prompts with their keys and values.
        needed: list[TokenRow] = []
        for cell in study_cells(self.config):
            # What a cell asks that finds its languages is not known yet: it computes that itself, each time in the same batches.
            if cell.seed == seed and cell.strategy not in FOUND and self.loaded(cell).body is body:
                steps = cell_steps(self.config, cell, materials.stories, self.learning)
                needed += [row for step in steps for row in sequence_rows(step.sequences)]
        if body is self.unlearning.body:
            needed += on_the_way
        for own in (self.learning.body, self.unlearning.body):
            own.keep([])
        left_out = body.keep([*needed, *asked])
        self._shared = seed, body
        if left_out:
            self.watcher.say(f"{left_out} rows of texts find no room beside the others: all their layers are computed each time")

    def loaded(self, cell: Cell) -> LoadedModel:
        """The model with the body of the cell's stage."""
        return self.unlearning if cell.state == "unlearned" else self.learning

    def train(self, cell: Cell, materials: Materials, after_step: Callable[[int, int], None] = lambda number, steps: None) -> Training:
        """Make the cell's state: what it starts from, then its training; `after_step` is told the number of each step, from 1, and of how many."""
        loaded = self.loaded(cell)
        self.restore(cell.parent or Cell("base", cell.seed), materials)
        # The layers that the stage never trains are as in base now.
        self.share(cell.seed, loaded.body)
        # Each cell computes alike whether or not others ran before it in this process.
        loaded.body.start_afresh()
        found = None
        if cell.strategy in FOUND and self.store.is_done(cell):
            found = self.store.record(cell).found
        elif cell.strategy in FOUND:
            found = find_languages(self.config, cell, materials, loaded, self.parameters, self.store, self.watcher.work)
        chosen, head, own = found.chosen if found else (), materials.training_head, None
        if retains_own(self.config, cell):
            own = self._own_answers(cell, materials.stories, chosen)
        steps = cell_steps(self.config, cell, materials.stories, loaded, chosen, own)
        if own:
            # What the model says may have tokens that no text of the study has.
            head = head.covering((token for step in steps for answer in step.retain for token in answer.labels), loaded.head)
        seconds: list[float] = []
        begin = time.monotonic()

        def count(number: int, loss: float) -> bool:
            nonlocal begin
            seconds.append(time.monotonic() - begin)
            self.watcher.work("training", number, len(steps))
            after_step(number, len(steps))
            begin = time.monotonic()
            return False

        references = self.store.folder / "references"
        losses = train_stage(self.config, cell, steps, loaded, head, self.parameters, references, count, materials.stories) if steps else []
        return Training(steps, losses, seconds, found)

    def _own_answers(self, cell: Cell, stories: Stories, found: Sequence[str]) -> OwnAnswers:
        """What the state that the cell starts from, as which the model must be, answers to the questions that it retains."""
        loaded, languages = self.loaded(cell), retained_languages(self.config, cell, found)
        # The answers are alike, and so is what comes after, whether or not others were asked, or these are there.
        loaded.body.start_afresh()
        own = own_answers(self.config, cell, stories, loaded, languages, self.store.folder / OWN_ANSWERS, self.watcher.work)
        loaded.body.start_afresh()
        return own

    def restore(self, cell: Cell, materials: Materials) -> None:
        """Put the cell's weights into the model, as `weights` finds them."""
        restore(self.parameters, self.weights(cell, materials) if cell.state != "base" else self.base())

    def weights(self, cell: Cell, materials: Materials) -> Mapping[str, Tensor]:
        """The trained weights of a cell, whatever is in the model; where they are not on disk they are trained once more in it, and kept;
        of several processes that look for them by one."""
        path = self.store.weights_path(cell)
        if not path.is_file():
            with FileLock(_lock_path(path)):
                if not path.is_file():
                    self._train_again(cell, materials)
        return load_state(path)

    def _train_again(self, cell: Cell, materials: Materials) -> None:
        self.watcher.say(f"{self.store.weights_path(cell).name} is not there; training it once more")
        before, shared = snapshot(self.parameters), self._shared
        self.train(cell, materials)
        self.save(cell)
        restore(self.parameters, before)
        if shared:
            self.share(*shared)

    def save(self, cell: Cell) -> None:
        """Keep the weights as they are now as the cell's."""
        save_state(snapshot(self.parameters), self.store.weights_path(cell))


def study_manifest(states: States) -> dict[str, Any]:
    """What a study is made of, and on what it runs; under "study" all that decides its rows."""
    config, stories, loaded = states.config, states.stories, states.learning
    dtype = str(loaded.model.dtype).removeprefix("torch.")
    packages = ("polyunlearn", "torch", "transformers", "tokenizers", "peft", "accelerate")
    return {
        "schema": 1,
        "study": {
            "config": config.model_dump(mode="json"),
            "model": {"name": loaded.name, "fingerprint": loaded.fingerprint},
            "stories": {str(seed): stories_identity(config, part) for seed, part in stories.items()},
        }
        | ({"precision": dtype} if dtype != FP32 else {}),
        **made_with(loaded, packages),
    }


def made_with(loaded: LoadedModel, packages: Sequence[str]) -> dict[str, Any]:
    """What a run was made with beside what decides its rows: the machine, and the versions of the packages."""
    return {
        "machine": {"platform": platform.platform(), "device": str(loaded.model.device), "python": platform.python_version()},
        "packages": {name: version(name) for name in packages},
    }


def stories_identity(config: StudyConfig, part: Stories) -> dict[str, Any]:
    """What tells the stories of a seed from others: their texts, and their homes where anything depends on these."""
    found = {"count": len(part.trained), "fingerprint": part.fingerprint}
    if config.culture != "any" or config.unlearning.goal == "home":
        found["homes"] = part.homes
    if config.learning.agnostic == "english":
        found["agnostic"] = sorted(part.agnostic(config.languages))
    return found


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """While nobody else writes into this study's folder; raises `UserError` where somebody does, or where it cannot be written."""
    try:
        with FileLock(_lock_path(folder), timeout=0):
            yield
    except Timeout as error:
        raise UserError(f"{folder}: another run is writing there; wait for it, or give another folder with --out") from error
    except OSError as error:
        raise explained(error, Path(error.filename) if isinstance(error.filename, str) else folder) from error


def _lock_path(path: Path) -> Path:
    """One lock a study folder or file of it, kept beside the models so that nothing is left where the study could not begin."""
    locks = cache_folder() / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    return locks / (hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16] + ".lock")
