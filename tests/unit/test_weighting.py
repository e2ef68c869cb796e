"""Weights of languages in the forget term: fixed and by what is left, alone and in the loop."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from handmade_labels import FORGET, FORGOTTEN, gradients, labels
from hypothesis import given
from hypothesis import strategies as st
from tiny import own_label_log_probs, sequences, sharp
from torch import Tensor

from polyunlearn.errors import UserError
from polyunlearn.models.trainable import TrainablePlan, make_trainable, snapshot
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.presets import load_config
from polyunlearn.training.labels import Labels, Totals
from polyunlearn.training.loop import Objective, Optimiser, Step, train
from polyunlearn.training.objectives import get_method
from polyunlearn.training.objectives.gradient_ascent import gradient_ascent
from polyunlearn.training.weighting import FixedWeights, LanguageWeights, ResidualWeights, weighted


def _nats(*values: float) -> Tensor:
    """The log-probs of probabilities."""
    return torch.tensor([math.log(value) for value in values])


# --- fixed -------------------------------------------------------------------------------------------------------------------------------


def test_fixed_weights_by_hand() -> None:
    """Log-probs -1, -2 in German, -3 in French: (2 x -3 + 0.5 x -3) / 3 = -2.5; a language without a weight has 1: (2 x -3 - 3) / 3 = -3."""
    found = labels(FORGET)
    loss = weighted(gradient_ascent, found, ("de", "fr"), FORGOTTEN, FixedWeights({"de": 2.0, "fr": 0.5}))
    loss.backward()
    assert loss.item() == pytest.approx(-2.5)
    assert gradients(found) == [pytest.approx([2 / 3, 2 / 3]), pytest.approx([0.5 / 3])]
    assert weighted(gradient_ascent, labels(FORGET), ("de", "ur"), FORGOTTEN, FixedWeights({"de": 2.0})).item() == pytest.approx(-3.0)


@given(st.permutations(["de", "fr", "zh"]), st.permutations([0, 1, 2, 3]))
def test_neither_the_order_of_weights_nor_that_of_sequences_matters(tags: list[str], order: list[int]) -> None:
    values, languages = ([-1.0, -2.0], [-3.0], [-0.25], [-4.0, -1.0]), ("de", "fr", "zh", "de")
    weights = {"de": 2.0, "fr": 0.5, "zh": 3.0}
    found = labels([values[at] for at in order])
    loss = weighted(
        gradient_ascent, found, [languages[at] for at in order], Totals(4, 6), FixedWeights({tag: weights[tag] for tag in tags})
    )
    # (2 x -3 + 0.5 x -3 + 3 x -0.25 + 2 x -5) / 6
    assert loss.item() == pytest.approx(-18.25 / 6)


# --- by what is left ---------------------------------------------------------------------------------------------------------------------


def test_residual_weights_by_hand() -> None:
    """First German 0.8 and French 0.4. A step later German is sqrt(0.04 x 0.09) = 0.06: its mean 0.5 x 0.8 + 0.5 x 0.06 = 0.43, so
    0.43 / 0.8 = 0.5375 is left, of French still 1: weights 2 x 0.5375 / 1.5375 = 0.699187 and 1.300813.

    Then French is 0.2: its mean is 0.3, so 0.75 is left: weights 2 x 0.5375 / 1.2875 = 0.834951 and 1.165049.
    """
    weights = ResidualWeights(("de", "fr"))
    assert [weights.of(tag) for tag in ("de", "fr")] == [1.0, 1.0]
    weights.observe("de", _nats(0.8, 0.8))
    weights.observe("fr", _nats(0.4))
    weights.end_step()
    assert [weights.of(tag) for tag in ("de", "fr")] == pytest.approx([1.0, 1.0])
    # Two sequences of one label each, as micro-batches may bring them.
    weights.observe("de", _nats(0.04))
    weights.observe("de", _nats(0.09))
    assert weights.of("de") == pytest.approx(1.0)  # the step is not over
    weights.end_step()
    assert [weights.of(tag) for tag in ("de", "fr")] == pytest.approx([0.699187, 1.300813], abs=1e-6)
    weights.observe("fr", _nats(0.2))
    weights.end_step()
    assert [weights.of(tag) for tag in ("de", "fr")] == pytest.approx([0.834951, 1.165049], abs=1e-6)


def test_a_language_that_was_not_met_is_wholly_known_and_none_is_known_better_than_at_first() -> None:
    """German falls to (0.5 x 0.5 + 0.5 x 0.1) / 0.5 = 0.6; French rises and stays at 1; Urdu was not met. 3 x 0.6 / 2.6 and 3 / 2.6 twice."""
    weights = ResidualWeights(("de", "fr", "ur"))
    for german, french in ((0.5, 0.1), (0.1, 0.9)):
        weights.observe("de", _nats(german))
        weights.observe("fr", _nats(french))
        weights.end_step()
    assert [weights.of(tag) for tag in ("de", "fr", "ur")] == pytest.approx([1.8 / 2.6, 3 / 2.6, 3 / 2.6])


def test_where_nothing_is_left_weights_are_equal() -> None:
    """exp(-2000) has no double: nothing was known, in either language, and no weight is a division by zero."""
    weights = ResidualWeights(("de", "fr"))
    for tag in ("de", "fr"):
        weights.observe(tag, torch.tensor([-2000.0]))
    weights.end_step()
    assert [weights.of(tag) for tag in ("de", "fr")] == [1.0, 1.0]


@given(st.lists(st.tuples(st.sampled_from(["de", "fr", "zh"]), st.floats(-50, 0)), max_size=12))
def test_weights_have_a_mean_of_one(seen: list[tuple[str, float]]) -> None:
    weights = ResidualWeights(("de", "fr", "zh"))
    for tag, value in seen:
        weights.observe(tag, torch.tensor([value]))
        weights.end_step()
    found = [weights.of(tag) for tag in weights.languages]
    assert sum(found) == pytest.approx(3.0) and min(found) >= 0


# --- in the loop -------------------------------------------------------------------------------------------------------------------------


def _step() -> Step:
    """Three to retain; to forget two in German, one in French and one in Urdu."""
    forget = [replace(own, language=tag) for own, tag in zip(sequences(5, 9, 14, 6, 11), ("de", "fr", "de", "ur"), strict=True)]
    return Step(tuple(sequences(6, 12, 5, 8)), tuple(forget))


def _objective(weights: LanguageWeights | None, method: str = "gradient_difference") -> Objective:
    objective = get_method(method).objective()
    assert objective.forget is not None
    return replace(objective, forget=replace(objective.forget, by_language=weights))


def _trained(
    folder: Path, objective: Objective, *, steps: Sequence[Step] | None = None, budget: int = 10_000
) -> tuple[list[float], dict[str, Tensor]]:
    loaded = sharp(folder)
    parameters = make_trainable(loaded.model, TrainablePlan("body"))
    losses = train(loaded.body, loaded.head, parameters, steps or [_step()] * 3, objective, Optimiser(2e-4), token_budget=budget)
    return losses, snapshot(parameters)


def _distance(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    return max(float((one[name] - other[name]).abs().max()) for name in one)


class _Never:
    """Weights that must not be asked."""

    def of(self, language: str) -> float:
        raise AssertionError

    def observe(self, language: str, log_probs: Tensor) -> None:
        raise AssertionError

    def end_step(self) -> None:
        """A step may end."""


def test_what_is_retained_has_no_weight(any_model_folder: Path) -> None:
    """Steps that forget nothing ask no weight."""
    step = Step(retain=_step().retain)
    assert (
        _trained(any_model_folder, _objective(_Never()), steps=[step])[0] == _trained(any_model_folder, _objective(None), steps=[step])[0]
    )


@pytest.mark.parametrize("method", ["gradient_difference", "simnpo"])
def test_weights_of_one_change_nothing(any_model_folder: Path, method: str) -> None:
    plain, ones = (_trained(any_model_folder, _objective(own, method)) for own in (None, FixedWeights({"de": 1.0})))
    assert ones[0] == pytest.approx(plain[0], abs=1e-4)
    assert _distance(plain[1], ones[1]) < 1e-5


def test_a_weight_of_all_languages_is_a_weight_of_the_term(any_model_folder: Path) -> None:
    """Twice everything: against the forget term, alone, with a weight of 2."""
    objective = replace(_objective(FixedWeights({"de": 2.0, "fr": 2.0, "ur": 2.0})), retain=None)
    assert objective.forget is not None
    doubled = replace(objective, forget=replace(objective.forget, by_language=None, weight=2.0))
    losses = [_trained(any_model_folder, own, steps=[_step()])[0][0] for own in (objective, doubled)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize("weights", [FixedWeights({"de": 3.0, "ur": 0.25}), ResidualWeights(("de", "fr", "ur"))])
def test_micro_batches_do_not_change_what_is_weighted(any_model_folder: Path, weights: LanguageWeights) -> None:
    """All at once, against one sequence a batch, over three steps, of which the second and third have weights of their own."""
    whole, split = (
        _trained(any_model_folder, _objective(replace(weights)), budget=budget)  # type: ignore[type-var]
        for budget in (10_000, 1)
    )
    assert split[0] == pytest.approx(whole[0], abs=1e-4)
    assert _distance(whole[1], split[1]) < 1e-5
    assert whole[0] != pytest.approx(_trained(any_model_folder, _objective(None))[0], abs=1e-4)


def test_the_loop_shows_the_forget_log_probs_of_each_language_once_a_step(any_model_folder: Path) -> None:
    """In one batch or many: the same labels of German, French and Urdu, then the end of the step, three times."""
    seen: list[list[tuple[str, int]]] = [[]]

    class Noting:
        def of(self, language: str) -> float:
            return 1.0

        def observe(self, language: str, log_probs: Tensor) -> None:
            seen[-1].append((language, len(log_probs)))

        def end_step(self) -> None:
            seen.append([])

    _trained(any_model_folder, _objective(Noting()), budget=20)
    expected = sorted((own.language, len(own.labels)) for own in _step().forget)
    assert [sorted(step) for step in seen] == [expected] * 3 + [[]]


@pytest.mark.parametrize("method", ["npo_sam", "npo_lookahead", "npo_tamper", "cir", "cir_tamper"])
@pytest.mark.parametrize("budget", [10_000, 1])
def test_what_is_left_is_looked_at_where_a_step_begins(any_model_folder: Path, method: str, budget: int) -> None:
    """However often a rule passes over what is forgotten, and from wherever: each answer once, and as it is before anything is moved."""
    seen: dict[str, list[float]] = {}

    class Noting:
        def of(self, language: str) -> float:
            return 1.0

        def observe(self, language: str, log_probs: Tensor) -> None:
            seen.setdefault(language, []).append(float(log_probs.detach().sum()))

        def end_step(self) -> None:
            """One step alone is taken."""

    loaded, step = sharp(any_model_folder), _step()
    wanted: dict[str, list[float]] = {}
    before = {own: Labels(own_label_log_probs(loaded, own)) for own in step.forget}
    for own, found in before.items():
        wanted.setdefault(own.language, []).append(float(found.log_probs.sum()))
    # Far enough that what is left there is another.
    rule = get_method(method).forget.rule_with({"rho": 1.0, "reach": 0.01})
    objective = _objective(Noting(), method)
    parameters = make_trainable(loaded.model, TrainablePlan("body"))
    train(loaded.body, loaded.head, parameters, [step], objective, Optimiser(2e-4), reference=before.get, rule=rule, token_budget=budget)  # type: ignore[arg-type]
    assert {tag: sorted(own) for tag, own in seen.items()} == {tag: pytest.approx(sorted(own), abs=1e-2) for tag, own in wanted.items()}


# --- configuration -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("equall", "unlearning.language_weights: 'equall' is neither equal, residual, nor weights such as {de: 2}"),
        ("{germn: 2}", "unlearning.language_weights: unknown language 'germn'"),
        ("{de: 0}", "unlearning.language_weights: de: 0 is no number above 0"),
        ("{de: .inf}", "unlearning.language_weights: de: inf is no number above 0"),
        ("{de: much}", "unlearning.language_weights: de: 'much' is no number above 0"),
        ("{sw: 2}", "unlearning.language_weights: 'sw' is not among the languages"),
    ],
)
def test_weights_that_mean_nothing_are_refused(value: str, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        load_config("quickstart", [f"unlearning.language_weights={value}"])
    assert len(str(caught.value).splitlines()) == 1


def test_weights_are_read() -> None:
    assert load_config("quickstart").unlearning.language_weights == "equal"
    assert load_config("quickstart", ["unlearning.language_weights=residual"]).unlearning.language_weights == "residual"
    # YAML 1.1 takes 1e1 for text.
    assert load_config("quickstart", ["unlearning.language_weights={de: 1e1}"]).unlearning.language_weights == {"de": 10.0}


def test_an_article_in_several_languages_has_no_weight() -> None:
    with pytest.raises(ValueError, match=r"a language a sentence has no language to weight it by; set unlearning.language_weights=equal"):
        StudyConfig(name="x", sources=("de",), unlearning={"form": "article", "mixing": "sentence", "language_weights": "residual"})
    StudyConfig(name="x", sources=("de",), unlearning={"form": "question", "mixing": "sentence", "language_weights": "residual"})
