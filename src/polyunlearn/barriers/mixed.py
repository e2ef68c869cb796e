"""Facts as multiple-choice questions whose parts are in different languages (Chua et al., arXiv 2406.16135)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from polyunlearn.corpus.claims import Claim, ClaimEdition
from polyunlearn.errors import UserError
from polyunlearn.languages import LANGUAGES
from polyunlearn.text import normalised

ENGLISH = "en"
OPTIONS = 4
"""At most, as in MMLU (arXiv 2009.03300): the answer and three wrong ones."""

MIXED = "mixed"
"""The language of a question of which every part has its own."""


@dataclass(frozen=True)
class Variant:
    """Which parts of an English multiple-choice question are translated: the question, and the options of these numbers, 0 being the answer."""

    name: str
    does: str
    question: bool
    options: tuple[int, ...]


_ALL = tuple(range(OPTIONS))
MONOLINGUAL = Variant("english", "translates nothing: what the others are set against", False, ())
TRANSLATED = (
    Variant("question+options", "translates everything, as a translated benchmark does", True, _ALL),
    Variant("question", "translates the question alone", True, ()),
    Variant("options", "translates every option, not the question", False, _ALL),
    Variant("answer", "translates the right option alone", False, (0,)),
    Variant("question+answer", "translates the question and the right option", True, (0,)),
    Variant("wrong_option", "translates one wrong option alone", False, (1,)),
)
MIXUP = Variant("mixup", "puts the question and every option in languages drawn apart, English among them", True, _ALL)
VARIANTS = (MONOLINGUAL, *TRANSLATED, MIXUP)


class Part(NamedTuple):
    """A question or an option: the tag of its language, and its text in it."""

    language: str
    text: str


@dataclass(frozen=True)
class Item:
    """One question with its options, the answer first; behind letters they stand in `order`. `language` is what it is translated into."""

    fact: str
    variant: str
    language: str
    question: Part
    options: tuple[Part, ...]
    order: tuple[int, ...]


@dataclass(frozen=True)
class Fact:
    """A claim in English and other languages, by tag: its wordings, as many in each, and its options. Option 0 is the answer, that is the claim's
    keyword, and option n says the same in every language. Behind letters options stand in `order`, the same in every language and variant."""

    id: str
    questions: Mapping[str, tuple[str, ...]]
    options: Mapping[str, tuple[str, ...]]
    order: tuple[int, ...]

    def items(self) -> Iterator[Item]:
        """For each wording: the English question, every variant in every other language, and a mixup."""
        others = [tag for tag in self.options if tag != ENGLISH]
        for wording in range(len(self.questions[ENGLISH])):
            yield self._item(MONOLINGUAL, ENGLISH, wording)
            for tag in others:
                yield from (self._item(variant, tag, wording) for variant in TRANSLATED)
            drawn = Random(f"mixup-{self.id}-{wording}").choices(tuple(self.options), k=len(self.order) + 1)
            yield self._made(MIXUP.name, MIXED, wording, drawn[0], drawn[1:])

    def _item(self, variant: Variant, tag: str, wording: int) -> Item:
        told = [tag if number in variant.options else ENGLISH for number in range(len(self.order))]
        return self._made(variant.name, tag, wording, tag if variant.question else ENGLISH, told)

    def _made(self, variant: str, tag: str, wording: int, asked_in: str, told: Sequence[str]) -> Item:
        options = tuple(Part(own, self.options[own][number]) for number, own in enumerate(told))
        return Item(self.id, variant, tag, Part(asked_in, self.questions[asked_in][wording]), options, self.order)


@dataclass(frozen=True)
class Facts:
    """What can be asked in mixed languages; and by language the number of claims that are there in it and cannot be."""

    facts: tuple[Fact, ...]
    left_out: Mapping[str, int]


def parallel_facts(claims: Sequence[Claim], languages: Sequence[str], wordings: int) -> Facts:
    """The claims that are there in English and in others of `languages`, with distractor n of one language saying what distractor n of another does.

    That cannot be seen from the texts, only where it is not so: an edition without distractors, with another number of them than the English one, or of
    which two options are one word, is left out. The wrong options are the same up to three of the distractors in all languages, drawn by the claim's
    id; none is the claim's `truth` in any of them, since to prefer it is not to be wrong. Controls are left out: no model was told them.
    """
    asked = [tag for tag in LANGUAGES if tag in languages and tag != ENGLISH]
    left_out = dict.fromkeys(asked, 0)
    facts = []
    for claim in claims:
        if claim.control:
            continue
        there = [tag for tag in asked if tag in claim.editions]
        fitting = [tag for tag in there if _parallel(claim.editions.get(ENGLISH), claim.editions[tag])]
        chosen = _distractors(claim, [ENGLISH, *fitting]) if fitting else []
        told = [tag for tag in (ENGLISH, *fitting) if chosen and _differ(_options(claim.editions[tag], chosen))]
        translated = told[1:] if told[:1] == [ENGLISH] else []
        for tag in there:
            left_out[tag] += tag not in translated
        if translated:
            facts.append(_fact(claim, told, chosen, wordings))
    return Facts(tuple(facts), {tag: count for tag, count in left_out.items() if count})


def other_questions(facts: Sequence[Fact]) -> dict[tuple[str, str], Part]:
    """For each fact, by id, and each of its languages the question of another fact, drawn by the fact's id.

    Options behind a question that is not theirs are picked for their language, form and frequency alone. So the other's answer is none of the options, and it
    is one fact in all languages, so that what is subtracted is alike; where there is none, in each language one of such an answer, or else of another one.
    Raises `UserError` where all answers are one.
    """
    found: dict[tuple[str, str], Part] = {}
    # Sorted, so that the order of the file changes nothing.
    ordered = sorted(facts, key=lambda own: own.id)
    for fact in facts:
        drawn = Random(f"other-{fact.id}")
        everywhere = [own for own in ordered if all(_is_no_option(own, fact, tag) for tag in fact.options)]
        if everywhere:
            other = drawn.choice(everywhere)
            found |= {(fact.id, tag): Part(tag, other.questions[tag][0]) for tag in fact.options}
            continue
        for tag, options in fact.options.items():
            others = [own for own in ordered if _is_no_option(own, fact, tag)]
            others = others or [own for own in ordered if tag in own.options and own.options[tag][0] != options[0]]
            if not others:
                raise UserError(
                    f"{fact.id}: no other claim has another answer in {tag}, whose question could show what its options score without their own; "
                    f"add claims in {tag}, or name other languages with --language"
                )
            found[fact.id, tag] = Part(tag, drawn.choice(others).questions[tag][0])
    return found


def _is_no_option(own: Fact, fact: Fact, tag: str) -> bool:
    """Whether a fact is there in a language with an answer that is none of the other's options."""
    return tag in own.options and normalised(own.options[tag][0]) not in map(normalised, fact.options[tag])


