"""The one training loop: steps, schedule, micro-batches, and going on from a snapshot."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState
from handmade_bodies import OneWeight
from tiny import sequences, sharp
from torch import Tensor, nn

from polyunlearn.models.body import decoder_layers
from polyunlearn.models.forward import OutputHead, label_log_probs
from polyunlearn.models.loading import LoadedModel
from polyunlearn.models.sequences import TokenSequence
from polyunlearn.models.trainable import TrainablePlan, make_trainable, restore, snapshot
from polyunlearn.training.labels import Labels, Need, Totals
from polyunlearn.training.loop import Backward, MasterWeights, Objective, Optimiser, Part, Step, train
from polyunlearn.training.objectives import LEARNING, get_method
from polyunlearn.training.objectives.cross_entropy import cross_entropy
from polyunlearn.training.objectives.gradient_ascent import gradient_ascent

DIFFERENCE = get_method("gradient_difference").objective()
USUAL = Optimiser(1e-3)


def _steps(count: int) -> list[Step]:
    """Steps with sequences of 4 to 30 tokens to retain and to forget."""
    return [Step(tuple(sequences(10 + at, 30, 6, 14)), tuple(sequences(50 + at, 4, 22))) for at in range(count)]


def _trained(
    folder: Path, steps: Sequence[Step], objective: Objective = DIFFERENCE, *, budget: int = 1024, frozen: int = 0,
    optimiser: Optimiser = USUAL,
) -> tuple[list[float], dict[str, Tensor]]:  # fmt: skip
    loaded = sharp(folder, frozen)
    parameters = make_trainable(loaded.model, TrainablePlan("body", from_layer=frozen))
    losses = train(loaded.body, loaded.head, parameters, steps, objective, optimiser, token_budget=budget)
    return losses, snapshot(parameters)


def _distance(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def test_rates_by_hand() -> None:
    """Rate 8 over 4 warm-up steps of 10: 2, 4, 6, 8, then 8; with decay each times 1 - step / 10."""
    constant, falling = Optimiser(8.0, 4), Optimiser(8.0, 4, decay=True)
    assert [constant.rate_at(step, 10) for step in range(10)] == pytest.approx([2, 4, 6, 8, 8, 8, 8, 8, 8, 8])
    assert [falling.rate_at(step, 10) for step in range(10)] == pytest.approx([2, 3.6, 4.8, 5.6, 4.8, 4.0, 3.2, 2.4, 1.6, 0.8])
    assert [Optimiser(8.0).rate_at(step, 3) for step in range(3)] == [8.0, 8.0, 8.0]
    assert [Optimiser(8.0, decay=True).rate_at(step, 4) for step in range(4)] == pytest.approx([8, 6, 4, 2])


def _one_weight(objective: Objective, optimiser: Optimiser, steps: int) -> tuple[list[float], float]:
    body = OneWeight()
    # Two tokens with the logits 0 and h; the step learns token 1 after token 0.
    head = OutputHead(torch.tensor([[0.0], [1.0]]), None, None)
    step = Step(retain=(TokenSequence((0, 1), 1),))
    return train(body, head, {"state": body.state}, [step] * steps, objective, optimiser), body.state.item()  # type: ignore[arg-type]


def test_adamw_steps_by_hand() -> None:
    """At h = 0 the loss is ln 2 = 0.693147, and the first step of Adam moves h by the rate, up, whatever the gradient is.

    At h = 0.1 the loss is ln(1 + e^-0.1) = 0.644397. Gradients are -s(-h): -0.5, then -0.475021. Adam's second step moves by
    rate * m / (1 - 0.9^2) / sqrt(v / (1 - 0.999^2)), m = 0.9 * 0.05 + 0.1 * 0.475021 = 0.0925021, v = 0.999 * 0.00025 + 0.001 * 0.225645
    = 0.000475395: 0.0925021 / 0.19 = 0.486853 over sqrt(0.000475395 / 0.001999) = 0.487664, so 0.998338 of the rate: h = 0.1 + 0.0998338.
    """
    losses, state = _one_weight(LEARNING, Optimiser(0.1), 2)
    assert losses == pytest.approx([0.693147, 0.644397], abs=1e-5)
    assert state == pytest.approx(0.1998338, abs=1e-5)


def test_warm_up_reaches_the_weights() -> None:
    """Two warm-up steps at a rate of 0.2: the first moves by 0.1."""
    assert _one_weight(LEARNING, Optimiser(0.2, warm_up=2), 1)[1] == pytest.approx(0.1, abs=1e-6)


def test_ascent_moves_the_other_way() -> None:
    """On the negated loss the weight falls, and the loss reported is -ln 2."""
    losses, state = _one_weight(Objective(None, Part(cross_entropy, weight=-1.0)), Optimiser(0.1), 1)
    assert losses == pytest.approx([-0.693147], abs=1e-6)
    assert state == pytest.approx(-0.1, abs=1e-6)


def test_the_loss_of_the_first_step_is_the_models_own(any_model_folder: Path) -> None:
    """CE(r) - CE(f) of the untrained model, reckoned from its log-probs."""
    step = _steps(1)[0]
    loaded = sharp(any_model_folder)
    with torch.no_grad():
        retain = torch.cat(label_log_probs(loaded.body, loaded.head, step.retain))
        forget = torch.cat(label_log_probs(loaded.body, loaded.head, step.forget))
    losses, _ = _trained(any_model_folder, [step])
    assert losses == pytest.approx([float(forget.mean() - retain.mean())], abs=1e-4)


@pytest.mark.parametrize("frozen", [0, 1])
def test_micro_batches_change_neither_loss_nor_gradients(any_model_folder: Path, frozen: int) -> None:
    """Everything in one batch against one sequence a batch (budget 1) and something between (40).

    The gradients of the step are compared, since Adam's first step depends on little but their signs.
    """
    step = _steps(1)[0]
    gradients: list[dict[str, Tensor]] = []
    losses: list[float] = []
    for budget in (10_000, 40, 1):
        loaded = sharp(any_model_folder, frozen)
        parameters = make_trainable(loaded.model, TrainablePlan("body", from_layer=frozen))
        kept: dict[str, Tensor] = {}
        for name, parameter in parameters.items():
            parameter.register_post_accumulate_grad_hook(lambda p, name=name, kept=kept: kept.update({name: p.grad.clone()}))
        losses += train(loaded.body, loaded.head, parameters, [step], DIFFERENCE, Optimiser(1e-3), token_budget=budget)
        gradients.append(kept)
    assert losses[1:] == pytest.approx([losses[0]] * 2, abs=1e-5)
    largest = max(float(gradient.abs().max()) for gradient in gradients[0].values())
    assert largest > 1e-2
    assert _distance(gradients[0], gradients[1]) < 1e-5 * max(1.0, largest)
    assert _distance(gradients[0], gradients[2]) < 1e-5 * max(1.0, largest)


def test_micro_batches_over_several_steps(any_model_folder: Path) -> None:
    """Five steps of training end at the same losses and weights to 1e-5, at a rate at which the weights move a hundred times as far."""
    start = _trained(any_model_folder, [])[1]
    whole, split = (_trained(any_model_folder, _steps(5), budget=budget, optimiser=Optimiser(2e-4)) for budget in (10_000, 1))
    assert split[0] == pytest.approx(whole[0], abs=1e-4)
    assert _distance(start, whole[1]) > 9e-4
    assert _distance(whole[1], split[1]) < 1e-5


def test_frozen_layers_kept_or_computed_train_alike(any_model_folder: Path) -> None:
    """from_layer 1 with a body that keeps what enters layer 1, against a body that computes every layer."""
    results = []
    for frozen in (0, 1):
        loaded = sharp(any_model_folder, frozen)
        parameters = make_trainable(loaded.model, TrainablePlan("body", from_layer=1))
        results.append((train(loaded.body, loaded.head, parameters, _steps(4), DIFFERENCE, Optimiser(2e-4)), snapshot(parameters)))
    assert results[0][0] == pytest.approx(results[1][0], abs=1e-4)
    assert _distance(results[0][1], results[1][1]) < 1e-5


def test_learning_lowers_the_loss(any_model_folder: Path) -> None:
    step = Step(retain=tuple(sequences(1, 12, 9)))
    losses, _ = _trained(any_model_folder, [step] * 25, LEARNING, optimiser=Optimiser(5e-3))
    assert losses[-1] < 0.5 * losses[0]


def test_training_stops_when_told(any_model_folder: Path) -> None:
    """`after_step` sees steps from 1 with the losses that are returned, and its True is the end."""
    loaded = sharp(any_model_folder)
    parameters = make_trainable(loaded.model, TrainablePlan("body"))
    seen: list[tuple[int, float]] = []

    def after_step(number: int, loss: float) -> bool:
        seen.append((number, loss))
        return number == 2

    losses = train(loaded.body, loaded.head, parameters, _steps(5), DIFFERENCE, Optimiser(1e-3), after_step)
    assert seen == [(1, losses[0]), (2, losses[1])]
    # The weights are those of two steps, of a schedule for five.
    steps = _steps(5)
    assert _distance(snapshot(parameters), _trained(any_model_folder, steps[:2])[1]) == 0.0


def test_clipping_scales_the_gradient_down(any_model_folder: Path) -> None:
    """A clip of 1e-12 shrinks all gradients to nothing beside Adam's epsilon of 1e-8, so the weights hardly move; none does not."""
    start = _trained(any_model_folder, [])[1]
    clipped = _trained(any_model_folder, _steps(1), optimiser=Optimiser(1e-3, clip=1e-12))[1]
    free = _trained(any_model_folder, _steps(1), optimiser=Optimiser(1e-3, clip=0))[1]
    assert 0 < _distance(start, clipped) < 1e-6
    assert _distance(start, free) == pytest.approx(1e-3, rel=0.01)


