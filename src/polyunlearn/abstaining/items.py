"""Questions that a model answers by choosing, of which one answer is right: those of claims that have a truth, and of what must stay."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from polyunlearn.cleaning.asking import Asking, asked_languages, claim_probes
from polyunlearn.corpus.claims import Claim, Neighbour
from polyunlearn.errors import UserError
from polyunlearn.text import normalised


@dataclass(frozen=True)
class Item:
    """A question in one language, the answers to choose from, and which is right. Items of one `claim` are one cluster in every language."""

    claim: str
    language: str
    question: str
    candidates: tuple[str, ...]
    right: int


def make_items(claims: Sequence[Claim], asking: Asking) -> list[Item]:
    """Each claim's first wording, its truth among its keyword and `asking.alternatives` other answers; and the questions of its neighbours, their answers
    among as many of other neighbours; a neighbour of several claims is the first one's. By claim and in its order within each language, whatever the order of `claims`.

    Without neighbours a model that learned the claims has hardly anything to be right about.

    Raises:
        UserError: where fewer than two claims have a truth, or neighbours of which there are two answers, or no language has some in both halves.
    """
    ordered = sorted(claims, key=lambda claim: claim.id)
    items = [
        item for tag in asked_languages(claims, asking) for make in (_of_claims, _of_neighbours) for item in make(ordered, tag, asking)
    ]
    if len({item.claim for item in items}) < 2:
        raise UserError(
            'fewer than two claims can be answered rightly, and a threshold is chosen on half of them: give claims a "truth", or "neighbours" with '
            "different answers (docs/claims.md), or ask for no feedback (--no-feedback)"
        )
    half = choosing_half([item.claim for item in items])
    tags = list(dict.fromkeys(item.language for item in items))
    if not any({True, False} <= {item.claim in half for item in items if item.language == tag} for tag in tags):
        raise UserError(
            f"in none of {', '.join(tags)} there are claims in both halves, of which one chooses a threshold and the other is reported: give more claims "
            'a "truth" or "neighbours" in one language, or ask for no feedback (--no-feedback)'
        )
    return items


def choosing_half(claims: Sequence[str]) -> set[str]:
    """The claims that thresholds are chosen on, the same in every language and mode: half of them, rounded down, drawn whatever their order."""
    names = sorted(set(claims))
    return set(Random("halves").sample(names, len(names) // 2))


def _of_claims(claims: Sequence[Claim], tag: str, asking: Asking) -> Iterator[Item]:
    true = {claim.id for claim in claims if tag in claim.editions and claim.editions[tag].truth is not None}
    for probe in claim_probes(claims, tag, Asking(1, asking.alternatives)):
        if probe.story in true:
            # The truth stands behind the keyword.
            yield Item(probe.story, tag, probe.question, probe.candidates, 1)


def _of_neighbours(claims: Sequence[Claim], tag: str, asking: Asking) -> Iterator[Item]:
    # What several claims have beside them is asked once, or one question would stand in both halves.
    first: dict[str, tuple[str, Neighbour]] = {}
    for claim in claims:
        for own in claim.editions[tag].neighbours if tag in claim.editions else ():
            first.setdefault(normalised(own.question), (claim.id, own))
    asked = list(first.values())
    answers = {normalised(own.answer): own.answer for _, own in asked}
    for name, own in asked:
        others = sorted(answer for key, answer in answers.items() if key != normalised(own.answer))
        drawn = Random(f"neighbours-{name}-{own.question}").sample(others, min(asking.alternatives, len(others)))
        if drawn:
            yield Item(name, tag, own.question, (own.answer, *drawn), 0)
