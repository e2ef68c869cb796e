"""Unlearning in branches, and the merging of these."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import sequences, sharp
from torch import Tensor, nn

from polyunlearn.models.forward import OutputHead
from polyunlearn.models.loading import LoadedModel
from polyunlearn.models.sequences import TokenSequence
from polyunlearn.models.trainable import TrainablePlan, make_trainable, restore, snapshot
from polyunlearn.study.cells import Cell
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.materials import Stories, study_stories
from polyunlearn.study.measurement import trajectory_steps
from polyunlearn.study.stages import cell_steps, train_stage
from polyunlearn.training import branches
from polyunlearn.training.branches import branches_of, distil, merge, student_steps
from polyunlearn.training.loop import Optimiser, Step
from polyunlearn.training.objectives import get_method
from polyunlearn.training.objectives.kl import divergence
from polyunlearn.training.reference import reference_now
from polyunlearn.training.unlearning import Training, trained


def _own(tag: str, seed: int, *lengths: int) -> tuple[TokenSequence, ...]:
    return tuple(replace(own, language=tag) for own in sequences(seed, *lengths))


RETAIN = tuple(sequences(90, 9, 7))
STEPS = [
    *(Step(RETAIN, _own("de", seed, 8, 10)) for seed in (1, 2)),
    *(Step(RETAIN, _own("ur", seed, 12, 6)) for seed in (3, 4, 5)),
]
"""Two steps in German, three in Urdu."""


def _training(loaded: LoadedModel, steps: Sequence[Step] = STEPS, **changes: Any) -> Training:
    parameters = make_trainable(loaded.model, TrainablePlan("body"))
    objective = get_method("gradient_difference").objective()
    settings = {"optimiser": Optimiser(2e-4), "generator": torch.Generator(), **changes}
    return Training(loaded.body, loaded.head, parameters, steps, objective, **settings)


class _Moves:
    """A procedure by hand: each step adds one to the weight "a", and to "b" what it has in labels; losses are the numbers of its steps."""

    def __init__(self) -> None:
        self.began: list[float] = []

    def __call__(self, given: Training) -> list[float]:
        with torch.no_grad():
            self.began.append(given.parameters["a"].item())
            for number, step in enumerate(given.steps, start=1):
                given.parameters["a"] += 1
                given.parameters["b"] += len(step.forget[0].labels)
                given.after_step(number, float(number))
        return [float(number) for number in range(1, len(given.steps) + 1)]


def _by_hand(steps: Sequence[Step], after_step: Callable[[int, float], bool]) -> Training:
    weights = {"a": nn.Parameter(torch.tensor([10.0])), "b": nn.Parameter(torch.tensor([0.5]))}
    head = OutputHead(torch.zeros(1, 1), None, None)
    objective = get_method("gradient_difference").objective()
    return Training(nn.Identity(), head, weights, steps, objective, Optimiser(1.0), torch.Generator(), after_step)  # type: ignore[arg-type]


def test_steps_are_branches_by_their_language() -> None:
    assert branches_of(STEPS) == [STEPS[:2], STEPS[2:]]
    assert branches_of(STEPS[:2]) == [STEPS[:2]]


def test_merged_branches_by_hand() -> None:
    """From 10 the German branch ends at 12, the Urdu one, from 10 again, at 13: 10 + 2 + 3 = 15, all five steps' movement; the mean would be 12.5.

    The other weight moves by the labels: sequences of 8 and 12 tokens have 6 and 8 (they begin at a third), so 0.5 + 2 x 6 + 3 x 8 = 36.5.
    Steps are numbered on.
    """
    seen: list[tuple[int, float]] = []
    given, moves = _by_hand(STEPS, lambda number, loss: bool(seen.append((number, loss)))), _Moves()
    assert merge(given, moves) == [1.0, 2.0, 1.0, 2.0, 3.0]
    assert moves.began == [10.0, 10.0]
    assert {name: weight.item() for name, weight in given.parameters.items()} == {"a": 15.0, "b": 36.5}
    assert seen == [(1, 1.0), (2, 2.0), (3, 1.0), (4, 2.0), (5, 3.0)]


def test_one_branch_is_a_plain_training_to_the_bit(any_model_folder: Path) -> None:
    ends, losses = [], []
    for run in (trained, lambda given: merge(given, trained)):
        given = _training(sharp(any_model_folder), STEPS[:2])
        losses.append(run(given))
        ends.append(snapshot(given.parameters))
    assert losses[0] == losses[1]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_a_merged_model_is_the_start_and_what_each_branch_moved(any_model_folder: Path) -> None:
    """Each branch trained on its own, from the same weights, in a process of its own."""
    start = snapshot(_training(sharp(any_model_folder)).parameters)
    expected, losses = dict(start), []
    for branch in (STEPS[:2], STEPS[2:]):
        alone = _training(sharp(any_model_folder), branch)
        losses += trained(alone)
        expected = {name: expected[name] + snapshot(alone.parameters)[name] - start[name] for name in start}
    given = _training(sharp(any_model_folder))
    assert merge(given, trained) == pytest.approx(losses, abs=1e-5)
    assert max(float((snapshot(given.parameters)[name] - expected[name]).abs().max()) for name in start) < 1e-6
    assert max(float((snapshot(given.parameters)[name] - start[name]).abs().max()) for name in start) > 5e-4


def test_the_order_of_branches_does_not_matter(any_model_folder: Path) -> None:
    ends = []
    for steps in (STEPS, [*STEPS[2:], *STEPS[:2]]):
        given = _training(sharp(any_model_folder), steps)
        merge(given, trained)
        ends.append(snapshot(given.parameters))
    assert max(float((ends[0][name] - ends[1][name]).abs().max()) for name in ends[0]) < 1e-6


# --- distilling --------------------------------------------------------------------------------------------------------------------------


def test_the_student_sees_one_step_of_each_branch_in_turn() -> None:
    """German, Urdu, German, Urdu, Urdu; what is said instead is imitated too."""
    assert student_steps(STEPS) == [STEPS[at] for at in (0, 2, 1, 3, 4)]
    instead = _own("de", 7, 5, 5)
    assert student_steps([replace(STEPS[0], instead=instead)]) == [Step(RETAIN, (*STEPS[0].forget, *instead))]


def _branch_ends(folder: Path) -> dict[str, dict[str, Tensor]]:
    ends = {}
    for tag, branch in (("de", STEPS[:2]), ("ur", STEPS[2:])):
        alone = _training(sharp(folder), branch)
        trained(alone)
        ends[tag] = snapshot(alone.parameters)
    return ends


def test_the_student_begins_at_the_start_and_imitates_the_branch_of_each_language(any_model_folder: Path) -> None:
    """Its first loss is the start's divergence from the German branch, a mean over the step's labels, with the retain term's cross-entropy."""
    loaded, ends = sharp(any_model_folder), _branch_ends(any_model_folder)
    given = _training(loaded, [*STEPS, *student_steps(STEPS)])
    start, first = snapshot(given.parameters), STEPS[0]
    wanted = {own: frozenset({"reference_logits"}) for own in first.forget}
    restore(given.parameters, ends["de"])
    teacher = reference_now(loaded.body, loaded.head, wanted)  # type: ignore[arg-type]
    restore(given.parameters, start)
    state = reference_now(loaded.body, loaded.head, wanted)  # type: ignore[arg-type]
    with torch.no_grad():
        found = torch.cat([divergence(replace(state(own), reference=teacher(own))) for own in first.forget]).mean()
        kept = reference_now(loaded.body, loaded.head, {own: frozenset({"reference"}) for own in RETAIN})
        entropy = -torch.cat([kept(own).log_probs for own in RETAIN]).mean()
    losses = distil(given, trained)
    assert len(losses) == 10
    assert float(found) > 1e-4
    assert losses[5] == pytest.approx(float(found + entropy), abs=1e-4)


