"""Unlearning with an adapter for each language beside the weights that all share, which become one model at the end."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Literal

from polyunlearn.models.adapters import LanguageAdapters
from polyunlearn.models.trainable import restore, snapshot
from polyunlearn.training.gradients.adapters import in_own_language, meta_learned
from polyunlearn.training.loop import Rule
from polyunlearn.training.unlearning import Training, trained

Adapters = Literal["none", "language", "meta", "meta_first_order"]
"""Whether languages have adapters, and what trains these: the loss, as it trains what is shared, or what steps of the shared weights do to what is
retained, with the second derivative or without."""


def adapted(given: Training, way: Adapters, *, rank: int, alpha: int, seed: int) -> list[float]:
    r"""Train the weights with an adapter beside them for each language in which something is forgotten, and leave them with the mean of the adapters added; returns
    the loss of each step. Languages that are retained alone are read without one: theirs would count in the mean and forget nothing.

    .. math:: \theta + \frac{1}{L} \sum_l \phi_l

    `after_step` is shown this one model too. The mean, not the sum that branches come to (`training.branches`): every adapter has all the steps, and what
    languages learn alike would count L times. The virtual step of "meta" is as long as AdamW's first, by which each weight moves as far as the rate says.
    """
    adapters = LanguageAdapters(
        given.body.model,
        given.parameters,
        {own.language for step in given.steps for own in (*step.forget, *step.instead)},
        rank=rank,
        alpha=alpha,
        seed=seed,
    )
    reach = given.optimiser.rate * sum(weight.numel() for weight in given.parameters.values()) ** 0.5
    rule: Rule = (
        partial(in_own_language, adapters=adapters)
        if way == "language"
        else partial(meta_learned, adapters=adapters, reach=reach, second_order=way == "meta")
    )
    losses = trained(
        replace(
            given,
            parameters={**given.parameters, **adapters.parameters},
            rule=rule,
            after_step=_merged(given, adapters),
        )
    )
    adapters.merge()
    return losses


def _merged(given: Training, adapters: LanguageAdapters) -> Callable[[int, float], bool]:
    """`after_step` with the adapters merged, which stand apart again when training goes on."""

    def after_step(number: int, loss: float) -> bool:
        apart = snapshot(given.parameters)
        adapters.merge()
        stop = given.after_step(number, loss)
        restore(given.parameters, apart)
        return stop

    return after_step
