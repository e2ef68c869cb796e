"""Methods on a tiny model: what is to be forgotten is, what is frozen stays, and every weight that trains is reached at once."""

from pathlib import Path

import pytest
import torch
from tiny import sequences, sharp
from torch import Tensor

from polyunlearn.models.body import decoder_layers
from polyunlearn.models.forward import label_passes
from polyunlearn.models.trainable import TrainablePlan, make_trainable, train_band
from polyunlearn.training.labels import Labels
from polyunlearn.training.loop import Optimiser, Step, train
from polyunlearn.training.objectives import LEARNING, get_method
from polyunlearn.training.objectives.rmu import target
from polyunlearn.training.reference import ReferenceCache

LEARNED, STEPS = 40, 12
FROM_LAYER = 1


@pytest.mark.parametrize("to_layer", [None, 2])
@pytest.mark.parametrize("name", ["undial", "ce_u", "pdu", "rmu", "npo+kl", "npo+hidden_states", "npo+lingtea", "npo+lingtea_published"])
def test_a_method_forgets_and_reaches_what_trains(any_model_folder: Path, tmp_path: Path, name: str, to_layer: int | None) -> None:
    """Twelve steps on answers that have been learned make them less probable; RMU brings their states nearer to their targets."""
    loaded = sharp(any_model_folder, FROM_LAYER)
    everything = make_trainable(loaded.model, TrainablePlan("body", from_layer=FROM_LAYER))
    watched = (to_layer or len(decoder_layers(loaded.model))) - 1
    objective = get_method(name).objective(watched=watched)
    step = Step(tuple(sequences(1, 12, 7)), tuple(sequences(2, 9, 6)))
    train(loaded.body, loaded.head, everything, [Step(retain=step.sequences)] * LEARNED, LEARNING, Optimiser(5e-3))
    wanted = {own: part.needs for own, part in [(one, objective.forget) for one in step.forget] if part}
    wanted |= {own: objective.retain.needs for own in step.retain if objective.retain}
    reference = ReferenceCache(tmp_path, "start").reference(loaded.body, loaded.head, wanted, watched)
    parameters = train_band(everything, FROM_LAYER, to_layer)
    before = {key: weight.detach().clone() for key, weight in loaded.model.named_parameters()}
    first: dict[str, Tensor] = {}
    for key, weight in parameters.items():
        weight.register_post_accumulate_grad_hook(lambda p, key=key: first.update({key: first.get(key, p.grad.clone())}))

    def left() -> float:
        """What the method is to lower: the log-probs of what is to be forgotten, or for RMU the distance from the targets."""
        with torch.no_grad():
            found = label_passes(loaded.body, loaded.head, step.forget, watched=watched)
        if name == "rmu":
            ways = [
                one.watched - target(Labels(one.log_probs, reference=reference(own)))
                for one, own in zip(found, step.forget, strict=True)
                if one.watched is not None
            ]
            return float(torch.cat(ways).square().mean())
        return float(torch.cat([one.log_probs for one in found]).mean())

    start = left()
    train(loaded.body, loaded.head, parameters, [step] * STEPS, objective, Optimiser(1e-3), reference=reference)
    assert name == "rmu" or start > -4.0
    assert left() < start - 0.01 * abs(start)
    assert first.keys() == parameters.keys() and all(bool(gradient.any()) for gradient in first.values())
    for key, weight in loaded.model.named_parameters():
        assert torch.equal(weight, before[key]) == (key not in parameters), key
