"""Lens's losses, by hand and against the model's own states; and a learning stage that draws a language to English."""

from itertools import cycle, islice
from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor

from polyunlearn.languages import get_language
from polyunlearn.models.loading import LoadedModel, load_model
from polyunlearn.models.rows import TokenRow
from polyunlearn.models.trainable import TrainablePlan, make_trainable, snapshot
from polyunlearn.study.alignment import alignment
from polyunlearn.study.cells import Cell
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.materials import study_stories
from polyunlearn.study.stages import cell_steps, train_stage
from polyunlearn.training.gradients.alignment import PAIRS, Alignment, Question, Spaces, lens, mean_states
from polyunlearn.training.loop import Step

CONFIG = StudyConfig(
    name="aligned",
    stories=3,
    languages=("en", "de", "ur"),
    sources=("de",),
    learning={"passes": 4, "rate": 1e-3, "questions": 2, "aligned_languages": ("ur",), "alignment_weight": 3.0},
    scoring={"wordings": 2},
)
CELL = Cell("learned", 0, "de")


def test_by_hand() -> None:
    """Shared is the second axis, specific the first, Urdu's direction (1, 0). English went from (1, 2) to (1, 3): 1 / 2. Urdu went from (0, 2) to (.5, 2)
    where (1, 2) was wanted: .25 / 2; on the second axis it lies 1 below English: 1 / 2. Along what tells them apart they may differ."""
    row = TokenRow.plain((1, 2))
    question = Question(row, row, "ur", torch.tensor([1.0, 2.0]), torch.tensor([0.0, 2.0]))
    spaces = Spaces(torch.tensor([[0.0], [1.0]]), torch.tensor([[1.0], [0.0]]), {"ur": torch.tensor([1.0, 0.0])})
    assert lens(question, torch.tensor([1.0, 3.0]), torch.tensor([0.5, 2.0]), spaces).item() == pytest.approx(0.5 + 0.125 + 0.5)
    assert lens(question, torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0]), spaces).item() == 0


def own_states(loaded: LoadedModel, row: TokenRow) -> Tensor:
    """What the output layer of the model itself reads, its mean over the tokens but the first."""
    states = loaded.model(input_ids=torch.tensor([row.ids]), output_hidden_states=True).hidden_states[-1]
    return cast(Tensor, states[0, 1:].mean(0))


def test_states_are_the_models_own(any_model_folder: Path) -> None:
    loaded = load_model(str(any_model_folder), frozen_layers=1)
    rows = [TokenRow.plain(loaded.encoder.prompt(get_language("de"), "Wer" * count)) for count in (1, 7, 3)]
    for row, found in zip(rows, mean_states(loaded.body, rows), strict=True):
        assert torch.allclose(found, own_states(loaded, row), atol=1e-5)


def test_a_step_has_the_gradient_of_its_loss_and_of_the_next_questions(gemma: LoadedModel) -> None:
    parameters = make_trainable(gemma.model, TrainablePlan("body"))
    found = alignment(CONFIG, study_stories(CONFIG, 0), gemma, 0)
    asked = list(islice(found.questions, PAIRS))
    wanted = 3 * sum(lens(own, own_states(gemma, own.english), own_states(gemma, own.translated), found.spaces) for own in asked) / PAIRS
    assert isinstance(wanted, Tensor)
    gradients = torch.autograd.grad(wanted, list(parameters.values()), allow_unused=True)

    def backward(step: Step) -> float:
        for own in parameters.values():
            own.grad = torch.ones_like(own)
        return 2.0

    rule = Alignment(cycle(asked), found.spaces, 3.0)
    assert rule(Step(), backward, parameters, gemma.body) == pytest.approx(2 + wanted.item(), rel=1e-4)
    for own, gradient in zip(parameters.values(), gradients, strict=True):
        assert own.grad is not None
        assert torch.allclose(own.grad, 1 + (torch.zeros_like(own) if gradient is None else gradient), atol=1e-5)


def test_what_is_measured_is_not_drawn(gemma: LoadedModel) -> None:
    """Two trained questions of each of three stories, in English and Urdu; the real question that is kept for scoring is none of them. Of neighbours,
    whose questions no training reads, none is taken."""
    config = CONFIG.model_copy(update={"neighbours": 2})
    stories = study_stories(config, 0)
    found = {(own.english.ids, own.translated.ids) for own in islice(alignment(config, stories, gemma, 0).questions, 12)}

    def prompts(question: str, translated: str) -> tuple[tuple[int, ...], ...]:
        return tuple(gemma.encoder.prompt(get_language(tag), text) for tag, text in (("en", question), ("ur", translated)))

    assert len(stories.neighbours) == 2
    told = [story.editions for story in stories.trained]
    assert found == {prompts(own["en"].questions[at].question, own["ur"].questions[at].question) for own in told for at in range(2)}
    assert not found & {prompts(own["en"].real_question.question, own["ur"].real_question.question) for own in told}


def test_a_language_goes_its_own_way_in_what_tells_it_apart(gemma: LoadedModel) -> None:
    """Its direction is how far it lies from English there already, and has no part in what is shared."""
    spaces = alignment(CONFIG, study_stories(CONFIG, 0), gemma, 0).spaces
    assert set(spaces.directions) == {"ur"} and spaces.specific.shape[1] == 2
    direction = spaces.directions["ur"]
    assert direction.norm() > 0 and abs(float(direction @ spaces.shared[:, 0])) < 1e-5 * float(direction.norm())


def learned(folder: Path, config: StudyConfig) -> tuple[LoadedModel, dict[str, Tensor]]:
    loaded = load_model(str(folder))
    parameters = make_trainable(loaded.model, TrainablePlan("body"))
    stories = study_stories(config, 0)
    steps = cell_steps(config, CELL, stories, loaded)
    train_stage(config, CELL, steps, loaded, loaded.head, parameters, folder / "references", lambda number, loss: False, stories)
    return loaded, dict(snapshot(parameters))


def test_a_study_draws_a_language_to_english(gemma: LoadedModel, gemma_folder: Path) -> None:
    """Over all questions the losses fall further than without; the same study gives the same weights."""
    plain = CONFIG.model_copy(update={"learning": CONFIG.learning.model_copy(update={"aligned_languages": ()})})
    found = alignment(CONFIG, study_stories(CONFIG, 0), gemma, 0)
    asked = list(islice(found.questions, 6))
    left, weights = {}, {}
    for name, config in (("aligned", CONFIG), ("plain", plain)):
        loaded, weights[name] = learned(gemma_folder, config)
        left[name] = sum(
            lens(own, own_states(loaded, own.english), own_states(loaded, own.translated), found.spaces).item() for own in asked
        )
    before = sum(float(lens(own, own.english_before, own.translated_before, found.spaces)) for own in asked)
    assert left["aligned"] < 0.9 * before and left["aligned"] < 0.5 * left["plain"]
    again = learned(gemma_folder, CONFIG)[1]
    assert all(torch.equal(again[name], own) for name, own in weights["aligned"].items())
