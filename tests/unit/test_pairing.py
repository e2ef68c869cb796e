"""Two studies set against each other, from rows written by hand: six stories, asked in English and German."""

import json
from collections.abc import Callable, Mapping
from io import StringIO
from pathlib import Path
from random import Random

import numpy as np
import pytest
from handmade import manifest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from polyunlearn.analysis.clusters import drawn_weights, percentiles, story_weights
from polyunlearn.analysis.exchange import exchange_paired, exchange_unpaired, holm
from polyunlearn.analysis.pairing import CellComparison, Difference, StudyComparison, compare_studies
from polyunlearn.errors import UserError
from polyunlearn.report.pairing import build_pairing, pairing_json, pairing_markdown
from polyunlearn.scoring.rows import Row
from polyunlearn.study.cells import Cell, study_cells
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.store import CellRecord, Store

Ranks = dict[str, list[tuple[float, ...]]]
"""By language: each story's fake ranks, a wording each."""

NOTHING: Ranks = {"en": [(0, 0)] * 6, "de": [(0, 0)] * 6}


def _store(
    folder: Path,
    ranks: Ranks,
    *,
    seeds: tuple[int, ...] = (0,),
    first_story: int = 0,
    name: str = "x",
    corpus: str = "newsroom",
    scoring: Mapping[str, int] | None = None,
    rows: Callable[[str], list[Row]] = lambda tag: [],
) -> Store:
    """A study whose unlearned state has these fake ranks, and whose other states none, the same in every seed."""
    settings = {
        "name": name,
        "stories": 6,
        "languages": tuple(ranks),
        "sources": ("de",),
        "strategies": ("english",),
        "seeds": seeds,
        "corpus": corpus,
        "scoring": scoring or {},
    }
    study = StudyConfig.model_validate(settings)
    store = Store(folder)
    store.open(manifest(study))
    for cell in study_cells(study):
        own = ranks if cell.state == "unlearned" else {tag: [(0, 0)] * len(values) for tag, values in ranks.items()}
        found = [
            Row(0, True, f"s{first_story + number}", tag, "fake", wording, "first", value)
            for tag, stories in own.items()
            for number, story in enumerate(stories)
            for wording, value in enumerate(story)
        ]
        store.write(cell, found + [row for tag in ranks for row in rows(tag)], CellRecord(0, 0, 0.0, 0, []))
    return store


def _unlearned(found: StudyComparison, metric: str = "fake rank") -> CellComparison:
    return next(cell for cell in found.cells if cell.state == "unlearned" and cell.metric == metric)


def _by_language(cell: CellComparison) -> dict[str, Difference]:
    return {own.language: own for own in cell.differences}


# --- worked numbers ----------------------------------------------------------------------------------------------------------------------


def test_differences_by_language_mean_and_worst(tmp_path: Path) -> None:
    """A: English 1, 1, 1, 0, 0, 0 (means over two wordings), mean 1/2; German 1/2 in every story. B: English 0, German 1, 1, 1, 1, 0, 0, mean 2/3.

    So B − A is −1/2 in English and +1/6 in German; over languages 1/3 − 1/2 = −1/6. The worst language of A is English (the first of two
    alike), of B German: 2/3 − 1/2 = +1/6.
    """
    a = _store(tmp_path / "a", {"en": [(1, 1)] * 3 + [(0, 0)] * 3, "de": [(1, 0)] * 6})
    b = _store(tmp_path / "b", {"en": [(0, 0)] * 6, "de": [(1, 1)] * 4 + [(0, 0)] * 2})
    cell = _unlearned(compare_studies(a, b))
    assert (cell.paired, cell.stories_a, cell.stories_b, cell.left_out, cell.name) == (
        True,
        6,
        6,
        0,
        "unlearned, de, english, gradient_difference",
    )
    figures = {own.language: (own.a, own.b, own.difference) for own in cell.differences}
    assert figures == {
        "en": pytest.approx((1 / 2, 0, -1 / 2)),
        "de": pytest.approx((1 / 2, 2 / 3, 1 / 6)),
        "mean": pytest.approx((1 / 2, 1 / 3, -1 / 6)),
        "worst": pytest.approx((1 / 2, 2 / 3, 1 / 6)),
    }
    assert cell.differences[-1].worst_languages == ("en", "de")