def test_weight_decay_by_hand() -> None:
    """AdamW multiplies the weight by 1 - rate * decay before its step: with h = 0 nothing happens, after it 0.1 * 0.95 is left.

    The second step: 0.1 * (1 - 0.1 * 0.5) + 0.0998338 = 0.1948338.
    """
    assert _one_weight(LEARNING, Optimiser(0.1, weight_decay=0.5), 2)[1] == pytest.approx(0.1948338, abs=1e-5)


def _run(loaded: LoadedModel, parameters: dict[str, nn.Parameter], steps: Sequence[Step]) -> list[float]:
    loaded.body.start_afresh()
    return train(loaded.body, loaded.head, parameters, steps, DIFFERENCE, Optimiser(1e-3, 2))


def test_restored_and_trained_again_is_the_same_to_the_bit(any_model_folder: Path) -> None:
    """A stage from a snapshot does not depend on what was trained before in the same process, nor on the optimiser's past."""
    loaded = sharp(any_model_folder, 1)
    parameters = make_trainable(loaded.model, TrainablePlan("body", from_layer=1))
    learned = snapshot(parameters)
    first = _run(loaded, parameters, _steps(4))
    end = snapshot(parameters)
    assert _distance(learned, end) > 1e-4
    restore(parameters, learned)
    _run(loaded, parameters, _steps(9)[5:])
    restore(parameters, learned)
    assert _run(loaded, parameters, _steps(4)) == first
    assert _distance(snapshot(parameters), end) == 0.0


