"""How alike languages are in a layer, over texts that say the same: linear CKA, LRDS and the layers that MUTE takes by them, distances of translations
(FaMSS), Lens's subspaces, and what of the states' variance is meaning, what language."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

import torch
from torch import Tensor

from polyunlearn.tracing.subspaces import lengths_within

LEAST_TEXTS = 3
"""With fewer parallel texts nothing can be said: the centred states of any two lie on a line, and every CKA is 1."""


Texts = Mapping[str, Sequence[str]]
"""Parallel texts by language: the n-th of each say the same (FLORES: `corpus.readers.flores.ReadSentences.by_language`)."""


WIDENS = 2.5
"""How many times the least LRDS of all layers a layer of MUTE's may have: its alpha for Llama-3.1-8B; for others it took 1.5 and 4.4, tuned to each."""


@dataclass(frozen=True)
class Alike:
    """How alike languages are in one layer, means over pairs of them: `cka` over translations, `chance` over texts that are none.

    `meaning`, `language` and `rest` are shares of the states' variance: what a text has in all languages, what a language has in all texts, and neither.
    `lrds` says how far a state's language still tells more than its meaning; `bias` is the distance of translations, `bias_chance` that of other texts.
    `shared` and `specific` are what Lens's subspaces hold of the languages' means: the direction that all have alike, and those that tell them apart.
    """

    cka: float
    chance: float
    meaning: float
    language: float
    rest: float
    lrds: float
    bias: float
    bias_chance: float
    shared: float
    specific: float


def alike(states: Tensor) -> Alike:
    """How alike the languages' states (languages, texts, width) are; raises `ValueError` for fewer than two languages or `LEAST_TEXTS` texts.

    CKA of few texts in a wide layer is high whatever they say. So the texts of the second language are also moved on by one to all but their number, and
    the mean of that stands beside it.
    """
    languages, texts, _ = states.shape
    if languages < 2 or texts < LEAST_TEXTS:
        raise ValueError(f"{languages} languages and {texts} texts: at least 2 and {LEAST_TEXTS} are needed")
    pairs = list(combinations(map(_gram, states), 2))
    by_chance = [_cka(one, other.roll((shift, shift), (0, 1))) for one, other in pairs for shift in range(1, texts)]
    places = torch.combinations(torch.arange(languages)).T
    near, far = (matrices[0][places[0], places[1]].mean().item() for matrices in language_distances(states[None]))
    meaning, language, rest = variance_shares(states)
    shared, specific = lengths_within(states.mean(1))
    return Alike(
        cka=fmean(_cka(one, other) for one, other in pairs),
        chance=fmean(by_chance),
        meaning=meaning,
        language=language,
        rest=rest,
        lrds=lrds(states),
        bias=near,
        bias_chance=far,
        shared=shared,
        specific=specific,
    )


def linear_cka(x: Tensor, y: Tensor) -> float:
    r"""Linear centred kernel alignment (arXiv 1905.00414) of states (texts, width), 0 to 1; 0 where one of them does not vary.

    .. math:: \frac{\lVert Y^\top X \rVert_F^2}{\lVert X^\top X \rVert_F \, \lVert Y^\top Y \rVert_F}

    with columns centred; computed from the (texts, texts) inner products, which are smaller: :math:`\lVert Y^\top X \rVert_F^2 = \langle X X^\top,
    Y Y^\top \rangle`. No rotation of either, nor a scale, changes it.
    """
    return _cka(_gram(x), _gram(y))


def _cka(one: Tensor, other: Tensor) -> float:
    length = (one.norm() * other.norm()).item()
    return (one * other).sum().item() / length if length > 0 else 0.0


def _gram(states: Tensor) -> Tensor:
    centred = states.double() - states.double().mean(0)
    return centred @ centred.T


def lrds(states: Tensor) -> float:
    r"""How much likelier texts are to lie close for their language than for anything else, from states (languages, texts, width); -2 to 2.

    .. math:: E[\cos(h_{at}, h_{au})] - E[\cos(h_{at}, h_{bu})], \quad a \ne b, t \ne u

    over texts that say different things, in one language and in two (MUTE, arXiv 2602.22562, as notes of it say). 0 where languages lie together; high
    where the language dominates. A state of no length has a cosine of 0 to all.
    """
    texts = states.shape[1]
    units = torch.nn.functional.normalize(states.double(), dim=2)
    of_language = units.sum(1)
    # All pairs of texts, less those of one text.
    sums = of_language @ of_language.T - torch.einsum("atw,btw->ab", units, units)
    own = sums.diagonal().mean()
    others = (sums.sum() - sums.diagonal().sum()) / (len(sums) * (len(sums) - 1))
    return ((own - others) / (texts * (texts - 1))).item()


def mute_layers(layers: Sequence[Alike], widens: float = WIDENS) -> tuple[int, ...]:
    r"""The layers in which MUTE (arXiv 2602.22562, as notes of it say) would unlearn: those of at least the mean CKA, and of an LRDS of at most `widens` times the least.

    .. math:: \{ l : CKA_l \ge \overline{CKA}, \; LRDS_l \le \alpha \min_k LRDS_k \}

    They need not adjoin. None where the least LRDS is below 0, which no layer then is a multiple below.
    """
    if not layers:
        return ()
    mean, least = fmean(own.cka for own in layers), min(own.lrds for own in layers)
    return tuple(number for number, own in enumerate(layers) if own.cka >= mean and own.lrds <= widens * least)


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


def language_distances(states: Tensor) -> tuple[Tensor, Tensor]:
    r"""How far apart languages are in every layer, from states (layers, languages, texts, width): two tensors (layers, languages, languages), of texts
    that say the same and, as what chance gives, of texts that do not.

    .. math:: d_{ab} = \frac{1}{T W} \sum_{t, w} (z_{atw} - z_{btw})^2

    z being the states, each number scaled to mean 0 and variance 1 over the languages' texts of its layer (a number that never varies is 0). From 0; 2
    where the states are independent and alike in spread; lower is more aligned (the probe of arXiv 2406.14434).
    """
    texts = states.shape[2]
    flat = states.double().flatten(1, 2)
    centred = flat - flat.mean(1, keepdim=True)
    spread = flat.std(1, correction=0, keepdim=True)
    scaled = (centred / torch.where(spread > 0, spread, 1)).view(states.shape)
    squares = scaled.square().mean(3)
    same = torch.einsum("latw,lbtw->lab", scaled, scaled) / (texts * scaled.shape[3])
    of_all = scaled.mean(2)
    every = torch.einsum("law,lbw->lab", of_all, of_all) / scaled.shape[3]
    lengths = squares.mean(2)[:, :, None] + squares.mean(2)[:, None]
    near = (lengths - 2 * same).clamp(min=0)
    # Of all pairs of texts, less those that say the same.
    return near, (texts * (lengths - 2 * every) - near) / (texts - 1)
