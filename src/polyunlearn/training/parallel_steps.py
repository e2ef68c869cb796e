"""Steps over items that are there in several languages, epoch by epoch: facts or texts to forget, and others to retain."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import count, islice
from random import Random

from polyunlearn.models.sequences import TokenSequence
from polyunlearn.training.claim_steps import languages_in_turn
from polyunlearn.training.loop import Step

Parallel = Mapping[str, TokenSequence]
"""An item as it is told in each of its languages, by tag."""


def alternating_epochs(forget: Sequence[Parallel], retain: Sequence[Parallel], *, batch: int, rng: Random) -> Iterator[list[Step]]:
    """Epochs of steps that forget and epochs of steps that retain in turn, for ever (LINGTEA, arXiv 2406.12354).

    An epoch takes each of its items once, in a random order and in one language that is drawn for it anew, `batch` items a step; its last step has what is
    left over.
    """
    while True:
        yield [Step(forget=own) for own in _batches(_drawn(forget, rng), batch)]
        yield [Step(retain=own) for own in _batches(_drawn(retain, rng), batch)]


def turning_epochs(
    forget: Sequence[Parallel],
    retain: Sequence[Parallel],
    texts: Sequence[Parallel],
    *,
    batch: int,
    retain_texts: int,
    rng: Random,
) -> Iterator[list[Step]]:
    """Epochs of steps that forget and retain at once, for ever, languages taking turns.

    An epoch forgets every item once, in a random order, `batch` a step; in epoch p item i is told in language (i + p) modulo the number of those that it
    has. Each step retains `batch` items of `retain` and `retain_texts` of `texts`, where there are any: both take their languages in turn, each its items.
    """
    keep = Random(rng.random())
    kept = [languages_in_turn(_by_language(own), keep) for own in (retain, texts)]
    sizes = (batch if retain else 0, retain_texts if texts else 0)
    for number in count():
        told = tuple(_in(forget[index], index + number) for index in rng.sample(range(len(forget)), len(forget)))
        yield [
            Step(retain=tuple(one for source, size in zip(kept, sizes, strict=True) for one in islice(source, size)), forget=own)
            for own in _batches(told, batch)
        ]


def first_steps(epochs: Iterator[list[Step]], steps: int) -> list[list[Step]]:
    """The epochs that hold the first `steps` steps, the last of them cut off where these end."""
    found: list[list[Step]] = []
    left = steps
    while left > 0:
        found.append(next(epochs)[:left])
        left -= len(found[-1])
    return found


def _drawn(items: Sequence[Parallel], rng: Random) -> tuple[TokenSequence, ...]:
    return tuple(_in(items[index], rng.randrange(len(items[index]))) for index in rng.sample(range(len(items)), len(items)))


def _in(item: Parallel, turn: int) -> TokenSequence:
    """The item in the language whose turn it is."""
    told = list(item.values())
    return told[turn % len(told)]


def _by_language(items: Sequence[Parallel]) -> dict[str, list[TokenSequence]]:
    found: dict[str, list[TokenSequence]] = {}
    for item in items:
        for tag, own in item.items():
            found.setdefault(tag, []).append(own)
    return found


def _batches(sequences: tuple[TokenSequence, ...], batch: int) -> Iterator[tuple[TokenSequence, ...]]:
    return (sequences[at : at + batch] for at in range(0, len(sequences), batch))