def test_the_weight_of_the_retain_term_follows_its_loss_in_the_student_too(gemma_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PDU's dual belongs to the retain term, which the student keeps."""
    objective = get_method("pdu").objective()
    given = replace(_training(sharp(gemma_folder), [*STEPS, *student_steps(STEPS)]), objective=objective)
    taken: list[Training] = []

    def take(own: Training) -> list[float]:
        taken.append(own)
        return []

    monkeypatch.setattr(branches, "trained", take)
    distil(given, lambda own: [])
    (student,) = taken
    assert objective.dual and student.objective.dual is objective.dual and student.objective.retain == objective.retain


def test_a_student_comes_nearer_to_its_teachers(any_model_folder: Path) -> None:
    """Without a retain term: the divergence of a student's last step from the branch is below half of that at the same sequences before."""
    loaded = sharp(any_model_folder)
    first = [replace(STEPS[0], retain=()), replace(STEPS[2], retain=())]
    steps = [first[0]] * 12 + [first[1]] * 12
    given = replace(_training(loaded, [*steps, *student_steps(steps)]), objective=get_method("gradient_ascent").objective())
    losses = distil(given, trained)
    for way in (0, 1):
        assert 0 <= losses[-2 + way] < 0.5 * losses[24 + way]


def test_the_student_is_asked_about_the_start_where_no_branch_unlearned(any_model_folder: Path) -> None:
    """A retain term that looks at the state before gets that, not a branch's: at the student's start KL is 0 for it."""
    loaded = sharp(any_model_folder)
    objective = get_method("gradient_difference+kl").objective()
    needs = dict.fromkeys(RETAIN, objective.retain.needs)  # type: ignore[union-attr]
    given = replace(_training(loaded, [*STEPS, *student_steps(STEPS)]), objective=objective)
    before = reference_now(loaded.body, loaded.head, needs)
    losses = distil(replace(given, reference=before), trained)
    alone = distil(replace(_training(sharp(any_model_folder), given.steps), objective=replace(objective, retain=None)), trained)
    # The retain term moves the branches, so the teachers differ a little; cross-entropy in its place would be whole nats.
    assert losses[5] == pytest.approx(alone[5], rel=0.2)


# --- configuration -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mixing": "token"}, "unlearning.branches: a branch has one language, so nothing to mix by token; set unlearning.mixing=fact"),
        ({"language_weights": "residual"}, "unlearning.branches: branches do not see what is left in each other's languages"),
        ({"steps": 8}, "unlearning.branches: 9 languages share 8 steps; set unlearning.steps=9 or more"),
    ],
)
@pytest.mark.parametrize("branches", ["merge", "distil"])
def test_what_makes_no_sense_in_branches_is_refused(branches: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        StudyConfig(name="x", sources=("de",), unlearning={"branches": branches, **changes})
    StudyConfig(name="x", sources=("de",), unlearning={"branches": branches, "steps": 9, "language_weights": {"de": 2.0}})
    StudyConfig(name="x", sources=("de",), strategies=("english+source",), unlearning={"branches": branches, "steps": 2})


def test_adapters_are_distilled_not_merged() -> None:
    with pytest.raises(ValueError, match="a sum of adapters is not the sum of what they change"):
        StudyConfig(name="x", sources=("de",), trainable={"weights": "lora"}, unlearning={"branches": "merge"})
    StudyConfig(name="x", sources=("de",), trainable={"weights": "lora"}, unlearning={"branches": "distil"})


def test_branches_that_train_the_output_layer_are_merged_not_distilled() -> None:
    """Their predictions are made of the states that they leave and the output layer as it is then."""
    with pytest.raises(
        ValueError, match=r"unlearning.branches: what a branch predicts goes through the output layer, .* set trainable.weights=body"
    ):
        StudyConfig(name="x", sources=("de",), trainable={"weights": "all"}, unlearning={"branches": "distil"})
    StudyConfig(name="x", sources=("de",), trainable={"weights": "all"}, unlearning={"branches": "merge"})


def test_branches_that_blur_are_distilled_not_merged() -> None:
    """For the stage as for one method by its own settings."""
    ways = {"methods": ["npo", "undo"], "strategies": ("english+source",)}
    refused = "unlearning.branches: branches of method 'undo' cannot be merged: each branch blurs all the weights"
    with pytest.raises(ValueError, match=r"Value error, " + refused):
        StudyConfig(name="x", sources=("de",), unlearning={"branches": "merge"}, **ways)
    with pytest.raises(ValueError, match=r"unlearning.settings.undo \(branches\): " + refused):
        StudyConfig(name="x", sources=("de",), unlearning={"settings": {"undo": {"branches": "merge"}}}, **ways)
    StudyConfig(name="x", sources=("de",), unlearning={"settings": {"npo": {"branches": "merge"}, "undo": {"branches": "distil"}}}, **ways)


@pytest.mark.parametrize("schedule", [{"warm_up": 2}, {"decay": True}])
def test_a_schedule_does_not_begin_anew_in_every_part(schedule: dict[str, Any]) -> None:
    """Three branches of two steps would each warm up for two, and the half of UNDO that repairs begin at the full rate."""
    for unlearning, method in (({"branches": "merge"}, "npo"), ({"branches": "distil"}, "npo"), ({}, "undo")):
        with pytest.raises(ValueError, match=rf"unlearning.warm_up, unlearning.decay: method '{method}', .* is trained in several parts"):
            StudyConfig(name="x", sources=("de",), methods=(method,), unlearning=unlearning | schedule)
    StudyConfig(name="x", sources=("de",), methods=("npo", "task_vector"), unlearning=schedule)


# --- in a study --------------------------------------------------------------------------------------------------------------------------


def _study(folder: Path, branches: str, own: bool) -> StudyConfig:
    """With `own` the method says so, and the stage has it otherwise."""
    way = (
        {"branches": "merge" if branches == "none" else "none", "settings": {"npo+kl": {"branches": branches}}}
        if own
        else {"branches": branches}
    )
    unlearning = {**way, "steps": 5, "batch": 2, "retain_batch": 1, "rate": 1e-3, "measure_every": 2}
    return StudyConfig(
        name="x", model=str(folder), sources=("ur",), stories=4, languages=("en", "ur", "zh"), methods=("npo+kl",), unlearning=unlearning
    )


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize(("branches", "count"), [("none", 5), ("merge", 5), ("distil", 10)])
def test_a_cell_of_a_study_trains_in_branches(gemma_folder: Path, tmp_path: Path, branches: str, count: int, own: bool) -> None:
    """Five steps, three English and two Urdu, all seen on the way; a student takes five more. Only without branches there is a trajectory."""
    config, cell = _study(gemma_folder, branches, own), Cell("unlearned", 0, "ur", "english+source", "npo+kl")
    loaded = sharp(gemma_folder)
    steps = cell_steps(config, cell, study_stories(config, 0), loaded)
    tags = [{own.language for own in step.forget} for step in steps]
    assert len(steps) == count and (branches == "none" or tags[:5] == [{"en"}] * 3 + [{"ur"}] * 2)
    parameters, seen = make_trainable(loaded.model, TrainablePlan("body")), list[int]()
    start = snapshot(parameters)
    losses = train_stage(
        config,
        cell,
        steps,
        loaded,
        loaded.head,
        parameters,
        tmp_path,
        lambda number, loss: bool(seen.append(number)),
        Stories([], [], [], []),
    )
    assert len(losses) == count and seen == list(range(1, count + 1))
    assert max(float((end - start[name]).abs().max()) for name, end in snapshot(parameters).items()) > 1e-4
    assert list(trajectory_steps(config, cell, len(steps))) == ([2, 4] if branches == "none" else [])
    assert list(trajectory_steps(config, Cell("learned", 0, "ur"), 5)) == []