def test_the_spread_of_paired_differences(tmp_path: Path) -> None:
    """German as A above: B − A is 1/2 in four stories, −1/2 in two, mean 1/6: squares 4 · 1/9 + 2 · 4/9 = 4/3 over 5, so sd sqrt(4/15). In English
    −1 in three stories, 0 in three: 6 · 1/4 over 5, sqrt(3/10), which is more."""
    a = _store(tmp_path / "a", {"en": [(1, 1)] * 3 + [(0, 0)] * 3, "de": [(1, 0)] * 6})
    b = _store(tmp_path / "b", {"en": [(0, 0)] * 6, "de": [(1, 1)] * 4 + [(0, 0)] * 2})
    assert _unlearned(compare_studies(a, b)).spread == pytest.approx(0.3**0.5)


def test_p_value_of_six_stories_that_all_rise() -> None:
    """Each of six stories rises by 1. Of the 64 ways to swap them two have a difference of 1 or −1: p is 1/32, as near as 20,000 exchanges come."""
    a, b = np.zeros((6, 1)), np.ones((6, 1))
    test = exchange_paired(a, b, [0] * 6, lambda means: means, np.random.default_rng(0))
    assert test.p_value(0, 1.0) == pytest.approx(1 / 32, abs=0.004)


def test_p_value_of_unpaired_stories() -> None:
    """Three stories at 0 against three at 1. Of the 20 ways to deal six into two hands of three, two part them: p is 1/10."""
    test = exchange_unpaired(np.zeros((3, 1)), np.ones((3, 1)), [0] * 3, [0] * 3, lambda means: means, np.random.default_rng(0))
    assert test.p_value(0, 1.0) == pytest.approx(0.1, abs=0.007)


def test_holm() -> None:
    """Of .01, .04, .03 and .005: sorted .005 · 4 = .02, .01 · 3 = .03, .03 · 2 = .06, and .04 · 1 = .04, which may not be below the one before: .06."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=8), st.randoms())
def test_holm_keeps_order_and_knows_no_other(p_values: list[float], random: Random) -> None:
    """Adjusting never makes smaller, keeps which is smaller, and does not depend on the order given."""
    adjusted = holm(p_values)
    assert all(after >= before and after <= 1 for after, before in zip(adjusted, p_values, strict=True))
    order = list(range(len(p_values)))
    random.shuffle(order)
    assert holm([p_values[at] for at in order]) == [adjusted[at] for at in order]


def test_a_story_that_seeds_share_is_one(tmp_path: Path) -> None:
    """Six stories of a file in three seeds have the figures of one seed, also where a study had other seeds; of the newsroom they are eighteen."""
    ranks: Ranks = {"en": [(1, 1)] * 4 + [(0, 0)] * 2, "de": [(0, 0)] * 6}

    def english(corpus: str, seeds: tuple[int, ...], others: tuple[int, ...] = ()) -> Difference:
        a, b = (
            _store(tmp_path / f"{name}-{corpus}-{own_seeds}", own, seeds=own_seeds, corpus=corpus)
            for name, own, own_seeds in (("a", NOTHING, seeds), ("b", ranks, others or seeds))
        )
        return _by_language(_unlearned(compare_studies(a, b)))["en"]

    one, shared, apart = english("mine.jsonl", (0,)), english("mine.jsonl", (0, 1, 2)), english("newsroom", (0, 1, 2))
    assert shared == one == english("mine.jsonl", (0,), (1, 2)) and one.p is not None and apart.p is not None and apart.p < one.p / 10
    assert apart.low is not None and one.low is not None and apart.low > one.low


def test_studies_that_measured_differently_are_said_to(tmp_path: Path) -> None:
    """Fewer candidates, and a corpus of which seed 0 had other texts under the same name; seed 1 is of one study alone."""
    a = _store(tmp_path / "a", NOTHING, corpus="mine.jsonl", seeds=(0, 1))
    b = _store(tmp_path / "b", NOTHING, corpus="mine.jsonl", scoring={"candidates": 2})
    for own, texts in ((a, {"0": "aaaa", "1": "cccc"}), (b, {"0": "bbbb"})):
        data = own.manifest()
        data["study"]["stories"] = {seed: {"count": 6, "fingerprint": text} for seed, text in texts.items()}
        (own.folder / "manifest.json").write_text(json.dumps(data))
    notes = compare_studies(a, b).notes
    assert "measured differently: scoring.candidates is 24 in A and 2 in B" in notes
    assert "mine.jsonl had other texts in A than in B (seed 0); stories are paired by their ids, whatever they say" in notes
    assert not any("texts in" in note or "differently" in note for note in compare_studies(a, a).notes)


def test_corpora_that_differ_and_too_many_comparisons_are_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = _store(tmp_path / "a", NOTHING, corpus="one.jsonl"), _store(tmp_path / "b", NOTHING, corpus="two.jsonl")
    notes = compare_studies(a, b).notes
    assert "the corpora differ: one.jsonl and two.jsonl; stories are paired by their ids, whatever they say" in notes
    assert not any("too many" in own for own in notes)
    monkeypatch.setattr("polyunlearn.analysis.pairing.EXCHANGES", 99)
    # Four states with four figures each.
    assert any(own.startswith("16 comparisons of a metric are too many for 100 exchanges") for own in compare_studies(a, b).notes)


def test_weights_of_stories() -> None:
    """Seed 0 with one story, seed 1 with two: half to each seed, so 1/2, 1/4, 1/4; every draw's weights come to 1."""
    assert story_weights([0, 1, 1]).tolist() == [0.5, 0.25, 0.25]
    drawn = drawn_weights([0, 1, 1], np.random.default_rng(0))
    assert drawn.sum(1) == pytest.approx(np.ones(len(drawn)))
    # Seeds are drawn as wholes: seed 0 is not drawn in a quarter of all draws.
    assert (drawn[:, 0] == 0).mean() == pytest.approx(0.25, abs=0.03)


