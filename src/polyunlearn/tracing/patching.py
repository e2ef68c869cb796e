"""Patching: states of one set of a model's weights are put into another, layer by layer, to see by which layer the claims are there."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from polyunlearn.models.batching import TOKEN_BUDGET, mapped_by_length
from polyunlearn.models.body import Body, decoder_layers
from polyunlearn.models.forward import OutputHead, sequence_rows
from polyunlearn.models.hooks import at_layers
from polyunlearn.models.sequences import TokenSequence
from polyunlearn.models.trainable import restore
from polyunlearn.tracing.capture import check_whole, layer_states

Places = Literal["all", "answer"]
"""Which states are patched: all, or from the prompt's last token on, those that predict the answer's tokens. Either way patching the last layer gives the
donor's log-probs; the prompt's last token alone would leave the second token of a name to the receiver."""

DEPTH_GATE = 0.05
"""Nats a token that gold must take away at a layer for the layer to count in `depth_score`: tau in arXiv 2605.24614."""


@torch.no_grad()
def patched_log_probs(
    body: Body,
    head: OutputHead,
    parameters: Mapping[str, nn.Parameter],
    donor: Mapping[str, Tensor],
    receiver: Mapping[str, Tensor],
    sequences: Sequence[TokenSequence],
    places: Places = "all",
    after_pass: Callable[[], None] = lambda: None,
) -> Tensor:
    """The mean log-prob of each sequence's labels under the receiver's weights, in nats a token: (1 + layers, sequences).

    First without patching, then with the donor's states in place of those that leave each layer, the last with the norm behind it. Layers below the first that differs
    are not patched, as nothing would change. With `places` "all" a row is exactly a model whose layers up to this one are the donor's and whose others
    are the receiver's. Costs a pass for the donor, one for the receiver and one for each layer from the first that differs on, and memory for the donor's
    states of all layers: 1.4 MB a sequence of 30 tokens where 18 layers are 640 wide, fp32. `after_pass` is called after each. The receiver's weights
    stay in `parameters`.
    """
    check_whole(body)
    layers = len(decoder_layers(body.model))
    restore(parameters, donor)
    given = layer_states(body, sequence_rows(sequences), [partial(_last, count=_patched(own, places)) for own in sequences])
    after_pass()
    restore(parameters, receiver)
    found = [answer_log_probs(body, head, sequences)]
    after_pass()
    first = first_differing(donor, receiver, layers)
    found += found * first
    for layer in range(first, layers):
        if layer == layers - 1:
            # What follows the last layer, such as the norm, goes with it, so that all of it is the donor.
            restore(parameters, {name: own if layer_of(name) is None else receiver[name] for name, own in donor.items()})
        found.append(_log_probs(body, head, sequences, layer, [own[layer] for own in given]))
        after_pass()
    restore(parameters, receiver)
    return torch.stack(found)


@torch.no_grad()
def answer_log_probs(body: Body, head: OutputHead, sequences: Sequence[TokenSequence]) -> Tensor:
    """The mean log-prob of each sequence's labels, (sequences,), nats a token, in the batches of `patched_log_probs`."""
    return _log_probs(body, head, sequences, None, [None] * len(sequences))


def band_of(weights: Mapping[str, Tensor], others: Mapping[str, Tensor], first: int, end: int) -> dict[str, Tensor]:
    """`weights`, but for layers from `first` up to `end`, which is not one of them: these are of `others`."""
    return {name: others[name] if (layer := layer_of(name)) is not None and first <= layer < end else own for name, own in weights.items()}


def first_differing(one: Mapping[str, Tensor], other: Mapping[str, Tensor], layers: int) -> int:
    """The first of so many layers whose leaving states may differ between two sets of weights: 0 where weights of no layer do, `layers` where none do. They may lie on
    different devices."""
    return min((layer_of(name) or 0 for name in one if not torch.equal(one[name], other[name].to(one[name].device))), default=layers)


def share_of_rise(patched: Tensor, target: Tensor) -> list[float]:
    r"""How much of what lies between two states' log-probs each layer's patch brings over; of (1 + layers, sequences) and (sequences,), a share a layer.

    .. math:: \frac{\sum_i p^l_i - p_i}{\sum_i q_i - p_i}

    with p the receiver's and q the donor's log-probs: 0 as the receiver, 1 as the donor. Sums come before the ratio, or a claim that both hold alike would
    count without bounds.
    """
    plain, rest = patched[0].double().sum(), patched[1:].double().sum(1)
    return ((rest - plain) / (target.double().sum() - plain)).tolist()


def depth_score(gold: Sequence[float], unlearned: Sequence[float]) -> float | None:
    r"""The unlearning depth score (arXiv 2605.24614), 0 to 1; by layer, what patching gold's and the unlearned state's states into the learned one takes
    from the claims' log-prob, in nats a token.

    .. math:: \sum_l d^g_l \min(1, \max(0, d^u_l / d^g_l)) \Big/ \sum_l d^g_l \quad \text{over layers with } d^g_l > 0.05

    1: the claims are gone wherever gold lacks them; 0: they are all there, and no more than their last layers keep them unsaid. None where gold takes nothing.
    """
    counted = [(own, other) for own, other in zip(gold, unlearned, strict=True) if own > DEPTH_GATE]
    if not counted:
        return None
    return sum(own * min(1.0, max(0.0, other / own)) for own, other in counted) / sum(own for own, _ in counted)


def _log_probs(
    body: Body, head: OutputHead, sequences: Sequence[TokenSequence], layer: int | None, states: Sequence[Tensor | None]
) -> Tensor:
    """Mean log-probs of the labels, with the last of each sequence's places in `layer` replaced by its `states` where these are given."""

    def work(batch: list[tuple[TokenSequence, Tensor | None]]) -> list[Tensor]:
        rows = sequence_rows([own for own, _ in batch])

        def patch(number: int, leaving: Tensor) -> Tensor | None:
            if number != layer:
                return None
            changed = leaving.clone()
            for index, (row, (_, own)) in enumerate(zip(rows, batch, strict=True)):
                if own is not None:
                    changed[index, len(row.ids) - len(own) : len(row.ids)] = own.to(changed)
            return changed

        with at_layers(body.model, patch):
            hidden = body(rows)
        ends = [hidden[index, own.label_from - 1 : len(own.ids) - 1] for index, (own, _) in enumerate(batch)]
        labels = torch.tensor([label for own, _ in batch for label in own.labels], device=hidden.device)
        found = head.log_probs(torch.cat(ends), labels)
        return [own.mean().cpu() for own in torch.split(found, [len(own.labels) for own, _ in batch])]

    items = list(zip(sequences, states, strict=True))
    return torch.stack(mapped_by_length(items, lambda item: len(item[0].ids), TOKEN_BUDGET, work))


def _patched(sequence: TokenSequence, places: Places) -> int:
    """How many of a sequence's last states are patched: that of its last label predicts nothing."""
    return len(sequence.ids) - 1 if places == "all" else len(sequence.labels)


def _last(states: Tensor, count: int) -> Tensor:
    return states[:, states.shape[1] - count :].clone()


def layer_of(name: str) -> int | None:
    """The number of the layer that a weight of this name is of, None for one of no layer."""
    found = re.search(r"\blayers\.(\d+)\.", name)
    return int(found[1]) if found else None