def test_resumed_between_stages_is_uninterrupted(any_model_folder: Path) -> None:
    """Two stages in one process, against the second in a new process from the first one's weights."""
    loaded = sharp(any_model_folder, 1)
    parameters = make_trainable(loaded.model, TrainablePlan("body", from_layer=1))
    _run(loaded, parameters, _steps(3))
    between = snapshot(parameters)
    losses = _run(loaded, parameters, _steps(6)[3:])
    fresh = sharp(any_model_folder, 1)
    others = make_trainable(fresh.model, TrainablePlan("body", from_layer=1))
    restore(others, between)
    assert _run(fresh, others, _steps(6)[3:]) == losses
    assert _distance(snapshot(others), snapshot(parameters)) == 0.0


def test_a_weight_without_gradient_is_refused(any_model_folder: Path) -> None:
    """A layer outside the forward pass would otherwise never train, without a word."""
    loaded = sharp(any_model_folder)
    parameters = dict(make_trainable(loaded.model, TrainablePlan("body")))
    parameters["stray"] = nn.Parameter(torch.zeros(3))
    with pytest.raises(ValueError, match="1 trainable weights got no gradient, stray"):
        train(loaded.body, loaded.head, parameters, _steps(1), DIFFERENCE, Optimiser(1e-3))


