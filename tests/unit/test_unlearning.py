"""What becomes of the weights: trained, negated, distilled; and that methods with a rule or a procedure of their own unlearn."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from handmade_bodies import HEAD, TwoWeights, said
from pydantic import ValidationError
from tiny import own_label_log_probs, sequences, sharp
from torch import Tensor, nn

from polyunlearn.errors import UserError
from polyunlearn.languages import PAPER_LANGUAGES
from polyunlearn.models.loading import LoadedModel
from polyunlearn.models.sequences import TokenSequence
from polyunlearn.models.trainable import TrainablePlan, make_trainable, snapshot
from polyunlearn.study import stages, states
from polyunlearn.study.cells import Cell
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.materials import Stories
from polyunlearn.study.processes import Silent
from polyunlearn.study.run import run_study
from polyunlearn.training.gradients.parts import within
from polyunlearn.training.gradients.projection import away_from_retained
from polyunlearn.training.gradients.sharpness import sharpness_aware
from polyunlearn.training.gradients.subspace import within_subspace
from polyunlearn.training.labels import Need
from polyunlearn.training.loop import Objective, Optimiser, Part, Rule, Step, plain
from polyunlearn.training.objectives import FORGET_TERMS, RETAIN_TERMS, get_method
from polyunlearn.training.objectives.cross_entropy import cross_entropy
from polyunlearn.training.reference import reference_now
from polyunlearn.training.unlearning import Procedure, Training, blur, distilled, negated, trained

RETAIN = tuple(TokenSequence(own.ids, own.label_from, tag) for own, tag in zip(sequences(10, 14, 9, 12), ("en", "de", "en"), strict=True))
FORGET = tuple(sequences(50, 9, 12))


def _training(folder: Path, method: str, steps: int, *, projection: bool = False, rate: float = 1e-3) -> tuple[LoadedModel, Training]:
    """Steps that forget two answers and retain three, by a method with its own settings."""
    loaded = sharp(folder)
    parameters = make_trainable(loaded.model, TrainablePlan("body", from_layer=1))
    own = get_method(method)
    objective = own.objective()
    parts = ((RETAIN, objective.retain), (FORGET, objective.forget))
    wanted: dict[TokenSequence, frozenset[Need]] = {one: part.needs for told, part in parts if part for one in told}
    reference = reference_now(loaded.body, loaded.head, wanted, objective.watched)
    rule: Rule = away_from_retained if projection else own.forget.rule_with({}) or plain
    step = Step(RETAIN if own.retain else (), FORGET)
    generator = torch.Generator().manual_seed(0)
    return loaded, Training(
        loaded.body, loaded.head, parameters, [step] * steps, objective, Optimiser(rate), generator, reference=reference, rule=rule
    )


def _worth(loaded: LoadedModel, told: tuple[TokenSequence, ...]) -> float:
    return float(torch.cat([own_label_log_probs(loaded, own) for own in told]).mean())


def _same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("method", ["npo_sam", "npo_lookahead", "npo_tamper", "cir", "cir_tamper", "task_vector", "undo", "projection"])
def test_what_is_to_forget_becomes_less_probable(any_model_folder: Path, method: str) -> None:
    """By more than a nat a token, and by more than what is retained; weights that do not train stay as they are."""
    projection = method == "projection"
    # Of two answers each is a half, whose few tokens have more in common than they have of their own.
    steps = 64 if method == "cir_tamper" else 16
    loaded, given = _training(any_model_folder, "gradient_difference" if projection else method, steps, projection=projection)
    procedure: Procedure = trained if projection else get_method(method).forget.procedure_with({}) or trained
    frozen = {name: weight.detach().clone() for name, weight in loaded.model.named_parameters() if name not in given.parameters}
    forget, retain = _worth(loaded, FORGET), _worth(loaded, RETAIN)
    assert len(procedure(given)) == steps
    assert _worth(loaded, FORGET) < forget - 1
    assert _worth(loaded, FORGET) - forget < _worth(loaded, RETAIN) - retain
    assert frozen and all(torch.equal(weight, frozen[name]) for name, weight in loaded.model.named_parameters() if name in frozen)


# --- negated -----------------------------------------------------------------------------------------------------------------------------


def test_negation_by_hand() -> None:
    """Adam's first step at a rate of 0.1 moves both weights by 0.1 towards token 1, (1, 1): to (0.1, 0.1). Negated by half: (-0.05, -0.05)."""
    body = TwoWeights()
    objective = Objective(Part(cross_entropy), None)
    given = Training(body, HEAD, {"state": body.state}, [Step(forget=(said(0, 1),))], objective, Optimiser(0.1), torch.Generator())  # type: ignore[arg-type]
    assert negated(given, scale=0.5) == pytest.approx([1.386294], abs=1e-6)
    assert body.state.tolist() == pytest.approx([-0.05, -0.05], abs=1e-6)


