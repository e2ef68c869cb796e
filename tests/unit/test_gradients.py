"""How a step's gradient is made: sharpness-aware, away from what is retained, and without what is common."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from handmade_bodies import HEAD, OneLayer, TwoWeights, gradient_made, said
from tiny import sequences, sharp
from torch import Tensor, nn

from polyunlearn.errors import UserError
from polyunlearn.models.sequences import TokenSequence
from polyunlearn.models.trainable import TrainablePlan, make_trainable
from polyunlearn.training.gradients.collapse import collapsed, common, without
from polyunlearn.training.gradients.lookahead import looking_ahead
from polyunlearn.training.gradients.projection import away_from_retained, lifts
from polyunlearn.training.gradients.sharpness import sharpness_aware
from polyunlearn.training.gradients.subspace import within_subspace
from polyunlearn.training.gradients.tampering import tamper_resistant, tamper_resistant_collapse
from polyunlearn.training.loop import Objective, Part, Rule, Step, plain
from polyunlearn.training.objectives import FORGET_TERMS, check_precision, get_method
from polyunlearn.training.objectives.cross_entropy import cross_entropy
from polyunlearn.training.objectives.gradient_ascent import gradient_ascent

DIFFERENCE = get_method("gradient_difference").objective()

RULES: dict[str, Rule] = {
    "sharpness": sharpness_aware,
    "lookahead": looking_ahead,
    "tampering": partial(tamper_resistant, reach=5e-3),
    "projection": away_from_retained,
    "collapse": collapsed,
    "tampering and collapse": partial(tamper_resistant_collapse, reach=5e-3),
}


def _told(language: str, seed: int, *lengths: int) -> tuple[TokenSequence, ...]:
    return tuple(TokenSequence(own.ids, own.label_from, language) for own in sequences(seed, *lengths))


STEP = Step(retain=(*_told("en", 10, 30, 6), *_told("de", 11, 14, 9)), forget=_told("de", 50, 9, 22, 17))


def _made(folder: Path, rule: Rule, step: Step = STEP, objective: Objective = DIFFERENCE, budget: int = 10_000) -> dict[str, Tensor]:
    loaded = sharp(folder)
    parameters = make_trainable(loaded.model, TrainablePlan("body", from_layer=1))
    return gradient_made(rule, loaded.body, loaded.head, parameters, step, objective, budget)[1]


def _far(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """The largest difference beside the largest value."""
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one) / max(float(part.abs().max()) for part in one.values())


# --- all of them -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
def test_micro_batches_change_nothing(any_model_folder: Path, rule: str) -> None:
    """Everything in one batch, against one sequence a batch; the rule is not the plain gradient, or this would say little."""
    whole = _made(any_model_folder, RULES[rule])
    assert _far(whole, _made(any_model_folder, RULES[rule], budget=1)) < 1e-4
    assert _far(whole, _made(any_model_folder, plain)) > 1e-2


def test_sam_sees_every_micro_batch_where_unlearn_smooth_keeps_the_last(any_model_folder: Path) -> None:
    """Unlearn-Smooth writes .grad anew in each micro-step, so that the step is that of its last one. Here the gradient of three answers in three
    micro-batches is that of all in one, and far from that of the last answer alone with its share of the step."""
    whole, split = (_made(any_model_folder, sharpness_aware, budget=budget) for budget in (10_000, 1))
    last = _made(any_model_folder, sharpness_aware, Step(STEP.retain, STEP.forget[-1:]))
    assert _far(whole, split) < 1e-4 < 0.1 < _far(whole, last)


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_moves_no_weight_and_reaches_none_that_is_frozen(any_model_folder: Path, rule: str) -> None:
    """To the bit, which `gradient_made` asserts of all weights, where layer 0 does not train; its weights get no gradient."""
    loaded = sharp(any_model_folder)
    parameters = make_trainable(loaded.model, TrainablePlan("body", from_layer=1))
    made = gradient_made(RULES[rule], loaded.body, loaded.head, parameters, STEP, DIFFERENCE)[1]
    assert made.keys() == parameters.keys()
    assert all(weight.grad is None for name, weight in loaded.model.named_parameters() if name not in parameters)


@pytest.mark.parametrize("rule", RULES)
def test_without_anything_to_forget_it_is_the_plain_gradient(any_model_folder: Path, rule: str) -> None:
    step = Step(retain=STEP.retain)
    assert _far(_made(any_model_folder, plain, step), _made(any_model_folder, RULES[rule], step)) < 1e-5


@pytest.mark.parametrize("rule", [name for name in RULES if name not in ("lookahead", "tampering", "tampering and collapse")])
def test_the_loss_is_that_of_the_step(any_model_folder: Path, rule: str) -> None:
    loaded = sharp(any_model_folder)
    parameters = make_trainable(loaded.model, TrainablePlan("body"))
    wanted = gradient_made(plain, loaded.body, loaded.head, parameters, STEP, DIFFERENCE)[0]
    fresh = sharp(any_model_folder)
    parameters = make_trainable(fresh.model, TrainablePlan("body"))
    assert gradient_made(RULES[rule], fresh.body, fresh.head, parameters, STEP, DIFFERENCE)[0] == pytest.approx(wanted, abs=1e-4)


# --- sharpness ---------------------------------------------------------------------------------------------------------------------------


def test_sharpness_by_hand() -> None:
    """Forgetting token 0, L_f = log p_0, at h = (0, 0): g = (1, 0) of length 1, so with rho = 0.5 the weights go to (0.5, 0).

    Logits there are 0.5, 0.5, -0.5, -0.5: p = 0.365529 twice, 0.134471 twice. d log p_0 = (1, 0) - sum of p times the rows, which is
    (2 * 0.365529 - 2 * 0.134471, 0.365529 + 0.134471 - 2 * 0.134471) = (0.462117, 0.231059): (0.537883, -0.231059).
    Retaining token 2 with a weight of 2, at h = 0: -2 (-1, 1) = (2, -2). In all (2.537883, -2.231059). The loss is at h = 0:
    -ln 4 + 2 ln 4 = 1.386294.
    """
    body = TwoWeights()
    step = Step(retain=(said(0, 2),), forget=(said(0, 0),))
    objective = Objective(Part(gradient_ascent), Part(cross_entropy, weight=2.0))
    loss, made = gradient_made(partial(sharpness_aware, rho=0.5), body, HEAD, {"state": body.state}, step, objective)
    assert loss == pytest.approx(1.386294, abs=1e-6)
    assert made["state"].tolist() == pytest.approx([2.537883, -2.231059], abs=1e-5)


def test_lookahead_by_hand() -> None:
    """Forgetting token 0 at h = (0, 0): L_f = log p_0, g = (1, 0) of length 1, so with a reach of 0.5 the weights look ahead from (-0.5, 0).

    Logits there are -0.5, -0.5, 0.5, 0.5: p = 0.134471 twice, 0.365529 twice. The sum of p times the rows of the test above is
    (2 * 0.134471 - 2 * 0.365529, 0.134471 + 0.365529 - 2 * 0.365529) = (-0.462117, -0.231059). Retaining token 2 with a weight of 2 is
    -2 ((-1, 1) - that) = (1.075766, -2.462117); with g: (2.075766, -2.462117). The loss: -ln 4 at h = 0, and -2 log p_2 = -2 ln 0.365529 = 2.012820.
    """
    body = TwoWeights()
    step = Step(retain=(said(0, 2),), forget=(said(0, 0),))
    objective = Objective(Part(gradient_ascent), Part(cross_entropy, weight=2.0))
    loss, made = gradient_made(partial(looking_ahead, reach=0.5), body, HEAD, {"state": body.state}, step, objective)
    assert loss == pytest.approx(-1.386294 + 2.012820, abs=1e-5)
    assert made["state"].tolist() == pytest.approx([2.075766, -2.462117], abs=1e-5)


def test_tampering_by_hand() -> None:
    """Forgetting tokens 1 and 3 at h = (0, 0), where all have 1/4. Teaching token 1 again has the gradient -(1, 1), so a reach of 0.5 leads to (0.5, 0.5); there
    p = 0.294934, 0.486264, 0.178887, 0.039915, whose mean row is (0.562396, 0.585321), and the gradient of log p_3 is (-1.562396, -2.585321). Teaching token 3
    leads to (-0.5, -0.5), as far in both though its gradient (1, 2) is not; p = 0.093947, 0.056982, 0.154892, 0.694179 with a mean row of
    (-0.698142, -1.176484), and the gradient of log p_1 is (1.698142, 2.176484). Half of both: (0.067873, -0.204419). Retaining token 0 at h = 0
    adds -(1, 0). The loss: (ln 0.039915 + ln 0.056982) / 2 + ln 4.
    """
    step = Step(retain=(said(0, 0),), forget=(said(0, 1), said(0, 3)))
    rule = partial(tamper_resistant, reach=0.5)
    for budget in (1024, 1):
        body = TwoWeights()
        loss, made = gradient_made(rule, body, HEAD, {"state": body.state}, step, DIFFERENCE, budget)
        assert loss == pytest.approx(-3.043012 + 1.386294, abs=1e-5)
        assert made["state"].tolist() == pytest.approx([-0.932127, -0.204419], abs=1e-5)


def test_without_reach_each_half_is_collapsed_by_itself(any_model_folder: Path) -> None:
    """The first and third answer, then the second: what is common is taken out of each half, so that it is not what is taken out of all three."""
    made = _made(any_model_folder, partial(tamper_resistant_collapse, reach=0.0))
    labels = [len(own.labels) for own in STEP.forget]
    halves = [_made(any_model_folder, collapsed, Step(forget=own)) for own in (STEP.forget[::2], STEP.forget[1::2])]
    retained = _made(any_model_folder, plain, Step(retain=STEP.retain))
    shares = [(labels[0] + labels[2]) / sum(labels), labels[1] / sum(labels)]
    together = {name: retained[name] + sum(share * half[name] for share, half in zip(shares, halves, strict=True)) for name in made}
    assert _far(made, together) < 1e-4 < 1e-2 < _far(made, _made(any_model_folder, collapsed))


def test_an_answer_alone_is_taught_again_and_forgotten(any_model_folder: Path) -> None:
    step = Step(forget=STEP.forget[:1], retain=STEP.retain)
    assert _far(_made(any_model_folder, tamper_resistant, step), _made(any_model_folder, plain, step)) > 1e-3


MOVING = [name for name, card in FORGET_TERMS.items() if card.moves_weights]


@pytest.mark.parametrize("name", FORGET_TERMS)
def test_cards_and_rules_say_where_a_gradient_is_taken_from_other_weights(gemma_folder: Path, name: str) -> None:
    """Whenever a rule asks for a gradient it says whether the weights are moved; and the card says whether they ever are."""
    loaded = sharp(gemma_folder)
    parameters = make_trainable(loaded.model, TrainablePlan("body", from_layer=1))
    before = {key: weight.detach().clone() for key, weight in parameters.items()}
    found = []

    def watching(part: Step, *, moved: bool = False) -> float:
        assert moved == any(not torch.equal(weight, before[key]) for key, weight in parameters.items())
        found.append(moved)
        for weight in parameters.values():
            weight.grad = torch.ones_like(weight)
        return 0.0

    card = FORGET_TERMS[name]
    rule: Rule = card.rule_with({}) or plain
    rule(STEP, watching, parameters, loaded.body)
    assert any(found) == card.moves_weights


@pytest.mark.parametrize("method", MOVING)
def test_weights_that_round_a_move_away_are_refused(any_model_folder: Path, method: str) -> None:
    """In bf16 nine of ten weights stay where they are when each is moved as SAM moves sixty million, by 0.05 in all; so none of these methods takes them, and any other does."""
    loaded = sharp(any_model_folder)
    parameters = make_trainable(loaded.model, TrainablePlan("body", from_layer=1))
    check_precision(method, parameters.values())
    loaded.model.bfloat16()
    before = torch.cat([own.detach().flatten().clone() for own in parameters.values()])
    with torch.no_grad():
        for own in parameters.values():
            own.add_(0.05 / 6e7**0.5)
    assert float((torch.cat([own.flatten() for own in parameters.values()]) == before).float().mean()) > 0.9
    with pytest.raises(UserError, match=rf"method '{method}' moves weights by less than bfloat16 tells apart; hold them in fp32"):
        check_precision(method, parameters.values())
    check_precision("npo", parameters.values())


@pytest.mark.parametrize(("method", "merged"), [("task_vector", ""), ("undo", ""), ("npo", "branches"), ("npo", "adapters")])
def test_what_adds_up_moves_of_weights_needs_fp32_too(method: str, merged: str) -> None:
    """Negated, blurred or merged weights are differences of rounded ones: in bf16 the moves of a few steps would be lost, though they train in fp32."""
    weights = [torch.zeros(2)]
    check_precision(method, weights, merged)
    with pytest.raises(UserError, match=rf"method '{method}'.*{merged}.* moves weights by less than bfloat16 tells apart"):
        check_precision(method, [own.bfloat16() for own in weights], merged)


def test_the_length_of_the_gradient_does_not_count_in_how_far_the_weights_go(any_model_folder: Path) -> None:
    """With the forget term ten times as heavy the gradient of what is forgotten is ten times as large, taken at the same place."""
    step = Step(forget=STEP.forget)
    once, tenfold = (_made(any_model_folder, sharpness_aware, step, Objective(Part(gradient_ascent, weight=w), None)) for w in (1.0, 10.0))
    assert _far({name: 10 * part for name, part in once.items()}, tenfold) < 1e-3


def test_where_all_is_let_go_what_is_retained_is_left(any_model_folder: Path) -> None:
    """A forget gradient of length 0 has no direction: nothing is moved, nothing divided by it."""
    objective = get_method("gradient_difference").objective(stop_below=100.0)
    made = _made(any_model_folder, sharpness_aware, objective=objective)
    assert _far(_made(any_model_folder, plain, Step(retain=STEP.retain)), made) < 1e-5


# --- projection --------------------------------------------------------------------------------------------------------------------------


def _projected(retain: tuple[TokenSequence, ...], forget: TokenSequence) -> list[float]:
    body = TwoWeights()
    step = Step(retain=retain, forget=(forget,))
    made: list[float] = gradient_made(away_from_retained, body, HEAD, {"state": body.state}, step, DIFFERENCE)[1]["state"].tolist()
    return made


def test_projection_by_hand() -> None:
    """Forgetting token 0: g_f = (1, 0). Retaining token 1: g_r = -(1, 1), their product is -1, |g_r|^2 = 2: g_f becomes
    (1, 0) - 1/2 (1, 1) = (0.5, -0.5), and with g_r it is (-0.5, -1.5)."""
    assert _projected((said(0, 1, "en"),), said(0, 0)) == pytest.approx([-0.5, -1.5], abs=1e-6)


def test_what_agrees_is_left_alone() -> None:
    """Retaining token 2: g_r = (1, -1), which g_f = (1, 0) agrees with: (2, -1)."""
    assert _projected((said(0, 2, "en"),), said(0, 0)) == pytest.approx([2.0, -1.0], abs=1e-6)


def test_each_language_is_looked_at_by_itself() -> None:
    """Tokens 1 in English and 2 in German, two labels: g_en = (-0.5, -0.5), g_de = (0.5, -0.5). Against g_en, g_f = (1, 0) becomes (0.5, -0.5), which
    agrees with g_de: in all (0.5, -1.5). In one language the two add up to (0, -1), which does not mind g_f: (1, -1)."""
    assert _projected((said(0, 1, "en"), said(0, 2, "de")), said(0, 0)) == pytest.approx([0.5, -1.5], abs=1e-6)
    assert _projected((said(0, 1, "en"), said(0, 2, "en")), said(0, 0)) == pytest.approx([1.0, -1.0], abs=1e-6)


def test_lifts_by_hand() -> None:
    """g_f = (1, 0), g_1 = (-1, -1), g_2 = (-1, 2): products 2, -1, 5 among the two, -1 and -1 with g_f. Only 0 is within reach of both,
    x <= -y and x <= 2y: (1, 0) + a (-1, -1) + b (-1, 2) = 0 for a = 2/3, b = 1/3.

    Surgery in turn gives (1, 0) -> (0.5, -0.5) -> (0.2, 0.1), which is against g_1 again, and in the other order (0.8, 0.4) -> (0.2, -0.2),
    which is against g_2.
    """
    assert lifts([[2, -1], [-1, 5]], [-1, -1]) == pytest.approx([2 / 3, 1 / 3], abs=1e-9)
    assert lifts([[5, -1], [-1, 2]], [-1, -1]) == pytest.approx([1 / 3, 2 / 3], abs=1e-9)
    assert lifts([[2]], [-1]) == [0.5] and lifts([[2]], [1]) == [0.0] and lifts([], []) == [] and lifts([[0]], [0]) == [0.0]


@pytest.mark.parametrize("seed", range(8))
def test_the_nearest_that_agrees_with_all(seed: int) -> None:
    """What makes it the nearest: nothing is taken away, it agrees with all, and is lifted only along those that it is at right angles to."""
    rng = torch.Generator().manual_seed(seed)
    retained, forget = torch.randn(4, 6, generator=rng, dtype=torch.float64), torch.randn(6, generator=rng, dtype=torch.float64)
    # Two that are nearly one.
    retained[1] = retained[0] + 0.15 * retained[1]
    found = torch.tensor(lifts((retained @ retained.T).tolist(), (retained @ forget).tolist()), dtype=torch.float64)
    left = retained @ (forget + found @ retained)
    assert bool((found >= 0).all()) and bool((left > -1e-8).all())
    assert float((found * left).abs().max()) < 1e-8


def test_no_language_is_worked_against(any_model_folder: Path) -> None:
    """On a model, forgetting in German what is retained there: the plain forget gradient works against it, the projected one does not."""
    step = Step(STEP.retain, (*STEP.forget, STEP.retain[2]))
    by_language = {tag: _made(any_model_folder, plain, step, _only(retained=tag)) for tag in ("en", "de")}
    forget = _made(any_model_folder, plain, step, Objective(Part(gradient_ascent), None))
    whole = _made(any_model_folder, away_from_retained, step)
    projected = {name: whole[name] - by_language["en"][name] - by_language["de"][name] for name in whole}

    def product(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
        return sum(float((one[name].double() * other[name].double()).sum()) for name in one)

    assert min(product(forget, own) for own in by_language.values()) < 0
    for own in by_language.values():
        assert product(projected, own) > -1e-4 * (product(own, own) * product(forget, forget)) ** 0.5
    assert 0 < product(projected, projected) < product(forget, forget)


def _only(retained: str) -> Objective:
    """What is retained in one language, as a part of the whole step."""
    languages = {own.language: [place for place, other in enumerate(STEP.retain) if other.language == own.language] for own in STEP.retain}

    def term(found: object, totals: object) -> Tensor:
        assert isinstance(found, list) and len(found) == len(STEP.retain)
        return cross_entropy([found[place] for place in languages[retained]], totals)  # type: ignore[arg-type]

    return Objective(None, Part(term))


# --- collapse ----------------------------------------------------------------------------------------------------------------------------


def test_common_directions_by_hand() -> None:
    """(3, 1, 0) and (3, -1, 0) have the mean (3, 0, 0) and the principal component (0, 1, 0): of (1, 2, 3) they leave (0, 0, 3), the mean alone
    leaves (0, 2, 3). A mean of 0 is no direction, nor is a component that nothing varies along, so that no more than one is found."""
    vectors, gradient = torch.tensor([[3.0, 1.0, 0.0], [3.0, -1.0, 0.0]]).double(), torch.tensor([[1.0, 2.0, 3.0]]).double()
    assert without(gradient, common(vectors, 1)).tolist() == [pytest.approx([0, 0, 3])]
    assert without(gradient, common(vectors, 0)).tolist() == [pytest.approx([0, 2, 3])]
    assert common(vectors, 9).shape == (3, 2)
    assert common(vectors - vectors.mean(0), 2).shape == (3, 1)
    assert common(torch.zeros(4, 3).double(), 2).shape == (3, 0)


@pytest.mark.parametrize(("count", "width"), [(40, 6), (6, 40)])
def test_common_directions_are_those_of_the_singular_value_decomposition(count: int, width: int) -> None:
    """With more tokens than inputs, and fewer: the same span as that of the mean and the first right singular vectors, and orthonormal."""
    rng = torch.Generator().manual_seed(1)
    vectors = torch.randn(count, width, generator=rng, dtype=torch.float64) * torch.arange(1, width + 1) + 2
    found = common(vectors, 3)
    centred = vectors - vectors.mean(0)
    wanted, _ = torch.linalg.qr(torch.cat([vectors.mean(0)[None], torch.linalg.svd(centred).Vh[:3]]).T)
    torch.testing.assert_close(found.T @ found, torch.eye(4, dtype=torch.float64))
    torch.testing.assert_close(found @ found.T, wanted @ wanted.T)


@pytest.mark.parametrize("budget", [1024, 1])
def test_collapse_by_hand(budget: int) -> None:
    """Inputs a_1 = (3, 1, 0) and a_2 = (1, -1, 2) with output gradients g_1 = (1, 0) / 2 and g_2 = (1, 1) / 2; no principal component.

    The mean input is along (2, 0, 1): a_1 - 6/5 (2, 0, 1) = (0.6, 1, -1.2), and a_2 is left with the opposite. The mean of the gradients is along
    (2, 1): g_1 - 1/5 (2, 1) = (0.1, -0.2), and g_2 is left with the opposite. So the forget gradient is twice the product of these,
    ((0.12, 0.2, -0.24), (-0.24, -0.4, 0.48)). Token 2 retained after (0, 0, 1) adds (1, -1) times that: (0, 0, 1) and (0, 0, -1).
    The bias gets what is retained alone, (1, -1).
    """
    body = OneLayer()
    step = Step(retain=(said(2, 2),), forget=(said(0, 0), said(1, 1)))
    rule = partial(collapsed, components=0)
    loss, made = gradient_made(rule, body, HEAD, dict(body.named_parameters()), step, DIFFERENCE, budget)
    assert loss == pytest.approx(0.0, abs=1e-6)
    assert made["layer.weight"].tolist() == [pytest.approx([0.12, 0.2, 0.76], abs=1e-6), pytest.approx([-0.24, -0.4, -0.52], abs=1e-6)]
    assert made["layer.bias"].tolist() == pytest.approx([1.0, -1.0], abs=1e-6)


def test_collapse_on_a_model(any_model_folder: Path) -> None:
    """Of every linear layer's forget gradient nothing is left along the mean and the first two components of what enters it at the tokens to
    forget, while the plain gradient has much there; weights of no linear layer get none."""
    loaded = sharp(any_model_folder)
    entered: dict[str, Tensor] = {}
    layers = {
        f"{name}.weight": module for name, module in loaded.model.named_modules() if isinstance(module, nn.Linear) and "layers" in name
    }
    hooks = [
        module.register_forward_hook(lambda module, inputs, output, name=name: entered.update({name: inputs[0][0].detach()}))
        for name, module in layers.items()
    ]
    parameters = make_trainable(loaded.model, TrainablePlan("body"))
    step = Step(forget=STEP.forget)
    objective = Objective(Part(gradient_ascent), None)
    made = gradient_made(partial(collapsed, components=2), loaded.body, loaded.head, parameters, step, objective)[1]
    for hook in hooks:
        hook.remove()
    fresh = sharp(any_model_folder)
    usual = gradient_made(plain, fresh.body, fresh.head, make_trainable(fresh.model, TrainablePlan("body")), step, objective)[1]
    assert layers.keys() < made.keys()
    for name, gradient in made.items():
        if name not in layers:
            assert not gradient.any(), name
            continue
        assert entered[name].shape[0] == sum(len(own.ids) - 1 for own in STEP.forget)
        mean = entered[name].mean(0)
        directions = torch.cat([mean[None], torch.linalg.svd(entered[name] - mean).Vh[:2]]).T
        size = float(usual[name].norm() * mean.norm())
        assert 1e-3 * float(usual[name].norm()) < float(gradient.norm()) < float(usual[name].norm())
        assert float((gradient @ directions).norm()) < 1e-4 * size < 0.01 * float((usual[name] @ directions).norm()), name


def test_padding_is_no_token_to_forget(any_model_folder: Path) -> None:
    """Four answers that fill lines unevenly: what is common to them is the same whether they are packed together, with padding, or each alone, without."""
    step = Step(forget=tuple(sequences(5, 110, 100, 60, 90)))
    whole, alone = (_made(any_model_folder, collapsed, step, budget=budget) for budget in (10_000, 1))
    assert _far(whole, alone) < 1e-4 < 1e-2 < _far(whole, _made(any_model_folder, plain, step))


# --- subspace ----------------------------------------------------------------------------------------------------------------------------


def test_in_the_whole_space_it_is_the_plain_gradient_and_in_none_the_retain_gradient(any_model_folder: Path) -> None:
    width, layers = 32, 4
    whole = partial(within_subspace, bases=[torch.eye(width)] * layers)
    nothing = partial(within_subspace, bases=[torch.zeros(width, 1)] * layers)
    assert _far(_made(any_model_folder, plain), _made(any_model_folder, whole)) < 1e-5
    assert _far(_made(any_model_folder, plain, Step(retain=STEP.retain)), _made(any_model_folder, nothing)) < 1e-5


def test_a_matrix_moves_the_states_within_the_subspace_alone(any_model_folder: Path) -> None:
    """Where nothing stands between a matrix and the states that leave its layer, as in Llama, its gradient lies in the subspace; two halves of a basis add up
    in the last layer, whose states pass no other."""
    basis = torch.linalg.qr(torch.randn(32, 32, generator=torch.Generator().manual_seed(3)))[0]
    step = Step(forget=STEP.forget)
    halves = [_made(any_model_folder, partial(within_subspace, bases=[part] * 4), step) for part in torch.split(basis, 16, dim=1)]
    whole = _made(any_model_folder, plain, step)
    last = max(name.split(".mlp")[0] for name in whole if ".mlp." in name)
    own = {name: part for name, part in whole.items() if name.startswith(last)}
    assert own and _far(own, {name: halves[0][name] + halves[1][name] for name in own}) < 1e-4
    if "post_feedforward_layernorm" not in " ".join(whole):
        down = halves[0][f"{last}.mlp.down_proj.weight"]
        outside = basis[:, 16:].T @ down
        assert float(outside.abs().max()) < 1e-5 * float(down.abs().max())


def test_micro_batches_in_a_subspace_change_nothing(any_model_folder: Path) -> None:
    bases = [torch.linalg.qr(torch.randn(32, 5, generator=torch.Generator().manual_seed(layer)))[0] for layer in range(4)]
    rule = partial(within_subspace, bases=bases)
    whole = _made(any_model_folder, rule)
    assert _far(whole, _made(any_model_folder, rule, budget=1)) < 1e-4 and _far(whole, _made(any_model_folder, plain)) > 1e-2


@pytest.mark.parametrize(
    ("step", "weight", "message"),
    [(replace(STEP, retain=()), 1.0, "set retain_batch to 1 or more"), (STEP, 0.0, "set retain_weight above 0")],
)
def test_nothing_is_taught_again_by_nothing(gemma_folder: Path, step: Step, weight: float, message: str) -> None:
    """Without what is retained, or its weight, it would be plain forgetting without a word, or no number."""
    objective = get_method("gradient_difference").objective(weight)
    with pytest.raises(UserError, match=message):
        _made(gemma_folder, tamper_resistant, step, objective)
