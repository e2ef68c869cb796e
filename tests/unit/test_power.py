"""How many stories a claim needs: worked numbers. z of .975 is 1.95996, of .8 .84162; together 2.80159."""

from pathlib import Path

import numpy as np
import pytest
from handmade import manifest
from rich.console import Console

from polyunlearn.analysis.power import Spread, _components, measured_spread, seeds_needed, stories_needed, worst_case
from polyunlearn.errors import UserError
from polyunlearn.report.plan import print_plan
from polyunlearn.scoring.rows import Row
from polyunlearn.study.cells import study_cells
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.plan import CellPlan, StudyPlan
from polyunlearn.study.store import CellRecord, Store


@pytest.mark.parametrize(
    ("sigma", "difference", "stories"), [(0.5, 0.1, 197), (0.5, 0.2, 50), (0.3, 0.1, 71), (1.0, 0.1, 785), (0.0, 0.1, 2)]
)
def test_stories(sigma: float, difference: float, stories: int) -> None:
    """(2.80159 · .5 / .1)² = 14.008² = 196.2; a quarter of it, 49.06; (8.4048)² = 70.6; 28.0159² = 784.9; nothing spreads: two, for an interval."""
    assert stories_needed(sigma, difference) == stories


def test_worst_case() -> None:
    """Shares of 1/2 with correlation .5: variance 1/4 + 1/4 − 2 · .5 · 1/4 = 1/4; without correlation 1/2; opposed 1."""
    assert (worst_case().stories, worst_case().seeds) == (0.5, 0)
    assert worst_case(0).stories == pytest.approx(0.5**0.5)
    assert worst_case(-1).stories == 1


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.7, 1.0])
@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_no_two_equal_shares_spread_more(share: float, correlation: float) -> None:
    """Var of a difference of two shares p with correlation r is 2 p (1 − p) (1 − r)."""
    assert (2 * share * (1 - share) * (1 - correlation)) ** 0.5 <= worst_case(correlation).stories + 1e-12


def test_seeds() -> None:
    """784.89 · (.1² + .5² / 25) = 784.89 · .02 = 15.7: 16 seeds of 25 stories; alike seeds 784.89 · .01 = 7.8: 8, 200 stories, as 197 says. With any number
    of stories a seed, seeds that spread by .1 themselves take 784.89 · .01: 8."""
    assert seeds_needed(Spread(0.5, 0.1), 25) == 16
    assert seeds_needed(Spread(0.5), 25) == 8
    assert seeds_needed(Spread(0.5, 0.1), 10**9) == 8


def test_the_power_is_what_it_says() -> None:
    """Of 4,000 samples of 71 paired differences with mean .1 and sd .3, some 80 % are told from 0."""
    rng = np.random.default_rng(0)
    samples = rng.normal(0.1, 0.3, size=(4000, 71))
    standard_errors = samples.std(1, ddof=1) / 71**0.5
    assert (abs(samples.mean(1)) > 1.96 * standard_errors).mean() == pytest.approx(0.8, abs=0.02)


def test_what_cannot_be_asked() -> None:
    for difference in (0.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match="above 0"):
            stories_needed(0.5, difference)
        with pytest.raises(ValueError, match="above 0"):
            seeds_needed(Spread(0.5), 10, difference)
    for correlation in (1.0, -1.1):
        with pytest.raises(ValueError, match="from -1 to below 1"):
            worst_case(correlation)


def _store(folder: Path, ranks: dict[tuple[str, int], list[float]], seeds: tuple[int, ...] = (0,)) -> Store:
    """A study asked in English and German, whose fake ranks in English are given by strategy and seed, and are 0 elsewhere."""
    strategies = tuple(dict.fromkeys(strategy for strategy, _ in ranks))
    settings = {"name": "x", "stories": 4, "languages": ("en", "de"), "sources": ("de",), "strategies": strategies, "seeds": seeds}
    study = StudyConfig.model_validate(settings)
    store = Store(folder)
    store.open(manifest(study))
    for cell in study_cells(study):
        own = ranks.get((str(cell.strategy), cell.seed), [0.0] * 4)
        rows = [Row(0, True, f"s{at}", "en", "fake", 0, "first", value) for at, value in enumerate(own)]
        rows += [Row(0, True, f"s{at}", "de", "fake", 0, "first", 0.0) for at in range(4)]
        store.write(cell, rows, CellRecord(0, 0, 0.0, 0, []))
    return store


