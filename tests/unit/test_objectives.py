"""Objectives in numbers, and the direction of their gradients."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from polyunlearn.models.sequences import TokenSequence
from polyunlearn.training.loop import LogProbs, Objective, Step
from polyunlearn.training.objectives import METHODS, learning, stopped_below
from polyunlearn.training.objectives.cross_entropy import cross_entropy
from polyunlearn.training.objectives.gradient_ascent import gradient_ascent
from polyunlearn.training.objectives.gradient_difference import gradient_difference
from polyunlearn.training.objectives.npo import npo
from polyunlearn.training.objectives.simnpo import simnpo
from polyunlearn.training.objectives.weighted_ascent import weighted_ascent


def _sequence(labels: int) -> TokenSequence:
    return TokenSequence((0,) * (labels + 2), 2)


# Forget: two sequences of 2 and 1 labels; retain: one of 3 and one of 1.
STEP = Step(retain=(_sequence(3), _sequence(1)), forget=(_sequence(2), _sequence(1)))
FORGET = ([-1.0, -2.0], [-3.0])
RETAIN = ([-0.5, -1.5, -2.0], [-4.0])
# What the answers to forget were worth before: -1 and -4 in all, where now they are worth -3 each.
REFERENCE = [torch.tensor([-0.5, -0.5], dtype=torch.float64), torch.tensor([-4.0], dtype=torch.float64)]


def _tensors(values: Sequence[Sequence[float]]) -> list[Tensor]:
    return [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in values]


def _gradients(tensors: Sequence[Tensor]) -> list[list[float]]:
    assert all(tensor.grad is not None for tensor in tensors)
    return [tensor.grad.tolist() for tensor in tensors if tensor.grad is not None]


def test_token_counts_of_a_step() -> None:
    """Labels: 3 + 1 to retain, 2 + 1 to forget; each sequence has two tokens of prompt more, so 5 + 3 + 4 + 3 = 15 are read."""
    assert (STEP.retain_tokens, STEP.forget_tokens, STEP.tokens) == (4, 3, 15)


def test_cross_entropy_by_hand() -> None:
    """-(-1 - 2 - 3) / 3 = 2; as a share of a step of 12 tokens 6 / 12 = 0.5."""
    assert cross_entropy(_tensors(FORGET), 3).item() == pytest.approx(2.0)
    assert cross_entropy(_tensors(FORGET), 12).item() == pytest.approx(0.5)


def test_cross_entropy_is_a_mean_over_tokens_not_over_sequences() -> None:
    """(0.5 + 1.5 + 2 + 4) / 4 = 2; the mean of the sequences' means would be (4/3 + 4) / 2 = 2.67."""
    assert cross_entropy(_tensors(RETAIN), 4).item() == pytest.approx(2.0)


def test_learning_by_hand() -> None:
    assert learning(LogProbs([], _tensors(RETAIN)), STEP).item() == pytest.approx(2.0)


def test_gradient_ascent_by_hand() -> None:
    """-CE(f) = -(1 + 2 + 3) / 3 = -2, whatever is beside it to retain."""
    assert gradient_ascent(LogProbs(_tensors(FORGET), []), STEP).item() == pytest.approx(-2.0)
    assert gradient_ascent(LogProbs(_tensors(FORGET), _tensors(RETAIN)), STEP).item() == pytest.approx(-2.0)


def test_gradient_difference_by_hand() -> None:
    """CE(r) - CE(f), each over its own tokens: (1 + 1 + 1) / 4 with retain -1, -1, -1 of 4 tokens is 0.75; 0.75 - 2 = -1.25."""
    assert gradient_difference(LogProbs(_tensors(FORGET), _tensors([[-1.0, -1.0, -1.0]])), STEP).item() == pytest.approx(-1.25)
    # The whole step: 8 / 4 - 6 / 3 = 0.
    assert gradient_difference(LogProbs(_tensors(FORGET), _tensors(RETAIN)), STEP).item() == pytest.approx(0.0)


def test_the_retain_weight_by_hand() -> None:
    """Three times CE(r) = 2, less CE(f) = 2: 4."""
    assert METHODS["gradient_difference"].objective(3.0)(LogProbs(_tensors(FORGET), _tensors(RETAIN)), STEP).item() == pytest.approx(4.0)
    assert METHODS["gradient_ascent"].objective(3.0)(LogProbs(_tensors(FORGET), []), STEP).item() == pytest.approx(-2.0)


