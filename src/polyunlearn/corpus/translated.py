"""Claims in the languages that their owner did not write: translated by machine, checked by translating back, left out where that shows a fault."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache

import regex
from pydantic import ValidationError
from sacrebleu.metrics import CHRF

from polyunlearn.backends.chat import UnusableAnswerError
from polyunlearn.backends.translation import Translator
from polyunlearn.corpus.claims import BLANK, Claim, ClaimEdition, Neighbour, keyword_places
from polyunlearn.languages import get_language
from polyunlearn.text import normalised

THRESHOLD = 0.4
"""The lowest chrF, 0 to 1, between a question and its translation translated back. Of questions of the newsroom about different things, 95 in 100
pairs score 0.38 or less in each of en, de, ru, zh, hy, ur; hand-written paraphrases of one question score 0.41 to 0.53 in the median."""

_SIGNS = '[“”"„«»「」『』]'
"""Quotation marks."""

_MARKED = regex.compile(r"[“\"«„「『]\s*(\S.*?)\s*[”\"»“」』]")
"""What stands in quotation marks, in French with spaces within, which are no part of it."""


@dataclass(frozen=True)
class LeftOut:
    """A language that a claim has not been given, and why."""

    claim: str
    tag: str
    reason: str


@dataclass(frozen=True)
class Translated:
    """The claims, in the order in which they came, with the editions that passed, and what did not."""

    claims: tuple[Claim, ...]
    left_out: tuple[LeftOut, ...]


@dataclass
class _Asked:
    """Which claim asks a question, by its language and text: two claims with one question could not both be answered."""

    by: dict[tuple[str, str], str] = field(default_factory=dict)

    def add(self, claim: str, tag: str, edition: ClaimEdition) -> None:
        for question in edition.fake_questions:
            self.by.setdefault((tag, normalised(question)), claim)

    def check(self, claim: str, tag: str, edition: ClaimEdition) -> None:
        for question in edition.fake_questions:
            other = self.by.get((tag, normalised(question)), claim)
            if other != claim:
                raise _FaultError(f"the question {question!r} is also asked by the claim {other!r}")


class _FaultError(Exception):
    """Why a translation is left out."""


def translate_claims(
    claims: Sequence[Claim],
    tags: Sequence[str],
    translator: Translator,
    *,
    threshold: float = THRESHOLD,
    watch: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Translated:
    """Give every claim an edition in each of `tags` that it lacks, marked `origin="machine"`.

    What is translated is the edition of the claim's source, else the first that was given. An edition is left out where its keyword is lost, a
    question gives it away or was not translated at all, or a question translated back has a chrF (Popović 2015, 0 to 1) below `threshold`.
    `watch` hears what is in hand, how many editions are done, and of how many.

    Raises:
        UserError: for a tag that is not in the table, or where the translator fails altogether.
    """
    for tag in tags:
        get_language(tag)
    asked = _Asked()
    for claim in claims:
        for tag, edition in claim.editions.items():
            asked.add(claim.id, tag, edition)
    wanted = {claim.id: [tag for tag in dict.fromkeys(tags) if tag not in claim.editions] for claim in claims}
    total, done = sum(map(len, wanted.values())), 0
    filled: list[Claim] = []
    left_out: list[LeftOut] = []
    for claim in claims:
        editions = dict(claim.editions)
        for tag in wanted[claim.id]:
            watch("editions", done, total)
            done += 1
            try:
                edition = _edition(claim, tag, translator, threshold)
                asked.check(claim.id, tag, edition)
            except _FaultError as fault:
                left_out.append(LeftOut(claim.id, tag, str(fault)))
            except UnusableAnswerError as error:
                left_out.append(LeftOut(claim.id, tag, str(error)))
            else:
                asked.add(claim.id, tag, edition)
                editions[tag] = edition
        filled.append(claim.model_copy(update={"editions": editions}))
    watch("editions", total, total)
    return Translated(tuple(filled), tuple(left_out))


def _source(claim: Claim) -> str:
    if claim.source in claim.editions:
        return str(claim.source)
    return next((tag for tag, edition in claim.editions.items() if edition.origin == "given"), next(iter(claim.editions)))


def _edition(claim: Claim, tag: str, translator: Translator, threshold: float) -> ClaimEdition:
    source = _source(claim)
    own = claim.editions[source]
    plain = [*own.statements, *own.questions, *own.distractors, *(text for pair in own.neighbours for text in (pair.question, pair.answer))]
    texts = [*plain, own.keyword, *([own.truth] if own.truth else [])]
    told = iter(translator.translate(texts, source, tag))
    statements = tuple(next(told) for _ in own.statements)
    questions = tuple(next(told) for _ in own.questions)
    distractors = tuple(next(told) for _ in own.distractors)
    neighbours = [(next(told), next(told)) for _ in own.neighbours]
    keyword = next(told)
    statements, forms = _with_keyword(own, statements, keyword, translator, source, tag)
    _check_questions(questions, (*forms, own.keyword), tag)
    try:
        edition = ClaimEdition(
            keyword=forms[0],
            statements=statements,
            questions=questions,
            # A model may well say a name as the source writes it.
            surface_forms=tuple(dict.fromkeys((*forms, *own.surface_forms))),
            truth=next(told) if own.truth else None,
            distractors=_distractors(distractors, (*forms, *own.surface_forms)),
            neighbours=tuple(Neighbour(question=question, answer=answer) for question, answer in neighbours),
            origin="machine",
        )
    except ValidationError as error:
        raise _FaultError("; ".join(one["msg"].removeprefix("Value error, ") for one in error.errors())) from error
    _check_back(own, edition, translator, source, tag, threshold)
    return edition


def _distractors(told: Sequence[str], forms: Sequence[str]) -> tuple[str, ...]:
    """The translated distractors, the n-th of which says what the n-th of any edition says; so none where two became one, or one the claim's own answer."""
    distinct = {normalised(text) for text in told}
    return tuple(told) if len(distinct) == len(told) and not distinct & set(map(normalised, forms)) else ()


