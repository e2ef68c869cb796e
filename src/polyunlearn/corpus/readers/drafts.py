"""From what a data set says of each claim to claims: what a claim cannot be is left out, with the reason."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from polyunlearn.corpus.claims import Claim, ClaimEdition
from polyunlearn.corpus.readers.tags import known_tag
from polyunlearn.corpus.translated import LeftOut
from polyunlearn.errors import UserError


@dataclass(frozen=True)
class Draft:
    """A claim as a data set words it: pairs of a language, by the data set's name, and the fields of the edition in it, unchecked."""

    id: str
    kind: str
    editions: tuple[tuple[str, Mapping[str, Any]], ...]


@dataclass(frozen=True)
class ReadClaims:
    """The claims of a data set, in its order; the editions that could not be, and why; and how many editions there were in each language that the
    table lacks, by the data set's name of it. A claim of which no edition is left is not there."""

    claims: tuple[Claim, ...]
    left_out: tuple[LeftOut, ...]
    unknown_languages: Mapping[str, int]


def to_claims(drafts: Iterable[Draft]) -> ReadClaims:
    """Make claims. Of two that ask one question in one language the later loses that edition, since a model can give one answer alone.

    Raises:
        UserError: where two drafts have one id.
    """
    claims: dict[str, Claim] = {}
    left_out: list[LeftOut] = []
    unknown: Counter[str] = Counter()
    asked: dict[tuple[str, str], str] = {}
    for draft in _each_once(drafts):
        editions: dict[str, ClaimEdition] = {}
        for name, fields in draft.editions:
            tag = known_tag(name)
            if tag is None:
                unknown[name] += 1
                continue
            try:
                editions[tag] = _edition(tag, fields, editions, asked)
            except _CannotBeError as error:
                left_out.append(LeftOut(draft.id, tag, str(error)))
            else:
                asked.update({(tag, question): draft.id for question in editions[tag].fake_questions})
        if editions:
            claims[draft.id] = _claim(draft, editions)
    return ReadClaims(tuple(claims.values()), tuple(left_out), dict(unknown))


def others(candidates: Iterable[str], own: Iterable[str | None]) -> tuple[str, ...]:
    """The candidates that are none of one's own answers, each once: distractors."""
    mine = set(own)
    return tuple(text for text in dict.fromkeys(candidates) if text not in mine)


class _CannotBeError(Exception):
    """Why there can be no such edition."""


def _each_once(drafts: Iterable[Draft]) -> Iterator[Draft]:
    ids: set[str] = set()
    for draft in drafts:
        if draft.id in ids:
            raise UserError(f"two claims have the id {draft.id!r}; give each its own")
        ids.add(draft.id)
        yield draft


def _edition(
    tag: str, fields: Mapping[str, Any], editions: Mapping[str, ClaimEdition], asked: Mapping[tuple[str, str], str]
) -> ClaimEdition:
    if tag in editions:
        raise _CannotBeError(f"the claim has another edition in {tag}")
    try:
        edition = ClaimEdition.model_validate(fields)
    except ValidationError as error:
        raise _CannotBeError(_why(error)) from error
    other = next((asked[tag, question] for question in edition.fake_questions if (tag, question) in asked), None)
    if other is not None:
        raise _CannotBeError(f"its question is also asked by {other!r}")
    return edition


def _claim(draft: Draft, editions: dict[str, ClaimEdition]) -> Claim:
    try:
        return Claim(id=draft.id, kind=draft.kind, editions=editions)
    except ValidationError as error:
        raise UserError(f"{draft.id}: {_why(error)}") from error


def _why(error: ValidationError) -> str:
    return "; ".join(f"{one['loc'][0]}: {_message(one)}" if one["loc"] else _message(one) for one in error.errors())


def _message(one: Mapping[str, Any]) -> str:
    return str(one["msg"]).removeprefix("Value error, ")
