"""Running cells of a study, in one process or as the work of several."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from polyunlearn.models.memory import give_back_freed, peak_rss_bytes
from polyunlearn.scoring.rows import Row
from polyunlearn.study.cells import Cell
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.materials import Materials, Stories, make_materials, study_stories
from polyunlearn.study.measurement import end_rows, point_rows, trajectory_steps
from polyunlearn.study.processes import Jobs, Silent
from polyunlearn.study.states import States, Watcher
from polyunlearn.study.store import CellRecord, Store
from polyunlearn.training.mixtures import TRACED


@dataclass
class CellRunner:
    """A study's model in this process, and what the cells of the seed at hand share."""

    states: States
    stories: Mapping[int, Stories]
    _materials: dict[int, Materials] = field(default_factory=dict)

    @classmethod
    def load(cls, config: StudyConfig, store: Store, stories: Mapping[int, Stories], watcher: Watcher) -> "CellRunner":
        """Load the study's model; raises `UserError` as `States.load` does."""
        return cls(States.load(config, store, watcher), stories)

    def run(self, cell: Cell) -> None:
        """Train and measure a cell whose parent is done, and write its rows; a cell of another seed makes what that seed shares anew."""
        if cell.seed not in self._materials:
            self._materials = {cell.seed: make_materials(self.states.config, self.stories[cell.seed], self.states.learning)}
            self.states.share(cell.seed, self._materials[cell.seed])
        _run_cell(self.states, cell, self._materials[cell.seed])


def _run_cell(states: States, cell: Cell, materials: Materials) -> None:
    begin = time.monotonic()
    give_back_freed()
    config, loaded = states.config, states.loaded(cell)
    rows: list[Row] = []

    def after_step(number: int, steps: int) -> None:
        if number in trajectory_steps(config, cell, steps):
            rows.extend(point_rows(config, loaded, materials, number))

    done = states.train(cell, materials, after_step)
    if cell.state == "learned" or (config.keep_states and cell.state != "base"):
        # Before the rows: a cell whose rows are there can be built upon.
        states.save(cell)
    give_back_freed()
    rows += end_rows(config, loaded, materials, len(done.losses), states.watcher.work)
    tokens = [step.tokens for step in done.steps]
    seconds = time.monotonic() - begin
    record = CellRecord(len(done.losses), sum(tokens), seconds, peak_rss_bytes(), done.losses, tokens, done.seconds, done.trace)
    states.store.write(cell, rows, record)


def cell_jobs(config: StudyConfig, folder: Path) -> Jobs[Cell]:
    """The cells of a study as work for several processes."""
    return Jobs(_begin, (config, folder), CellRunner.run, name=lambda cell: cell.id, seed=lambda cell: cell.seed, before=_before)


def _begin(config: StudyConfig, folder: Path) -> CellRunner:
    stories = {seed: study_stories(config, seed) for seed in config.seeds}
    return CellRunner.load(config, Store(folder), stories, Silent())


def _before(cell: Cell) -> set[Cell]:
    """The cells whose weights or rows a cell reads."""
    parents = {cell.parent} if cell.parent else set()
    return parents | ({Cell("base", cell.seed)} if cell.strategy == TRACED else set())
