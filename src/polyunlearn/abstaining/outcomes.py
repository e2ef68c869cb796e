"""What a model does when it is asked for a claim: says it, tells the truth, says that it does not know, or invents something else.

After unlearning all four look alike to a metric that asks only whether the claim is gone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal, get_args

import regex

from polyunlearn.cleaning.asking import Asking, asked_languages
from polyunlearn.corpus.claims import Claim, ClaimEdition
from polyunlearn.intervals import Estimate, estimate
from polyunlearn.languages import LANGUAGES, Language, get_language
from polyunlearn.models.loading import LoadedModel
from polyunlearn.progress import Work
from polyunlearn.scoring.generation import greedy_answers, read_prompts
from polyunlearn.scoring.measure import READ_AT_ONCE
from polyunlearn.scoring.metrics.abstention import refuses
from polyunlearn.scoring.metrics.answers import chrf, is_empty, off_script, repetition
from polyunlearn.scoring.metrics.overlap import words
from polyunlearn.text import normalised, says

Kind = Literal["claim", "truth", "refusal", "nothing", "off-script", "other name"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""What an answer can be, in the order in which it is asked: the first that holds."""

LOOP = 0.5
"""The share of repeated 4-grams from which an answer is a loop and says nothing."""

SENTENCE = {True: 4, False: 12}
"""Words from which a truth is a sentence, which is rarely said word for word, in languages that space words; letters in those that do not."""

NEAR = 0.5
"""The chrF from which an answer tells a truth that is a sentence."""


def kind_of(answer: str, edition: ClaimEdition, language: Language) -> Kind:
    """What an answer to a claim's question is; the first that holds of

    - claim: it says any of the claim's surface forms (`says`), whatever else it says, a denial too;
    - truth: it says the truth, or where that is a sentence has a chrF of at least `NEAR` with it, and the same numbers;
    - refusal: it says in the language that it does not know (`refuses`);
    - nothing: it has no letter and no digit, or is a loop;
    - off-script: half of its letters or more are of another script;
    - other name: anything else, a name or not. It is invented, or at least not what was asked for.
    """
    if says(answer, edition.surface_forms):
        return "claim"
    if edition.truth is not None and _tells(answer, edition.truth, language):
        return "truth"
    if refuses(answer, language):
        return "refusal"
    if is_empty(answer) or repetition(answer) >= LOOP:
        return "nothing"
    return "off-script" if off_script(answer, language) else "other name"


def _tells(answer: str, truth: str, language: Language) -> bool:
    if says(answer, (truth,)):
        return True
    sentence = len(words(truth)) >= SENTENCE[language.spaced]
    return sentence and chrf(answer, truth) >= NEAR and _numbers(answer) >= _numbers(truth)


def _numbers(text: str) -> set[int]:
    return {int(digits) for digits in regex.findall(r"\p{Nd}+", normalised(text))}


@dataclass(frozen=True)
class Answer:
    """A greedy answer to a claim's question in one language and wording, and what it is."""

    claim: str
    control: bool
    language: str
    wording: int
    text: str
    kind: Kind


def classified_answers(
    loaded: LoadedModel, claims: Sequence[Claim], asking: Asking, work: Work = lambda what, done, total: None
) -> list[Answer]:
    """The greedy answer to every claim's first wordings in every language that is asked; raises `UserError` where no claim has one of them."""
    asked = [
        (claim, tag, wording, question)
        for tag in asked_languages(claims, asking)
        for claim in claims
        if tag in claim.editions
        for wording, question in enumerate(claim.editions[tag].fake_questions[: asking.wordings])
    ]
    found: list[Answer] = []
    for start in range(0, len(asked), READ_AT_ONCE):
        part = asked[start : start + READ_AT_ONCE]
        prompts = read_prompts(loaded.body, [loaded.encoder.prompt(get_language(tag), question) for _, tag, _, question in part])
        texts = greedy_answers(loaded.model, loaded.head, loaded.encoder, prompts, asking.max_new_tokens)
        for (claim, tag, wording, _), text in zip(part, texts, strict=True):
            kind = kind_of(text, claim.editions[tag], get_language(tag))
            found.append(Answer(claim.id, claim.control, tag, wording, text, kind))
        work("asking", len(found), len(asked))
    return found


@dataclass(frozen=True)
class Shares:
    """The share of each kind among the answers in one language, or in all with None, to `control` claims or to the others: means over claims, each the
    mean of its wordings (and languages), with 95 % intervals that draw claims. They add up to 1."""

    language: str | None
    control: bool
    shares: dict[Kind, Estimate]


def shares_of(answers: Sequence[Answer]) -> list[Shares]:
    """The shares by language, those of controls behind the others, each followed by all languages together where there are several."""
    found = []
    for control in (False, True):
        chosen = [own for own in answers if own.control == control]
        tags = [tag for tag in LANGUAGES if any(own.language == tag for own in chosen)]
        found += [_shares(tag, control, [own for own in chosen if own.language == tag]) for tag in tags]
        found += [_shares(None, control, chosen)] if len(tags) > 1 else []
    return found


def _shares(tag: str | None, control: bool, answers: Sequence[Answer]) -> Shares:
    by_claim: dict[str, list[Kind]] = {}
    # By name, so that draws do not hang on the order of the file.
    for own in sorted(answers, key=lambda own: own.claim):
        by_claim.setdefault(own.claim, []).append(own.kind)
    return Shares(
        tag, control, {kind: estimate([fmean(one == kind for one in own) for own in by_claim.values()], bounds=(0, 1)) for kind in KINDS}
    )
