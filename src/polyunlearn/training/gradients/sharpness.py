"""Sharpness-aware minimisation of the forget loss: what is forgotten stays forgotten when the weights are moved a little."""

from collections.abc import Mapping

import torch
from torch import nn

from polyunlearn.models.trainable import restore, snapshot
from polyunlearn.training.gradients.parts import forget_part, gradient_of, inner
from polyunlearn.training.loop import Backward, Step


def sharpness_aware(step: Step, backward: Backward, parameters: Mapping[str, nn.Parameter], body: nn.Module, *, rho: float = 0.05) -> float:
    r"""The forget gradient where the forget loss is worst nearby, and the retain gradient where the weights are (Fan et al., arXiv 2502.05374).

    .. math:: \nabla L_f\Bigl(\theta + \rho \frac{\nabla L_f(\theta)}{\lVert \nabla L_f(\theta) \rVert}\Bigr) + \nabla L_r(\theta)

    The norm is over all trained weights together and of the whole step's gradient; where it is 0, nothing is moved. The loss returned is that at
    :math:`\theta`, to which the weights return bit for bit. Whether an answer is let go (`training.loop.Part`) is decided where its gradient is
    taken: one that comes back so near by is not gone. What is left in a language (`training.weighting`) is read off at :math:`\theta`.
    """
    forget = forget_part(step)
    gradient, loss = gradient_of(forget, backward, parameters)
    length = inner(gradient, gradient) ** 0.5
    before = snapshot(parameters)
    with torch.no_grad():
        for name, weight in parameters.items():
            weight.add_(gradient.pop(name), alpha=rho / length if length > 0 else 0.0)
    backward(forget, moved=True)
    restore(parameters, before)
    return loss + backward(Step(retain=step.retain))
