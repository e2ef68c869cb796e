"""The rows of a data set, be it JSON lines, JSON, CSV, Parquet or a data set of the Hugging Face hub; each row knows where it stands."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow
from pyarrow import csv, parquet

from polyunlearn.corpus.lines import Lines, UnreadableError, once, read_lines
from polyunlearn.corpus.readers.tags import is_language
from polyunlearn.errors import UserError
from polyunlearn.files import read_utf8

HUB = "hub:"
"""What the name of a data set on the hub begins with: hub:OWNER/NAME[:CONFIGURATION[:SPLIT]]."""


@dataclass(frozen=True)
class Row:
    """One row: where it stands, for messages, its number there, and its values by column."""

    at: str
    number: int
    values: dict[str, Any]


@dataclass(frozen=True)
class Table:
    """All rows of one file or split, in order; `name` is short, of letters, digits, `.`, `_` and `-`."""

    where: str
    name: str
    rows: tuple[Row, ...]


def read_table(where: str) -> Table:
    """Read `where`: a file that ends in .jsonl, .ndjson, .json, .csv, .tsv or .parquet, or `hub:` and the name of a data set.

    The number of a row is its line in JSON lines, its place in a spreadsheet in CSV (the header is row 1), and else counted from 1.

    Raises:
        UserError: where there is no such data, it cannot be read (each bad line is named), or holds no rows.
    """
    rows = _hub_rows(where) if where.startswith(HUB) else _file_rows(Path(where))
    if not rows:
        raise UserError(f"{where}: holds no rows")
    return Table(where, _name(where), tuple(rows))


def _name(where: str, *, folder: bool = False) -> str:
    """A file's name without its ending, after its folder's where asked, or a data set's name."""
    path = Path(where)
    own = where.removeprefix(HUB) if where.startswith(HUB) else f"{path.parent.name}-{path.stem}" if folder else path.stem
    return re.sub(r"[^\w.-]+", "-", own)[-80:]


def table_names(tables: Sequence[Table]) -> list[str]:
    """A name for each table: its own, or with its folder's before it where two have one name. Raises `UserError` where that is one name too."""
    often = Counter(table.name for table in tables)
    names = [_name(table.where, folder=often[table.name] > 1) for table in tables]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        both = " and ".join(table.where for table, name in zip(tables, names, strict=True) if name == twice)
        raise UserError(f"{both} have one name, so that what they hold would have one id; rename one (or say its language: fr=FILE)")
    return names


@dataclass(frozen=True)
class _Line:
    id: str
    values: dict[str, Any]


def _file_rows(path: Path) -> list[Row]:
    endings = {".jsonl": _json_lines, ".ndjson": _json_lines, ".json": _json, ".csv": _csv, ".tsv": _csv, ".parquet": _parquet}
    if path.is_dir():
        raise UserError(f"{path}: is a folder; give the files in it")
    if not path.exists():
        raise UserError(f"{path}: there is no such file (a data set of the hub is given as {HUB}OWNER/NAME)")
    if path.suffix.lower() not in endings:
        raise UserError(f"{path}: of a kind that is not read; give a file that ends in {', '.join(endings)}")
    return endings[path.suffix.lower()](path)


def _json_lines(path: Path) -> list[Row]:
    ids, rows = count(), list[Row]()

    def number(path: Path, lines: Lines[_Line]) -> Iterable[str]:
        rows.extend(Row(f"{path}:{lines.numbers[item.id]}", lines.numbers[item.id], item.values) for item in lines.items)
        return ()

    read_lines(path, "row", lambda value: _Line(str(next(ids)), value), number)
    return rows