def test_the_negated_state_is_exact_at_every_step(any_model_folder: Path) -> None:
    """theta_0 - 0.7 (theta - theta_0) to the bit, with theta from a training that is not negated: at the end, and where it is measured, which does not
    change what is trained."""
    path: list[dict[str, Tensor]] = []
    seen: list[dict[str, Tensor]] = []

    def keeping(given: Training, into: list[dict[str, Tensor]]) -> Training:
        def after_step(number: int, loss: float) -> bool:
            into.append(snapshot(given.parameters))
            return False

        return replace(given, after_step=after_step)

    _, plainly = _training(any_model_folder, "task_vector", 3)
    before = snapshot(plainly.parameters)
    losses = trained(keeping(plainly, path))
    _, given = _training(any_model_folder, "task_vector", 3)
    assert negated(keeping(given, seen), scale=0.7) == losses
    assert len(seen) == 3
    for learned, shown in zip(path, seen, strict=True):
        assert _same(shown, {name: before[name] - 0.7 * (learned[name] - before[name]) for name in before})
    assert _same(snapshot(given.parameters), seen[-1]) and not _same(seen[0], seen[1])


@pytest.mark.parametrize("floors", [{"stop_below": 100.0}, {"floors": dict.fromkeys(FORGET, 100.0)}])
def test_a_negated_training_stops_for_no_answer_and_when_told(any_model_folder: Path, floors: dict[str, Any]) -> None:
    """A `stop_below` or a floor above every answer would let all of them go; `after_step` ends it after two steps, with the state of these."""
    _, given = _training(any_model_folder, "task_vector", 5)
    short = replace(given, steps=given.steps[:2])
    assert given.objective.forget is not None
    forget = replace(given.objective.forget, **floors)
    _, other = _training(any_model_folder, "task_vector", 5)
    told = replace(other, objective=Objective(forget, None), after_step=lambda number, loss: number == 2)
    start = snapshot(given.parameters)
    assert negated(short) == negated(told)
    assert _same(snapshot(given.parameters), snapshot(other.parameters)) and not _same(start, snapshot(other.parameters))


# --- distilled ---------------------------------------------------------------------------------------------------------------------------


def test_blur_by_hand() -> None:
    """With noise 0.5: a vector is halved. A matrix of 400 x 600 ones, scale 0.4, goes to 0.5 with a deviation of
    0.5 * 0.4 * sqrt(2 / 1000) = 0.00894427, to 1 % of it (240,000 values: 0.14 % is one standard error)."""
    vector, matrix = nn.Parameter(torch.tensor([2.0, -4.0])), nn.Parameter(torch.ones(400, 600))
    blur({"vector": vector, "matrix": matrix}, 0.5, 0.4, torch.Generator().manual_seed(3))
    assert vector.tolist() == [1.0, -2.0]
    assert matrix.mean().item() == pytest.approx(0.5, abs=1e-4)
    assert matrix.std().item() == pytest.approx(0.00894427, rel=0.01)


def _distilled(folder: Path, seed: int, steps: int = 4, **settings: float) -> tuple[list[float], dict[str, Tensor]]:
    _, given = _training(folder, "undo", steps)
    losses = distilled(replace(given, generator=torch.Generator().manual_seed(seed)), **settings)
    return losses, snapshot(given.parameters)


def test_distillation_is_that_of_its_seed(any_model_folder: Path) -> None:
    first, again, other = (_distilled(any_model_folder, seed) for seed in (1, 1, 2))
    assert first[0] == again[0] and _same(first[1], again[1])
    assert first[0][:2] == other[0][:2] and first[0][2:] != other[0][2:] and not _same(first[1], other[1])


def test_the_unlearned_state_teaches(any_model_folder: Path) -> None:
    """Of seven steps four unlearn, as a training of four does, to the bit, and `after_step` sees its end before the noise. Without noise the
    divergence from the teacher begins at 0, however far it went from where it started; with it it does not, and falls."""
    shown: list[dict[str, Tensor]] = []
    numbers: list[int] = []
    _, given = _training(any_model_folder, "undo", 7)

    def after_step(number: int, loss: float) -> bool:
        numbers.append(number)
        shown.append(snapshot(given.parameters))
        return False

    losses = distilled(replace(given, after_step=after_step), noise=0.6, noise_scale=1.0)
    _, half = _training(any_model_folder, "undo", 4)
    assert trained(half) == losses[:4] and _same(shown[3], snapshot(half.parameters))
    assert numbers == [1, 2, 3, 4, 5, 6, 7] and len(losses) == 7
    assert losses[4] > losses[5] > losses[6] > 0
    assert abs(_distilled(any_model_folder, 0, 7, noise=0.0)[0][4]) < 1e-5


