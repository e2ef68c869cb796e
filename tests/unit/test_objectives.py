"""What holds for every objective: shares add up, gradients are right, cards and combinations say the truth."""

from math import nan

import pytest
import torch
from handmade_labels import FORGET, FORGOTTEN, REFERENCE, RETAIN, RETAINED, gradients, labels, of_logits

from polyunlearn.errors import UserError
from polyunlearn.training.labels import Labels, Term, Totals, let_go
from polyunlearn.training.objectives import FORGET_TERMS, LEARNING, NO_RETAIN, RETAIN_TERMS, get_method
from polyunlearn.training.objectives.cross_entropy import cross_entropy
from polyunlearn.training.objectives.gradient_ascent import gradient_ascent

TERMS = FORGET_TERMS | RETAIN_TERMS


def _seen(seed: int, count: int, *, inner: bool = True) -> Labels:
    """Everything that a term may ask for, drawn at random: `count` labels over seven tokens, states of width 5."""
    rng = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=rng, dtype=torch.float64)

    logits, targets = draw(count, 7), torch.randint(7, (count,), generator=rng)
    found = of_logits(logits.tolist(), targets.tolist())
    assert found.logits is not None
    states = draw(count, 5).requires_grad_()
    if not inner:
        return Labels(found.log_probs.detach(), found.logits.detach(), targets, states.detach(), -draw(count).abs())
    return Labels(found.log_probs, found.logits, targets, states, None, _answer(seed + 1), _seen(seed + 2, count, inner=False))


def _answer(seed: int) -> Labels:
    own = _seen(seed, 2, inner=False)
    found = of_logits((own.logits * 2).tolist(), [0, 3]) if own.logits is not None else own
    return Labels(found.log_probs, found.logits, found.targets, reference=_seen(seed + 1, 2, inner=False))


SEEN = [_seen(10, 2), _seen(20, 1), _seen(30, 4)]
TOTALS = Totals(sequences=3, labels=7, instead=6)


def test_cross_entropy_by_hand() -> None:
    """-(-1 - 2 - 3) / 3 = 2; as a share of a step of 12 labels 6 / 12 = 0.5."""
    assert cross_entropy(labels(FORGET), FORGOTTEN).item() == pytest.approx(2.0)
    assert cross_entropy(labels(FORGET), Totals(4, 12)).item() == pytest.approx(0.5)


def test_cross_entropy_is_a_mean_over_tokens_not_over_sequences() -> None:
    """(0.5 + 1.5 + 2 + 4) / 4 = 2; the mean of the sequences' means would be (4/3 + 4) / 2 = 2.67."""
    assert cross_entropy(labels(RETAIN), RETAINED).item() == pytest.approx(2.0)


def test_gradient_ascent_by_hand() -> None:
    """-CE(f) = -(1 + 2 + 3) / 3 = -2; d/d log p is +1/3 for each of 3 labels, so that descent makes them less probable."""
    found = labels(FORGET)
    loss = gradient_ascent(found, FORGOTTEN)
    loss.backward()
    assert loss.item() == pytest.approx(-2.0)
    assert gradients(found) == [pytest.approx([1 / 3, 1 / 3]), pytest.approx([1 / 3])]


def test_gradient_difference_is_gradient_ascent_with_cross_entropy() -> None:
    method = get_method("gradient_difference")
    assert method.forget.term is gradient_ascent and method.retain is RETAIN_TERMS["cross_entropy"]


def test_learning_is_cross_entropy_of_what_is_retained() -> None:
    assert LEARNING.forget is None and LEARNING.retain is not None and LEARNING.retain.term is cross_entropy


def test_an_answer_that_is_let_go_keeps_its_value_and_loses_its_gradient() -> None:
    """Of two answers with means of -1.5 and -3 the second is let go: the loss stays -2, the first has 1/3 a label, the second 0."""
    found = labels(FORGET, REFERENCE)
    loss = gradient_ascent([let_go(own, own.log_probs.mean() < -2.0) for own in found], FORGOTTEN)
    loss.backward()
    assert loss.item() == pytest.approx(-2.0)
    assert gradients(found) == [pytest.approx([1 / 3, 1 / 3]), [0.0]]


def test_letting_go_reaches_everything_with_a_gradient() -> None:
    own = let_go(SEEN[0], torch.tensor(True))
    assert own.logits is not None and own.states is not None and own.instead is not None and own.instead.logits is not None
    parts = {
        "logits": (own.logits, SEEN[0].logits),
        "states": (own.states, SEEN[0].states),
        "instead": (own.instead.logits, SEEN[0].instead.logits),
    }  # type: ignore[union-attr]
    for name, (part, leaf) in parts.items():
        assert leaf is not None
        (gradient,) = torch.autograd.grad(part.sum(), leaf, retain_graph=True)
        assert not gradient.any(), name


@pytest.mark.parametrize("name", TERMS)
def test_shares_of_micro_batches_add_up(name: str) -> None:
    """All sequences at once, against one at a time in another order."""
    term = TERMS[name].term
    whole = term(SEEN, TOTALS).item()
    assert sum(term([own], TOTALS).item() for own in reversed(SEEN)) == pytest.approx(whole)


DETACHED = {"wga", "satimp", "ce_u"}
"""Terms with weights or targets that no gradient flows through, so that their slope is not their gradient; each has its gradients reckoned by
hand in a test of its own."""