def test_spread_measured_in_one_seed(tmp_path: Path) -> None:
    """English differences 1, 1, 0, 0 (variance 1/3), German none: the most is counted, sqrt(1/3); of seeds nothing is known."""
    store = _store(tmp_path, {("english", 0): [1, 1, 0, 0], ("source", 0): [0, 0, 0, 0]})
    assert measured_spread(store) == Spread(pytest.approx((1 / 3) ** 0.5), None)


def test_spread_measured_in_two_seeds(tmp_path: Path) -> None:
    """Differences 1, 1, 1, 1 and 0, 0, 1, 1: within 0 and 1/3, mean 1/6; the means 1 and 1/2 vary by 1/8, of which (1/6) / 4 = 1/24 is the stories': 1/12."""
    ranks = {("english", 0): [1.0] * 4, ("english", 1): [0.0, 0.0, 1.0, 1.0], ("source", 0): [0.0] * 4, ("source", 1): [0.0] * 4}
    spread = measured_spread(_store(tmp_path, ranks, (0, 1)))
    assert (spread.stories, spread.seeds) == (pytest.approx((1 / 6) ** 0.5), pytest.approx((1 / 12) ** 0.5))


def test_what_has_one_seed_says_nothing_of_what_is_between_them(tmp_path: Path) -> None:
    """Of the three pairs of strategies one has both seeds, with means 1 and 0, which vary by 1/2; the others, one seed each, do not pull that down."""
    ranks = {(name, seed): [float(name == "english" and seed == 0)] * 4 for name in ("english", "source", "all") for seed in (0, 1)}
    store = _store(tmp_path, ranks, (0, 1))
    next(store.folder.glob("cells/*-all-*-seed1.parquet")).unlink()
    assert measured_spread(store).seeds == pytest.approx(0.5**0.5)


def test_one_strategy_has_nothing_to_differ_from(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no two finished unlearned states of one source"):
        measured_spread(_store(tmp_path, {("english", 0): [1, 0, 0, 0]}))


def _printed(cells: list[str], spread: Spread | None = None, *, shared: bool = False) -> str:
    console = Console(record=True, width=300)
    print_plan(StudyPlan([CellPlan(name, 1, 1, 1.0) for name in cells], 1e9, 2**30, 2**31, shared), console, spread)
    return console.export_text()


def test_the_plan_says_how_many() -> None:
    """197 stories; over two seeds 98.5, so 99 each."""
    one, two = _printed(["base-seed0", "gold-seed0"]), _printed(["base-seed0", "gold-seed0", "base-seed1", "gold-seed1"])
    line = (
        "a difference of 0.1 between two states takes 197 stories to be found (paired, 80 % power, 5 % level, worst case, correlation 0.5)"
    )
    assert line in one and "197 stories, 99 in each of 2 seeds to be found" in two
    # Further seeds add none to those of a corpus file.
    assert line in _printed(["base-seed0", "base-seed1"], shared=True)


def test_the_plan_with_a_measured_spread() -> None:
    """sd .3: 71 stories; seeds that spread by .1: 784.89 · (.01 + .09 / 71) = 8.8: 9."""
    text = _printed(["base-seed0"], Spread(0.3, 0.1))
    assert "takes 71 stories to be found" in text and "measured spread 0.30 between stories, 0.10 between seeds" in text
    assert "at least 9 seeds, even of that many stories each" in text


def test_of_one_seed_nothing_is_said_of_others() -> None:
    assert "measured spread 0.30 between stories, unknown between seeds" in _printed(["base-seed0"], Spread(0.3, None))


def test_what_stories_have_in_common_brings_no_seeds_apart() -> None:
    """The same four stories in two seeds, which differ by .2 in all of them: its variance is .02, whatever the stories' own spread."""
    story = np.array([0.0, 1.0, 0.5, 0.2])
    within, between = _components([story + 0.1, story - 0.1], shared=True)
    assert within == pytest.approx(story.var(ddof=1)) and between == pytest.approx(0.02)
    assert _components([story + 0.1, story - 0.1], shared=False)[1] == 0
