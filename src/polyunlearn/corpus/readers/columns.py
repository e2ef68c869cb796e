"""From a data set's columns to fields of ours: by the mapping that a user gives, else by the names that data sets use."""

import ast
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from polyunlearn.corpus.readers.rows import Row
from polyunlearn.errors import UserError, unknown_name

_QUOTED = re.compile(r"""('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")(\s+(?=['"]))?""", re.DOTALL)
"""A text in quotation marks, and the space between it and another."""

Item = TypeVar("Item")
Made = TypeVar("Made")

NAMED_FAULTS = 20
"""How many faults are named before the rest is only counted."""


@dataclass(frozen=True)
class Field:
    """Something that a reader takes from a row: its name, what data sets call it (the first that is there is taken; case, blanks and signs do not
    count), and whether it must be there."""

    name: str
    called: tuple[str, ...]
    needed: bool = True


class NoColumnError(UserError):
    """A row lacks a column. Others will lack it too, so it is said of the first alone."""


def check_mapping(fields: Sequence[Field], mapping: Mapping[str, str]) -> None:
    """Raises `UserError` for a mapping of a field that the reader does not take."""
    for name in mapping:
        if name not in [field.name for field in fields]:
            raise unknown_name("field", name, [field.name for field in fields])


def columns_of(row: Row, fields: Sequence[Field], mapping: Mapping[str, str]) -> dict[str, str]:
    """The column of each field that the row has.

    Raises:
        NoColumnError: naming the row, its columns and how to give a mapping, where a field that is needed has none, or a mapped column is not there.
    """
    called = {_plain(column): column for column in reversed(row.values)}
    found = {}
    for field in fields:
        if field.name in mapping:
            column = mapping[field.name] if mapping[field.name] in row.values else None
        else:
            column = next((called[name] for name in field.called if name in called), None)
        if column is not None:
            found[field.name] = column
        elif field.needed or field.name in mapping:
            wanted = f"no column {mapping[field.name]!r}" if field.name in mapping else f"no column for {field.name!r}"
            others = ", ".join(other.name for other in fields)
            raise NoColumnError(
                f"{row.at}: {wanted}; there are {', '.join(map(repr, row.values))}; say which with {field.name}=COLUMN (in `claims import` --map {field.name}=COLUMN), or call it so in the file (fields: {others})"
            )
    return found


def text(row: Row, column: str | None) -> str:
    """The value of a column as text, stripped, whole numbers without a point; nothing where it is empty or no number (NaN). Raises `UserError` where it is a list or an object."""
    value = None if column is None else row.values[column]
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise UserError(f"{row.at}: column {column!r}: text is wanted, not {type(value).__name__}")
    if isinstance(value, float):
        # How tables write a whole number in a column with gaps, and the gaps.
        value = "" if not math.isfinite(value) else int(value) if value.is_integer() else value
    return _stripped(row, column, str(value))


def texts(row: Row, column: str | None) -> tuple[str, ...]:
    """The value of a column as texts, each once, none empty: a list, one written as JSON, Python or numpy write it, or text with ";" between them."""
    return tuple(part for part in dict.fromkeys(numbered_texts(row, column)) if part)


def numbered_texts(row: Row, column: str | None) -> tuple[str, ...]:
    """As `texts`, but every text has its place, so that text n of one language can be set beside text n of another; empty ones at the end do not count."""
    found = list[str]()
    for part in _items(row, column):
        if not isinstance(part, str):
            raise UserError(f"{row.at}: column {column!r}: a list of texts is wanted, and one of them is {type(part).__name__}")
        found.append(_stripped(row, column, part))
    while found and not found[-1]:
        found.pop()
    return tuple(found)


def pairs(row: Row, column: str | None) -> tuple[dict[str, str], ...]:
    """The value of a column as questions with their answers: a list of {"question": …, "answer": …}, or JSON of one."""
    for part in _items(row, column):
        if not isinstance(part, dict) or not all(isinstance(part.get(key), str) for key in ("question", "answer")):
            raise UserError(
                f'{row.at}: column {column!r}: a list of {{"question": …, "answer": …}} is wanted, and one of them is {part!r:.80}'
            )
    return tuple({key: _stripped(row, column, part[key]) for key in ("question", "answer")} for part in _items(row, column))


def collected(items: Iterable[Item], make: Callable[[Item], Made]) -> list[Made]:
    """What `make` makes of each; raises one `UserError` of all that it raised, or the first for a column that is not there."""
    made, faults = [], list[str]()
    for item in items:
        try:
            made.append(make(item))
        except NoColumnError:
            raise
        except UserError as error:
            faults.append(str(error))
    if faults:
        more = [f"and {len(faults) - NAMED_FAULTS} more"] if len(faults) > NAMED_FAULTS else []
        raise UserError("\n".join(faults[:NAMED_FAULTS] + more))
    return made


def _items(row: Row, column: str | None) -> list[Any]:
    value = None if column is None else row.values[column]
    if value is None:
        return []
    if isinstance(value, str):
        value = _listed(row, column, value)
    if not isinstance(value, list):
        raise UserError(f'{row.at}: column {column!r}: a list is wanted, or text with ";" between its parts, not {type(value).__name__}')
    return value


def _listed(row: Row, column: str | None, value: str) -> Any:
    if not value.lstrip().startswith("["):
        return value.split(";")
    # numpy sets no comma between texts, which Python then reads as one.
    with_commas = _QUOTED.sub(lambda match: match[1] + (", " if match[2] else ""), value)
    for read, written in ((json.loads, value), (ast.literal_eval, with_commas.strip())):
        try:
            return read(written)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
    raise UserError(
        f"{row.at}: column {column!r}: {value!r:.80} begins like a list and is none; write a JSON list, or text that does not begin with ["
    )


def _stripped(row: Row, column: str | None, value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{row.at}: column {column!r}: holds half of a surrogate pair, which is no character; remove it") from error
    return value.replace("\r\n", "\n").strip()


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
