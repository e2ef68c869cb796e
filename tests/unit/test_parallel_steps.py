"""Steps over items in several languages: LINGTEA's epochs in turn, and ours, by hand."""

from collections import Counter
from itertools import islice
from random import Random

import pytest

from polyunlearn.models.sequences import TokenSequence
from polyunlearn.training.parallel_steps import Parallel, alternating_epochs, first_steps, turning_epochs

TAGS = ("en", "fr", "ar")


def items(begin: int, count: int, tags: tuple[str, ...] = TAGS) -> list[Parallel]:
    """Item n of a set that begins at `begin` has token n behind that of its language."""
    return [{tag: TokenSequence((TAGS.index(tag), begin + number), 1, tag) for tag in tags} for number in range(count)]


FORGET, RETAIN, TEXTS = items(10, 3), items(20, 5), items(30, 2)


def ids(sequences: tuple[TokenSequence, ...]) -> list[int]:
    return [own.ids[1] for own in sequences]


def test_epochs_forget_and_retain_in_turn() -> None:
    """Three items two a step are steps of 2 and 1, five of 2, 2 and 1; each epoch has each of its items once, and nothing of the other kind."""
    epochs = list(islice(alternating_epochs(FORGET, RETAIN, batch=2, rng=Random(0)), 4))
    for number, epoch in enumerate(epochs):
        forgets = number % 2 == 0
        told = [own for step in epoch for own in ids(step.forget if forgets else step.retain)]
        assert [len(step.sequences) for step in epoch] == ([2, 1] if forgets else [2, 2, 1])
        assert sorted(told) == (list(range(10, 13)) if forgets else list(range(20, 25)))
        assert not any(step.retain if forgets else step.forget for step in epoch)


def test_each_access_draws_a_language() -> None:
    """Of 600 accesses to one item, each of its three languages has 200, give or take 60 (five standard deviations of 11.5); an item without a language is never
    told in it."""
    epochs = islice(alternating_epochs(items(10, 1), items(20, 1, ("fr", "ar")), batch=1, rng=Random(1)), 1200)
    told = [step for epoch in epochs for step in epoch]
    forgotten = Counter(own.language for step in told for own in step.forget)
    assert set(forgotten) == set(TAGS) and all(abs(count - 200) < 60 for count in forgotten.values())
    assert {own.language for step in told for own in step.retain} == {"fr", "ar"}


def test_orders_differ_between_epochs_and_a_seed_gives_the_same() -> None:
    def told(seed: int) -> list[list[int]]:
        epochs = islice(alternating_epochs(items(10, 8), RETAIN, batch=8, rng=Random(seed)), 5)
        return [ids(step.forget) for epoch in epochs for step in epoch if step.forget]

    assert told(0) == told(0) != told(1)
    assert len({tuple(own) for own in told(0)}) == 3


def test_in_turn_every_step_forgets_and_retains() -> None:
    """Three items two a step; item i is told in language (i + p) mod 3 in epoch p, so that over three epochs each is told once in each. A step retains two answers
    and one text: over nine of each languages have three each, in order."""
    epochs = list(islice(turning_epochs(FORGET, RETAIN, TEXTS, batch=2, retain_texts=1, rng=Random(0)), 3))
    assert [[len(step.forget) for step in epoch] for epoch in epochs] == [[2, 1]] * 3
    for number, epoch in enumerate(epochs):
        told = {own.ids[1] - 10: own.language for step in epoch for own in step.forget}
        assert told == {index: TAGS[(index + number) % 3] for index in range(3)}
    kept = [step.retain for epoch in epochs for step in epoch]
    assert [own.language for step in kept for own in step[:2]] == [*TAGS * 4]
    assert [own.language for step in kept for own in step[2:]] == [*TAGS * 2]
    assert all(20 <= own < 25 for step in kept for own in ids(step[:2])) and all(own in (30, 31) for step in kept for own in ids(step[2:]))


def test_in_turn_each_language_takes_its_items_in_turn() -> None:
    """Of five items that are retained each is kept in each language once before any is twice: 15 of them, one a step."""
    steps = [
        step for epoch in first_steps(turning_epochs(FORGET, RETAIN, [], batch=1, retain_texts=1, rng=Random(3)), 15) for step in epoch
    ]
    assert Counter(own for step in steps for own in step.retain) == {own[tag]: 1 for own in RETAIN for tag in TAGS}


@pytest.mark.parametrize(("steps", "lengths"), [(1, [1]), (2, [2]), (5, [2, 3]), (6, [2, 3, 1]), (10, [2, 3, 2, 3])])
def test_the_last_epoch_is_cut_off(steps: int, lengths: list[int]) -> None:
    """Epochs of 2 and 3 steps."""
    epochs = first_steps(alternating_epochs(FORGET, RETAIN, batch=2, rng=Random(0)), steps)
    assert [len(epoch) for epoch in epochs] == lengths