def test_nothing_is_forgotten_in_the_second_half(any_model_folder: Path) -> None:
    """Other answers to forget in the second half of the steps change nothing."""
    _, given = _training(any_model_folder, "undo", 4)
    step = given.steps[0]
    _, other = _training(any_model_folder, "undo", 4)
    changed = replace(other, steps=[step, step, *[Step(step.retain, step.forget[:1])] * 2])
    assert distilled(given) == distilled(changed)
    assert _same(snapshot(given.parameters), snapshot(other.parameters))


@pytest.mark.parametrize("end", [2, 3])
def test_a_distillation_that_is_ended_early_leaves_the_unlearned_state(any_model_folder: Path, end: int) -> None:
    """Of three steps that unlearn, after the second, and after the last: nothing is blurred."""
    _, given = _training(any_model_folder, "undo", 6)
    assert len(distilled(replace(given, after_step=lambda number, loss: number == end))) == end
    _, short = _training(any_model_folder, "undo", end)
    trained(short)
    assert _same(snapshot(given.parameters), snapshot(short.parameters))


# --- what goes together ------------------------------------------------------------------------------------------------------------------


def test_a_procedure_goes_with_its_own_retain_term_alone() -> None:
    others = [*RETAIN_TERMS, "none"]
    assert [name for name in others if not FORGET_TERMS["task_vector"].refusal(name)] == ["none"]
    assert [name for name in others if not FORGET_TERMS["undo"].refusal(name)] == ["kl"]


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"methods": ["npo_sam"], "unlearning": {"projection": "language"}}, "unlearning.projection: method 'npo_sam' makes its gradient"),
        ({"methods": ["npo", "cir"], "unlearning": {"projection": "language"}}, "unlearning.projection: method 'cir' makes its gradient"),
        (
            {"methods": ["npo+none"], "unlearning": {"projection": "language"}},
            "unlearning.projection: method 'npo\\+none' has no retain term",
        ),
        ({"methods": ["task_vector"], "unlearning": {"projection": "language"}}, "method 'task_vector' has no retain term"),
        (
            {"methods": ["cir"], "trainable": {"weights": "lora"}},
            "trainable.weights: method 'cir' cannot train 'lora': it takes directions",
        ),
        ({"methods": ["task_vector"], "trainable": {"weights": "lora"}}, "method 'task_vector' cannot train 'lora': the change"),
        ({"methods": ["undo"], "trainable": {"weights": "lora"}}, "method 'undo' cannot train 'lora': blurring an adapter leaves"),
        ({"methods": ["npo_sam"], "unlearning": {"subspace": "shared"}}, "unlearning.subspace: method 'npo_sam' makes its gradient"),
        (
            {"trainable": {"weights": "all"}, "unlearning": {"subspace": "specific"}},
            "unlearning.subspace: it goes through the states of layers, past the output layer .* set trainable.weights=body",
        ),
        ({"unlearning": {"subspace": "shared", "projection": "language"}}, "unlearning.subspace: does not go with a projection"),
        ({"unlearning": {"subspace": "en"}}, "unlearning.subspace: 'en' is what languages are told from"),
        ({"unlearning": {"subspace": "jp"}}, "'jp' is neither none, shared nor specific, nor the tag of a language"),
        ({"unlearning": {"subspace": "ja"}}, "unlearning.subspace: 'ja' is not among the languages"),
        ({"methods": ["npo_sam"], "unlearning": {"subspace": "jv"}}, "unlearning.subspace: method 'npo_sam' makes its gradient"),
        ({"methods": ["npo+none"], "unlearning": {"goal": "told"}}, "unlearning.goal: method 'npo\\+none' has no retain term"),
        ({"methods": ["npo+none"], "unlearning": {"goal": "home"}}, "unlearning.goal: method 'npo\\+none' has no retain term"),
        ({"unlearning": {"goal": "home", "mixing": "token"}}, "unlearning.mixing: claims that go in their homes have no share of labels"),
        ({"unlearning": {"goal": "home", "branches": "distil"}}, "unlearning.branches: a branch is of a language that is told"),
        ({"methods": ["undo"], "unlearning": {"steps": 1}}, "unlearning.steps: method 'undo' takes at least 2 \\(got 1\\)"),
    ],
)
def test_what_makes_no_sense_together_is_refused(changed: dict[str, object], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        StudyConfig.model_validate({"name": "mine", "sources": ["de"], **changed})


@pytest.mark.parametrize(
    ("method", "projection", "wanted"),
    [
        ("npo", "none", lambda given: given.rule is plain),
        ("npo", "language", lambda given: given.rule is away_from_retained),
        ("npo_sam", "none", lambda given: given.rule.func is sharpness_aware and given.rule.keywords == {"rho": 0.01}),
    ],
)
def test_a_stage_takes_the_rule_that_the_study_asks_for(
    any_model_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    projection: str,
    wanted: Callable[[Training], bool],
) -> None:
    settings = {"npo_sam": {"rho": 0.01}} if method == "npo_sam" else {}
    given = _stage(any_model_folder, tmp_path, monkeypatch, method, {"projection": projection, "settings": settings})
    assert wanted(given)


@pytest.mark.parametrize(("name", "place"), [("shared", 0), ("specific", 1), ("jv", 2)])
def test_a_stage_forgets_through_what_the_study_names(
    any_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, place: int
) -> None:
    """Three languages, of two layers with three states each: English at the origin of the second axis, German on it, Javanese on the first."""
    means = torch.tensor([[[0.0, 0, 1], [0, 2, 1], [3, 0, 1]], [[0, 0, 5], [0, 1, 5], [1, 0, 5]]])
    monkeypatch.setattr(stages, "story_means", lambda body, encoder, stories, languages: means)
    given = _stage(any_model_folder, tmp_path, monkeypatch, "npo", {"subspace": name}, languages=("en", "de", "jv"))
    assert isinstance(given.rule, partial) and given.rule.func is within_subspace
    passed = [[0, 0, 1], [1, 1, 0], [1, 0, 0]][place]
    for basis in given.rule.keywords["bases"]:
        assert [float(within(axis, basis).norm()) for axis in torch.eye(3)] == pytest.approx(passed, abs=1e-6)


def _stage(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    unlearning: dict[str, object],
    strategy: str = "english",
    seed: int = 0,
    languages: tuple[str, ...] = PAPER_LANGUAGES,
) -> Training:
    """What a study's stage gives to be trained."""
    seen: list[Training] = []
    monkeypatch.setattr(stages, "trained", lambda given: seen.append(given) or [])
    own = {"name": "mine", "sources": ["de"], "methods": [method], "languages": languages, "unlearning": unlearning}
    config = StudyConfig.model_validate(own)
    loaded = sharp(folder)
    parameters = make_trainable(loaded.model, TrainablePlan("body"))
    cell = Cell("unlearned", seed, "de", strategy, method)
    stages.train_stage(
        config, cell, [Step(RETAIN, FORGET)], loaded, loaded.head, parameters, tmp_path, lambda number, loss: False, Stories([], [], [], [])
    )
    return seen[0]


def test_a_study_refuses_weights_too_coarse_for_a_method_before_anything(
    any_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of two methods; and the stage refuses it too, for a state that an attack trains once more."""
    loaded = sharp(any_model_folder)
    loaded.model.bfloat16()
    monkeypatch.setattr(states, "load_model", lambda name, **settings: loaded)
    config = StudyConfig.model_validate({"name": "mine", "stories": 2, "sources": ["de"], "methods": ["npo", "npo_tamper"]})
    with pytest.raises(UserError, match="method 'npo_tamper' moves weights by less than bfloat16 tells apart"):
        run_study(config, tmp_path / "out", Silent())
    assert not (tmp_path / "out").exists()
    parameters = make_trainable(loaded.model, TrainablePlan("body"))
    cell, nothing = Cell("unlearned", 0, "de", "english", "npo_tamper"), Stories([], [], [], [])
    with pytest.raises(UserError, match="method 'npo_tamper'"):
        stages.train_stage(config, cell, [], loaded, loaded.head, parameters, tmp_path, lambda number, loss: False, nothing)


def test_a_stage_takes_the_procedure_and_its_settings(any_model_folder: Path, tmp_path: Path) -> None:
    """With a scale of 0 what is learned is taken away once and no more: the weights are those that it began with, to the bit."""
    config = StudyConfig.model_validate(
        {"name": "mine", "sources": ["de"], "methods": ["task_vector"], "unlearning": {"settings": {"task_vector": {"scale": 0}}}}
    )
    loaded = sharp(any_model_folder)
    parameters = make_trainable(loaded.model, TrainablePlan("body"))
    before = snapshot(parameters)
    cell = Cell("unlearned", 0, "de", "english", "task_vector")
    stages.train_stage(
        config,
        cell,
        [Step(forget=FORGET)] * 2,
        loaded,
        loaded.head,
        parameters,
        tmp_path,
        lambda number, loss: False,
        Stories([], [], [], []),
    )
    assert _same(snapshot(parameters), before)


def test_the_noise_of_a_seed_is_the_same_for_all_strategies(
    any_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And another seed's is another."""
    cells = (("english", 0), ("all", 0), ("english", 1))
    given = [_stage(any_model_folder, tmp_path, monkeypatch, "npo", {}, *cell) for cell in cells]
    english, everywhere, other = (torch.randn(4, generator=own.generator) for own in given)
    assert torch.equal(english, everywhere) and not torch.equal(english, other)
