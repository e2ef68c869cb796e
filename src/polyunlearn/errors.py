"""The one exception that is a user's mistake rather than a defect of ours."""

from collections.abc import Iterable
from difflib import get_close_matches


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
