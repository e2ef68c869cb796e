r"""What spread between languages goes with: a regression of the fake rank that learning added on what two languages share.

For claims learned in a and asked in b (b other than a), with y what learning added to the fake rank,

.. math:: y = \beta_0 + \beta_1 [\text{same script}] + \beta_2 [\text{same family}] + \beta_3 [b\ \text{low-resource}] + \beta_4\, \text{overlap}

by ordinary least squares, every pair of languages counting alike. Its interval draws seeds, then stories, a story that seeds share with all of them. Languages are not drawn: a study has a
few pairs, whose features go together, so a coefficient describes these pairs and is no law about languages.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from polyunlearn.analysis.clusters import Array, clusters, drawn_weights, percentiles, story_weights
from polyunlearn.analysis.summary import Values
from polyunlearn.corpus.stories import Story
from polyunlearn.intervals import Estimate
from polyunlearn.languages import get_language
from polyunlearn.study.cells import Cell
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.store import Store

FEATURES = ("same script", "same family", "low-resource", "token overlap")

Pair = tuple[str, str]
"""The language that the claims were learned in, and the one that is asked in."""


@dataclass(frozen=True)
class Regression:
    """Coefficients of `pairs` language pairs, the constant first. `left_out` names features that cannot be told from the others there."""

    coefficients: Mapping[str, Estimate]
    left_out: tuple[str, ...]
    pairs: int


def token_overlap(one: Collection[int], other: Collection[int]) -> float:
    """Of the distinct tokens of two languages' texts, the share that both have, |A ∩ B| / |A ∪ B|, from 0 to 1 (word pieces: Pires et al. 2019,
    arXiv 1906.01502). Raises `ValueError` where neither has a token."""
    everything = set(one) | set(other)
    if not everything:
        raise ValueError("an overlap needs texts with at least one token")
    return len(set(one) & set(other)) / len(everything)


def corpus_tokens(stories: Sequence[Story], languages: Sequence[str], tokenise: Callable[[str], Iterable[int]]) -> dict[str, set[int]]:
    """The distinct tokens of the fake articles in each language."""
    return {tag: {one for story in stories for text in story.editions[tag].fake_article for one in tokenise(text)} for tag in languages}


def spread_regression(config: StudyConfig, store: Store, tokens: Mapping[str, Collection[int]] | None, seed: int = 0) -> Regression | None:
    """The regression over the seeds of a study whose learned states are finished; `tokens` by language, None to go without overlap.

    None where no seed is finished, or there is one pair of languages alone. `seed` decides the draws alone.
    """
    cells = {own: [Cell("base", own), *(Cell("learned", own, source) for source in config.sources)] for own in config.seeds}
    finished = [own for own, needed in cells.items() if all(store.is_done(cell) for cell in needed)]
    pairs = [(source, tag) for source in config.sources for tag in config.languages if tag != source]
    if not finished:
        return None
    values = Values(store)
    added = [np.array([_added(values, own, *pair) for pair in pairs]).T for own in finished]
    seeds = [own for own, part in zip(finished, added, strict=True) for _ in part]
    return regression(np.concatenate(added), seeds, pairs, tokens, np.random.default_rng(seed), shared=config.stories_are_shared)


def regression(
    added: Array,
    seeds: Sequence[int],
    pairs: Sequence[Pair],
    tokens: Mapping[str, Collection[int]] | None,
    rng: np.random.Generator,
    *,
    shared: bool = False,
) -> Regression | None:
    """The regression of what learning added, (stories, pairs); None where there is one pair alone. With `shared` every seed has the same stories.

    A feature is left out where it tells no pairs apart that those before it do not, or where no pair would be left over to fit.
    """
    if len(pairs) < 2:
        return None
    names, design = ["constant"], np.ones((len(pairs), 1))
    left_out = []
    for at, name in enumerate(FEATURES[: None if tokens is not None else -1]):
        wider = np.column_stack([design, [_features(pair, tokens)[at] for pair in pairs]])
        if design.shape[1] < np.linalg.matrix_rank(wider) < len(pairs):
            names, design = [*names, name], wider
        else:
            left_out.append(name)
    solve = np.linalg.pinv(design).T
    fitted, draws = story_weights(seeds) @ added @ solve, drawn_weights(seeds, rng, shared=shared) @ added @ solve
    coefficients = {name: Estimate(float(fitted[at]), *percentiles(draws[:, at]), clusters(seeds, shared)) for at, name in enumerate(names)}
    return Regression(coefficients, tuple(left_out), len(pairs))


def _features(pair: Pair, tokens: Mapping[str, Collection[int]] | None) -> list[float]:
    """In the order of `FEATURES`; without the overlap where there are no tokens."""
    learned, asked = (get_language(tag) for tag in pair)
    shared = [learned.script == asked.script, learned.family == asked.family, asked.resource == "low"]
    return [*map(float, shared), *([token_overlap(tokens[pair[0]], tokens[pair[1]])] if tokens is not None else [])]


def _added(values: Values, seed: int, source: str, tag: str) -> Array:
    learned, base = (values.per_story(cell, tag, "fake", "first") for cell in (Cell("learned", seed, source), Cell("base", seed)))
    return np.subtract(learned, base, dtype=float)
