"""JensUn: the bounded divergence from a refusal, and from the reference on what is retained."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from handmade_labels import gradients, labels, of_logits
from torch import Tensor

from polyunlearn.training.labels import Labels, Totals
from polyunlearn.training.objectives import get_method
from polyunlearn.training.objectives.jensen_shannon import divergence, jensen_shannon
from polyunlearn.training.objectives.jensun import jensun, one_hot_divergence

FORGOTTEN = Totals(sequences=2, labels=2, instead=3)


def _refusing(values: Sequence[Sequence[float]]) -> list[Labels]:
    """Answers to forget, each of one label, with refusals of these log-probs."""
    return [replace(own, instead=other) for own, other in zip(labels([[-1.0]] * len(values)), labels(values), strict=True)]


def _refusals(found: Sequence[Labels]) -> list[Labels]:
    return [own.instead for own in found if own.instead]


def _by_entropies(one: Tensor, other: Tensor) -> Tensor:
    """H((p + q) / 2) - (H(p) + H(q)) / 2 of probabilities, an own way to the same divergence that also takes zeros."""

    def entropy(p: Tensor) -> Tensor:
        return -torch.xlogy(p, p).sum(-1)

    return entropy((one + other) / 2) - (entropy(one) + entropy(other)) / 2


def test_jensun_by_hand() -> None:
    """Refusals with the probabilities 1/2, 1/4 and 1 of their tokens.

    ln 2 + (p ln p - (1 + p) ln(1 + p)) / 2: with 1/2, 0.693147 + (-0.346574 - 0.608198) / 2 = 0.215762; with 1/4, 0.693147 + (-0.346574 -
    0.278929) / 2 = 0.380395; with 1, 0. Over 3 labels 0.198719. Gradients p / 2 ln(p / (1 + p)) / 3: ln(1/3) / 4 / 3 = -0.091551,
    ln(1/5) / 8 / 3 = -0.067060 and ln(1/2) / 2 / 3 = -0.115525.
    """
    found = _refusing([[math.log(0.5), math.log(0.25)], [0.0]])
    loss = jensun(found, FORGOTTEN)
    loss.backward()
    assert loss.item() == pytest.approx(0.198719, abs=1e-6)
    assert gradients(_refusals(found)) == [pytest.approx([-0.091551, -0.067060], abs=1e-6), pytest.approx([-0.115525], abs=1e-6)]
    assert all(own.log_probs.grad is None for own in found), "nothing pushes the answers to forget"


def test_the_closed_form_is_the_divergence_from_certainty() -> None:
    """Of random distributions over 50 tokens, flat and sharp, from each token in turn."""
    rng = torch.Generator().manual_seed(0)
    for sharpness in (0.1, 1.0, 10.0):
        log_probs = torch.log_softmax(sharpness * torch.randn(50, generator=rng, dtype=torch.float64), 0)
        expected = _by_entropies(log_probs.exp().expand(50, 50), torch.eye(50, dtype=torch.float64))
        torch.testing.assert_close(one_hot_divergence(log_probs), expected, atol=1e-12, rtol=1e-9)


def test_single_precision_is_enough_at_both_ends() -> None:
    """For p from e^-200, which is 0 in single precision, to 1 - 1e-7: the value to 2e-7 and the slope in ln p to 2e-6 of itself.

    The slope at p = e^-20 is -4.1e-8 and must not drown in the rounding of 1 + p; at p = 1 it is -ln(2) / 2.
    """
    places = torch.tensor([-200.0, -90.0, -20.0, -16.0, -5.0, -1.0, -0.1, -1e-3, -1e-5, -1e-7, 0.0])
    found = {}
    for dtype in (torch.float32, torch.float64):
        leaf = places.to(dtype).requires_grad_()
        value = one_hot_divergence(leaf)
        (slope,) = torch.autograd.grad(value.sum(), leaf)
        found[dtype] = value.detach().double(), slope.double()
    value, slope = found[torch.float32]
    torch.testing.assert_close(value, found[torch.float64][0], atol=2e-7, rtol=0)
    torch.testing.assert_close(slope, found[torch.float64][1], atol=1e-37, rtol=2e-6)
    exact = places.double()
    torch.testing.assert_close(found[torch.float64][1], exact.exp() / 2 * (exact - torch.log1p(exact.exp())), atol=1e-37, rtol=1e-12)
    assert slope[2].item() == pytest.approx(-20 * math.exp(-20) / 2) and slope[-1].item() == pytest.approx(-math.log(2) / 2)
    assert (value >= -2e-7).all() and (value <= math.log(2) + 2e-7).all()


def test_a_token_that_sinks_pulls_less_where_cross_entropy_pulls_more() -> None:
    """The logit of the refusal's token sinks below the other by 0 to 30.

    Cross-entropy grows with the gap, its gradient to 1. JensUn's is p (1 - p) / 2 ln((1 + p) / p): ln(3) / 8 = 0.137327 at a gap of 0, never
    above 0.1542 (at p = 0.318), and 0 in the end; its loss stops at ln 2.
    """

    def pulls(gap: float) -> tuple[float, float, float, float]:
        found = []
        for method in ("idk", "jensun"):
            other = of_logits([[-gap, 0.0]], [0])
            loss = get_method(method).forget.term([Labels(torch.zeros(1), instead=other)], Totals(1, 1, 1))
            assert other.logits is not None
            (gradient,) = torch.autograd.grad(loss, other.logits)
            found += [loss.item(), -gradient[0, 0].item()]
        return found[0], found[1], found[2], found[3]

    gaps = [pulls(gap / 10) for gap in range(301)]
    assert gaps[0][3] == pytest.approx(math.log(3) / 8)
    assert gaps[-1][0] == pytest.approx(30.0) and gaps[-1][1] == pytest.approx(1.0)
    assert all(after[1] > before[1] for before, after in pairwise(gaps))
    assert 0.1540 < max(pull for *_, pull in gaps) < 0.1542
    assert gaps[-1][3] < 1e-11 and max(loss for _, _, loss, _ in gaps) <= math.log(2)


def _kept(own: Sequence[Sequence[float]], before: Sequence[Sequence[float]]) -> Labels:
    """Labels to retain under logits and a reference's; the term doesn't hang on which tokens they are."""
    return of_logits(own, [0] * len(own), before)


def test_jensen_shannon_by_hand() -> None:
    """p = (1/2, 1/2) and q = (1/4, 3/4), so m = (3/8, 5/8).

    KL(p || m) = (ln(4/3) + ln(4/5)) / 2 = 0.032269, KL(q || m) = ln(2/3) / 4 + 3/4 ln(6/5) = 0.035375; half their sum is 0.033822, over 2
    labels 0.016911. The gradient on the first logit is p/2 (ln(p / m) - KL(p || m)) / 2 = 0.25 * (0.287682 - 0.032269) / 2 = 0.031927.
    """
    own = _kept([[0.0, 0.0]], [[0.0, math.log(3)]])
    loss = jensen_shannon([own], Totals(1, 2))
    loss.backward()
    assert loss.item() == pytest.approx(0.016911, abs=1e-6)
    assert own.logits is not None and own.logits.grad is not None
    assert own.logits.grad[0].tolist() == pytest.approx([0.031927, -0.031927], abs=1e-6)


def test_jensen_shannon_is_nothing_at_the_reference() -> None:
    """The loss and its gradient are 0, whatever constant the logits of a label have more than the reference's."""
    rng = torch.Generator().manual_seed(2)
    before = (3 * torch.randn(4, 9, generator=rng, dtype=torch.float64)).tolist()
    own = _kept([[value + 5 for value in row] for row in before], before)
    loss = jensen_shannon([own], Totals(1, 4))
    loss.backward()
    assert own.logits is not None and own.logits.grad is not None
    assert abs(loss.item()) < 1e-12 and own.logits.grad.abs().max() < 1e-12


