"""What is retained, looked at from where forgetting leads: the first-order form of a meta-learned step."""

from collections.abc import Mapping

import torch
from torch import nn

from polyunlearn.models.trainable import restore, snapshot
from polyunlearn.training.gradients.parts import add_gradient, forget_part, gradient_of, inner
from polyunlearn.training.loop import Backward, Step


def looking_ahead(step: Step, backward: Backward, parameters: Mapping[str, nn.Parameter], body: nn.Module, *, reach: float = 0.3) -> float:
    r"""The forget gradient where the weights are, and the retain gradient where a step of forgetting alone would take them.

    .. math:: \nabla L_f(\theta) + \nabla L_r\Bigl(\theta - \beta \frac{\nabla L_f(\theta)}{\lVert \nabla L_f(\theta) \rVert}\Bigr)

    So the step mends what the next bit of forgetting is going to break, in whichever language that is, instead of what is broken already. After the
    virtual step of Wang, Lipton & Tsvetkov (arXiv 2010.03017), without the gradient of a gradient, as in first-order MAML (arXiv 1703.03400); there it
    is a language's own adapter that is chosen so, here it is all that trains. `reach` is :math:`\beta`, a length, since AdamW's steps do not grow with
    the gradient: a step of 5e-5 on each of sixty million weights is 0.4 long. The loss returned is the forget loss at :math:`\theta` and the retain
    loss ahead; the weights return to :math:`\theta` bit for bit.
    """
    gradient, loss = gradient_of(forget_part(step), backward, parameters)
    length = inner(gradient, gradient) ** 0.5
    before = snapshot(parameters)
    with torch.no_grad():
        for name, weight in parameters.items():
            weight.sub_(gradient[name], alpha=reach / length if length > 0 else 0.0)
    loss += backward(Step(retain=step.retain), moved=True)
    restore(parameters, before)
    add_gradient(gradient, parameters)
    return loss