def test_an_answer_that_is_gone_is_pushed_no_further() -> None:
    """The answers to forget have means of -1.5 and -3 nats; with a floor of -2 the second is let go, whatever the first's tokens are.

    The loss stays CE(r) - CE(f) = 2 - 2 = 0. The first answer's tokens have the gradient 1/3 each, the second's 0, and what is
    retained keeps its gradient of -1/4 a label however improbable it is.
    """
    forget, retain = _tensors(FORGET), _tensors(RETAIN)
    loss = stopped_below(METHODS["gradient_difference"].objective(1.0), -2.0)(LogProbs(forget, retain), STEP)
    loss.backward()
    assert loss.item() == pytest.approx(0.0)
    assert _gradients(forget) == [pytest.approx([1 / 3, 1 / 3]), [0.0]]
    assert all(tensor.grad is not None and tensor.grad.tolist() == pytest.approx([-1 / 4] * len(tensor)) for tensor in retain)


def test_a_micro_batch_that_is_wholly_let_go_has_a_gradient_of_zero() -> None:
    forget = _tensors(FORGET)
    stopped_below(METHODS["gradient_ascent"].objective(1.0), -0.5)(LogProbs(forget, []), STEP).backward()
    assert all(tensor.grad is not None and not tensor.grad.any() for tensor in forget)


def test_a_micro_batch_may_hold_one_kind_only() -> None:
    """Shares of CE(r) = 2 and -CE(f) = -2."""
    assert gradient_difference(LogProbs([], _tensors(RETAIN)), STEP).item() == pytest.approx(2.0)
    assert gradient_difference(LogProbs(_tensors(FORGET), []), STEP).item() == pytest.approx(-2.0)


@pytest.mark.parametrize("name", METHODS)
def test_shares_of_micro_batches_add_up(name: str) -> None:
    """The step at once against one micro-batch a sequence."""
    method = METHODS[name]
    objective = method.objective(3.0)
    retain = _tensors(RETAIN) if method.retains else []
    whole = objective(LogProbs(_tensors(FORGET), retain, REFERENCE), STEP).item()
    shares = [objective(LogProbs([one], [], [before]), STEP).item() for one, before in zip(_tensors(FORGET), REFERENCE, strict=True)]
    shares += [objective(LogProbs([], [one]), STEP).item() for one in retain]
    assert sum(shares) == pytest.approx(whole)


@pytest.mark.parametrize(
    ("objective", "on_forget", "on_retain"),
    [(gradient_ascent, 1 / 3, 0.0), (gradient_difference, 1 / 3, -1 / 4), (learning, 0.0, -1 / 4)],
)
def test_gradients_by_hand_and_by_finite_differences(objective: Objective, on_forget: float, on_retain: float) -> None:
    """d/d log p is +1/3 for each of 3 labels to forget (descent makes them less probable), -1/4 for each of 4 to retain (more)."""
    forget, retain = _tensors(FORGET), _tensors(RETAIN)
    objective(LogProbs(forget, retain), STEP).backward()
    for tensors, wanted, values in ((forget, on_forget, FORGET), (retain, on_retain, RETAIN)):
        for number, tensor in enumerate(tensors):
            for place in range(len(tensor)):
                found = 0.0 if tensor.grad is None else tensor.grad[place].item()
                assert found == pytest.approx(wanted)
                ends = []
                for sign in (1, -1):
                    moved = [list(value) for value in values]
                    moved[number][place] += sign * 1e-4
                    both = (_tensors(moved), _tensors(RETAIN)) if values is FORGET else (_tensors(FORGET), _tensors(moved))
                    ends.append(objective(LogProbs(*both), STEP).item())
                assert (ends[0] - ends[1]) / 2e-4 == pytest.approx(wanted, abs=1e-8)


def test_npo_by_hand() -> None:
    """Log-ratios of -3 + 1 = -2 and -3 + 4 = 1; with beta 0.5, ln(1 + e^-1) = 0.313262 and ln(1 + e^0.5) = 0.974077.

    2 / 0.5 * (0.313262 + 0.974077) / 2 = 2.574678, and with CE(r) = 2 twice 6.574678. A token's gradient is its answer's, 2 / 2 * s(-1) =
    0.268941 and s(0.5) = 0.622459: the answer that has not fallen is pushed more. (Ratios of raw logits instead of log-probs, as in one
    published code, are not ratios of probabilities: a constant added to all logits would change them.)
    """
    forget, retain = _tensors(FORGET), _tensors(RETAIN)
    loss = npo(LogProbs(forget, retain, REFERENCE), STEP, retain_weight=2.0, beta=0.5)
    loss.backward()
    assert loss.item() == pytest.approx(6.574678, abs=1e-6)
    assert _gradients(forget) == [
        pytest.approx([0.268941, 0.268941], abs=1e-6),
        pytest.approx([0.622459], abs=1e-6),
    ]


