"""Files of one JSON object a line, checked line by line: every fault is named with its file and line, all at once."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from polyunlearn.errors import UserError, fault_text
from polyunlearn.files import read_utf8


class Named(Protocol):
    """What a line holds."""

    @property
    def id(self) -> str:
        """Its name, which no other line has."""


Item = TypeVar("Item", bound=Named)


@dataclass(frozen=True)
class Lines(Generic[Item]):
    """What a file holds, in order, and the line of each by its id."""

    items: list[Item]
    numbers: dict[str, int]


def read_lines(
    path: Path,
    what: str,
    parse: Callable[[Any], Item],
    across: Callable[[Path, Lines[Item]], Iterable[str]] = lambda path, lines: (),
    keys: Iterable[str] = (),
) -> list[Item]:
    """Read a file of `what`, one a line; empty lines are skipped.

    `parse` makes an item of a line's value, or raises `ValidationError` or `UserError`; `across` finds what no single line shows;
    `keys` are those that a line may have, for what is misspelt.

    Raises:
        UserError: that lists every fault with its file and line, or says that there is no such file, or nothing in it.
    """
    found: Lines[Item] = Lines([], {})
    problems: list[str] = []
    for number, line in enumerate(read_utf8(path).split("\n"), start=1):
        if not line.strip():
            continue
        at = f"{path}:{number}"
        try:
            item = parse(_value(line))
        except UnreadableError as error:
            problems.append(f"{at}: {error}")
        except ValidationError as error:
            problems += [f"{at}: {_faulty(one, keys)}" for one in error.errors()]
        except UserError as error:
            problems += [f"{at}: {part}" for part in str(error).splitlines()]
        else:
            if item.id in found.numbers:
                problems.append(f"{at}: the id {item.id!r} was used on line {found.numbers[item.id]}; give each {what} its own")
            found.numbers.setdefault(item.id, number)
            found.items.append(item)
    problems += across(path, found)
    if problems:
        raise UserError("\n".join(problems))
    if not found.items:
        raise UserError(f"{path}: holds no {what}; write one JSON object a line")
    return found.items


def to_json_line(item: BaseModel, *, leave_out_defaults: bool = False) -> str:
    """One item as one line of JSON, newline included; text stays readable in its own script."""
    return json.dumps(item.model_dump(mode="json", exclude_defaults=leave_out_defaults), ensure_ascii=False) + "\n"


class UnreadableError(Exception):
    """A line is not JSON that can be read."""


def _value(line: str) -> Any:
    try:
        value = json.loads(line, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        raise UnreadableError(f"not JSON ({error.msg} at column {error.colno}); write one JSON object a line") from error
    except RecursionError as error:
        raise UnreadableError("nested too deeply; write one JSON object a line") from error
    except ValueError as error:
        # A number of too many digits.
        raise UnreadableError(f"not JSON that can be read ({error})") from error
    if not isinstance(value, dict):
        raise UnreadableError(f"a JSON object is wanted, not {type(value).__name__}: write {{...}}")
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise UnreadableError("holds half of a surrogate pair (\\ud800 to \\udfff), which is no character; remove it") from error
    return value


def once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these pairs, for `json.loads`; raises `UnreadableError` where a key stands twice, of which one would be lost."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise UnreadableError(f"the key {key!r} stands twice in one object; keep one")
        found[key] = value
    return found


def editions_in(value: Any) -> list[dict[str, Any]]:
    """The editions that a line's value has, whatever else is right or wrong with it."""
    editions = value.get("editions") if isinstance(value, dict) else None
    return [own for own in editions.values() if isinstance(own, dict)] if isinstance(editions, dict) else []


def keys_of(kind: type[BaseModel]) -> tuple[str, ...]:
    """The keys of a line that holds this, at every depth."""
    found = dict.fromkeys(kind.model_fields)
    for field in kind.model_fields.values():
        for inner in _models_in(field.annotation):
            found |= dict.fromkeys(keys_of(inner))
    return tuple(found)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [inner for part in get_args(annotation) for inner in _models_in(part)]


def _faulty(fault: Any, keys: Iterable[str]) -> str:
    message = fault_text(fault, keys)
    where = ".".join(str(part) for part in fault["loc"])
    return f"field {where}: {message}" if where and fault["type"] != "extra_forbidden" else message
