"""Which languages to teach or to unlearn in, read off parallel texts and a model alone: by a probe of its language bias with measured transfer (FaMSS,
arXiv 2406.14434), and by greedy coverage (COVER, arXiv 2609.40286).

The strategy `traced` reads its languages off states that hold a claim (`tracing.languages`); here nothing need have been learned yet. Coverage is the
same figure in both (`tracing.languages.coverage`), so that the choices can be compared. The strategies `aligned` and `covering` unlearn in them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn

from polyunlearn.corpus.claims import Tells
from polyunlearn.corpus.stories import Story
from polyunlearn.errors import UserError
from polyunlearn.languages import get_language
from polyunlearn.models.body import Body
from polyunlearn.models.forward import OutputHead
from polyunlearn.models.loading import LoadedModel
from polyunlearn.tracing.capture import mean_text_states
from polyunlearn.tracing.coverage import gradient_sketch, inner_products
from polyunlearn.tracing.languages import Gram, coverage
from polyunlearn.tracing.similarity import LEAST_TEXTS, Texts, language_distances

Transfer = Mapping[str, Mapping[str, float]]
"""By the language that is taught and the one that is asked, what the first does for the second; higher is more."""


TIE = 1e-6
"""The last bits of a coverage are no gain."""


@dataclass(frozen=True)
class RankedLanguage:
    """A language and why it stands where it does: its mean distance from the others' translations (`bias`) and from their other texts (`chance`), and its
    mean transfer to the others (`contribution`)."""

    language: str
    bias: float
    chance: float
    contribution: float


@dataclass(frozen=True)
class Choice:
    """The languages that were chosen, how far they cover each language, and why, in sentences."""

    chosen: tuple[str, ...]
    covered: dict[str, float]
    reasons: tuple[str, ...]

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "Choice":
        """The choice that `dataclasses.asdict` made plain data of."""
        return cls(tuple(data["chosen"]), data["covered"], tuple(data["reasons"]))


@dataclass(frozen=True)
class Selection:
    """The languages from the best to the worst by bias and contribution, the first of them (`best`), and the set that greedy coverage takes."""

    ranking: tuple[RankedLanguage, ...]
    best: Choice
    greedy: Choice


def article_texts(stories: Sequence[Story], languages: Sequence[str] = ()) -> dict[str, list[str]]:
    """The stories' true articles, in these languages, or in those that all have."""
    return {tag: [get_language(tag).joiner.join(story.editions[tag].article) for story in stories] for tag in languages or _shared(stories)}


def fact_texts(claims: Sequence[Tells]) -> dict[str, list[str]]:
    """What is to be taught or unlearned itself, each question with its answer, in the languages that all have: with it a selection is aware of the facts."""
    return {
        tag: [
            f"{own.fake_questions[0]}{get_language(tag).joiner}{own.keyword}" for claim in claims for own in [claim.editions[tag]]
        ]
        for tag in _shared(claims)
    }  # fmt: skip


