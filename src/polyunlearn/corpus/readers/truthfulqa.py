"""TruthfulQA (Lin et al., arXiv 2109.07958), its translations, and MTruthfulQA (arXiv 2406.14434): questions that people often answer falsely."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mode

from polyunlearn.corpus.readers.columns import Field, check_mapping, collected, columns_of, numbered_texts, text, texts
from polyunlearn.corpus.readers.drafts import Draft, ReadClaims, to_claims
from polyunlearn.corpus.readers.parallel import Fact, read_facts
from polyunlearn.corpus.readers.rows import Row

FIELDS = (
    Field("question", ("question",)),
    Field("truth", ("best_answer", "answer_best")),
    Field("correct", ("correct_answers", "answer_true"), needed=False),
    Field("incorrect", ("incorrect_answers", "answer_false")),
)


def read(sources: Sequence[str], mapping: Mapping[str, str]) -> ReadClaims:
    """A file a language, parallel row for row, or one file of rows by language, as MTruthfulQA is (`parallel.read_facts`).

    A question makes one claim, since a model gives it one answer: the keyword is the first incorrect answer that stands in the question in no
    language, the others, which are as false, are distractors, and the best answer is the truth. Incorrect answer n is taken to say the same in every
    language, so that what is kept is the same; a language with another number of them than most has none but its keyword. Raises `UserError` that names
    the rows of another form.
    """
    check_mapping(FIELDS, mapping)
    return to_claims(collected(read_facts(sources), lambda fact: _draft(fact, mapping)))


@dataclass(frozen=True)
class _Asked:
    """A question in one language, its true answers, the best first, and its false ones, each at its place."""

    question: str
    true: tuple[str, ...]
    false: tuple[str, ...]

    def suits(self, number: int) -> bool:
        """Whether false answer `number` can be the keyword."""
        return bool(self.false[number]) and self.false[number] not in self.question

    def misleads(self, number: int, keyword: int) -> bool:
        """Whether false answer `number` can be a distractor: it is no true answer, and no other's double."""
        return bool(self.false[number]) and self.false[number] not in (*self.true, self.false[keyword], *self.false[:number])


def _draft(fact: Fact, mapping: Mapping[str, str]) -> Draft:
    asked = {language: _asked(row, mapping) for language, row in fact.rows.items()}
    count = mode(len(own.false) for own in asked.values())
    parallel = [own for own in asked.values() if len(own.false) == count]
    keyword = _keyword(parallel)
    wrong = [number for number in range(count) if number != keyword and all(own.misleads(number, keyword) for own in parallel)]
    editions = [
        (language, _edition(own, keyword, wrong) if len(own.false) == count else _edition(own, _keyword([own]), ()))
        for language, own in asked.items()
    ]
    return Draft(fact.id, "misconception", tuple(editions))


def _asked(row: Row, mapping: Mapping[str, str]) -> _Asked:
    columns = columns_of(row, FIELDS, mapping)
    true = (text(row, columns["truth"]), *texts(row, columns.get("correct")))
    return _Asked(text(row, columns["question"]), true, numbered_texts(row, columns["incorrect"]))


def _keyword(asked: Sequence[_Asked]) -> int:
    """The first number of a false answer that suits as many languages as any."""
    return max(range(len(asked[0].false)), key=lambda number: sum(own.suits(number) for own in asked), default=0)


def _edition(own: _Asked, keyword: int, wrong: Sequence[int]) -> dict[str, object]:
    return {
        "keyword": own.false[keyword] if own.false else "",
        "questions": (own.question,),
        "truth": own.true[0] or None,
        "distractors": tuple(own.false[number] for number in wrong),
    }
