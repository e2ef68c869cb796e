"""Running a study: every cell that is not on disk yet, parents before children, in this process."""

import time
from collections.abc import Mapping
from pathlib import Path

from polyunlearn.models.memory import give_back_freed, peak_rss_bytes
from polyunlearn.scoring.rows import Row
from polyunlearn.study.cells import Cell, study_cells
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.materials import Materials, Stories, make_materials, study_stories
from polyunlearn.study.measurement import end_rows, point_rows, trajectory_steps
from polyunlearn.study.states import States, Watcher, study_manifest, writing
from polyunlearn.study.store import CellRecord, Store


def run_study(config: StudyConfig, folder: Path, watcher: Watcher) -> None:
    """Run or continue a study in `folder`; when it returns, every cell's rows are there.

    Raises:
        UserError: where the folder holds another study, is in use, or cannot be written.
    """
    stories = {seed: study_stories(config, seed) for seed in config.seeds}
    with writing(folder):
        _run(config, Store(folder), stories, watcher)


def _run(config: StudyConfig, store: Store, stories: Mapping[int, Stories], watcher: Watcher) -> None:
    states = States.load(config, store, watcher)
    store.open(study_manifest(config, stories, states.learning))
    for part in store.folder.rglob(".*.part"):
        part.unlink()
    todo = [cell for cell in study_cells(config) if not store.is_done(cell)]
    materials: dict[int, Materials] = {}
    for number, cell in enumerate(todo, start=1):
        if cell.seed not in materials:
            materials = {cell.seed: make_materials(config, stories[cell.seed], states.learning)}
            states.share(cell.seed, materials[cell.seed])
        watcher.cell(cell.id, number, len(todo))
        _run_cell(states, cell, materials[cell.seed])
        _drop_weights(states)
    _drop_weights(states)


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


def _drop_weights(states: States) -> None:
    """Remove the weights of learned states that no unfinished cell starts from."""
    if states.config.keep_states:
        return
    cells = list(study_cells(states.config))
    needed = {cell.parent for cell in cells if not states.store.is_done(cell)}
    for cell in cells:
        if cell.state == "learned" and cell not in needed and states.store.is_done(cell):
            states.store.weights_path(cell).unlink(missing_ok=True)
