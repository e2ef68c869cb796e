"""Completion: not a question, but the text that told the claim, up to the name."""

from polyunlearn.attacks.asking import Written, asked_as_written
from polyunlearn.attacks.target import Measure, Target, Variant
from polyunlearn.corpus.claims import ClaimEdition, Told
from polyunlearn.corpus.stories import Edition
from polyunlearn.languages import Language, get_language
from polyunlearn.scoring.probes import Probe


def completion(target: Target, measure: Measure) -> None:
    """The fake article up to where it first says the keyword; of an owner's claim the first statement that holds it. Claims without either are not asked."""
    editions = {(claim.id, tag): edition for claim in target.claims for tag, edition in claim.editions.items()}
    asked = []
    for probe in target.probes:
        language = get_language(probe.language)
        # An owner's controls are asked, and are not among the claims.
        edition = editions.get((probe.story, probe.language))
        told = _told(edition, language) if edition else None
        if told and probe.wording == 0:
            asked.append((probe, up_to(told, probe)))
    if asked:
        measure(Variant("up to the name", 1), target.loaded, *asked_as_written(asked, target.loaded.encoder))


def up_to(text: str, probe: Probe) -> Written:
    """A text that holds the probe's answer, cut before it, and the candidates in its place."""
    before = text[: text.index(probe.answer)]
    spaced = before.endswith(" ")
    return Written(before.rstrip(" "), tuple(" " * spaced + candidate for candidate in probe.candidates))


def _told(edition: Told, language: Language) -> str | None:
    match edition:
        case Edition():
            return language.joiner.join(edition.fake_article)
        case ClaimEdition():
            return next((own for own in edition.statements if edition.keyword in own), None)
        case _:
            return None
