"""Claims as tokens of which the keyword is to be learned, or known again: what both ways of suppressing are made from."""

from collections.abc import Sequence

from polyunlearn.corpus.claims import Claim, ClaimEdition, blanked, keyword_places
from polyunlearn.errors import UserError
from polyunlearn.languages import Language, get_language
from polyunlearn.models.rows import common_length
from polyunlearn.models.sequences import Encoder, TokenSequence


def tellings(claims: Sequence[Claim], tag: str, encoder: Encoder, held_out: int = 0) -> list[TokenSequence]:
    """How the claims, their controls left out, are told in one language: questions with the keyword, and statements up to where they first say it; the
    keyword's tokens are the labels, without an end, since what may follow a name is no claim.

    The first `held_out` wordings, and statements that are asked as these, are left out where something else is there to tell. Raises `UserError` where no
    claim has the language.
    """
    editions = [claim.editions[tag] for claim in claims if tag in claim.editions and not claim.control]
    if not editions:
        raise UserError(f"no claim has an edition in {tag!r}, controls aside; nothing can be suppressed in it")
    language = get_language(tag)
    return [own for edition in editions for own in _told(edition, language, encoder, held_out)]


def only_asked(edition: ClaimEdition, held_out: int) -> bool:
    """Whether there is nothing to tell but the first `held_out` wordings, so that they are told though they are asked."""
    return not any(_to_tell(edition, held_out))


def _told(edition: ClaimEdition, language: Language, encoder: Encoder, held_out: int) -> list[TokenSequence]:
    questions, statements = _to_tell(edition, 0 if only_asked(edition, held_out) else held_out)
    asked = [encoder.answer_only(language, question, edition.keyword) for question in questions]
    return [*asked, *(_stated(own, edition.keyword, language, encoder) for own in statements)]


def _to_tell(edition: ClaimEdition, held_out: int) -> tuple[Sequence[str], Sequence[str]]:
    """The questions and the statements with the keyword that the first `held_out` wordings leave."""
    measured, questions = edition.fake_questions[:held_out], edition.fake_questions[held_out:]
    return questions, [own for own in edition.statements if (asked := blanked(own, edition.keyword)) and asked not in measured]


def _stated(statement: str, keyword: str, language: Language, encoder: Encoder) -> TokenSequence:
    before = statement[: keyword_places(statement, keyword)[0][0]]
    # Without the end token. A tokeniser may join the keyword to the space before it: the labels begin where the two part.
    text, whole = (encoder.unended(language, own).ids for own in (before, before + keyword))
    return TokenSequence(whole, common_length(text, whole), language.tag)
