"""Whether a model is computed here as it computes itself, asked on a few tokens when it is loaded."""

from dataclasses import replace

import torch
from torch import Tensor
from transformers import PreTrainedModel

from polyunlearn.errors import UserError, first_line
from polyunlearn.models.body import Body, decoder_layers
from polyunlearn.models.forward import OutputHead
from polyunlearn.models.rows import TokenRow

LENGTHS = (3, 4)
"""Tokens of the two texts that are compared."""

TOLERANCE = {torch.float32: 0.01}
"""By how much log-probs may differ, as a share of how far they spread over the vocabulary."""

ROUNDED_TOLERANCE = 0.15
"""The same for weights of 16 bits, whose rounding alone can come to some hundredths."""


@torch.no_grad()
def check_agreement(model: PreTrainedModel) -> None:
    """Compare packed passes, with no layer frozen and with one, with what the model itself makes of each text alone.

    Layers that carry a state past the attention mask, factors beside the layers, or a last norm of another name would else give wrong figures
    without a word.

    Raises:
        UserError: where they differ beyond rounding, or the model cannot be computed so.
    """
    name = type(model).__name__
    remedy = "it is not supported; use a Llama-, Qwen- or Gemma-type model with plain attention"
    frozen = min(1, len(decoder_layers(model)) - 1)
    head = OutputHead.of(model)
    size = len(head.weight)
    texts = [tuple(size * (2 * place + 1 + number) // 11 for place in range(length)) for number, length in enumerate(LENGTHS)]
    own = [model(input_ids=torch.tensor([text], device=model.device), use_cache=False).logits[0] for text in texts]
    wanted = torch.log_softmax(torch.cat(own).float(), 1)
    rows = [TokenRow.plain(text) for text in texts]
    for body in (Body(model), Body(model, frozen)):
        try:
            found = torch.log_softmax(head.logits(body.packed(rows)), 1)
            body.read([replace(row, reads=tuple(range(len(row.ids)))) for row in rows])
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # What an unknown architecture does not take is raised as anything.
            raise UserError(
                f"{name}: packed texts cannot be computed with it ({type(error).__name__}: {first_line(error)}); {remedy}"
            ) from error
        if not _agree(found, wanted, TOLERANCE.get(model.dtype, ROUNDED_TOLERANCE)):
            raise UserError(f"{name}: packed texts, or some layers on their own, are not computed as the model computes them; {remedy}")


def _agree(found: Tensor, wanted: Tensor, tolerance: float) -> bool:
    """Whether no position differs by more than a share of the spread of its log-probs; weights that predict no numbers tell nothing."""
    spread = (wanted - wanted.mean(1, keepdim=True)).norm(dim=1)
    return not bool(wanted.isfinite().all()) or bool(((found - wanted).norm(dim=1) <= tolerance * spread).all())