def test_the_divergence_is_symmetric_bounded_and_like_its_entropies() -> None:
    """Of random distributions, near and far; of two that share nothing it is ln 2, in single precision too."""
    rng = torch.Generator().manual_seed(3)
    for sharpness in (0.01, 1.0, 30.0):
        one, other = (torch.log_softmax(sharpness * torch.randn(20, 9, generator=rng, dtype=torch.float64), 1) for _ in range(2))
        found = divergence(one, other)
        torch.testing.assert_close(found, divergence(other, one), atol=1e-15, rtol=0)
        torch.testing.assert_close(found, _by_entropies(one.exp(), other.exp()), atol=1e-12, rtol=0)
        assert (found > 0).all() and (found <= math.log(2) + 1e-15).all()
    apart = torch.log_softmax(torch.tensor([[500.0, 0.0], [0.0, 500.0]]), 1).requires_grad_()
    found = divergence(apart[0], apart[1])
    (slope,) = torch.autograd.grad(found, apart)
    assert found.item() == pytest.approx(math.log(2)) and slope.isfinite().all()


def test_other_sequences_change_nothing() -> None:
    """A sequence alone, and after another, longer one in the same step: the same gradient."""
    kept = [_kept([[1.0, 0.0, -1.0]], [[0.0, 0.0, 2.0]]), _kept([[0.3, 2.0, 0.1]] * 2, [[1.0, -2.0, 0.0]] * 2)]
    refusing = _refusing([[-0.5], [-3.0, -0.1]])
    for term, found, leaf in ((jensen_shannon, kept, kept[0].logits), (jensun, refusing, _refusals(refusing)[0].log_probs)):
        assert leaf is not None
        alone, beside = (torch.autograd.grad(term(seen, FORGOTTEN), leaf, retain_graph=True)[0] for seen in (found[:1], found[::-1]))
        assert alone.abs().max() > 1e-2
        torch.testing.assert_close(alone, beside, atol=1e-15, rtol=0)


def test_jensun_keeps_by_the_same_divergence_unless_told_otherwise() -> None:
    method = get_method("jensun")
    assert method.retain is not None and method.retain.term is jensen_shannon
    other = get_method("jensun+cross_entropy").retain
    assert other is not None and other.name == "cross_entropy"
