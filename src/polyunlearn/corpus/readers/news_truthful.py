"""News with a false detail, as in TaiMingLu/news-truthful (Lu & Koehn, arXiv 2406.13748), or of one's own in columns of any names."""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, count

from polyunlearn.corpus.readers.columns import Field, check_mapping, collected, columns_of, pairs, text
from polyunlearn.corpus.readers.drafts import Draft, ReadClaims, to_claims
from polyunlearn.corpus.readers.parallel import Fact, read_facts
from polyunlearn.corpus.readers.rows import Row

FIELDS = (
    Field("keyword", ("keyword", "fake_keyword", "false_keyword", "false_detail", "fake_answer", "false_answer", "answer")),
    Field("question", ("fake_question", "false_question", "question_fake", "question_false", "question")),
    Field("article", ("fake_article", "false_article", "article_fake", "article_false", "fake_news", "fake", "article"), needed=False),
    Field("truth", ("true_answer", "truth", "real_answer", "correct_answer"), needed=False),
    Field("neighbours", (), needed=False),
    Field("language", ("language", "lang"), needed=False),
    Field("id", ("id", "story_id", "story"), needed=False),
)
"""The column names of the published file could not be checked, hence the mapping; `neighbours` is only taken from a column that it names."""


def read(sources: Sequence[str], mapping: Mapping[str, str]) -> ReadClaims:
    """Rows with at least a false detail (`keyword`) and the question that reveals it.

    Languages are columns' (`language`; rows of one `id` are one claim) or files', parallel row for row (`parallel.read_facts`). The lines of the
    article that hold the keyword are statements. Raises `UserError` that names the columns that are there, and how to give a mapping, where one
    is not found.
    """
    check_mapping(FIELDS, mapping)
    return to_claims(_joined(collected(read_facts(sources), lambda fact: _draft(fact, mapping))))


def _draft(fact: Fact, mapping: Mapping[str, str]) -> Draft:
    names, editions = [], []
    for language, row in fact.rows.items():
        columns = columns_of(row, FIELDS, mapping)
        names.append(text(row, columns.get("id")))
        editions.append((text(row, columns.get("language")) or language, _edition(row, columns)))
    return Draft(names[0] or fact.id, "false detail", tuple(editions))


def _edition(row: Row, columns: Mapping[str, str]) -> dict[str, object]:
    keyword, truth = text(row, columns["keyword"]), text(row, columns.get("truth"))
    return {
        "keyword": keyword,
        "questions": (text(row, columns["question"]),),
        "statements": tuple(line.strip() for line in text(row, columns.get("article")).split("\n") if keyword and keyword in line),
        "truth": truth or None,
        "neighbours": pairs(row, columns.get("neighbours")),
    }


def _joined(drafts: Iterable[Draft]) -> list[Draft]:
    """Rows of one id are one claim. Two ids that differ in signs alone that ours do not have, or far behind, stay apart by a number."""
    found: dict[str, Draft] = {}
    taken: set[str] = set()
    for draft in drafts:
        if draft.id in found:
            before = found[draft.id]
            found[draft.id] = Draft(before.id, before.kind, before.editions + draft.editions)
            continue
        plain = re.sub(r"[^\w.:-]+", "-", draft.id)
        names = chain([plain[:100]], (f"{plain[:94]}-{number}" for number in count(2)))
        name = next(own for own in names if own not in taken)
        taken.add(name)
        found[draft.id] = Draft(name, draft.kind, draft.editions)
    return list(found.values())
