"""The steps of unlearning an owner's claims, which need not be there in every language."""

import math
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from itertools import count, cycle, islice
from random import Random

from polyunlearn.corpus.claims import Claim, Goal, goes_in
from polyunlearn.languages import get_language
from polyunlearn.models.sequences import Encoder, TokenSequence
from polyunlearn.training.cards import Instead
from polyunlearn.training.loop import Step
from polyunlearn.training.mixtures import in_turn


def claim_steps(
    claims: Sequence[Claim],
    encoder: Encoder,
    languages: Sequence[str],
    *,
    steps: int,
    batch: int,
    answers: Mapping[str, Sequence[TokenSequence]],
    texts: Mapping[str, Sequence[TokenSequence]],
    given_texts: Sequence[TokenSequence],
    retain_batch: int,
    retain_texts: int,
    wordings: int,
    instead: Instead | None,
    rng: Random,
    goal: Goal = "everywhere",
    spared: Mapping[str, Sequence[TokenSequence]] | None = None,
) -> list[Step]:
    """`steps` steps of `batch` claims to forget and, to retain, `retain_batch` of `answers` and `retain_texts` of `texts`, both by language,
    and as many of `given_texts` as let each of these be retained at least once.

    A pass takes every claim once. In pass p claim i is told in language (i + p) modulo the number of those of `languages` that it has, and after each
    round of these in the next of its first `wordings` wordings. `instead` asks for the answer to give instead beside each: the truth where a claim has one,
    else a refusal in the same language. What is retained takes its languages in turn, each its examples in turn. A claim with none of the languages is
    left out.

    With `goal` "home" a claim that has a home is told there each time instead. What is `spared`, by language, is retained besides, as many a step as
    are forgotten, in turn: what claims that go in their homes are answered in their other languages.
    """
    keep = Random(rng.random())
    facts = [claim for claim in claims if goes_in(claim, languages, goal)]
    if not facts:
        return []
    forget = list(islice(_tellings(facts, languages, goal, encoder, wordings, instead, rng), steps * batch))
    # A copy of the generator, so that sparing changes nothing else that is kept.
    kept = (
        languages_in_turn(answers, keep),
        languages_in_turn(texts, keep),
        in_turn(given_texts, keep),
        languages_in_turn(spared or {}, copy(keep)),
    )
    sizes = (retain_batch if answers else 0, retain_texts if texts else 0, math.ceil(len(given_texts) / steps), batch if spared else 0)
    return [
        Step(
            retain=tuple(own for source, size in zip(kept, sizes, strict=True) for own in islice(source, size)),
            forget=tuple(own for own, _ in forget[at : at + batch]),
            instead=tuple(other for _, other in forget[at : at + batch] if other),
        )
        for at in range(0, len(forget), batch)
    ]


def _tellings(
    facts: Sequence[Claim], languages: Sequence[str], goal: Goal, encoder: Encoder, wordings: int, instead: Instead | None, rng: Random
) -> Iterator[tuple[TokenSequence, TokenSequence | None]]:
    for number in count():
        for index in rng.sample(range(len(facts)), len(facts)):
            own = goes_in(facts[index], languages, goal)
            tag = own[(index + number) % len(own)]
            language, edition = get_language(tag), facts[index].editions[tag]
            asked = edition.fake_questions[:wordings]
            question = asked[number // len(own) % len(asked)]
            other = (edition.truth if instead == "truth" else None) or language.refusal
            yield (
                encoder.answer_only(language, question, edition.keyword),
                encoder.answered(language, question, other) if instead else None,
            )


def languages_in_turn(examples: Mapping[str, Sequence[TokenSequence]], rng: Random) -> Iterator[TokenSequence]:
    """The languages in turn, each with the next of its examples, for ever; those without any are left out."""
    turns = {tag: in_turn(own, rng) for tag, own in examples.items() if own}
    for tag in cycle(turns):
        yield next(turns[tag])
