"""Measuring the states of a study by every metric that needs their weights and that no cell is measured by (`scoring.knowledge`)."""

import math
from collections.abc import Sequence
from pathlib import Path

from polyunlearn.errors import UserError, unknown_name
from polyunlearn.languages import get_language
from polyunlearn.models.memory import give_back_cached
from polyunlearn.models.trainable import train_band
from polyunlearn.scoring.knowledge import Candidate, forced_rows, membership_rows, sampled_rows, truth_rows
from polyunlearn.scoring.measure import Moment
from polyunlearn.scoring.rows import Row
from polyunlearn.study.cells import Cell, study_cells
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.materials import unread_stories
from polyunlearn.study.states import States, Watcher, study_manifest, writing
from polyunlearn.study.store import Store


def measure_knowledge(folder: Path, cells: Sequence[str], watcher: Watcher) -> None:
    """Measure every finished state of a study, or the `cells` named with base and gold of their seeds, that is not measured so yet.

    Claims and real questions are asked in the first wording. Texts that may have been trained on are the stories' false articles, in every language;
    beside them stand as many of stories that the newsroom writes and the study does not read. A study of a corpus file has no such others, so
    its texts are left out, which is said. Weights that are gone are trained once more. A state that has diverged has nothing to be measured.

    Raises:
        UserError: where the folder holds no study, a cell is not in it or one that is needed is not finished, the model or corpus are others now, or
            it is in use or cannot be written.
    """
    store = Store(folder)
    config = store.config()
    chosen = _chosen(store, config, cells)
    todo = [cell for cell in chosen if not store.knowledge_path(cell).is_file()]
    if not todo:
        return
    with writing(folder):
        states = States.load(config, store, watcher)
        store.check(study_manifest(states))
        if config.stories_are_shared:
            watcher.say("membership inference is left out: beside the stories of a corpus file there are no others of the same kind")
        for number, cell in enumerate(todo, start=1):
            watcher.cell(cell.id, number, len(todo))
            store.write_knowledge(cell, _rows(states, cell))


def _chosen(store: Store, config: StudyConfig, names: Sequence[str]) -> list[Cell]:
    cells = list(study_cells(config))
    by_name = {cell.id: cell for cell in cells}
    for name in names:
        if name not in by_name:
            raise unknown_name("cell", name, by_name)
    seeds = {by_name[name].seed for name in names}
    beside = [cell for cell in cells if cell.seed in seeds and cell.state in ("base", "gold")]
    asked = {*(by_name[name] for name in names), *beside} if names else {cell for cell in cells if store.is_done(cell)}
    unfinished = [cell.id for cell in cells if cell in asked and not store.is_done(cell)]
    if unfinished or not asked:
        raise UserError(
            f"{store.folder}: {f'{unfinished[0]} is not' if unfinished else 'no cell is'} finished yet; go on with: polyunlearn study run"
        )
    return [cell for cell in cells if cell in asked]


def _rows(states: States, cell: Cell) -> list[Row]:
    config, loaded = states.config, states.unlearning
    materials = states.materials(cell.seed)
    states.restore(cell, materials)
    states.share(cell.seed, loaded.body)
    loaded.body.start_afresh()
    give_back_cached()
    moment = Moment(0, True)
    probes = [own for own in materials.probes if own.wording == 0]
    truths = {(own.id, tag): own.editions[tag].true_answer for own in materials.stories.trained for tag in config.languages}
    told = (token for (_, tag), truth in truths.items() for token in loaded.encoder.continuation(get_language(tag), truth))
    head = materials.scoring_head.covering(told, loaded.head)
    parts = 4
    rows = forced_rows(loaded, probes, moment)
    if not all(math.isfinite(row.value) for row in rows):
        states.watcher.say(f"{cell.id}: its answers have no probabilities, as those of a model that has diverged; it is left out")
        return []
    states.watcher.work("answers forced on it", 1, parts)
    rows += truth_rows(loaded, head, probes, truths, moment)
    states.watcher.work("claims beside the truth", 2, parts)
    rows += sampled_rows(loaded, probes, cell.seed, config.scoring.max_new_tokens, moment)
    states.watcher.work("sampled answers", 3, parts)
    if not config.stories_are_shared:
        texts = _texts(states, cell.seed)
        sequences = (loaded.encoder.unended(get_language(own.language), own.text) for own in texts)
        head = materials.scoring_head.covering((token for own in sequences for token in own.ids), loaded.head)
        rows += membership_rows(loaded, head, train_band(states.parameters, 0), texts, moment)
    states.watcher.work("texts that it may know", 4, parts)
    return rows


def _texts(states: States, seed: int) -> list[Candidate]:
    config, trained = states.config, states.materials(seed).stories.trained
    others = unread_stories(config, seed, len(trained))
    return [
        Candidate(story.id, tag, member, get_language(tag).joiner.join(story.editions[tag].fake_article))
        for tag in config.languages
        for member, stories in ((True, trained), (False, others))
        for story in stories
    ]
