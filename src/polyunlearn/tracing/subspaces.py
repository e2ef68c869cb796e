"""What of a layer's states all languages share, and what tells them apart: the subspaces of LSAR and Lens."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from polyunlearn.corpus.stories import Story
from polyunlearn.errors import UserError
from polyunlearn.languages import get_language
from polyunlearn.models.body import Body
from polyunlearn.models.sequences import Encoder
from polyunlearn.tracing.capture import mean_prompt_states
from polyunlearn.training.gradients.parts import within


@dataclass(frozen=True)
class Subspaces:
    """Orthonormal bases of one layer: `shared` (width, 1), the direction that every language's mean has alike, and `specific` (width, languages - 1), in
    which the means differ; they are orthogonal to each other."""

    shared: Tensor
    specific: Tensor


def subspaces(means: Tensor) -> Subspaces:
    r"""The subspaces of one layer, given each language's mean state (languages, width).

    With M the means as columns, the shared vector is the point of their affine hull that is nearest to the origin,

    .. math:: m_a = \frac{(M^+)^\top 1}{\lVert (M^+)^\top 1 \rVert^2}

    so that :math:`M - m_a 1^\top`, whose left singular vectors span what is specific, is orthogonal to it (LSAR, Xie et al., EMNLP 2022, as Lens, arXiv 2410.04407,
    uses it). Of rank languages - 1 nothing is cut off, so the recipe's first decomposition is the identity. Raises `ValueError` for fewer than
    two languages, or where two languages have the same mean.
    """
    if len(means) < 2:
        raise ValueError(f"{len(means)} language: what is shared is told from what differs by two or more")
    columns = means.double().T
    shared = _nearest(columns)
    basis, lengths, _ = torch.linalg.svd(columns - shared[:, None], full_matrices=False)
    specific, kept = basis[:, : len(means) - 1], lengths[: len(means) - 1]
    if not bool((kept > 1e-9 * columns.norm()).all()):
        raise ValueError("two languages have the same mean, so nothing tells them apart")
    return Subspaces((shared / shared.norm())[:, None].float(), specific.float())


def lengths_within(means: Tensor) -> tuple[float, float]:
    r"""What `subspaces` holds of the languages' means (languages, width): the shares of their squared lengths in the shared direction and in the specific space.

    .. math:: \sum_l (u^\top m_l)^2 \Big/ \sum_l \lVert m_l \rVert^2

    with u along the shared vector; the rest lies in the specific space, so both add up to 1. Along u the means do not differ, so it is lengths and no variances that are
    shared out. 0 of both where all means are 0; languages with the same mean have nothing that is specific.
    """
    columns = means.double().T
    whole = columns.square().sum().item()
    if whole == 0:
        return 0.0, 0.0
    shared = _nearest(columns)
    along = ((shared @ columns).square().sum() / shared.square().sum()).item() / whole
    return along, 1 - along


def _nearest(columns: Tensor) -> Tensor:
    """The point of the columns' affine hull that is nearest to the origin."""
    direction: Tensor = torch.linalg.pinv(columns).T @ torch.ones(columns.shape[1], dtype=torch.float64)
    return direction / direction.square().sum()


def direction(own: Tensor, english: Tensor, specific: Tensor) -> Tensor:
    r"""How far a language's mean state (width,) lies from the English one in the basis (width, rank) of what tells languages apart: Lens's
    :math:`\Delta_l = P_s m_l - P_s m_{en}`, of the width of the states."""
    return within(own - english, specific)


def named_bases(means: Tensor, languages: Sequence[str], name: str) -> list[Tensor]:
    """Of every layer an orthonormal basis (width, rank) of what is named, given the languages' mean states (layers, languages, width): "shared", "specific", or, by the
    tag of a language other than English, `direction` alone."""
    bases = []
    for layer in means:
        found = subspaces(layer)
        if name in ("shared", "specific"):
            bases.append(found.shared if name == "shared" else found.specific)
        else:
            own, english = (layer[languages.index(tag)] for tag in (name, "en"))
            towards = direction(own, english, found.specific)
            bases.append((towards / towards.norm())[:, None])
    return bases


def story_means(body: Body, encoder: Encoder, stories: Sequence[Story], languages: Sequence[str]) -> Tensor:
    """The mean states (layers, languages, width), fp32, over the stories' real questions in each language; `body` must compute all layers.

    Raises:
        UserError: for a single language.
    """
    if len(languages) < 2:
        raise UserError(f"languages [{', '.join(languages)}]: what languages share is told by two or more; name another")
    by_language = []
    for tag in languages:
        asked = [story.editions[tag].real_question for story in stories]
        sequences = [encoder.answered(get_language(tag), own.question, own.answer) for own in asked]
        by_language.append(mean_prompt_states(body, sequences).mean(1))
    return torch.stack(by_language, dim=1)
