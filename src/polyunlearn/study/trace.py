"""Finding the languages to unlearn a study's learned states in, for the strategies that are told none."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from torch import nn

from polyunlearn.models.loading import LoadedModel
from polyunlearn.models.trainable import train_band
from polyunlearn.study.cells import Cell
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.materials import Materials
from polyunlearn.study.store import Store
from polyunlearn.tracing.coverage import claim_questions, gradient_sketch, inner_products
from polyunlearn.tracing.languages import MOST, Trace, compare, living_in, make_trace
from polyunlearn.tracing.selection import Choice, article_texts, select_languages
from polyunlearn.training.mixtures import ALIGNED, TRACED


def find_languages(
    config: StudyConfig,
    cell: Cell,
    materials: Materials,
    loaded: LoadedModel,
    parameters: Mapping[str, nn.Parameter],
    store: Store,
    work: Callable[[str, int, int], None],
) -> Trace | Choice:
    """The languages of a cell whose strategy is told none, with the reasons; `parameters` must hold the weights of the learned state that it unlearns."""
    if cell.strategy == TRACED:
        return trace_state(config, cell, materials, loaded, parameters, store, work)
    texts = article_texts(materials.stories.trained, config.languages)
    selection = select_languages(loaded, materials.training_head, _band(config, cell, parameters), texts, min(MOST, len(texts)), work=work)
    choice = selection.best if cell.strategy == ALIGNED else selection.greedy
    # English first, as in the other strategies: the same languages make the same steps.
    return replace(choice, chosen=tuple(sorted(choice.chosen, key=lambda tag: (tag != "en", choice.chosen.index(tag)))))


def trace_state(
    config: StudyConfig,
    cell: Cell,
    materials: Materials,
    loaded: LoadedModel,
    parameters: Mapping[str, nn.Parameter],
    store: Store,
    work: Callable[[str, int, int], None],
) -> Trace:
    """Where the claims live in the learned state that `cell` unlearns, whose weights `parameters` must hold, and in which languages to unlearn them.

    The state's measured rows are compared with those of base, its own state before: a model owner has both. Of the learned state nothing
    but its rows is read. Gradients are of what the cell's method trains. `work` is told what is done.
    """
    assert cell.parent
    held = compare(_losses(store, cell.parent), _losses(store, Cell("base", cell.seed)))
    band = _band(config, cell, parameters)
    living, sketches = living_in(held), {}
    for number, tag in enumerate(living, start=1):
        sequences = claim_questions(materials.stories.trained, tag, loaded.encoder)
        sketches[tag] = gradient_sketch(loaded.body, materials.training_head, band, sequences)
        work("tracing", number, len(living))
    # Training computes alike whatever was traced.
    loaded.body.start_afresh()
    return make_trace(held, inner_products(sketches))


def _band(config: StudyConfig, cell: Cell, parameters: Mapping[str, nn.Parameter]) -> Mapping[str, nn.Parameter]:
    """Of the weights those that the cell's method trains."""
    assert cell.method
    stage = config.unlearning.of_method(cell.method)
    return train_band(parameters, stage.from_layer, stage.to_layer)


def _losses(store: Store, cell: Cell) -> dict[str, list[float]]:
    """The loss of the false answers at the end of a cell, by language, one mean over wordings a story; stories in a fixed order."""
    table = store.query(
        f"""SELECT language, story, list(value ORDER BY wording) AS losses FROM rows
        WHERE cell = '{cell.id}' AND asks = 'fake' AND metric = 'loss' AND "end" GROUP BY language, story ORDER BY language, story"""
    )
    losses: dict[str, list[float]] = {}
    for row in table.to_pylist():
        losses.setdefault(row["language"], []).append(sum(row["losses"]) / len(row["losses"]))
    return losses
