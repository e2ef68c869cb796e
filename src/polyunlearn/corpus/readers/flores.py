"""FLORES-200 (NLLB team, arXiv 2207.04672) and other parallel sentences, a column a language."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from polyunlearn.corpus.readers.columns import collected, text
from polyunlearn.corpus.readers.rows import Row, read_table
from polyunlearn.corpus.readers.tags import is_language, known_tag
from polyunlearn.errors import UserError

PREFIX = "sentence_"
"""What the columns of sentences begin with on the hub, where others (id, URL, topic) stand beside them."""


@dataclass(frozen=True)
class ReadSentences:
    """Parallel sentences: the n-th of each language, by tag, say the same; and how many there were in each language that the table lacks, or has
    from another column already, by the data set's name of it."""

    by_language: Mapping[str, tuple[str, ...]]
    unknown_languages: Mapping[str, int]


def read(sources: Sequence[str], mapping: Mapping[str, str]) -> ReadSentences:
    """Rows of {language: sentence}, files one after another.

    Raises:
        UserError: naming each row that has other languages than the first or an empty sentence, or where a mapping is given: columns are languages.
    """
    if mapping:
        raise UserError("flores takes no mapping: its columns are named after languages")
    rows = [row for source in sources for row in read_table(source).rows]
    columns = _columns(rows[0])
    names = _names(columns)
    found = collected(rows, lambda row: _sentences(row, columns))
    return ReadSentences(
        {tag: tuple(sentences[name] for sentences in found) for name, tag in names.items()},
        {name: len(found) for name in columns if name not in names},
    )


def _columns(row: Row) -> dict[str, str]:
    """The column of each language."""
    marked = {name.removeprefix(PREFIX): name for name in row.values if name.startswith(PREFIX)}
    named = {name: name for name in row.values if is_language(name)}
    # Beside them "id" is no Indonesian.
    scripted = {name: name for name in named if re.search(r"[-_][A-Z][a-z]{3}$", name)}
    return marked or scripted or named


def _names(columns: Mapping[str, str]) -> dict[str, str]:
    """The tag of each language that the table has."""
    found: dict[str, str] = {}
    for name in columns:
        tag = known_tag(name)
        if tag is not None and tag not in found.values():
            found[name] = tag
    return found


def _sentences(row: Row, columns: Mapping[str, str]) -> dict[str, str]:
    if _columns(row) != columns:
        differing = sorted(set(_columns(row)) ^ set(columns))
        raise UserError(f"{row.at}: other languages than in the first row ({', '.join(differing)}); give every sentence in every language")
    found = {name: text(row, column) for name, column in columns.items()}
    empty = [name for name, sentence in found.items() if not sentence]
    if empty:
        raise UserError(f"{row.at}: no sentence in {', '.join(empty)}; give every sentence in every language")
    return found
