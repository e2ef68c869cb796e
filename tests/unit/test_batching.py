"""Grouping by length, and padding."""

from random import Random

import pytest

from polyunlearn.models.batching import LEAST_FILL, batches_by_length, even_groups, mapped_by_length, packs, padded


def test_padding_stands_on_the_right() -> None:
    assert padded([[1, 2, 3], [4], [5, 6]], fill=-1).tolist() == [[1, 2, 3], [4, -1, -1], [5, 6, -1]]


def test_batches_by_hand() -> None:
    """Lengths 10, 9, 8, 7, 3 under a budget of 30 padded tokens.

    10, 9 and 8 share a batch (3 x 10 = 30); 7 would make it 40, so it begins the next; 3 is below 0.7 x 7 = 4.9, so it begins a third.
    """
    assert list(batches_by_length([3, 8, 10, 7, 9], 30)) == [[2, 4, 1], [3], [0]]


def test_an_item_over_the_budget_stands_alone() -> None:
    assert list(batches_by_length([5, 100, 5], 10)) == [[1], [0, 2]]


def test_nothing_gives_no_batch() -> None:
    assert list(batches_by_length([], 10)) == []


@pytest.mark.parametrize("fill", [LEAST_FILL, 0.0])
@pytest.mark.parametrize("seed", range(20))
def test_every_item_once_within_budget_and_fill(seed: int, fill: float) -> None:
    rng = Random(seed)
    lengths = [rng.randint(1, 60) for _ in range(rng.randint(1, 50))]
    budget = rng.randint(1, 200)
    batches = list(batches_by_length(lengths, budget, fill))
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[i] for i in batch)
        assert len(batch) == 1 or longest * len(batch) <= budget
        assert min(lengths[i] for i in batch) >= fill * longest


def test_fill_by_hand() -> None:
    """Lengths 10, 9, 4 within 40 tokens: 4 is less than 0.7 of 10, so it stands alone, unless any padding will do: 3 x 10 fit."""
    assert list(batches_by_length([4, 10, 9], 40)) == [[1, 2], [0]]
    assert list(batches_by_length([4, 10, 9], 40, 0.0)) == [[1, 2, 0]]


def test_packs_by_hand() -> None:
    """Budget 10: 4 + 6 fit, 1 begins the next, 12 is over it and stands alone, 3 + 7 fit. The order stays."""
    assert list(packs([4, 6, 1, 12, 3, 7], 10)) == [[0, 1], [2], [3], [4, 5]]
    assert list(packs([], 10)) == []


@pytest.mark.parametrize("seed", range(20))
def test_packs_keep_order_and_budget(seed: int) -> None:
    rng = Random(seed)
    lengths = [rng.randint(1, 60) for _ in range(rng.randint(1, 50))]
    budget = rng.randint(1, 200)
    groups = list(packs(lengths, budget))
    assert [index for group in groups for index in group] == list(range(len(lengths)))
    assert all(len(group) == 1 or sum(lengths[i] for i in group) <= budget for group in groups)


def test_what_is_mapped_comes_back_in_the_order_given() -> None:
    """Words of 1 to 4 letters in batches of at most 4: longest first to the work, the first word's result first to the caller."""
    seen: list[list[str]] = []

    def shout(batch: list[str]) -> list[str]:
        seen.append(batch)
        return [word.upper() for word in batch]

    assert mapped_by_length(["aa", "b", "cccc", "dd", "e"], len, 4, shout) == ["AA", "B", "CCCC", "DD", "E"]
    assert seen == [["cccc"], ["aa", "dd"], ["b", "e"]]
    assert mapped_by_length([], len, 4, shout) == []


def test_even_groups_by_hand() -> None:
    """26 tokens in groups of about 10 are two: 9 and 7 open them, 6 joins the 7 (13), 4 the 9 (13), so both are full alike."""
    assert even_groups([4, 9, 6, 7], 10) == [[0, 1], [2, 3]]
    assert even_groups([4, 9], 100) == [[0, 1]]
    assert even_groups([50], 10) == [[0]]
    assert even_groups([], 10) == []


def test_even_groups_hold_everything_once_and_differ_by_no_more_than_one_item() -> None:
    lengths = [Random(2).randrange(1, 60) for _ in range(80)]
    groups = even_groups(lengths, 128)
    assert sorted(index for group in groups for index in group) == list(range(80))
    sizes = [sum(lengths[index] for index in group) for group in groups]
    assert len(groups) == sum(lengths) // 128 and max(sizes) - min(sizes) <= max(lengths)