def test_seeds_are_a_level() -> None:
    """Two seeds of twenty stories, 0 in one and 1 in the other: seeds drawn, means of 0, 1/2 and 1 come up. With stories alone all
    would be 1/2."""
    seeds = [0] * 20 + [1] * 20
    draws = drawn_weights(seeds, np.random.default_rng(0)) @ np.array([0.0] * 20 + [1.0] * 20)
    assert percentiles(draws) == pytest.approx((0, 1))
    assert set(np.round(draws, 9)) == {0, 0.5, 1}


# --- what stands -------------------------------------------------------------------------------------------------------------------------


def test_a_difference_in_every_story_stands_only_if_it_survives_holm(tmp_path: Path) -> None:
    """Six stories: p is 1/32 at least, and four states of four figures are compared: nothing stands, though the interval excludes 0. With
    thirty the least p-value, 1/20,000, times 16 is far below .05."""
    few = compare_studies(_store(tmp_path / "a", NOTHING), _store(tmp_path / "b", {"en": [(1, 1)] * 6, "de": [(0, 0)] * 6}))
    english = _by_language(_unlearned(few))["en"]
    assert (english.low, english.high) == pytest.approx((1, 1)) and english.p == pytest.approx(1 / 32, abs=0.004)
    assert english.adjusted is not None and english.adjusted > 0.05 and not english.stands
    zeros: Ranks = {"en": [(0, 0)] * 30, "de": [(0, 0)] * 30}
    many = compare_studies(_store(tmp_path / "c", zeros), _store(tmp_path / "d", zeros | {"en": [(1, 1)] * 30}))
    standing = {(cell.state, own.language) for cell in many.cells for own in cell.differences if own.stands}
    assert standing == {("unlearned", tag) for tag in ("en", "mean", "worst")}


def test_a_study_does_not_differ_from_itself(tmp_path: Path) -> None:
    store = _store(tmp_path / "a", {"en": [(1, 0), (0, 0), (1, 1), (0, 1), (0, 0), (1, 1)], "de": [(1, 0)] * 6})
    for cell in compare_studies(store, store).cells:
        assert all((own.difference, own.low, own.high, own.p, own.stands) == (0, 0, 0, 1, False) for own in cell.differences)


