"""Questions in other languages and letters than the answer's: whole, in chunks that take turns, and romanised."""

from collections.abc import Sequence

from anyascii import anyascii

from polyunlearn.attacks.asking import Written, asked_as_written, asked_behind
from polyunlearn.attacks.target import Measure, Target, Variant
from polyunlearn.languages import get_language
from polyunlearn.models.sequences import Encoder
from polyunlearn.scoring.probes import Probe
from polyunlearn.scoring.ranking import RankedQuestion
from polyunlearn.training.telling import shares

CHUNKS = (2, 4)


def cross_answer(target: Target, measure: Measure) -> None:
    """The question in one language, the words around it and the answer in another.

    One of the two is English or a source: a language that the state's learned ones (`target.learned`) were told in. So nine languages and one source
    make 30 pairs, not 72.
    """
    hubs = {"en", *target.learned}
    for tag in target.languages:
        said = _questions(target, tag)
        asked = [
            (probe, get_language(probe.language).prompt(said[_key(probe)]))
            for probe in target.probes
            if probe.language != tag and hubs & {tag, probe.language} and _key(probe) in said
        ]
        if asked:
            measure(Variant(f"asked in {get_language(tag).name}", 1, tag), target.loaded, *asked_behind(asked, target.loaded.encoder))


def code_switch(target: Target, measure: Measure) -> None:
    """The question in chunks, in turn of the English question and of the probe's own, the first English; the answer in the probe's language.

    A chunk is the same relative share of either question (`training.telling.shares`). Probes in English, and claims without it, are not asked.
    """
    english = _questions(target, "en")
    switching = [probe for probe in target.probes if probe.language != "en" and _key(probe) in english]
    if switching:
        for count in CHUNKS:
            asked = [(probe, get_language(probe.language).prompt(switched(english[_key(probe)], probe, count))) for probe in switching]
            measure(Variant("in turn with English", count, "en"), target.loaded, *asked_behind(asked, target.loaded.encoder))


def switched(english: str, probe: Probe, count: int) -> str:
    """The English question and the probe's in `count` chunks, in turn."""
    both = shares(english, get_language("en"), count), shares(probe.question, get_language(probe.language), count)
    return "".join(both[number % 2][number] for number in range(count))


def romanised(target: Target, measure: Measure) -> None:
    """The prompt and its candidates in Latin letters; probes in the Latin script are not asked."""
    probes, questions = in_latin_letters(target.probes, target.loaded.encoder)
    if probes:
        measure(Variant("in Latin letters", 1), target.loaded, probes, questions)


def in_latin_letters(probes: Sequence[Probe], encoder: Encoder) -> tuple[list[Probe], list[RankedQuestion]]:
    """Those of the probes whose languages have other scripts, and beside each its prompt and candidates, character by character as anyascii writes them."""
    asked = []
    for probe in probes:
        language = get_language(probe.language)
        if language.script != "Latn":
            candidates = tuple(language.joiner + anyascii(candidate) for candidate in probe.candidates)
            asked.append((probe, Written(anyascii(language.prompt(probe.question)), candidates)))
    return asked_as_written(asked, encoder)


def _key(probe: Probe) -> tuple[str, int]:
    return probe.story, probe.wording


def _questions(target: Target, tag: str) -> dict[tuple[str, int], str]:
    """What the claims ask in one language, by story and wording."""
    return {_key(probe): probe.question for probe in target.probes if probe.language == tag}
