"""The forget gradient without what works against the languages that are retained."""

import math
from collections.abc import Mapping, Sequence

from torch import nn

from polyunlearn.training.gradients.parts import forget_part, gradient_of, inner
from polyunlearn.training.loop import Backward, Step

SWEEPS = 10_000
"""Of `lifts`, at most; two languages whose gradients have a cosine of 0.99 take some 1,200."""


def away_from_retained(step: Step, backward: Backward, parameters: Mapping[str, nn.Parameter], body: nn.Module) -> float:
    r"""The retain gradients :math:`g_l`, one for each language of what is retained, and the forget gradient :math:`g_f` brought to agree with each.

    .. math:: \sum_l g_l + \arg\min_g \lVert g - g_f \rVert^2 \quad \text{where } \langle g, g_l \rangle \ge 0 \text{ for all } l

    With one language it is gradient surgery (Yu et al., arXiv 2001.06782): :math:`g = g_f - \langle g_f, g_l \rangle / \lVert g_l \rVert^2 \, g_l` where
    the two point against each other. With several, surgery goes through them in turn; the last one decides, and may bring back what an earlier one
    took out. The nearest gradient that agrees with all (as in arXiv 1706.08840) knows no order. It takes memory for a gradient a language.
    """
    forget, loss = gradient_of(forget_part(step), backward, parameters)
    retained = []
    for language in sorted({own.language for own in step.retain}):
        part = Step(retain=tuple(own for own in step.retain if own.language == language))
        gradient, share = gradient_of(part, backward, parameters)
        retained.append(gradient)
        loss += share
    found = lifts([[inner(one, other) for other in retained] for one in retained], [inner(forget, one) for one in retained])
    for name, weight in parameters.items():
        weight.grad = forget[name]
        for lift, one in zip(found, retained, strict=True):
            weight.grad.add_(one[name], alpha=1 + lift)
    return loss


def lifts(products: Sequence[Sequence[float]], agreements: Sequence[float]) -> list[float]:
    """How much of each retain gradient must be added to the forget gradient for the nearest that agrees with all.

    `products` are the inner products of the retain gradients with each other, `agreements` theirs with the forget gradient. Hildreth's method:
    each gradient in turn is added, or taken back from what was added, until it agrees, as often as it takes.
    """
    found = [0.0] * len(agreements)
    for _ in range(SWEEPS):
        before = list(found)
        for at, row in enumerate(products):
            if row[at] > 0:
                agreement = agreements[at] + sum(lift * product for lift, product in zip(found, row, strict=True))
                found[at] = max(0.0, found[at] - agreement / row[at])
        if all(math.isclose(lift, last, rel_tol=1e-12) for lift, last in zip(found, before, strict=True)):
            break
    return found
