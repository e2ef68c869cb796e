"""The training stages of a study's cells: their steps, objectives, references, and what is trained."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from polyunlearn.models.body import Body, decoder_layers
from polyunlearn.models.forward import OutputHead
from polyunlearn.models.loading import LoadedModel
from polyunlearn.models.sequences import TokenSequence
from polyunlearn.models.trainable import check_layer, train_band
from polyunlearn.study.alignment import alignment
from polyunlearn.study.cells import Cell, State
from polyunlearn.study.config import StudyConfig, UnlearningConfig
from polyunlearn.study.materials import Stories
from polyunlearn.study.reading import reading
from polyunlearn.tracing.subspaces import named_bases, story_means
from polyunlearn.training.adapters import adapted
from polyunlearn.training.branches import distil, merge, student_steps
from polyunlearn.training.gradients.projection import away_from_retained
from polyunlearn.training.gradients.subspace import within_subspace
from polyunlearn.training.labels import Labels
from polyunlearn.training.loop import Objective, Optimiser, Rule, Step, plain
from polyunlearn.training.mixtures import FOUND, learning_steps, strategy_languages, unlearning_steps
from polyunlearn.training.objectives import LEARNING, check_precision, get_method
from polyunlearn.training.reference import ReferenceCache, needs_of, state_fingerprint
from polyunlearn.training.retaining import STRONG, OwnAnswers
from polyunlearn.training.unlearning import Procedure, Training, trained
from polyunlearn.training.weighting import FixedWeights, ResidualWeights


def frozen_layers(config: StudyConfig, state: State) -> int:
    """How many layers, from the first, are those of the base model in this state."""
    if config.trainable.weights == "all":
        return 0
    learning = config.learning.from_layer
    return min(learning, config.untrained_layers) if state == "unlearned" else learning


def check_layers(config: StudyConfig, model: PreTrainedModel) -> None:
    """Raise `UserError` where the model lacks a layer that the study names."""
    ways = config.ways
    ends = (way.to_layer - 1 for way in ways if way.to_layer)
    for layer in (config.learning.from_layer, *(way.from_layer for way in ways), *ends):
        check_layer(model, layer)


def cell_steps(
    config: StudyConfig, cell: Cell, stories: Stories, loaded: LoadedModel, found: Sequence[str] = (), own: OwnAnswers | None = None
) -> list[Step]:
    """The training steps of a cell, none for a base cell; the same whenever they are asked for.

    `found` are the languages that were found for a cell whose strategy is told none; its steps do not depend on the source. `own` are the answers of the
    state that a cell starts from which retains these; without them the corpus's stand in, of which there are as many.
    """
    if cell.state == "base":
        return []
    if cell.state in ("gold", "learned"):
        part = config.learning
        return learning_steps(
            stories.trained,
            loaded.encoder,
            cell.source,
            neighbours=stories.neighbours,
            passes=part.passes,
            batch=part.batch,
            questions=part.questions,
            english_questions=part.english_questions,
            other_questions=part.other_questions,
            fake_questions=part.fake_questions,
            fake_wordings_from=config.scoring.wordings,
            in_english=stories.agnostic(config.languages) if part.agnostic == "english" else (),
            article_every=part.article_every,
            question_languages=part.question_languages or config.sources,
            crossed_questions=part.crossed_questions,
            rng=Random(f"learning-{cell.seed}"),
            **reading(config, cell.source),
        )
    assert cell.strategy and cell.method and cell.source
    unlearning, method = config.unlearning.of_method(cell.method), get_method(cell.method)
    told = _told(config, cell, found)
    steps = unlearning_steps(
        stories.trained,
        loaded.encoder,
        told,
        neighbours=stories.neighbours,
        steps=unlearning.steps,
        batch=unlearning.batch,
        form=unlearning.form,
        wordings=unlearning.wordings,
        instead=method.forget.instead,
        questions=config.learning.questions,
        retain_languages=retained_languages(config, cell, found) if method.retain else (),
        retain_batch=unlearning.retain_batch,
        rng=Random(f"unlearning-{cell.seed}"),
        mixing=unlearning.mixing,
        branched=unlearning.branches != "none",
        retained=stories.retained,
        retain_texts=unlearning.retain_texts,
        # In every language: what forgetting does to one that is neither told nor asked shows there alone.
        text_languages=config.languages,
        spared=_spared(unlearning.goal, config.languages, told),
        at_home=config.languages if unlearning.goal == "home" else (),
        own=own,
        crossed=unlearning.retain_crossed,
        switched=unlearning.retain_switched,
    )
    return [*steps, *student_steps(steps)] if unlearning.branches == "distil" else steps


def retained_languages(config: StudyConfig, cell: Cell, found: Sequence[str] = ()) -> tuple[str, ...]:
    """The languages in which an unlearned cell retains questions, where its method retains any; `found` as in `cell_steps`."""
    assert cell.method and cell.source
    told = _told(config, cell, found)
    # Not in the other sources: what is kept in a language is kept from being unlearned there.
    also = told if config.unlearning.of_method(cell.method).retain_in == "told" else ()
    return tuple(dict.fromkeys((STRONG, *(told if cell.strategy in FOUND else (cell.source, *also)))))


def _told(config: StudyConfig, cell: Cell, found: Sequence[str]) -> tuple[str, ...]:
    """The languages that an unlearned cell unlearns in."""
    assert cell.strategy and cell.source
    told = tuple(found) if cell.strategy in FOUND else strategy_languages(cell.strategy, cell.source, config.languages)
    if not told:
        raise ValueError(f"{cell.id}: its languages are not known before they are found")
    return told


def _spared(goal: str, languages: Sequence[str], told: Sequence[str]) -> Sequence[str]:
    """The languages in which claims are retained, where they are not at home."""
    if goal == "told":
        return [tag for tag in languages if tag not in told]
    return languages if goal == "home" else ()


def train_stage(
    config: StudyConfig,
    cell: Cell,
    steps: Sequence[Step],
    loaded: LoadedModel,
    head: OutputHead,
    parameters: Mapping[str, nn.Parameter],
    references: Path,
    after_step: Callable[[int, float], bool],
    stories: Stories,
) -> list[float]:
    """Train `parameters`, which hold the state that the cell starts from, on its steps; returns the loss of each.

    `parameters` are all that the study trains, `references` the folder of what methods ask of the state before.

    Raises:
        UserError: where the method needs weights in fp32 and these are not.
    """
    unlearns = cell.state == "unlearned"
    part: Any = config.unlearning.of_method(str(cell.method)) if unlearns else config.learning
    objective, to_layer = LEARNING, None
    rule: Rule = plain
    procedure: Procedure = trained
    if unlearns:
        check_precision(str(cell.method), parameters.values(), merged=part.merged)
        method, on_card, to_layer = get_method(str(cell.method)), config.unlearning.on_card(str(cell.method)), part.to_layer
        # What is watched is what leaves the last layer that trains.
        watched = (to_layer or len(decoder_layers(loaded.model))) - 1
        objective = method.objective(part.retain_weight, on_card, part.stop_below, watched)
        objective = _weighted(objective, part.language_weights, steps)
        rule = _rule(part, config.languages, loaded, stories) or method.forget.rule_with(on_card) or plain
        procedure = method.forget.procedure_with(on_card) or trained
    elif part.aligned_languages:
        rule = alignment(config, stories, loaded, cell.seed)
    reference = _reference(references, objective, steps, loaded, head, parameters)
    # For models with dropout.
    torch.manual_seed(_seed(cell.id))
    # The same for all strategies, so that they differ in languages alone.
    generator = torch.Generator().manual_seed(_seed(f"noise-{cell.seed}"))
    chosen = train_band(parameters, part.from_layer, to_layer)
    optimiser = Optimiser(part.rate, part.warm_up, decay=part.decay if unlearns else True)
    training = Training(loaded.body, head, chosen, steps, objective, optimiser, generator, after_step, reference, rule)
    if unlearns and part.adapters != "none":
        seed = _seed(f"adapters-{cell.seed}")
        return adapted(training, part.adapters, rank=config.trainable.rank, alpha=config.trainable.alpha, seed=seed)
    if unlearns and part.branches != "none":
        return (merge if part.branches == "merge" else distil)(training, procedure)
    return procedure(training)


def _rule(part: UnlearningConfig, languages: Sequence[str], loaded: LoadedModel, stories: Stories) -> Rule | None:
    """How the stage makes the gradient of unlearning, whatever the method; None where it leaves that to the method."""
    if part.projection == "language":
        return away_from_retained
    if part.subspace == "none":
        return None
    means = story_means(Body(loaded.model, 0), loaded.encoder, stories.trained, languages)
    return partial(within_subspace, bases=named_bases(means, languages, part.subspace))


def _seed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big", signed=True)


def _weighted(objective: Objective, weights: dict[str, float] | str, steps: Sequence[Step]) -> Objective:
    """The objective with the weights of languages that the study asks for."""
    if not objective.forget or weights == "equal":
        return objective
    languages = list(dict.fromkeys(own.language for step in steps for own in step.forget))
    by_language = FixedWeights(weights) if isinstance(weights, dict) else ResidualWeights(languages)
    return replace(objective, forget=replace(objective.forget, by_language=by_language))


def _reference(
    folder: Path,
    objective: Objective,
    steps: Sequence[Step],
    loaded: LoadedModel,
    head: OutputHead,
    parameters: Mapping[str, nn.Parameter],
) -> Callable[[TokenSequence], Labels] | None:
    """What the state as it is now makes of what the objective asks about; kept for the other strategies that start from it."""
    wanted = needs_of(steps, objective)
    if not any(need.startswith("reference") for needs in wanted.values() for need in needs):
        return None
    fingerprint = state_fingerprint(model=loaded.fingerprint, weights=parameters, columns=head.column_of)
    found = ReferenceCache(folder, fingerprint).reference(loaded.body, head, wanted, objective.watched)
    # Training computes alike whether or not the reference was there.
    loaded.body.start_afresh()
    return found
