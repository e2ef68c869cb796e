"""How alike languages are in a layer, over texts that say the same: linear CKA, and what of the states' variance is meaning, what language."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from statistics import fmean

import torch
from torch import Tensor

from polyunlearn.models.body import Body
from polyunlearn.models.forward import sequence_rows
from polyunlearn.models.sequences import TokenSequence
from polyunlearn.tracing.capture import layer_states

LEAST_TEXTS = 3
"""With fewer parallel texts nothing can be said: the centred states of any two lie on a line, and every CKA is 1."""


@dataclass(frozen=True)
class Alike:
    """How alike languages are in one layer, means over pairs of them: `cka` over translations, `chance` over texts that are none.

    `meaning`, `language` and `rest` are shares of the states' variance: what a text has in all languages, what a language has in all texts, and neither.
    """

    cka: float
    chance: float
    meaning: float
    language: float
    rest: float


def alike(states: Tensor) -> Alike:
    """How alike the languages' states (languages, texts, width) are; raises `ValueError` for fewer than two languages or `LEAST_TEXTS` texts.

    CKA of few texts in a wide layer is high whatever they say. So the texts of the second language are also moved on by one to all but their number, and
    the mean of that stands beside it.
    """
    languages, texts, _ = states.shape
    if languages < 2 or texts < LEAST_TEXTS:
        raise ValueError(f"{languages} languages and {texts} texts: at least 2 and {LEAST_TEXTS} are needed")
    pairs = list(combinations(states, 2))
    by_chance = [linear_cka(one, other.roll(shift, 0)) for one, other in pairs for shift in range(1, texts)]
    return Alike(fmean(linear_cka(one, other) for one, other in pairs), fmean(by_chance), *variance_shares(states))


def linear_cka(x: Tensor, y: Tensor) -> float:
    r"""Linear centred kernel alignment (arXiv 1905.00414) of states (texts, width), 0 to 1; 0 where one of them does not vary.

    .. math:: \frac{\lVert Y^\top X \rVert_F^2}{\lVert X^\top X \rVert_F \, \lVert Y^\top Y \rVert_F}

    with columns centred; computed from the (texts, texts) inner products, which are smaller: :math:`\lVert Y^\top X \rVert_F^2 = \langle X X^\top,
    Y Y^\top \rangle`. No rotation of either, nor a scale, changes it.
    """
    own, other = (_gram(states) for states in (x, y))
    length = (own.norm() * other.norm()).item()
    return (own * other).sum().item() / length if length > 0 else 0.0


def variance_shares(states: Tensor) -> tuple[float, float, float]:
    r"""The shares of meaning, language and rest in the variance of states (languages, texts, width): what two states, each of any language and text, differ by.

    Variance components of the two-way table :math:`h_{lt} = m + a_l + b_t + r_{lt}` (Searle, Casella & McCulloch 1992), summed over the width: the mean
    squares of texts, languages and rest give :math:`\sigma_b^2 = (MS_b - MS_r) / L`, :math:`\sigma_a^2 = (MS_a - MS_r) / T` and :math:`\sigma_r^2 = MS_r`,
    none below 0. States at random have rest 1, however few there are. The a_l span the language-specific subspace that LSAR and Lens (arXiv 2410.04407)
    find by SVD; here no rank has to be chosen. All are 0 where nothing varies.
    """
    table = states.double()
    languages, texts, _ = table.shape
    mean = table.mean((0, 1))
    by_language, by_text = table.mean(1) - mean, table.mean(0) - mean
    left = table - mean - by_language[:, None] - by_text[None]
    rest = left.square().sum().item() / ((languages - 1) * (texts - 1))
    meaning = max(0.0, languages * by_text.square().sum().item() / (texts - 1) - rest) / languages
    language = max(0.0, texts * by_language.square().sum().item() / (languages - 1) - rest) / texts
    whole = meaning + language + rest
    return (meaning / whole, language / whole, rest / whole) if whole > 0 else (0.0, 0.0, 0.0)


def mean_prompt_states(body: Body, sequences: Sequence[TokenSequence]) -> Tensor:
    """The states (layers, sequences, width), fp32, means over the tokens of each prompt but the first.

    That one is the same in all texts; attention dumps on it what it has no use for, and its length would drown the others.
    """
    kept = [partial(_prompt_mean, end=own.label_from) for own in sequences]
    return torch.stack(layer_states(body, sequence_rows(sequences), kept), dim=1)


def _prompt_mean(states: Tensor, end: int) -> Tensor:
    return states[:, 1:end].float().mean(1)


def _gram(states: Tensor) -> Tensor:
    centred = states.double() - states.double().mean(0)
    return centred @ centred.T