def test_frozen_weights_stay(any_model_folder: Path) -> None:
    loaded = sharp(any_model_folder, 2)
    before = {name: parameter.detach().clone() for name, parameter in loaded.model.named_parameters()}
    parameters = make_trainable(loaded.model, TrainablePlan("body", from_layer=2))
    train(loaded.body, loaded.head, parameters, _steps(2), DIFFERENCE, Optimiser(1e-3))
    assert len(decoder_layers(loaded.model)) > 2
    for name, parameter in loaded.model.named_parameters():
        assert torch.equal(parameter, before[name]) == (name not in parameters), name


def test_what_is_measured_is_measured_in_evaluation_mode(any_model_folder: Path) -> None:
    """Dropout, where a model has it, must act in training only: not on what `after_step` measures, nor on what is scored afterwards."""
    loaded = sharp(any_model_folder)
    parameters = make_trainable(loaded.model, TrainablePlan("body"))
    modes: list[bool] = []

    def after_step(number: int, loss: float) -> bool:
        modes.append(loaded.body.training)
        return False

    train(loaded.body, loaded.head, parameters, _steps(2), DIFFERENCE, Optimiser(1e-3), after_step)
    assert not any(module.training for module in loaded.body.modules())
    assert modes == [False, False]


def test_a_step_that_fails_leaves_the_model_in_evaluation_mode(any_model_folder: Path) -> None:
    """A loss that cannot be computed, say: dropout would stay on."""
    loaded = sharp(any_model_folder)
    parameters = make_trainable(loaded.model, TrainablePlan("body"))

    def fails(step: Step, backward: Backward, parameters: Mapping[str, nn.Parameter], body: nn.Module) -> float:
        assert body.training
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        train(loaded.body, loaded.head, parameters, _steps(1), DIFFERENCE, Optimiser(1e-3), rule=fails)
    assert not any(module.training for module in loaded.body.modules())


def test_a_users_accelerator_changes_nothing_and_is_left_as_it_was(any_model_folder: Path) -> None:
    """It is the process's: while it gathers gradients over four steps no step of ours would be taken, and under its autocast losses would be rounded."""
    # Whoever ran before in this process may have left an accelerator of other settings, beside which no second one can be made.
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    alone, alone_losses = _trained_beside(any_model_folder)
    assert not PartialState._shared_state and not AcceleratorState._shared_state and not GradientState._shared_state
    theirs = Accelerator(mixed_precision="bf16", gradient_accumulation_steps=4, cpu=True)
    try:
        with theirs.accumulate(torch.nn.Linear(1, 1)):
            beside, losses = _trained_beside(any_model_folder)
            assert losses == alone_losses and all(torch.equal(beside[name], own) for name, own in alone.items())
            assert theirs.mixed_precision == "bf16" and theirs.gradient_accumulation_steps == 4 and not theirs.sync_gradients
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()


def _trained_beside(folder: Path) -> tuple[dict[str, Tensor], list[float]]:
    loaded = sharp(folder)
    parameters = make_trainable(loaded.model, TrainablePlan("body"))
    before = snapshot(parameters)
    losses = train(loaded.body, loaded.head, parameters, _steps(2), DIFFERENCE, Optimiser(1e-3))
    after = snapshot(parameters)
    assert any(not torch.equal(after[name], own) for name, own in before.items())
    return dict(after), losses


