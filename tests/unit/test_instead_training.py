"""Objectives that use an answer to give instead, in the loop and on a tiny model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from tiny import own_label_log_probs, own_log_probs, sequences, sharp
from torch import Tensor, nn

from polyunlearn.models.forward import label_log_probs
from polyunlearn.models.loading import LoadedModel
from polyunlearn.models.sequences import TokenSequence
from polyunlearn.models.trainable import TrainablePlan, make_trainable
from polyunlearn.training.labels import Labels, Need
from polyunlearn.training.loop import Optimiser, Step, train
from polyunlearn.training.objectives import get_method
from polyunlearn.training.objectives.jensen_shannon import divergence
from polyunlearn.training.reference import ReferenceCache

METHODS = ("dpo", "idk_dpo", "idk", "jensun")

FORGET = tuple(sequences(1, 12, 5, 9))
INSTEAD = tuple(sequences(2, 7, 11, 4))
RETAIN = tuple(sequences(3, 14, 8))
FROZEN = 1


@dataclass
class _Tiny:
    loaded: LoadedModel
    parameters: dict[str, nn.Parameter]
    reference: Callable[[TokenSequence], Labels]


def _tiny(folder: Path, cache: Path) -> _Tiny:
    """A tiny model whose first layer does not train, with its reference."""
    loaded = sharp(folder, FROZEN)
    parameters = make_trainable(loaded.model, TrainablePlan("body", from_layer=FROZEN))
    needs: frozenset[Need] = frozenset({"reference", "reference_logits"})
    wanted = dict.fromkeys((*FORGET, *INSTEAD, *RETAIN), needs)
    return _Tiny(loaded, parameters, ReferenceCache(cache, "tiny").reference(loaded.body, loaded.head, wanted))


@dataclass
class _Run:
    losses: list[float]
    gradients: dict[str, Tensor]
    """Of the first step, before they are clipped."""


def _train(tiny: _Tiny, method: str, steps: Sequence[Step], *, rate: float = 1e-3, budget: int = 1024) -> _Run:
    kept: dict[str, Tensor] = {}
    hooks = []
    for name, parameter in tiny.parameters.items():

        def keep(parameter: Tensor, name: str = name) -> None:
            assert parameter.grad is not None
            kept[name] = parameter.grad.clone()

        hooks.append(parameter.register_post_accumulate_grad_hook(keep))

    def after_step(number: int, loss: float) -> bool:
        for hook in hooks:
            hook.remove()
        return False

    losses = train(
        tiny.loaded.body, tiny.loaded.head, tiny.parameters, steps, get_method(method).objective(), Optimiser(rate), after_step, tiny.reference,
        token_budget=budget,
    )  # fmt: skip
    return _Run(losses, kept)


@torch.no_grad()
def _worth(tiny: _Tiny, answers: Sequence[TokenSequence]) -> Tensor:
    """The summed log-prob of each answer."""
    return torch.stack([own.sum() for own in label_log_probs(tiny.loaded.body, tiny.loaded.head, answers)])


@pytest.mark.parametrize("method", METHODS)
def test_it_trains(any_model_folder: Path, tmp_path: Path, method: str) -> None:
    """Without anything retained: all weights that train get a gradient at the first step, the others stay.

    Against the answers to forget those to give instead gain, each by nats, where they are preferred; where they are learned they gain themselves.
    """
    tiny = _tiny(any_model_folder, tmp_path)
    before = {name: parameter.detach().clone() for name, parameter in tiny.loaded.model.named_parameters()}
    instead, forget = _worth(tiny, INSTEAD), _worth(tiny, FORGET)
    run = _train(tiny, method, [Step(forget=FORGET, instead=INSTEAD)] * 30, rate=5e-3)
    assert run.gradients.keys() == tiny.parameters.keys() and all(gradient.any() for gradient in run.gradients.values())
    for name, parameter in tiny.loaded.model.named_parameters():
        assert torch.equal(parameter, before[name]) == (name not in tiny.parameters), name
    gained = _worth(tiny, INSTEAD) - instead
    margins = gained - (_worth(tiny, FORGET) - forget)
    assert run.losses[-1] < run.losses[0]
    assert (margins if method.endswith("dpo") else gained).min() > 3.0


def _expected(tiny: _Tiny, method: str, before: Mapping[TokenSequence, Tensor]) -> float:
    """The loss of a step, from what the Hugging Face model itself says of each sequence alone and unpadded: forget term and retain term."""

    def places(own: TokenSequence) -> slice:
        return slice(own.label_from - 1, len(own.ids) - 1)

    def ratio(own: TokenSequence) -> Tensor:
        rows, columns = range(len(own.labels)), list(own.labels)
        return (now[own][places(own)] - before[own][places(own)])[rows, columns].sum()

    def from_certainty(own: TokenSequence) -> Tensor:
        given = now[own][places(own)].double().exp()
        certain = torch.nn.functional.one_hot(torch.tensor(own.labels), given.shape[1])
        middle = (given + certain) / 2
        return (torch.xlogy(given, given) / 2 - torch.xlogy(middle, middle)).sum(-1)

    now = {own: own_log_probs(tiny.loaded, own.ids) for own in before}
    if method.endswith("dpo"):
        margins = torch.stack([ratio(other) - ratio(own) for own, other in zip(FORGET, INSTEAD, strict=True)])
        forget = -torch.log(torch.sigmoid(0.1 * margins)).mean()
    elif method == "idk":
        forget = -torch.cat([own_label_log_probs(tiny.loaded, own) for own in INSTEAD]).mean()
    else:
        forget = torch.cat([from_certainty(own) for own in INSTEAD]).mean()
    if method == "jensun":
        retain = torch.cat([divergence(now[own], before[own])[places(own)] for own in RETAIN]).mean()
    else:
        retain = -torch.cat([own_label_log_probs(tiny.loaded, own) for own in RETAIN]).mean()
    return float(forget + retain)


@pytest.mark.parametrize("method", METHODS)
def test_neither_packing_nor_micro_batches_change_the_loss(any_model_folder: Path, tmp_path: Path, method: str) -> None:
    """All in one batch, some at a time (40 tokens), and one pair a batch: the loss of the whole model, and the same gradients.

    The weights have moved away from the reference, so that no term is at its rest.
    """
    runs = []
    for budget in (10_000, 40, 1):
        tiny = _tiny(any_model_folder, tmp_path)
        before = {own: own_log_probs(tiny.loaded, own.ids) for own in (*FORGET, *INSTEAD, *RETAIN)}
        with torch.no_grad():
            for parameter in tiny.parameters.values():
                parameter.mul_(1.1)
        expected = _expected(tiny, method, before)
        runs.append(_train(tiny, method, [Step(RETAIN, FORGET, INSTEAD)], budget=budget))
        assert runs[-1].losses == pytest.approx([expected], abs=2e-5)
    largest = max(float(gradient.abs().max()) for gradient in runs[0].gradients.values())
    for run in runs[1:]:
        for name, gradient in runs[0].gradients.items():
            assert float((run.gradients[name] - gradient).abs().max()) < 1e-5 * max(1.0, largest), name


def test_jensuns_retain_term_keeps_what_was_said(any_model_folder: Path, tmp_path: Path) -> None:
    """After 30 steps the distributions on what is retained are less than a fifth as far from the reference's as without the term."""
    found = []
    for method in ("jensun+none", "jensun"):
        tiny = _tiny(any_model_folder, tmp_path)
        before = [own_log_probs(tiny.loaded, own.ids) for own in RETAIN]
        _train(tiny, method, [Step(RETAIN, FORGET, INSTEAD)] * 30, rate=5e-3)
        now = [own_log_probs(tiny.loaded, own.ids) for own in RETAIN]
        labelled = [divergence(one, other)[own.label_from - 1 : -1] for own, one, other in zip(RETAIN, before, now, strict=True)]
        found.append(float(torch.cat(labelled).mean()))
    assert found[1] < 0.2 * found[0]