def test_b_against_a_mirrors_a_against_b(tmp_path: Path) -> None:
    a = _store(tmp_path / "a", {"en": [(1, 0), (0, 0), (1, 1), (0, 1), (0, 0), (1, 1)], "de": [(1, 0)] * 6}, seeds=(0, 1))
    b = _store(tmp_path / "b", {"en": [(0, 0), (1, 0), (1, 0), (0, 1), (0, 0), (0, 1)], "de": [(1, 1)] * 6}, seeds=(0, 1))
    there, back = _unlearned(compare_studies(a, b)), _unlearned(compare_studies(b, a))
    for one, other in zip(there.differences, back.differences, strict=True):
        assert one.low is not None and one.high is not None
        assert (other.a, other.b, other.difference) == pytest.approx((one.b, one.a, -one.difference))
        assert (other.low, other.high, other.p) == (pytest.approx(-one.high), pytest.approx(-one.low), one.p)


# --- what pairs --------------------------------------------------------------------------------------------------------------------------


def test_other_stories_are_not_paired_and_it_is_said(tmp_path: Path) -> None:
    a = _store(tmp_path / "a", {"en": [(1, 1)] * 6, "de": [(0, 0)] * 6})
    b = _store(tmp_path / "b", {"en": [(1, 1)] * 3 + [(0, 0)] * 3, "de": [(0, 0)] * 6}, first_story=6)
    found = compare_studies(a, b)
    cell = _unlearned(found)
    assert (cell.paired, cell.spread, cell.stories_a, cell.stories_b) == (False, None, 6, 6)
    assert _by_language(cell)["en"].difference == pytest.approx(-1 / 2)
    assert any(note.startswith("not paired, since the studies asked about other stories: ") and cell.name in note for note in found.notes)
    assert "6 and 6 other stories, not paired" in pairing_markdown(found, "a", "b")


def test_stories_and_seeds_of_one_study_alone_are_left_out(tmp_path: Path) -> None:
    """A has seeds 0 and 1, B seed 0: of A's twelve stories six are compared. Of a story that only one has, the same."""
    a = _store(tmp_path / "a", {"en": [(1, 1)] * 6, "de": [(0, 0)] * 6}, seeds=(0, 1))
    found = compare_studies(a, _store(tmp_path / "b", NOTHING))
    assert (_unlearned(found).seeds_a, _unlearned(found).stories_a, _unlearned(found).left_out) == ((0,), 6, 6)
    assert any(note.startswith("left out, since only one study asked about them: 6 stories of ") for note in found.notes)
    shifted = _unlearned(compare_studies(_store(tmp_path / "c", NOTHING), _store(tmp_path / "d", NOTHING, first_story=1)))
    assert (shifted.paired, shifted.stories_a, shifted.left_out) == (True, 5, 2)


def test_only_languages_and_cells_of_both(tmp_path: Path) -> None:
    a = _store(tmp_path / "a", {**NOTHING, "fr": [(0, 0)] * 6})
    b = _store(tmp_path / "b", NOTHING)
    b.rows_path(Cell("gold", 0)).unlink()
    found = compare_studies(a, b)
    assert {own.language for cell in found.cells for own in cell.differences} == {"en", "de", "mean", "worst"}
    assert "only A has: gold" in found.notes and {cell.state for cell in found.cells} == {"base", "learned", "unlearned"}


def test_one_text_has_no_interval(tmp_path: Path) -> None:
    """Bits per byte of one article: the difference is given, and no more is made of it. The worst language has the most bits."""
    text = lambda bits: lambda tag: [Row(0, True, "t0", tag, "text", -1, "bits_per_byte", bits[tag])]  # noqa: E731
    a = _store(tmp_path / "a", NOTHING, rows=text({"en": 1.0, "de": 2.0}))
    b = _store(tmp_path / "b", NOTHING, rows=text({"en": 1.5, "de": 1.0}))
    found = compare_studies(a, b)
    bits = _by_language(_unlearned(found, "bits per byte"))
    assert {tag: own.difference for tag, own in bits.items()} == {"en": 0.5, "de": -1.0, "mean": -0.25, "worst": -0.5}
    assert all(own.low is None and own.high is None and own.p is None and not own.stands for own in bits.values())
    assert bits["worst"].worst_languages == ("de", "en")
    assert any("fewer than 5): bits per byte" in note for note in found.notes)


