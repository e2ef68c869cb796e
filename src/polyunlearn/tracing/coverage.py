"""The gradients of the false answers in each language, and their inner products, in bounded memory."""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from polyunlearn.corpus.claims import Tells
from polyunlearn.languages import get_language
from polyunlearn.models.batching import packs
from polyunlearn.models.body import Body
from polyunlearn.models.forward import OutputHead, label_log_probs
from polyunlearn.models.sequences import Encoder, TokenSequence

BUCKETS = 2**20
"""Numbers that a gradient is sketched into, 4 MiB: a cosine is then off by no more than a standard error of sqrt(2 / 2^20) = 0.0014."""

SEED = 0
"""Of the sketch's signs and buckets, which all languages must share."""

CHUNK = 2**22
"""Coordinates whose signs and buckets are held at a time."""


def claim_questions(claims: Sequence[Tells], tag: str, encoder: Encoder) -> list[TokenSequence]:
    """What a gradient is taken of: each claim's answer to the first wording of its question, in a language that all of them have."""
    language, editions = get_language(tag), [claim.editions[tag] for claim in claims]
    return [encoder.answer_only(language, edition.fake_questions[0], edition.keyword) for edition in editions]


def gradient_sketch(
    body: Body, head: OutputHead, parameters: Mapping[str, nn.Parameter], sequences: Sequence[TokenSequence], buckets: int = BUCKETS
) -> Tensor:
    """The gradient of the summed log-prob of the labels for `parameters`, sketched into (buckets,), fp32 on the CPU.

    For a method that lowers the answers' log-probs, whatever its weights of answers and tokens, it stands for the forget loss. Methods that take something
    out of the gradient (`cir`), move states (`rmu`) or teach another answer (`idk`) move the weights along other directions, so for them what one language
    covers of another is the first-order effect of plain unlearning, not of theirs. The sum, not the mean, makes a
    mixture's gradient the sum of its languages'. The weights stay as they are, and `.grad` is empty afterwards.
    """
    for batch in packs([len(own.ids) for own in sequences]):
        torch.cat(label_log_probs(body, head, [sequences[index] for index in batch])).sum().backward()  # type: ignore[no-untyped-call]
    gradients = [parameters[name].grad for name in sorted(parameters)]
    result = sketch((own for own in gradients if own is not None), buckets, torch.Generator().manual_seed(SEED))
    for parameter in parameters.values():
        parameter.grad = None
    return result


def sketch(vectors: Iterable[Tensor], buckets: int, generator: torch.Generator) -> Tensor:
    r"""The count sketch (Charikar, Chen & Farach-Colton 2002) of vectors laid end to end: (buckets,), fp32.

    Each coordinate is added to a random bucket with a random sign. For two vectors sketched alike the inner product of the sketches has the mean
    :math:`\langle x, y \rangle` and a variance of at most :math:`(\lVert x \rVert^2 \lVert y \rVert^2 + \langle x, y \rangle^2) / \text{buckets}`
    (Weinberger et al., arXiv 0902.2206), whatever their length.
    """
    result = torch.zeros(buckets)
    for vector in vectors:
        for part in torch.split(vector.detach().flatten(), CHUNK):
            drawn = torch.randint(2 * buckets, (len(part),), generator=generator)
            result.index_add_(0, drawn // 2, part.float().cpu() * (1 - 2 * (drawn % 2)))
    return result


def inner_products(sketches: Mapping[str, Tensor]) -> dict[tuple[str, str], float]:
    """The inner product of every two sketches, in double precision."""
    doubles = {tag: own.double() for tag, own in sketches.items()}
    return {(one, other): torch.dot(doubles[one], doubles[other]).item() for one in doubles for other in doubles}