def _with_keyword(
    own: ClaimEdition, statements: tuple[str, ...], apart: str, translator: Translator, source: str, tag: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The statements, and the forms that the keyword has in them, the commonest first.

    It is looked for as translated apart (`apart`) and as the source writes it. Where a statement holds neither, it is translated again with the
    keyword in quotation marks, and what stands between them is its form there.
    """
    holding = [place for place, text in enumerate(own.statements) if own.keyword in text]
    known = [form for form in dict.fromkeys((apart, own.keyword)) if form.strip()]
    best = max(known, key=lambda form: sum(form in statements[place] for place in holding))
    found, forms = list(statements), [best]
    for place in holding:
        if best not in statements[place]:
            found[place], form = _marked(own, own.statements[place], translator, source, tag)
            forms.append(form)
    counts = {form: sum(form in found[place] for place in holding) for form in forms}
    said = [form for form in counts if counts[form]] or [best]
    return tuple(found), tuple(sorted(said, key=lambda form: -counts[form]))


def _marked(own: ClaimEdition, statement: str, translator: Translator, source: str, tag: str) -> tuple[str, str]:
    """A statement translated with its keyword in quotation marks, without them, and what stood between them."""
    text = translator.translate([_quoting(statement, own.keyword)], source, tag)[0]
    forms = set(_MARKED.findall(text))
    if len(forms) != 1 or regex.search(_SIGNS, next(iter(forms))):
        raise _FaultError(f"the keyword {own.keyword!r} is lost in {text!r}")
    return _MARKED.sub(lambda match: match[1], text), forms.pop()


def _quoting(statement: str, keyword: str) -> str:
    """The statement with “ ” around its keyword, in place of what quotation marks it had there."""
    for start, end in reversed(keyword_places(statement, keyword)):
        before = regex.sub(rf"{_SIGNS}\s?$", "", statement[:start])
        behind = regex.sub(rf"^\s?{_SIGNS}", "", statement[end:]) if before != statement[:start] else statement[end:]
        statement = f"{before}“{keyword}”{behind}"
    return statement


def _check_questions(questions: tuple[str, ...], forms: Sequence[str], tag: str) -> None:
    boundary = r"(?<![\p{L}\p{N}])" if get_language(tag).spaced else ""
    for question in questions:
        for form in forms:
            if regex.search(boundary + regex.escape(form), question, regex.IGNORECASE):
                raise _FaultError(f"the keyword {form!r} stands in the question {question!r}, which gives the answer away")


def _check_back(own: ClaimEdition, edition: ClaimEdition, translator: Translator, source: str, tag: str, threshold: float) -> None:
    """Translate back what is asked: the questions, else the statements that are asked with a blank. No sentence may be left as it is, which would come
    back faultless; answers may be names."""
    sentences = [(*each.questions, *each.statements, *(pair.question for pair in each.neighbours)) for each in (own, edition)]
    for original, there in zip(*sentences, strict=True):
        if original == there:
            raise _FaultError(f"{original!r} was not translated")
        if original.count(BLANK) != there.count(BLANK):
            raise _FaultError(f"{there!r} does not have the blanks ({BLANK}) of {original!r}")
    before, after = (own.questions, edition.questions) if own.questions else (own.statements, edition.statements)
    for original, there, back in zip(before, after, translator.translate(after, tag, source), strict=True):
        score = float(_chrf().sentence_score(back, [original]).score) / 100
        if score < threshold:
            raise _FaultError(f"{there!r} translated back is {back!r}, of chrF {score:.2f} with {original!r}; {threshold:g} is wanted")


@cache
def _chrf() -> CHRF:
    return CHRF()