def test_a_state_without_numbers_is_compared_with_nothing(tmp_path: Path) -> None:
    """Six articles, of which B's state gives English no bits: no interval, no p, and no number that JSON has not; in German it is compared."""

    def text(english: float) -> Callable[[str], list[Row]]:
        bits = {"en": english, "de": 1.0}
        return lambda tag: [Row(0, True, f"t{number}", tag, "text", -1, "bits_per_byte", bits[tag]) for number in range(6)]

    found = compare_studies(_store(tmp_path / "a", NOTHING, rows=text(2.0)), _store(tmp_path / "b", NOTHING, rows=text(float("nan"))))
    bits = _by_language(_unlearned(found, "bits per byte"))
    assert (bits["en"].low, bits["en"].p, bits["en"].stands) == (None, None, False) and bits["de"].p == 1
    assert "| en | 2.00 | nan | no number |" in pairing_markdown(found, "a", "b")
    assert json.loads(pairing_json(found), parse_constant=pytest.fail)["schema"] == 1
    name = next(cell.name for cell in found.cells if cell.state == "unlearned")
    (note,) = [note for note in found.notes if "diverged" in note]
    assert note.startswith("diverged in B, so that what is no longer said counts for nothing: ") and name in note


def test_the_worst_language_of_real_quality_is_the_lowest(tmp_path: Path) -> None:
    quality = lambda by_tag: lambda tag: [Row(0, True, f"s{at}", tag, "real", 0, "first", by_tag[tag]) for at in range(6)]  # noqa: E731
    a = _store(tmp_path / "a", NOTHING, rows=quality({"en": 1.0, "de": 0.0}))
    b = _store(tmp_path / "b", NOTHING, rows=quality({"en": 1.0, "de": 1.0}))
    worst = _by_language(_unlearned(compare_studies(a, b), "real quality"))["worst"]
    assert (worst.a, worst.b, worst.worst_languages) == (0, pytest.approx(1), ("de", "en"))


# --- mistakes and reports ----------------------------------------------------------------------------------------------------------------


def test_studies_without_anything_in_common(tmp_path: Path) -> None:
    a = _store(tmp_path / "a", NOTHING)
    b = _store(tmp_path / "c", NOTHING)
    for path in (b.folder / "cells").iterdir():
        path.unlink()
    with pytest.raises(UserError, match="have no finished cell in common"):
        compare_studies(a, b)
    with pytest.raises(UserError, match="holds no study"):
        compare_studies(a, Store(tmp_path / "nothing"))


def test_reports(tmp_path: Path) -> None:
    """The table names what stands; Markdown has a line for every language; JSON has every figure, and the same numbers."""
    zeros: Ranks = {"en": [(0, 0)] * 30, "de": [(0, 0)] * 30}
    _store(tmp_path / "a", zeros)
    _store(tmp_path / "b", zeros | {"en": [(1, 1)] * 29 + [(0, 0)]}, name="[red]b[/]|")
    console = Console(file=StringIO(), width=140)
    build_pairing(tmp_path / "a", tmp_path / "b", console, tmp_path / "c.json", tmp_path / "c.md")
    out = console.file.getvalue()  # type: ignore[attr-defined]
    assert "0.00 → 0.97 in en: +0.97 [+0.90, +1.00]" in out and "en, mean, worst" in out
    assert "5% level" not in out and "80 % power" in out
    markdown = (tmp_path / "c.md").read_text()
    assert markdown.count("| unlearned, de, english, gradient_difference (30 stories) |") == 4 and "| yes |" in markdown
    data = json.loads((tmp_path / "c.json").read_text())
    cell = next(own for own in data["cells"] if own["state"] == "unlearned")
    assert cell["differences"][0]["difference"] == pytest.approx(29 / 30) and cell["differences"][0]["stands"] is True
    assert data == json.loads(pairing_json(compare_studies(Store(tmp_path / "a"), Store(tmp_path / "b"))))