def select_languages(
    loaded: LoadedModel,
    head: OutputHead,
    parameters: Mapping[str, nn.Parameter],
    texts: Texts,
    size: int,
    transfer: Transfer | None = None,
    work: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Selection:
    """Rank the languages of `texts` and choose `size` of them, in both ways; the weights stay as they are.

    Gradients are of the texts' log-probs under `head` for `parameters`, which must be free to train. `transfer` is measured: a study's, or a trace's
    `coverage`; without it the coverage of one language's texts by another's stands in for it, the first-order effect of a step.

    Raises:
        UserError: for fewer than two languages or three texts, texts that are not parallel, a size that does not fit, or transfer that lacks a pair.
    """
    _check(texts, size, transfer)
    body, tags = Body(loaded.model), list(texts)
    sequences = {tag: [loaded.encoder.running(get_language(tag), text) for text in texts[tag]] for tag in tags}
    states, sketches = [], {}
    for number, tag in enumerate(tags, start=1):
        states.append(mean_text_states(body, sequences[tag]))
        sketches[tag] = gradient_sketch(body, head, parameters, sequences[tag])
        work("probing languages", number, len(tags))
    gram = inner_products(sketches)
    near, far = (matrices.mean(0) for matrices in language_distances(torch.stack(states, dim=1)))
    pairs = transfer or {one: {other: coverage(gram, (one,), other) for other in tags} for one in tags}
    ranking = ranked(tags, near, far, pairs)
    best, greedy = tuple(own.language for own in ranking[:size]), cover(gram, tags, size)
    return Selection(
        ranking, _choice("By bias and contribution", best, ranking, gram), _choice("By greedy coverage", greedy, ranking, gram)
    )


def ranked(tags: Sequence[str], near: Tensor, far: Tensor, transfer: Transfer) -> tuple[RankedLanguage, ...]:
    """Languages by the mean of two places: by bias, the least first, and by contribution, the largest first; of equal ones the less biased.

    `near` and `far` are (languages, languages), in the order of `tags`. Places are averaged rather than figures, which have no unit in common.
    """
    found = []
    for at, tag in enumerate(tags):
        others = [number for number in range(len(tags)) if number != at]
        bias, chance = (matrix[at, others].mean().item() for matrix in (near, far))
        found.append(RankedLanguage(tag, bias, chance, fmean(transfer[tag][tags[number]] for number in others)))
    biases, gains = sorted(own.bias for own in found), sorted((own.contribution for own in found), reverse=True)
    return tuple(sorted(found, key=lambda own: (biases.index(own.bias) + gains.index(own.contribution), own.bias, own.language)))


def cover(gram: Gram, tags: Sequence[str], size: int) -> tuple[str, ...]:
    """Up to `size` of the languages, each the one that raises the mean coverage of all most beside those before it; it ends where none raises it.

    Languages share the steps, so a set's coverage is no sum of its members': the two best need not be the best two. Of equal ones the first in the
    alphabet.
    """

    def mean(told: Sequence[str]) -> float:
        return fmean(coverage(gram, told, asked) for asked in tags)

    chosen: tuple[str, ...] = ()
    while len(chosen) < size:
        best = max((tag for tag in sorted(tags) if tag not in chosen), key=lambda tag: mean((*chosen, tag)))
        if chosen and mean((*chosen, best)) <= mean(chosen) + TIE:
            break
        chosen = (*chosen, best)
    return chosen


def _choice(what: str, chosen: tuple[str, ...], ranking: Sequence[RankedLanguage], gram: Gram) -> Choice:
    covered = {own.language: coverage(gram, chosen, own.language) for own in ranking}
    least = min(covered, key=lambda tag: covered[tag])
    reasons = [
        f"{_name(own.language)}: distance from translations {own.bias:.2f}, from other texts {own.chance:.2f}; contribution {own.contribution:.2f}."
        for own in ranking
    ]
    reasons.append(
        f"{what}: {' and '.join(map(_name, chosen))}, which cover all languages by {fmean(covered.values()):.2f} on average and {_name(least)} least, "
        f"by {covered[least]:.2f}."
    )
    return Choice(chosen, covered, tuple(reasons))


def _check(texts: Texts, size: int, transfer: Transfer | None) -> None:
    counts = {tag: len(own) for tag, own in texts.items()}
    if len(counts) < 2 or min(counts.values()) < LEAST_TEXTS:
        raise UserError(
            f"{len(counts)} languages with {min(counts.values(), default=0)} texts: give at least 2 languages and {LEAST_TEXTS} texts"
        )
    if len(set(counts.values())) > 1:
        raise UserError(f"the texts are not parallel: {counts}; give each in every language")
    if not 1 <= size <= len(counts):
        raise UserError(f"{size} languages cannot be chosen of {len(counts)}; choose 1 to {len(counts)}")
    lacking = [f"{one} to {other}" for one in counts for other in counts if one != other and other not in (transfer or {}).get(one, {})]
    if transfer is not None and lacking:
        raise UserError(f"no transfer was measured from {lacking[0]}; measure it between all languages of the texts, or leave it out")


def _shared(claims: Sequence[Tells]) -> list[str]:
    return [tag for tag in claims[0].editions if all(tag in claim.editions for claim in claims)] if claims else []


def _name(tag: str) -> str:
    return get_language(tag).name