@pytest.mark.parametrize("name", [name for name in TERMS if name not in DETACHED])
def test_gradients_against_finite_differences(name: str) -> None:
    _descends(TERMS[name].term)


def _descends(term: Term) -> None:
    """Finite differences along a random direction of every leaf agree with the gradient."""

    def rebuilt(logits: torch.Tensor, states: torch.Tensor, other: torch.Tensor) -> Labels:
        own = SEEN[0]
        assert own.targets is not None and own.instead is not None and own.instead.targets is not None
        log_probs = torch.log_softmax(logits, 1).gather(1, own.targets[:, None])[:, 0]
        others = torch.log_softmax(other, 1).gather(1, own.instead.targets[:, None])[:, 0]
        instead = Labels(others, other, own.instead.targets, reference=own.instead.reference)
        return Labels(log_probs, logits, own.targets, states, None, instead, own.reference)

    own = SEEN[0]
    assert own.logits is not None and own.states is not None and own.instead is not None and own.instead.logits is not None
    leaves = [part.detach().clone().requires_grad_() for part in (own.logits, own.states, own.instead.logits)]
    loss = term([rebuilt(*leaves)], TOTALS)
    found = torch.autograd.grad(loss, leaves, allow_unused=True)
    assert any(gradient is not None and gradient.abs().max() > 1e-9 for gradient in found)
    rng = torch.Generator().manual_seed(1)
    for at, leaf in enumerate(leaves):
        way = torch.randn(leaf.shape, generator=rng, dtype=torch.float64)
        ends = []
        for sign in (1, -1):
            moved = [part.detach().clone() for part in leaves]
            moved[at] += sign * 1e-5 * way
            ends.append(term([rebuilt(*moved)], TOTALS).item())
        gradient = found[at]
        expected = 0.0 if gradient is None else float((gradient * way).sum())
        assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(expected, abs=1e-8, rel=1e-4)


@pytest.mark.parametrize("name", TERMS)
def test_a_term_reads_what_its_card_names_and_nothing_else(name: str) -> None:
    """With what it needs it works; without any one of its needs it does not."""
    card = TERMS[name]
    card.term([_with(SEEN[0], card.needs)], TOTALS)
    for need in card.needs:
        with pytest.raises((ValueError, AttributeError)):
            card.term([_with(SEEN[0], card.needs - {need})], TOTALS)


def _with(own: Labels, needs: frozenset[str]) -> Labels:
    """The labels as the loop hands them to a term with such needs."""

    def plain(found: Labels, *, instead: Labels | None, before: Labels | None) -> Labels:
        whole = "logits" in needs
        return Labels(
            found.log_probs, found.logits if whole else None, found.targets if whole else None, found.states if "states" in needs else None,
            None, instead, before,
        )  # fmt: skip

    def before(found: Labels) -> Labels | None:
        reference = found.reference
        if reference is None or not any(need.startswith("reference") for need in needs):
            return None
        return Labels(
            reference.log_probs, reference.logits if "reference_logits" in needs else None, None,
            reference.states if "reference_states" in needs else None, reference.repeated if "reference_repeated" in needs else None,
        )  # fmt: skip

    other = own.instead if "instead" in needs else None
    return plain(own, instead=plain(other, instead=None, before=before(other)) if other else None, before=before(own))


@pytest.mark.parametrize("forget", FORGET_TERMS)
@pytest.mark.parametrize("retain", [*RETAIN_TERMS, NO_RETAIN])
def test_any_forget_term_goes_with_any_retain_term_or_says_why_not(forget: str, retain: str) -> None:
    refused = FORGET_TERMS[forget].refusal(retain)
    if refused:
        with pytest.raises(UserError, match=r"method '.*'") as caught:
            get_method(f"{forget}+{retain}")
        assert refused in str(caught.value)
    else:
        method = get_method(f"{forget}+{retain}")
        assert (method.retain.name if method.retain else NO_RETAIN) == retain


def test_cards_are_whole() -> None:
    for name, card in TERMS.items():
        assert card.name == name and card.title and card.formula and card.cost
        assert "arXiv" in card.paper or "ours" in card.paper, name
        assert card.part == ("forget" if name in FORGET_TERMS else "retain")
        assert ("instead" in card.needs) == (card.instead is not None), name
        assert card.retain is None or card.retain in RETAIN_TERMS
        assert card.bounds.keys() <= card.defaults.keys(), name
        for setting, value in card.defaults.items():
            assert card.bounds_of(setting).problem(float(value)) is None and card.bounds_of(setting).problem(nan), (name, setting)


def test_an_unknown_term_is_named_with_the_nearest() -> None:
    with pytest.raises(UserError, match="unknown method 'nop': did you mean 'npo'"):
        get_method("nop")
    with pytest.raises(UserError, match="retain term 'kk'"):
        get_method("npo+kk")
    with pytest.raises(UserError, match="without a retain term is gradient_ascent"):
        get_method("gradient_difference+none")
    with pytest.raises(UserError, match=r"method 'npo_lookahead\+none': .* without one is npo\+none"):
        get_method("npo_lookahead+none")


def test_settings_reach_the_term() -> None:
    """SimNPO's beta: 2 / 1 ln(1 + e^-1) = 0.626523 for one answer with the mean -1 and beta 1."""
    part = get_method("simnpo").objective(1.0, {"beta": 1.0}).forget
    assert part is not None and part.term(labels([[-1.0]]), Totals(1, 1)).item() == pytest.approx(0.626523, abs=1e-6)
