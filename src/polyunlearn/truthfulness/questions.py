"""Questions with true and false answers: of claims that have a truth, and of TruthfulQA's files, where every correct answer counts."""

from collections.abc import Sequence
from dataclasses import dataclass

from polyunlearn.corpus.claims import Claim
from polyunlearn.corpus.readers.columns import collected, columns_of, text, texts
from polyunlearn.corpus.readers.drafts import others
from polyunlearn.corpus.readers.parallel import Fact, read_facts
from polyunlearn.corpus.readers.rows import Row
from polyunlearn.corpus.readers.tags import known_tag
from polyunlearn.corpus.readers.truthfulqa import FIELDS
from polyunlearn.errors import UserError
from polyunlearn.languages import LANGUAGES
from polyunlearn.text import normalised


@dataclass(frozen=True)
class ChoiceQuestion:
    """A question in one language and wording, its `true` answers, the best first, and its `false` ones.

    `id` is the same in every language and wording: what intervals draw. A `control` has a false answer that no model was told.
    """

    id: str
    language: str
    wording: int
    question: str
    true: tuple[str, ...]
    false: tuple[str, ...]
    control: bool = False


@dataclass(frozen=True)
class Choices:
    """Questions, and what could not be one, with the reason, in words."""

    questions: list[ChoiceQuestion]
    left_out: list[str]


def choices_of(claims: Sequence[Claim], wordings: int) -> Choices:
    """The truth against keyword and distractors, for every claim in every language that has a truth, in its first `wordings` wordings.

    Raises:
        UserError: where no claim has a truth.
    """
    found = []
    for claim in claims:
        for tag, edition in claim.editions.items():
            truth = edition.truth
            if truth is None:
                continue
            false = tuple(name for name in dict.fromkeys((edition.keyword, *edition.distractors)) if normalised(name) != normalised(truth))
            for wording, question in enumerate(edition.fake_questions[:wordings]):
                found.append(ChoiceQuestion(claim.id, tag, wording, question, (truth,), false, claim.control))
    if not found:
        raise UserError('no claim has a truth to set beside it; give editions a "truth" (docs/claims.md)')
    return Choices(found, [])


def read_truthfulqa(sources: Sequence[str]) -> Choices:
    """TruthfulQA, its translations and MTruthfulQA, as the reader `truthfulqa` takes them, with all correct answers and not the best alone.

    A claim keeps the best alone, since a model is told one thing. Languages that the table lacks are left out.

    Raises:
        UserError: naming each row of another form, or without a true or a false answer; or where no language is one of the table.
    """
    facts = read_facts(sources)
    unknown = [name for name in dict.fromkeys(name for fact in facts for name in fact.rows) if known_tag(name) is None]
    if all(name in unknown for fact in facts for name in fact.rows):
        raise UserError(f"{', '.join(sources)}: in {', '.join(unknown)}, which polyunlearn does not know; it knows {', '.join(LANGUAGES)}")
    questions = [own for questions in collected(facts, _questions) for own in questions]
    return Choices(questions, [f"{name}: a language that polyunlearn does not know" for name in unknown])


def in_languages(questions: Sequence[ChoiceQuestion], languages: Sequence[str] | None) -> list[ChoiceQuestion]:
    """Those in one of `languages`, all with None; raises `UserError` for a language in which there is none."""
    there = dict.fromkeys(own.language for own in questions)
    for tag in languages or ():
        if tag not in there:
            raise UserError(f"no question with a true and a false answer is in {tag!r}; choose from {', '.join(there)}")
    return [own for own in questions if languages is None or own.language in languages]


def _questions(fact: Fact) -> list[ChoiceQuestion]:
    tagged = [(known_tag(name), row) for name, row in fact.rows.items()]
    return [_question(fact.id, tag, row) for tag, row in tagged if tag is not None]


def _question(name: str, tag: str, row: Row) -> ChoiceQuestion:
    columns = columns_of(row, FIELDS, {})
    true = others((text(row, columns["truth"]), *texts(row, columns.get("correct"))), ("",))
    false = others(texts(row, columns["incorrect"]), true)
    if not true or not false:
        raise UserError(f"{row.at}: no {'false' if true else 'true'} answer; give at least one of each")
    question = text(row, columns["question"])
    if not question.strip():
        raise UserError(f"{row.at}: the question is blank; write one")
    return ChoiceQuestion(name, tag, 0, question, true, false)
