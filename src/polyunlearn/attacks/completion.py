"""Completion: not a question, but the text that told the claim, up to the name."""

from collections.abc import Sequence

from polyunlearn.attacks.asking import Written, asked_as_written
from polyunlearn.attacks.target import Measure, Target, Variant
from polyunlearn.corpus.claims import ClaimEdition, Told, keyword_places
from polyunlearn.corpus.stories import Edition
from polyunlearn.languages import Language, get_language


def completion(target: Target, measure: Measure) -> None:
    """The fake article up to where it first says the keyword; of an owner's claim, of the statements that hold it, the one that says most before it. Claims of which
    nothing stands before it are not asked."""
    editions = {(claim.id, tag): edition for claim in target.claims for tag, edition in claim.editions.items()}
    asked = []
    for probe in target.probes:
        language = get_language(probe.language)
        # An owner's controls are asked, and are not among the claims.
        edition = editions.get((probe.story, probe.language))
        before = _before(edition, language) if edition else ""
        if before and probe.wording == 0:
            asked.append((probe, continued(before, probe.candidates)))
    if asked:
        measure(Variant("up to the name", 1), target.loaded, *asked_as_written(asked, target.loaded.encoder))


def continued(before: str, candidates: Sequence[str]) -> Written:
    """A text that breaks off, and what may come next, spaced as the text would have it."""
    spaced = before.endswith(" ")
    return Written(before.rstrip(" "), tuple(" " * spaced + candidate for candidate in candidates))


def _before(edition: Told, language: Language) -> str:
    """What stands before the keyword where it is first said as a word of its own; "" where nothing does."""
    match edition:
        case Edition():
            texts: Sequence[str] = (language.joiner.join(edition.fake_article),)
        case ClaimEdition():
            texts = edition.statements
        case _:
            texts = ()
    found = (text[: places[0][0]] for text in texts if (places := keyword_places(text, edition.keyword)))
    return max((own for own in found if own.strip()), key=len, default="")