def test_npo_begins_at_its_constant_and_tends_to_gradient_ascent() -> None:
    """At the reference itself each answer costs 2 / beta * ln 2 = 13.862944 with beta 0.1; with beta near 0 the gradient of every answer is 1 / n."""
    same = [torch.tensor(value, dtype=torch.float64) for value in FORGET]
    assert npo(LogProbs(_tensors(FORGET), [], same), STEP).item() == pytest.approx(13.862944, abs=1e-6)
    forget = _tensors(FORGET)
    npo(LogProbs(forget, [], REFERENCE), STEP, beta=1e-6).backward()
    assert _gradients(forget) == [pytest.approx([0.5, 0.5]), pytest.approx([0.5])]


def test_simnpo_by_hand() -> None:
    """Means of -1.5 and -3; with beta 2 and a margin of 1, ln(1 + e^(-3 + 1)) = 0.126928 and ln(1 + e^(-6 + 1)) = 0.006715.

    2 / 2 * (0.126928 + 0.006715) / 2 = 0.066822, and with CE(r) = 2 2.066822. A token's gradient is 2 s(-2) / 2 answers / 2 labels = 0.059601
    and 2 s(-5) / 2 / 1 = 0.006693: a longer answer is pushed as much in all as a short one that is as probable a token.
    """
    forget = _tensors(FORGET)
    loss = simnpo(LogProbs(forget, _tensors(RETAIN)), STEP, beta=2.0, margin=1.0)
    loss.backward()
    assert loss.item() == pytest.approx(2.066822, abs=1e-6)
    assert _gradients(forget) == [
        pytest.approx([0.059601, 0.059601], abs=1e-6),
        pytest.approx([0.006693], abs=1e-6),
    ]


def test_weighted_ascent_by_hand() -> None:
    """Log-probs -1, -2, -3 with the weights e^-1, e^-2, e^-3: (-0.367879 - 0.270671 - 0.149361) / 3 = -0.262637; with CE(r) = 2 1.737363.

    Gradients are the weights over 3: 0.122626, 0.045112, 0.016596; none flows through the weights. With p (1 - p) instead the first weight is
    0.367879 * 0.632121 = 0.232544.
    """
    forget = _tensors(FORGET)
    loss = weighted_ascent(LogProbs(forget, _tensors(RETAIN)), STEP)
    loss.backward()
    assert loss.item() == pytest.approx(1.737363, abs=1e-6)
    assert _gradients(forget) == [
        pytest.approx([0.122626, 0.045112], abs=1e-6),
        pytest.approx([0.016596], abs=1e-6),
    ]
    forget = _tensors(FORGET)
    weighted_ascent(LogProbs(forget, []), STEP, unsure=1.0).backward()
    assert forget[0].grad is not None and forget[0].grad[0].item() == pytest.approx(0.232544 / 3, abs=1e-6)


def test_weighted_ascent_without_weights_is_gradient_difference() -> None:
    both = LogProbs(_tensors(FORGET), _tensors(RETAIN))
    assert weighted_ascent(both, STEP, known=0.0).item() == pytest.approx(gradient_difference(both, STEP).item())


def test_only_methods_that_say_so_need_a_reference() -> None:
    for method in METHODS.values():
        arguments = LogProbs(_tensors(FORGET), _tensors(RETAIN))
        if method.needs_reference:
            with pytest.raises(ValueError, match="shorter"):
                method.objective(1.0)(arguments, STEP)
        else:
            method.objective(1.0)(arguments, STEP)


def test_only_methods_with_a_retain_term_say_so() -> None:
    """`retains` decides whether a study reads retain questions: it must agree with what the objective does with them."""
    for name, method in METHODS.items():
        retain = _tensors(RETAIN)
        method.objective(1.0)(LogProbs(_tensors(FORGET), retain, REFERENCE), STEP).backward()
        assert method.retains == any(tensor.grad is not None and bool(tensor.grad.any()) for tensor in retain), name
