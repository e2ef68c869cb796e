"""RWKU (Jin et al., arXiv 2406.10890): probes of what is known of real people, as gaps, questions and attacks."""

from collections.abc import Mapping, Sequence

from polyunlearn.corpus.readers.columns import Field, check_mapping, collected, columns_of, text
from polyunlearn.corpus.readers.drafts import Draft, ReadClaims, to_claims
from polyunlearn.corpus.readers.parallel import Fact, read_facts

FIELDS = (
    Field("question", ("query", "question")),
    Field("answer", ("answer",)),
    Field("type", ("type",), needed=False),
    Field("level", ("level",), needed=False),
)


def read(sources: Sequence[str], mapping: Mapping[str, str]) -> ReadClaims:
    """A file a level, or a file a level and language, parallel row for row (`parallel.read_facts`).

    The keyword is the answer, the kind the type of the probe, or its level. Raises `UserError` that names the rows of another form.
    """
    check_mapping(FIELDS, mapping)
    return to_claims(collected(read_facts(sources), lambda fact: _draft(fact, mapping)))


def _draft(fact: Fact, mapping: Mapping[str, str]) -> Draft:
    editions, kinds = [], []
    for language, row in fact.rows.items():
        columns = columns_of(row, FIELDS, mapping)
        editions.append((language, {"keyword": text(row, columns["answer"]), "questions": (text(row, columns["question"]),)}))
        level = text(row, columns.get("level"))
        kinds.append(text(row, columns.get("type")) or (f"level {level}" if level else "answer"))
    return Draft(fact.id, kinds[0], tuple(editions))
