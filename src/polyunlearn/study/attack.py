"""Attacking the states of a study: rows of what each attack brings back, on the unlearned states and on gold and learned beside them."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from torch import Tensor

from polyunlearn.attacks.asking import candidate_tokens
from polyunlearn.attacks.suite import AttackCard, get_attacks
from polyunlearn.attacks.target import BEFORE, Target, Variant, form_before
from polyunlearn.errors import UserError
from polyunlearn.models.body import Body
from polyunlearn.models.loading import LoadedModel
from polyunlearn.models.memory import give_back_cached
from polyunlearn.models.trainable import train_band
from polyunlearn.scoring.measure import Moment, asked_rows, first_rows, ranked_questions
from polyunlearn.scoring.probes import Probe
from polyunlearn.scoring.ranking import RankedQuestion
from polyunlearn.scoring.rows import Row
from polyunlearn.study.cells import Cell, study_cells, told_languages
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.materials import Materials
from polyunlearn.study.processes import Jobs, Silent, run_beside
from polyunlearn.study.states import States, Watcher, study_manifest, writing
from polyunlearn.study.store import Store

Attempted = tuple[Cell, str]
"""A cell, and the name of an attack on it."""


def attack_study(
    folder: Path, attacks: Sequence[AttackCard], strategies: Sequence[str], methods: Sequence[str], watcher: Watcher, workers: int = 1
) -> None:
    """Run the attacks that are not on disk yet on every cell of the study but base; of unlearned cells, where `strategies` or `methods` are named, on
    theirs. The others need not be finished.

    The claims are asked in the first wording. What a state was without an attack is in the rows of its cell. `workers` are processes, as in `run_study`.

    Raises:
        UserError: where the folder holds no study or a cell that is not finished, a strategy or method is not in it, the model or corpus are
            others now, or it is in use or cannot be written.
    """
    store = Store(folder)
    config = store.config()
    for what, named, there in (("strategy", strategies, config.strategies), ("method", methods, config.methods)):
        unknown = [name for name in named if name not in there]
        if unknown:
            raise UserError(f"{folder}: no {what} {unknown[0]!r} in this study; it has {', '.join(there)}")
    cells = [
        cell
        for cell in study_cells(config)
        if cell.state != "base"
        and (not strategies or any(_is_unlearned_so(cell, name, config) for name in strategies))
        and (not methods or cell.method is None or cell.method in methods)
    ]
    unfinished = [cell.id for cell in cells if not store.is_done(cell)]
    if unfinished:
        raise UserError(f"{folder}: {unfinished[0]} is not finished; go on with: polyunlearn study run")
    todo = [(cell, card.name) for cell in cells for card in attacks if not store.attack_path(card.name, cell).is_file()]
    if todo:
        with writing(folder):
            states = States.load(config, store, watcher)
            store.check(study_manifest(states))
            if workers > 1 and len(todo) > 1:
                del states
                give_back_cached()
                for _ in run_beside(_attack_jobs(config, store), todo, workers, watcher):
                    pass
            else:
                for number, own in enumerate(todo, start=1):
                    watcher.cell(_name(own), number, len(todo))
                    _attack(states, own)


def _is_unlearned_so(cell: Cell, strategy: str, config: StudyConfig) -> bool:
    """Whether a cell is unlearned in the languages of a strategy, or not at all."""
    if not (cell.strategy and cell.source):
        return True
    return told_languages(strategy, cell.source, config) == told_languages(cell.strategy, cell.source, config)


def _attack(states: States, own: Attempted) -> None:
    """Attack a cell, and write its rows."""
    cell, name = own
    materials = states.materials(cell.seed)
    states.restore(cell, materials)
    give_back_cached()
    states.share(cell.seed, states.unlearning.body)
    states.unlearning.body.start_afresh()
    (card,) = get_attacks([name])
    states.store.write_attack(name, cell, _rows(states, cell, card, materials))


def _attack_jobs(config: StudyConfig, store: Store) -> Jobs[Attempted]:
    """Attacks on cells as work for several processes."""
    return Jobs(States.load, (config, store, Silent()), _attack, name=_name, seed=lambda own: own[0].seed, before=lambda own: set())


def _name(own: Attempted) -> str:
    return f"{own[1]} on {own[0].id}"


def _rows(states: States, cell: Cell, card: AttackCard, materials: Materials) -> list[tuple[Variant, Row]]:
    rows: list[tuple[Variant, Row]] = []

    def measure(
        variant: Variant,
        loaded: LoadedModel,
        probes: Sequence[Probe],
        questions: Sequence[RankedQuestion],
        scores: Sequence[Tensor] | None = None,
    ) -> None:
        def asked(own: Sequence[RankedQuestion]) -> list[Row]:
            head = materials.scoring_head.covering(candidate_tokens(own), loaded.head)
            return asked_rows(loaded, head, probes, own, Moment(0, True))

        found = asked(questions) if scores is None else first_rows(probes, scores, Moment(0, True))
        rows.extend((variant, row) for row in found)
        if card.narrows:
            rows.extend((form_before(variant), row) for row in asked(ranked_questions(probes, loaded.encoder)))
        states.watcher.work(variant.name, 0, 1)

    target = Target(
        loaded=states.unlearning,
        # Attacks move the layers that the study takes for fixed, too.
        whole=replace(states.unlearning, body=Body(states.unlearning.model, 0)),
        training_head=materials.training_head,
        parameters=train_band(states.parameters, 0),
        learned={
            source: partial(states.weights, Cell("learned", cell.seed, source), materials) for source in _sources(states.config, cell)
        },
        claims=materials.stories.trained,
        neighbours=materials.stories.neighbours,
        languages=states.config.languages,
        probes=[probe for probe in materials.probes if probe.asks == "fake" and probe.wording == 0],
        seed=cell.seed,
    )
    if card.asks:
        probes = card.asks(target)
        measure(BEFORE, target.loaded, probes, ranked_questions(probes, target.loaded.encoder))
    card.attack(target, measure)
    return rows


def _sources(config: StudyConfig, cell: Cell) -> Sequence[str]:
    """The sources whose learned states a cell is to be set against."""
    if cell.state == "gold":
        return config.sources
    return [str(cell.source)] if cell.state == "unlearned" else []
