"""Running cells of a study, in one process or as the work of several."""

import time
from pathlib import Path

from polyunlearn.models.memory import give_back_cached, peak_bytes
from polyunlearn.scoring.rows import Row
from polyunlearn.study.cells import Cell
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.measurement import end_rows, point_rows, trajectory_steps
from polyunlearn.study.processes import Jobs, Silent
from polyunlearn.study.states import States
from polyunlearn.study.store import CellRecord, Store
from polyunlearn.training.mixtures import TRACED


def run_cell(states: States, cell: Cell) -> None:
    """Train and measure a cell whose parent is done, and write its rows."""
    materials = states.materials(cell.seed)
    begin = time.monotonic()
    give_back_cached()
    config, loaded = states.config, states.loaded(cell)
    rows: list[Row] = []

    def after_step(number: int, steps: int) -> None:
        if number in trajectory_steps(config, cell, steps):
            rows.extend(point_rows(config, loaded, materials, number))

    done = states.train(cell, materials, after_step)
    if cell.state == "learned" or keeps_weights(config, cell):
        # Before the rows: a cell whose rows are there can be built upon.
        states.save(cell)
    give_back_cached()
    rows += end_rows(config, loaded, materials, len(done.losses), states.watcher.work)
    tokens = [step.tokens for step in done.steps]
    seconds = time.monotonic() - begin
    record = CellRecord(len(done.losses), sum(tokens), seconds, peak_bytes(), done.losses, tokens, done.seconds, done.found)
    states.store.write(cell, rows, record)


def keeps_weights(config: StudyConfig, cell: Cell) -> bool:
    """Whether the study keeps the weights of a cell for good."""
    return config.keep_states and cell.state != "base"


def cell_jobs(config: StudyConfig, folder: Path) -> Jobs[Cell]:
    """The cells of a study as work for several processes."""
    return Jobs(
        States.load, (config, Store(folder), Silent()), run_cell, name=lambda cell: cell.id, seed=lambda cell: cell.seed, before=_before
    )


def _before(cell: Cell) -> set[Cell]:
    """The cells whose weights or rows a cell reads."""
    parents = {cell.parent} if cell.parent else set()
    return parents | ({Cell("base", cell.seed)} if cell.strategy == TRACED else set())
