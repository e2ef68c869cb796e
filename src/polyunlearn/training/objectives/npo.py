"""Negative preference optimisation: each answer is pushed down until it is improbable beside what it was, and then let go."""

from collections.abc import Sequence

import torch
from torch import Tensor

from polyunlearn.training.cards import POSITIVE, Card
from polyunlearn.training.labels import Labels, Totals, asked

BETA = 0.1
"""The inverse temperature of the paper."""


def npo(labels: Sequence[Labels], totals: Totals, *, beta: float = BETA) -> Tensor:
    r"""Treat every answer to forget as the rejected one of a preference pair.

    .. math::
        L = -\frac{2}{\beta}\,\frac{1}{n} \sum_i \log \sigma\Bigl(-\beta \log \frac{p_\theta(y_i \mid x_i)}{p_\mathrm{ref}(y_i \mid x_i)}\Bigr)

    :math:`p(y_i \mid x_i)` is the probability of the whole answer: its summed log-probs, not its logits. `beta` goes to gradient ascent as it goes
    to 0. Bounded below by 0.
    """
    ratios = torch.stack([log_ratio(own) for own in labels])
    return 2 / beta * torch.nn.functional.softplus(beta * ratios).sum() / totals.sequences


def log_ratio(own: Labels) -> Tensor:
    """How much more probable (nats) the whole answer is than under the reference."""
    return own.log_probs.sum() - asked(own.reference).log_probs.sum()


NPO = Card(
    name="npo",
    part="forget",
    title="Negative preference optimisation",
    formula="-2/β · mean over answers of log σ(-β log(p / p_ref))",
    paper="Zhang et al., arXiv 2404.05868",
    cost="once, before the first step, a forward pass over the distinct answers to forget; no reference model stays in memory",
    term=npo,
    bounds={"beta": POSITIVE},
    needs=frozenset({"reference"}),
)