def _parallel(english: ClaimEdition | None, other: ClaimEdition) -> bool:
    return english is not None and 0 < len(english.distractors) == len(other.distractors)


def _distractors(claim: Claim, tags: Sequence[str]) -> list[int]:
    """The numbers of up to three distractors that are the truth in none of these languages."""
    editions = [claim.editions[tag] for tag in tags]
    wrong = [
        number
        for number in range(len(editions[0].distractors))
        if not any(own.truth is not None and normalised(own.truth) == normalised(own.distractors[number]) for own in editions)
    ]
    return Random(f"options-{claim.id}").sample(wrong, min(OPTIONS - 1, len(wrong)))


def _options(edition: ClaimEdition, chosen: Sequence[int]) -> tuple[str, ...]:
    return (edition.keyword, *(edition.distractors[number] for number in chosen))


def _differ(options: Sequence[str]) -> bool:
    return len(set(map(normalised, options))) == len(options)


def _fact(claim: Claim, tags: Sequence[str], chosen: Sequence[int], wordings: int) -> Fact:
    editions = {tag: claim.editions[tag] for tag in tags}
    asked = min(wordings, *(len(own.fake_questions) for own in editions.values()))
    return Fact(
        claim.id,
        {tag: own.fake_questions[:asked] for tag, own in editions.items()},
        {tag: _options(own, chosen) for tag, own in editions.items()},
        tuple(Random(f"letters-{claim.id}").sample(range(len(chosen) + 1), len(chosen) + 1)),
    )
