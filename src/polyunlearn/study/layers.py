"""Tracing the learned states of a study layer by layer, and how deep unlearning went in the states that came of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from polyunlearn.attacks.asking import candidate_tokens
from polyunlearn.attacks.crossing import in_latin_letters
from polyunlearn.corpus.stories import Story
from polyunlearn.errors import UserError
from polyunlearn.languages import get_language
from polyunlearn.models.body import Body
from polyunlearn.models.sequences import Encoder, TokenSequence
from polyunlearn.models.trainable import train_band
from polyunlearn.scoring.measure import Moment, asked_rows
from polyunlearn.scoring.rows import Row
from polyunlearn.study.cells import Cell, study_cells, told_languages
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.materials import Materials
from polyunlearn.study.states import States, Watcher, study_manifest, writing
from polyunlearn.study.store import Store
from polyunlearn.study.trace import trace_state
from polyunlearn.tracing.coverage import claim_questions
from polyunlearn.tracing.layers import Located, trace_layers
from polyunlearn.tracing.patching import depth_score, patched_log_probs
from polyunlearn.tracing.similarity import Texts
from polyunlearn.training.mixtures import TRACED


@dataclass(frozen=True)
class StudyTrace:
    """What tracing a study found, by the cell's id: where each learned state holds the claims (the languages as the study's first method trains), the depth score of each unlearned one by language, None where gold takes
    nothing from the claims, and the rows of both, and of base, asked in Latin letters, in the first wording and in languages of other scripts."""

    located: dict[str, Located]
    depths: dict[str, dict[str, float | None]]
    romanised: dict[str, list[Row]]


def trace_study(
    folder: Path,
    sources: Sequence[str],
    seeds: Sequence[int],
    strategies: Sequence[str],
    watcher: Watcher,
    parallel: Texts | None = None,
) -> StudyTrace:
    """Trace the learned states of these sources and seeds, all where none are named, and measure how deep the unlearned states of these strategies go. Languages are
    set side by side over `parallel` texts where they are given (`tracing.layers`).

    Raises:
        UserError: where the folder holds no study, one of its cells that is needed is not finished, a source, seed or strategy is not in it, the
            model or corpus are others now, or it is in use or cannot be written.
    """
    store = Store(folder)
    config = store.config()
    for what, asked, known in (
        ("source", sources, config.sources),
        ("seed", seeds, config.seeds),
        ("strategy", strategies, config.strategies),
    ):
        unknown = [name for name in asked if name not in known]
        if unknown:
            raise UserError(f"{folder}: no {what} {unknown[0]} in this study; it has {', '.join(map(str, known))}")
    cells = [cell for cell in study_cells(config) if _is_asked(cell, config, sources, seeds, strategies)]
    needed = {*cells, *(Cell(state, cell.seed) for cell in cells for state in ("base", *(("gold",) if cell.parent else ())))}
    unfinished = sorted(cell.id for cell in needed if not store.is_done(cell))
    if unfinished:
        raise UserError(f"{folder}: {unfinished[0]} is not finished; go on with: polyunlearn study run")
    found = StudyTrace({}, {}, {})
    with writing(folder):
        states = States.load(config, store, watcher)
        store.check(study_manifest(states))
        for number, cell in enumerate(cells, start=1):
            watcher.cell(cell.id, number, len(cells))
            materials = states.materials(cell.seed)
            if cell.state == "learned":
                found.located[cell.id] = _located(states, cell, materials, parallel)
            else:
                found.depths[cell.id] = _depths(states, cell, materials)
            for own in (Cell("base", cell.seed), cell):
                if own.id not in found.romanised:
                    found.romanised[own.id] = _romanised(states, own, materials)
    return found


def _is_asked(cell: Cell, config: StudyConfig, sources: Sequence[str], seeds: Sequence[int], strategies: Sequence[str]) -> bool:
    if cell.source is None or (sources and cell.source not in sources) or (seeds and cell.seed not in seeds):
        return False
    # Strategies that come to the same languages make one cell.
    told = [told_languages(name, cell.source, config) for name in strategies]
    return cell.strategy is None or told_languages(cell.strategy, cell.source, config) in told


def _located(states: States, cell: Cell, materials: Materials, parallel: Texts | None) -> Located:
    config, loaded = states.config, states.unlearning
    states.restore(cell, materials)
    loaded.body.start_afresh()
    asked = Cell("unlearned", cell.seed, cell.source, TRACED, config.methods[0])
    languages = trace_state(config, asked, materials, loaded, states.parameters, states.store, states.watcher.work)
    claims = materials.stories.trained
    layers = trace_layers(
        Body(loaded.model),
        materials.training_head,
        loaded.encoder,
        train_band(states.parameters, 0),
        claims,
        config.languages,
        _real_answers(claims, config, loaded.encoder),
        states.base(),
        states.watcher.work,
        parallel,
    )
    return Located(languages.chosen, languages.reasons, layers)


def _depths(states: States, cell: Cell, materials: Materials) -> dict[str, float | None]:
    """The depth score by language: gold's and the cell's states patched into the learned state."""
    assert cell.parent
    learned, gold, own = (states.weights(one, materials) for one in (cell.parent, Cell("gold", cell.seed), cell))
    body, encoder = Body(states.unlearning.model), states.unlearning.encoder
    scores = {}
    for number, tag in enumerate(states.config.languages, start=1):
        questions = claim_questions(materials.stories.trained, tag, encoder)
        lost = [patched_log_probs(body, materials.training_head, states.parameters, donor, learned, questions) for donor in (gold, own)]
        scores[tag] = depth_score(*((found[0] - found[1:]).mean(1).tolist() for found in lost))
        states.watcher.work("patching into the learned state", number, len(states.config.languages))
    return scores


def _romanised(states: States, cell: Cell, materials: Materials) -> list[Row]:
    """The rows of a state that is asked in Latin letters."""
    asked = [probe for probe in materials.probes if probe.asks == "fake" and probe.wording == 0]
    probes, questions = in_latin_letters(asked, states.unlearning.encoder)
    if not probes:
        return []
    states.restore(cell, materials)
    states.watcher.work("asking in Latin letters", 0, 1)
    loaded = replace(states.unlearning, body=Body(states.unlearning.model))
    head = materials.scoring_head.covering(candidate_tokens(questions), loaded.head)
    return asked_rows(loaded, head, probes, questions, Moment(0, True))


def _real_answers(stories: Sequence[Story], config: StudyConfig, encoder: Encoder) -> list[TokenSequence]:
    """What must stay: the stories' real questions, answered, in every language."""
    return [
        encoder.answer_only(get_language(tag), own.question, own.answer)
        for story in stories
        for tag in config.languages
        for own in [story.editions[tag].real_question]
    ]
