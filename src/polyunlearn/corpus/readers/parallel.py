"""Facts that are told in a file a language, row for row, or in one file in which a row holds all languages."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from polyunlearn.corpus.readers.rows import HUB, Row, Table, read_table, table_names
from polyunlearn.corpus.readers.tags import is_language, is_language_folder
from polyunlearn.errors import UserError

UNNAMED = "en"
"""The language of what names none: the data sets were published in English."""

_PREFIX = re.compile(r"([A-Za-z]{2,3}(?:[-_]\w+)*)=(.+)")


@dataclass(frozen=True)
class Fact:
    """One fact: an id, and its row in each language, by the name that the data set gives to the language."""

    id: str
    rows: Mapping[str, Row]


def read_facts(sources: Sequence[str]) -> list[Fact]:
    """Read files or hub data sets; LANGUAGE=FILE says in which language a file is, else the name of its folder does, else it is English.

    Row n of a file in one language tells what row n of the file in another tells. Several files of one language follow each other. A row whose
    values are all objects holds them by language. The id of a fact is the name of its first file and the number of its row there.

    Raises:
        UserError: where parallel files differ in number or length, naming both, or two files have one name.
    """
    placed = [(language, read_table(where)) for language, where in map(_placed, sources)]
    apart = [[(name, table)] for name, table in placed if _holds_languages(table)]
    groups = [*apart, *_side_by_side([own for own in placed if not _holds_languages(own[1])])]
    names = table_names([group[0][1] for group in groups])
    return [
        Fact(f"{name}:{rows[0].number}", _inner(rows[0]) if _holds_languages(group[0][1]) else _by_language(group, rows))
        for name, group in zip(names, groups, strict=True)
        for rows in zip(*(table.rows for _, table in group), strict=True)
    ]


def local_files(sources: Sequence[str]) -> list[Path]:
    """The files among such sources, without the languages before them."""
    return [Path(where) for _, where in map(_placed, sources) if not where.startswith(HUB)]


def _placed(source: str) -> tuple[str, str]:
    given = _PREFIX.fullmatch(source)
    if given and not Path(source).exists():
        return given[1], given[2]
    folder = "" if source.startswith(HUB) else Path(source).absolute().parent.name
    return (folder if is_language_folder(folder) else UNNAMED), source


def _holds_languages(table: Table) -> bool:
    first = table.rows[0].values
    return bool(first) and all(isinstance(value, dict) and is_language(name) for name, value in first.items())


def _side_by_side(placed: Sequence[tuple[str, Table]]) -> list[list[tuple[str, Table]]]:
    """The i-th files of all languages together."""
    by_language: dict[str, list[Table]] = {}
    for language, table in placed:
        by_language.setdefault(language, []).append(table)
    first, *others = by_language.items() or [("", [])]
    for language, tables in others:
        if len(tables) != len(first[1]):
            raise UserError(
                f"{len(first[1])} files in {first[0]} ({first[1][0].where} …) and {len(tables)} in {language} ({tables[0].where} …): "
                "give as many in each language, in the same order"
            )
        for one, other in zip(first[1], tables, strict=True):
            if len(one.rows) != len(other.rows):
                raise UserError(
                    f"{one.where} ({first[0]}) has {len(one.rows)} rows and {other.where} ({language}) has {len(other.rows)}: "
                    "parallel files tell the same fact in the same row; give files of one length"
                )
    return [[(language, tables[place]) for language, tables in by_language.items()] for place in range(len(first[1]))]


def _inner(row: Row) -> dict[str, Row]:
    """The row of each language that it has."""
    told = {language: values for language, values in row.values.items() if values is not None}
    wrong = next((language for language, values in told.items() if not isinstance(values, dict)), None)
    if wrong is not None or not told:
        raise UserError(
            f"{row.at}: an object for each language is wanted, as in the first row" + (f", not {told[wrong]!r:.80}" if wrong else "")
        )
    return {language: Row(f"{row.at} ({language})", row.number, values) for language, values in told.items()}


def _by_language(group: Sequence[tuple[str, Table]], rows: Sequence[Row]) -> dict[str, Row]:
    return {language: row for (language, _), row in zip(group, rows, strict=True)}
