"""Running a study: every cell that is not on disk yet, parents before children, in this process or in several."""

from pathlib import Path

from polyunlearn.files import remove_unfinished
from polyunlearn.models.memory import give_back_cached
from polyunlearn.study.cells import study_cells
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.processes import run_beside
from polyunlearn.study.runner import cell_jobs, keeps_weights, run_cell
from polyunlearn.study.states import States, Watcher, study_manifest, writing
from polyunlearn.study.store import OWN_ANSWERS, Store
from polyunlearn.training.objectives import check_precision


def run_study(config: StudyConfig, folder: Path, watcher: Watcher, workers: int = 1) -> None:
    """Run or continue a study in `folder`; when it returns, every cell's rows are there.

    With several `workers`, cells run beside each other in as many processes, each with the model in its memory: for a GPU that one process
    leaves idle, or a machine with many cores. What a cell starts from is on disk either way, so its rows are the same up to rounding.

    Raises:
        UserError: where the folder holds another study, is in use, or cannot be written, or a method needs weights in fp32.
    """
    store = Store(folder)
    with writing(folder):
        states = States.load(config, store, watcher)
        todo = [cell for cell in study_cells(config) if not store.is_done(cell)]
        for method in dict.fromkeys(cell.method for cell in todo if cell.method):
            check_precision(method, states.parameters.values(), merged=config.unlearning.of_method(method).merged)
        store.open(study_manifest(states))
        remove_unfinished(store.folder, "cells", "states", "references", OWN_ANSWERS)
        lost = next(
            (
                cell.id
                for cell in study_cells(config)
                if keeps_weights(config, cell) and store.is_done(cell) and not store.weights_path(cell).exists()
            ),
            None,
        )
        if lost:
            watcher.say(
                f"the weights of cells that are done already, such as {lost}, were not kept; what asks for them trains them once more"
            )
        if workers > 1 and len(todo) > 1:
            # The model is in the processes' memory; here it would be one too many.
            del states
            give_back_cached()
            for _ in run_beside(cell_jobs(config, folder), todo, workers, watcher):
                _drop_weights(config, store)
        else:
            for number, cell in enumerate(todo, start=1):
                watcher.cell(cell.id, number, len(todo))
                run_cell(states, cell)
                _drop_weights(config, store)
        _drop_weights(config, store)


def _drop_weights(config: StudyConfig, store: Store) -> None:
    """Remove the weights of states that no unfinished cell starts from: learned ones, and what attacks left."""
    if config.keep_states:
        return
    cells = list(study_cells(config))
    needed = {cell.parent for cell in cells if not store.is_done(cell)}
    for cell in cells:
        if cell not in needed and store.is_done(cell):
            store.weights_path(cell).unlink(missing_ok=True)
