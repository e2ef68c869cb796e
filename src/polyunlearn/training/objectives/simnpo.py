"""Simple negative preference optimisation: NPO without a reference, on the mean log-prob of an answer."""

from collections.abc import Sequence

import torch
from torch import Tensor

from polyunlearn.training.cards import ANY_NUMBER, POSITIVE, Card
from polyunlearn.training.labels import Labels, Totals

BETA = 4.5
"""The inverse temperature of the authors' code for the tenth of TOFU; their forget term has a weight of 0.125 there, so `retain_weight` is to be
read beside it."""


def simnpo(labels: Sequence[Labels], totals: Totals, *, beta: float = BETA, margin: float = 0.0) -> Tensor:
    r"""Push answers to forget down by their length-normalised log-prob.

    .. math::
        L = -\frac{2}{\beta}\,\frac{1}{n} \sum_i \log \sigma\Bigl(-\frac{\beta}{|y_i|} \log p_\theta(y_i \mid x_i) - \gamma\Bigr)

    `margin` is :math:`\gamma`. Short and long answers are pushed alike, which matters across languages whose tokenisers split differently.
    Bounded below by 0.
    """
    means = torch.stack([own.log_probs.mean() for own in labels])
    return 2 / beta * torch.nn.functional.softplus(beta * means + margin).sum() / totals.sequences


SIMNPO = Card(
    name="simnpo",
    part="forget",
    title="Simple negative preference optimisation",
    formula="-2/β · mean over answers of log σ(-β/|y| · log p - margin), β = beta",
    paper="Fan et al., arXiv 2410.07163",
    cost="as `gradient_difference`",
    term=simnpo,
    bounds={"beta": POSITIVE, "margin": ANY_NUMBER},
)
