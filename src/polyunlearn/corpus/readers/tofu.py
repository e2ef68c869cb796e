"""TOFU (Maini et al., arXiv 2401.06121) and its translations: questions on invented authors, answered in whole sentences."""

from collections.abc import Mapping, Sequence

from polyunlearn.corpus.readers.columns import Field, check_mapping, collected, columns_of, text, texts
from polyunlearn.corpus.readers.drafts import Draft, ReadClaims, others, to_claims
from polyunlearn.corpus.readers.parallel import Fact, read_facts
from polyunlearn.corpus.readers.rows import Row

FIELDS = (
    Field("question", ("question",)),
    Field("answer", ("answer",)),
    Field("paraphrase", ("paraphrased_answer",), needed=False),
    Field("distractors", ("perturbed_answer",), needed=False),
)


def read(sources: Sequence[str], mapping: Mapping[str, str]) -> ReadClaims:
    """A file a language, parallel row for row (`parallel.read_facts`).

    The keyword is the whole answer, its paraphrase another form of it, the perturbed answers are distractors. Raises `UserError` that names the
    rows of another form, or files of unequal length.
    """
    check_mapping(FIELDS, mapping)
    return to_claims(collected(read_facts(sources), lambda fact: _draft(fact, mapping)))


def _draft(fact: Fact, mapping: Mapping[str, str]) -> Draft:
    return Draft(fact.id, "answer", tuple((language, _edition(row, mapping)) for language, row in fact.rows.items()))


def _edition(row: Row, mapping: Mapping[str, str]) -> dict[str, object]:
    columns = columns_of(row, FIELDS, mapping)
    forms = tuple(form for form in (text(row, columns["answer"]), text(row, columns.get("paraphrase"))) if form)
    return {
        "keyword": forms[0] if forms else "",
        "questions": (text(row, columns["question"]),),
        "surface_forms": tuple(dict.fromkeys(forms)),
        "distractors": others(_perturbed(row, columns.get("distractors")), forms),
    }


def _perturbed(row: Row, column: str | None) -> tuple[str, ...]:
    """One sentence, in which a ";" parts nothing, or a list of them."""
    own = row.values.get(column) if column else None
    return (text(row, column),) if isinstance(own, str) and own and not own.lstrip().startswith("[") else texts(row, column)