def test_every_field_reaches_the_term_that_names_it(any_model_folder: Path) -> None:
    """A forget term sees its answers, each with the one to give instead, under the model and the reference; logits are those of its log-probs."""
    loaded = sharp(any_model_folder)
    parameters = make_trainable(loaded.model, TrainablePlan("body"))
    forget, instead, retain = (tuple(sequences(seed, 7, 5)) for seed in (1, 2, 3))
    seen: list[Labels] = []
    before = {own: Labels(torch.full((len(own.labels),), -1.0)) for own in (*forget, *instead)}

    def forgetting(found: Sequence[Labels], totals: Totals) -> Tensor:
        seen.extend(found)
        assert totals == Totals(2, sum(len(own.labels) for own in forget), sum(len(own.labels) for own in instead))
        return gradient_ascent(found, totals)

    def retaining(found: Sequence[Labels], totals: Totals) -> Tensor:
        assert totals.sequences == 2 and all(own.reference is None and own.instead is None for own in found)
        return cross_entropy(found, totals)

    needs: frozenset[Need] = frozenset({"logits", "states", "instead", "reference"})
    objective = Objective(Part(forgetting, needs), Part(retaining), watched=1)
    train(
        loaded.body,
        loaded.head,
        parameters,
        [Step(retain, forget, instead)],
        objective,
        USUAL,
        reference=before.__getitem__,
        token_budget=20,
    )
    assert len(seen) == 2
    for own, sequence, other in zip(seen, forget, instead, strict=True):
        assert own.logits is not None and own.targets is not None and own.instead is not None and own.states is not None
        assert own.targets.tolist() == list(sequence.labels)
        torch.testing.assert_close(torch.log_softmax(own.logits, 1).gather(1, own.targets[:, None])[:, 0], own.log_probs)
        assert own.states.shape == (len(sequence.labels), loaded.model.config.hidden_size)
        assert own.reference is not None and torch.equal(own.reference.log_probs, before[sequence].log_probs)
        assert own.instead.targets is not None and own.instead.targets.tolist() == list(other.labels) and own.instead.reference is not None


def test_a_rule_makes_the_gradient(any_model_folder: Path) -> None:
    """A rule that takes what is retained alone trains as a step without anything to forget, with the same totals."""
    step = _steps(1)[0]

    def retained(step: Step, backward: Backward, parameters: Mapping[str, nn.Parameter], body: nn.Module) -> float:
        return backward(Step(retain=step.retain))

    loaded = sharp(any_model_folder)
    parameters = make_trainable(loaded.model, TrainablePlan("body"))
    losses = train(loaded.body, loaded.head, parameters, [step], DIFFERENCE, USUAL, rule=retained)
    alone = _trained(any_model_folder, [Step(retain=step.retain)])
    assert losses == alone[0] and _distance(snapshot(parameters), alone[1]) == 0.0


def test_what_is_gone_is_let_go(any_model_folder: Path) -> None:
    """With a floor above every answer nothing to forget moves anything; with one below all, nothing is let go."""
    step = _steps(1)[0]
    ascent = get_method("gradient_ascent")
    start, plain = _trained(any_model_folder, [])[1], _trained(any_model_folder, [step], ascent.objective())[1]
    assert _distance(_trained(any_model_folder, [step], ascent.objective(stop_below=100.0))[1], start) == 0.0
    assert _distance(_trained(any_model_folder, [step], ascent.objective(stop_below=-1e6))[1], plain) == 0.0


def test_small_steps_on_bf16_weights_add_up() -> None:
    """A weight of 1 moved by 1e-3 a step ten times is 1.01, which bf16 (numbers 1/128 apart above 1) rounds to 1.0078125; each step alone is rounded away."""
    weight = torch.nn.Parameter(torch.ones(1, dtype=torch.bfloat16))
    held = MasterWeights([weight])
    (master,) = held.masters
    for _ in range(10):
        weight.grad = torch.full((1,), -1.0, dtype=torch.bfloat16)
        held.take_gradients()
        assert weight.grad is None and master.grad is not None
        master.data -= 1e-3 * master.grad
        held.give_values()
    assert master.item() == pytest.approx(1.01) and weight.item() == 1.0078125
    alone = torch.ones(1, dtype=torch.bfloat16)
    for _ in range(10):
        alone += 1e-3
    assert alone.item() == 1.0


def test_fp32_weights_are_their_own_masters() -> None:
    weight = torch.nn.Parameter(torch.ones(1))
    assert MasterWeights([weight]).masters[0] is weight
