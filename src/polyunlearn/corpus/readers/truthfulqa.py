"""TruthfulQA (Lin et al., arXiv 2109.07958), its translations, and MTruthfulQA (arXiv 2406.14434): questions that people often answer falsely."""

from collections.abc import Mapping, Sequence

from polyunlearn.corpus.readers.columns import Field, check_mapping, collected, columns_of, text, texts
from polyunlearn.corpus.readers.drafts import Draft, ReadClaims, others, to_claims
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

    A question makes one claim, since a model gives it one answer: the keyword is the first incorrect answer that does not stand in the question,
    the others, which are as false, are distractors, and the best answer is the truth. Raises `UserError` that names the rows of another form.
    """
    check_mapping(FIELDS, mapping)
    return to_claims(collected(read_facts(sources), lambda fact: _draft(fact, mapping)))


def _draft(fact: Fact, mapping: Mapping[str, str]) -> Draft:
    return Draft(fact.id, "misconception", tuple((language, _edition(row, mapping)) for language, row in fact.rows.items()))


def _edition(row: Row, mapping: Mapping[str, str]) -> dict[str, object]:
    columns = columns_of(row, FIELDS, mapping)
    question, truth = text(row, columns["question"]), text(row, columns["truth"])
    false = texts(row, columns["incorrect"])
    keyword = next((answer for answer in false if answer not in question), false[0] if false else "")
    return {
        "keyword": keyword,
        "questions": (question,),
        "truth": truth or None,
        "distractors": others(false, (keyword, truth, *texts(row, columns.get("correct")))),
    }