def _json(path: Path) -> list[Row]:
    try:
        value = json.loads(read_utf8(path), object_pairs_hook=once)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            # JSON lines are often called .json.
            return _json_lines(path)
        raise UserError(f"{path}:{error.lineno}: not JSON ({error.msg} at column {error.colno})") from error
    except (RecursionError, ValueError, OSError, UnreadableError) as error:
        raise UserError(f"{path}: not JSON that can be read ({error})") from error
    if isinstance(value, dict):
        # Rows under their keys, or the only row, whose languages or columns may be objects too.
        value = list(value.values()) if _holds_rows(value) else [value]
    if not isinstance(value, list):
        raise UserError(f"{path}: a list of objects is wanted, not {type(value).__name__}: write [{{...}}, ...]")
    wrong = [
        f"{path}: row {number}: an object is wanted, not {type(row).__name__}"
        for number, row in enumerate(value, 1)
        if not isinstance(row, dict)
    ]
    if wrong:
        raise UserError("\n".join(wrong))
    return _numbered(str(path), value)


def _holds_rows(value: dict[str, Any]) -> bool:
    """Whether the values of an object are rows, rather than the columns of one: objects with a column in common, under keys that are no languages; where
    their own columns are languages, these hold objects too."""
    rows = list(value.values())
    if not rows or not all(isinstance(row, dict) for row in rows) or all(map(is_language, value)):
        return False
    shared = set.intersection(*(set(row) for row in rows))
    return bool(shared) and (not all(map(is_language, shared)) or any(isinstance(cell, dict) for row in rows for cell in row.values()))


def _csv(path: Path) -> list[Row]:
    """CSV with a header, or TSV; every value is text."""
    tabs = path.suffix.lower() == ".tsv"
    # A blank line counts, so that rows keep their places in a spreadsheet.
    parsing = csv.ParseOptions(delimiter="\t" if tabs else ",", newlines_in_values=True, ignore_empty_lines=False)
    # In one thread an error names its row.
    reading = csv.ReadOptions(use_threads=False)
    try:
        with csv.open_csv(path, read_options=reading, parse_options=parsing) as opened:
            names = opened.schema.names
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise UserError(f"{path}: two columns are called {', '.join(sorted(twice))}; rename one")
        plain = csv.ConvertOptions(column_types=dict.fromkeys(names, pyarrow.string()))
        found = csv.read_csv(path, read_options=reading, parse_options=parsing, convert_options=plain).to_pylist()
    except (pyarrow.ArrowInvalid, UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path}: not CSV that can be read ({error})") from error
    rows = [row for row in _numbered(str(path), found, first=2) if any(value not in (None, "") for value in row.values.values())]
    # A quotation mark that only begins a cell goes on to the next one, over tabs and lines.
    joined = next((row for row in rows if tabs and any("\t" in (value or "") and "\n" in value for value in row.values.values())), None)
    if joined:
        raise UserError(
            f"{joined.at}: a quotation mark at the start of a cell joins it to cells on other lines; write it twice, or leave it out"
        )
    return rows


def _parquet(path: Path) -> list[Row]:
    try:
        return _numbered(str(path), parquet.read_table(path).to_pylist())
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path}: not Parquet that can be read ({error})") from error


def _hub_rows(where: str) -> list[Row]:
    """The rows of a split of a data set of the hub, or of a folder of data files; the split may be left out where there is one alone."""
    try:
        import datasets
    except ImportError as error:
        raise UserError(f"{where}: needs the package {error.name}; type: pip install datasets") from error
    name, configuration, split, *more = [*where.removeprefix(HUB).split(":"), "", ""]
    if not name or any(more):
        raise UserError(f"{where}: write {HUB}OWNER/NAME, {HUB}OWNER/NAME:CONFIGURATION or {HUB}OWNER/NAME:CONFIGURATION:SPLIT")
    try:
        found = datasets.load_dataset(name, configuration or None, split=split or None)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise UserError(f"{where}: cannot be loaded ({' '.join(str(error).split())})") from error
    if isinstance(found, dict):
        if len(found) > 1:
            raise UserError(f"{where}: has the splits {', '.join(found)}; write {HUB}{name}:{configuration}:SPLIT")
        found = next(iter(found.values()))
    return _numbered(where, list(found))


def _numbered(where: str, values: Sequence[dict[str, Any]], first: int = 1) -> list[Row]:
    return [Row(f"{where}: row {number}", number, row) for number, row in enumerate(values, first)]
