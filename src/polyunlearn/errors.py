"""The one exception that is a user's mistake rather than a defect of ours."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any


class UserError(Exception):
    """Something the user can mend: the message says what happened, which value, and what to type.

    The command line prints it without a traceback and exits with code 2.
    """


def unknown_name(what: str, name: str, known: Iterable[str], or_else: str = "") -> UserError:
    """The error for a name that is none of the known ones: the nearest, all of them, and `or_else` what else could be given."""
    names = list(known)
    near = get_close_matches(name, names, 1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return UserError(f"unknown {what} {name!r}: {hint}choose from {', '.join(names)}{or_else}")


def first_line(error: Exception) -> str:
    """What an error of a library says, in a line; its kind where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def fault_text(fault: Mapping[str, Any], known: Iterable[str]) -> str:
    """What pydantic found at fault with one field, in a user's words: what is wanted there, without the field's name. `known` are the fields that there are."""
    kind, got = fault["type"], fault["input"]
    if kind == "extra_forbidden":
        names = list(known)
        near = get_close_matches(str(fault["loc"][-1]), names, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"known keys are {', '.join(names)}"
        return f"unknown key {'.'.join(str(part) for part in fault['loc'])!r}; {hint}"
    if kind == "missing":
        return "is wanted; write it"
    if kind in ("tuple_type", "list_type"):
        return f"a list is wanted; write [{got!r}]" if not isinstance(got, Mapping) else "a list is wanted; write [...]"
    if kind in ("dict_type", "model_type"):
        return f"an object is wanted; write {{...}} (got {got!r})"
    if kind == "string_pattern_mismatch":
        return f"only letters, digits and _ . : - are wanted, 1 to 100 of them (got {got!r})"
    if kind in ("bool_type", "bool_parsing"):
        return f"true or false is wanted (got {got!r})"
    message = str(fault["msg"]).removeprefix("Value error, ")
    return message if kind == "value_error" else f"{message} (got {got!r})"
