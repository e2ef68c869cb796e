"""Matrices from language to language, from rows written by hand (see handmade.py) and on plain numbers."""

import json
import math
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from handmade import BASE, LEARNED, UNLEARNED, Values, config, rows, written
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from polyunlearn.analysis.matrices import agreement, backfire, quality_lost, rank_consistency, residual_by_home, unlearn_transfer
from polyunlearn.analysis.regression import FEATURES, Regression, corpus_tokens, regression, spread_regression, token_overlap
from polyunlearn.corpus.newsroom import generate_stories
from polyunlearn.intervals import Estimate
from polyunlearn.report.matrices import _chance, build_matrices, matrices_markdown, study_matrices
from polyunlearn.scoring.rows import Row
from polyunlearn.study.cells import Cell, study_cells
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.store import CellRecord, Store

LOSSES: Values = {(tag, "fake", "loss"): [1.0, 1.0, 1.0, 1.0] for tag in ("en", "de", "ur")}
"""What handmade does not measure: the loss of the claims, of which the log-prob is the negative."""


def _store(folder: Path, study: StudyConfig | None = None, learned: Values | None = None, unlearned: Values | None = None) -> Store:
    """A study by hand whose learned and unlearned states are as said, in every seed."""
    study = study or config()
    store = written(folder, study)
    states = {"base": BASE, "gold": BASE, "learned": learned or LEARNED, "unlearned": unlearned or UNLEARNED}
    for cell in study_cells(study):
        store.write(cell, rows(LOSSES | states[cell.state]), CellRecord(0, 0, 0.0, 1, []))
    return store


# --- what unlearning leaves --------------------------------------------------------------------------------------------------------------


def test_residuals_as_in_the_summary(tmp_path: Path) -> None:
    """English 1/7 and Urdu 1/6, as test_summary works out; German was never reached. English's interval: learning added 1, 1, 1/2, 1 and
    1/2, 0, 0, 0 is left, so a draw with story 0 never has none and one without it has 0; the most is four times story 0: 1/2, and
    .659 with what four stories leave open (test_summary)."""
    english, german, urdu = unlearn_transfer(config(), _store(tmp_path / "study"))
    assert (english.language, english.source, english.strategy, english.reached, english.seeds) == ("en", "ur", "source", 1, 1)
    assert english.residual and urdu.residual
    assert (english.residual.mean, urdu.residual.mean) == (pytest.approx(1 / 7), pytest.approx(1 / 6))
    assert english.residual.low == 0 and english.residual.high == pytest.approx(0.659, abs=0.001) and english.residual.n == 4
    assert (german.reached, german.residual) == (0, None)


def test_a_state_that_has_collapsed_is_named(tmp_path: Path) -> None:
    """It says nothing false any more, and nothing true: rows of zeros in what it leaves would pass for a success."""
    gone = UNLEARNED | {(tag, "real", "first"): [0, 0, 0, 0] for tag in ("en", "de", "ur")}
    (note,) = [note for note in study_matrices(config(), _store(tmp_path / "gone", unlearned=gone)).notes if "collapsed" in note]
    assert note.startswith("unlearned-") and "real-information quality in en fell from 1.00 to 0.00" in note
    assert not any("collapsed" in note for note in study_matrices(config(), _store(tmp_path / "whole")).notes)


def test_what_is_left_where_claims_belong(tmp_path: Path) -> None:
    """Story 0 is at home in English, 1 in Urdu, 2 in French, which was not asked, 3 nowhere; German was never reached. Added and left, English: 1, 1, 1/2, 1
    and 1/2, 0, 0, 0; Urdu: 0, 1, 1, 1 and 0, 0, 0, 1/2. Three seeds alike are six stories a place: at home (1/2 + 0) / (1 + 1), away 0 / (0 + 1), of no
    home, stories 2 and 3, 1/2 of 1/2 + 1 + 1 + 1. One seed has two stories a place, too few to say anything."""
    homes, study = {"story-0": "en", "story-1": "ur", "story-2": "fr"}, config(seeds=(0, 1, 2))
    (own,) = residual_by_home(study, _store(tmp_path / "study", study), homes)
    assert own.at_home and own.away and own.agnostic
    assert (own.at_home.mean, own.away.mean, own.agnostic.mean) == (pytest.approx(1 / 4), 0, pytest.approx(1 / 7))
    assert (own.at_home.n, own.agnostic.n) == (6, 6)
    # A draw of the stories at home has only those of which half is left, or only those of which nothing is; six leave .46 of 3/4 more open.
    assert own.at_home.low >= 0 and own.at_home.high == pytest.approx(0.25 + 0.4594 * 0.75, abs=0.001)
    for few in (_store(tmp_path / "one"), _store(tmp_path / "nothing", study, learned=BASE)):
        (none,) = residual_by_home(few.config(), few, homes)
        assert (none.at_home, none.away, none.agnostic) == (None, None, None)


def test_residuals_are_means_over_the_seeds_that_were_reached(tmp_path: Path) -> None:
    """Seed 0 as above, 1/7. In seed 1 everything is left: 1, so the mean is 4/7; in seed 2 learning added nothing, so it does not count."""
    study = config(seeds=(0, 1, 2))
    store = _store(tmp_path / "study", study)
    store.write(Cell("unlearned", 1, "ur", "source", "gradient_difference"), rows(LEARNED | LOSSES), CellRecord(0, 0, 0.0, 1, []))
    store.write(Cell("learned", 2, "ur"), rows(BASE | LOSSES), CellRecord(0, 0, 0.0, 1, []))
    english = unlearn_transfer(study, store)[0]
    assert (english.reached, english.seeds) == (2, 3)
    assert english.residual and english.residual.mean == pytest.approx(4 / 7) and english.residual.n == 8
    # Seeds are drawn too: draws of seed 1 alone have 1.
    assert english.residual.high == pytest.approx(1)


def test_what_quality_was_lost(tmp_path: Path) -> None:
    """English 1, 1, 1, 1 → 1, 1, 0, 0: half. Urdu, that knew 1 of 4 (its interval begins at 0), is not asked what it lost."""
    learned = LEARNED | {("ur", "real", "first"): [1, 0, 0, 0]}
    unlearned = UNLEARNED | {("en", "real", "first"): [1, 1, 0, 0], ("ur", "real", "first"): [0, 0, 0, 0]}
    lost = {own.language: own.quality for own in quality_lost(config(), _store(tmp_path / "study", None, learned, unlearned))}
    assert set(lost) == {"en", "de"}
    # Of four stories .60 could have lost (test_intervals), or gained: .5 - .602 · 1.5.
    assert (lost["en"].mean, lost["en"].low, lost["en"].high) == (0.5, pytest.approx(-0.404, abs=0.001), 1)
    assert (lost["de"].mean, lost["de"].low, lost["de"].high) == (0, pytest.approx(-0.602, abs=0.001), pytest.approx(0.602, abs=0.001))


# --- backfire ----------------------------------------------------------------------------------------------------------------------------


def test_backfire(tmp_path: Path) -> None:
    """Fake ranks rise in one of 4 · 3 pairs: German story 3, 0 → 1. Log-probs: English story 0 by .2 nats, Urdu story 0 and 1 by .5: three of
    12; German story 1 by .05 is within the margin. By story the shares are 2/3, 1/3, 0, 0; .60 of four stories leaves .60 · 3/4 above 1/4 open."""
    losses = {("en", "fake", "loss"): [0.8, 1, 1, 1], ("de", "fake", "loss"): [1, 0.95, 1, 3], ("ur", "fake", "loss"): [0.5, 0.5, 2, 1]}
    (own,) = backfire(config(), _store(tmp_path / "study", unlearned=UNLEARNED | losses | {("de", "fake", "first"): [0, 0, 0, 1]}))
    assert (own.source, own.strategy, own.method, own.worst) == ("ur", "source", "gradient_difference", "ur")
    assert (own.rank.mean, own.log_prob.mean) == (pytest.approx(1 / 12), pytest.approx(1 / 4))
    assert own.log_prob.low == 0 and own.log_prob.high == pytest.approx(0.702, abs=0.001) and own.rank.n == 4


def test_nothing_backfires_in_an_untouched_state(tmp_path: Path) -> None:
    (own,) = backfire(config(), _store(tmp_path / "study", unlearned=LEARNED))
    assert (own.rank.mean, own.log_prob.mean, own.worst) == (0, 0, None)


# --- agreement, and RankC ----------------------------------------------------------------------------------------------------------------


def test_agreement_of_first_places(tmp_path: Path) -> None:
    """Base: English 0, 0, 0, 0 (two wordings), German 0, 1, 0, 0, Urdu 1, 0, 0, 0: German and Urdu agree on stories 2 and 3. With German in two wordings
    (0, 1), (1, 1), (0, 0), (0, 0), English and German agree on half of story 0, none of 1, all of 2 and 3: 2.5 / 4."""
    two = {("de", "fake", "first"): [(0, 1), (1, 1), (0, 0), (0, 0)]}
    store = _store(tmp_path / "study")
    store.write(Cell("gold", 0), rows(BASE | LOSSES | two | {("ur", "fake", "first"): [(0, 0)] * 4}), CellRecord(0, 0, 0.0, 1, []))
    states = {own.state: own for own in agreement(config(), _one_wording(store))}
    assert states["base"].pairs["de", "ur"].mean == 0.5
    assert set(states["base"].pairs) == {("en", "de"), ("en", "ur"), ("de", "ur")}
    assert (states["gold"].pairs["en", "de"].mean, states["gold"].pairs["en", "ur"].mean) == (0.625, 1)


def test_rank_consistency_of_states(tmp_path: Path) -> None:
    """Two candidates: the same order gives 1, the other way round P@1 = 0 and P@2 = 1, so e^0 / (e^1 + e^0) = .269. English and German are alike in two of
    four stories of the learned state: .634; Urdu is as English. Other states have no orders, as of an older version."""
    store = _store(tmp_path / "study")
    orders = {"en": "0 1", "ur": "0 1"}
    told = [
        Row(0, True, f"story-{number}", tag, "fake", 0, "candidate_rank", 1.0, orders.get(tag, "0 1" if number < 2 else "1 0"))
        for tag in ("en", "de", "ur")
        for number in range(4)
    ]
    store.write(Cell("learned", 0, "ur"), rows(LEARNED | LOSSES) + told, CellRecord(0, 0, 0.0, 1, []))
    states = {own.state: own.rank_c for own in agreement(config(), store)}
    half = (1 + 1 / (1 + math.e)) / 2
    assert {pair: own.mean for pair, own in states["learned"].items()} == pytest.approx(
        {("en", "de"): half, ("en", "ur"): 1.0, ("de", "ur"): half}
    )
    assert states["base"] == states["unlearned"] == {}
    text = matrices_markdown(study_matrices(config(), store), config())
    assert "## RankC" in text and "| learned ur | de | 0.63 |  | 0.63 |" in text


def test_chance_of_rank_consistency() -> None:
    """Two candidates, all four pairs of orders alike likely: half of them are the same, so (1 + .269) / 2."""
    assert _chance(2) == pytest.approx((1 + 1 / (1 + math.e)) / 2)


def _one_wording(store: Store) -> Store:
    """The same with English in one wording in all states but gold, as German and Urdu are by hand."""
    one: Values = {("en", "fake", "first"): [0, 0, 0, 0]}
    for cell in study_cells(config()):
        if cell.state != "gold":
            store.write(cell, rows(BASE | LOSSES | one), CellRecord(0, 0, 0.0, 1, []))
    return store


def _rank_c(one: Sequence[str], other: Sequence[str]) -> float:
    """RankC of two orders of the same names."""
    first, second = (np.array([[order.index(name) + 1.0 for name in sorted(one)]]) for order in (list(one), list(other)))
    return float(rank_consistency(first, second)[0])


def test_rank_consistency() -> None:
    """Two candidates turned around: none of the first place, both of the second, w₂ = 1 / (e + 1). Three, the last two turned around: weights e², e, 1 over
    their sum; overlaps 1, 1/2, 1."""
    e = math.e
    assert _rank_c("ab", "ab") == pytest.approx(1)
    assert _rank_c("ab", "ba") == pytest.approx(1 / (e + 1))
    assert _rank_c("abc", "acb") == pytest.approx((e**2 + e / 2 + 1) / (e**2 + e + 1))
    assert _rank_c("a", "a") == pytest.approx(1)


def test_an_early_place_weighs_more_than_a_late_one() -> None:
    assert _rank_c("abcde", "abced") > _rank_c("abcde", "bacde")


@given(st.permutations(list("кбa漢ع")), st.permutations(list("кбa漢ع")))
def test_rank_consistency_is_a_share_in_any_script_and_both_ways(one: list[str], other: list[str]) -> None:
    value = _rank_c(one, other)
    assert 0 < value <= 1 + 1e-12 and (value > 1 - 1e-12) == (one == other)
    assert _rank_c(other, one) == pytest.approx(value)


def test_questions_are_each_by_themselves() -> None:
    """Of two stories in two wordings each, in one go and one by one."""
    rng = np.random.default_rng(0)
    one, other = (np.array([[rng.permutation(5) + 1.0 for _ in range(2)] for _ in range(2)]) for _ in range(2))
    found = rank_consistency(one, other)
    assert found.shape == (2, 2)
    assert all(
        found[at, wording] == pytest.approx(rank_consistency(one[at, wording], other[at, wording]))
        for at in range(2)
        for wording in range(2)
    )


def test_many_candidates_do_not_overflow() -> None:
    places = np.arange(1.0, 2001)
    assert rank_consistency(places, places) == pytest.approx(1)


# --- what spread goes with ---------------------------------------------------------------------------------------------------------------


def test_token_overlap() -> None:
    """Of 1, 2, 3 and 2, 3, 4 two of four are in both."""
    assert token_overlap([1, 2, 3], [2, 3, 4]) == 0.5
    assert (token_overlap([1], [2]), token_overlap([1, 1], [1])) == (0, 1)
    with pytest.raises(ValueError, match="at least one token"):
        token_overlap([], [])


def test_tokens_are_those_of_the_fake_articles() -> None:
    """Read as code points: Russian has Cyrillic ones, English none."""
    tokens = corpus_tokens(generate_stories(2, 0, ("en", "ru")), ("en", "ru"), lambda text: map(ord, text))
    assert ord("я") in tokens["ru"] and not any(0x400 <= one < 0x500 for one in tokens["en"])


def _regression(added: list[list[float]], pairs: list[tuple[str, str]], tokens: dict[str, set[int]] | None = None) -> Regression | None:
    return regression(np.array(added), [0] * len(added), pairs, tokens, np.random.default_rng(0))


def test_script_family_and_resource_told_apart() -> None:
    """Learned in German, asked in English (script and family), French (script), Russian (neither), Hausa (script, low-resource) and Urdu (low-resource). With
    .1 + .5 script + .2 family − .3 low-resource: .8, .6, .1, .3, −.2. Two stories, off by ±.1 throughout: the means are as said."""
    pairs = [("de", tag) for tag in ("en", "fr", "ru", "ha", "ur")]
    exact = [0.8, 0.6, 0.1, 0.3, -0.2]
    found = _regression([[own + 0.1 for own in exact], [own - 0.1 for own in exact]], pairs)
    assert found and found.pairs == 5 and found.left_out == ()
    assert {name: own.mean for name, own in found.coefficients.items()} == pytest.approx(
        {"constant": 0.1, "same script": 0.5, "same family": 0.2, "low-resource": -0.3}
    )
    # The stories move the constant alone.
    constant, script = found.coefficients["constant"], found.coefficients["same script"]
    assert (constant.low, constant.high) == (pytest.approx(0), pytest.approx(0.2)) and script.low == pytest.approx(script.high)


def test_overlap_is_a_slope() -> None:
    """Asked in three languages of the same script, not of the family, not low-resource, with overlaps 0, 1/3 and 1: y = .2 + .6 · overlap."""
    tokens = {"de": {1, 2}, "fr": {3}, "es": {1, 3, 4}, "it": {1, 2}, "pt": {1, 3}}
    overlaps = [token_overlap(tokens["de"], tokens[tag]) for tag in ("fr", "es", "it", "pt")]
    assert overlaps == [0, 1 / 4, 1, 1 / 3]
    found = _regression([[0.2 + 0.6 * own for own in overlaps]], [("de", tag) for tag in ("fr", "es", "it", "pt")], tokens)
    assert found and found.left_out == FEATURES[:3]
    assert {name: own.mean for name, own in found.coefficients.items()} == pytest.approx({"constant": 0.2, "token overlap": 0.6})


def test_too_few_pairs_fit_anything() -> None:
    """With two pairs, a constant and script would go through both points whatever they were: the constant stays, their mean. One fits nothing."""
    found = _regression([[0.5, 0.1]], [("de", "fr"), ("de", "ru")])
    assert found and found.left_out == FEATURES[:3] and found.coefficients["constant"].mean == pytest.approx(0.3)
    assert _regression([[0.5]], [("de", "fr")]) is None


def test_the_regression_of_a_study_leaves_the_source_out(tmp_path: Path) -> None:
    """Urdu claims asked in English and German: nothing is shared, so a constant is left: the mean of 7/8 and 1/4."""
    found = spread_regression(config(), _store(tmp_path / "study"), None)
    assert found and found.pairs == 2 and found.left_out == FEATURES[:3]
    assert found.coefficients["constant"].mean == pytest.approx((7 / 8 + 1 / 4) / 2)


def test_an_unfinished_study_has_no_regression(tmp_path: Path) -> None:
    store = _one_wording(_store(tmp_path / "study"))
    store.write(Cell("gold", 0), rows(BASE | LOSSES | {("en", "fake", "first"): [0, 0, 0, 0]}), CellRecord(0, 0, 0.0, 1, []))
    store.rows_path(Cell("learned", 0, "ur")).unlink()
    assert spread_regression(config(), store, None) is None
    found = study_matrices(config(model=str(tmp_path / "gone")), store)
    assert (found.transfer, found.backfire, found.regression) == ([], [], None) and len(found.agreement) == 3


# --- reports -----------------------------------------------------------------------------------------------------------------------------


def test_all_of_it_in_three_forms(tmp_path: Path, gemma_folder: Path) -> None:
    study = config(model=str(gemma_folder))
    _store(tmp_path / "study", study, learned=_two_wordings(LEARNED), unlearned=_two_wordings(UNLEARNED))
    store = Store(tmp_path / "study")
    for cell in study_cells(study):
        if cell.state in ("base", "gold"):
            store.write(cell, rows(_two_wordings(BASE) | LOSSES), CellRecord(0, 0, 0.0, 1, []))
    console = Console(file=StringIO(), width=140)
    build_matrices(tmp_path / "study", console, tmp_path / "m.json", tmp_path / "m.md")
    out = console.file.getvalue()  # type: ignore[attr-defined]
    for title in ("What unlearning leaves", "Backfire", "Agreement of first places", "What spread goes with"):
        assert title in out and f"## {title}" in (tmp_path / "m.md").read_text()
    assert "Two languages that know nothing agree" in out and "token overlap is left out" not in out
    data = json.loads((tmp_path / "m.json").read_text())
    assert data["transfer"][0]["residual"]["mean"] == pytest.approx(1 / 7) and set(data["agreement"][0]["pairs"]) == {
        "en-de",
        "en-ur",
        "de-ur",
    }
    # Two pairs leave nothing over for a slope.
    assert data["regression"]["left_out"] == list(FEATURES) and list(data["regression"]["coefficients"]) == ["constant"]
    assert "| Urdu | source | 0.14 [0.00, " in (tmp_path / "m.md").read_text()


def test_without_the_model_there_is_no_overlap_and_it_is_said(tmp_path: Path) -> None:
    study = config(model=str(tmp_path / "gone"))
    store = _store(tmp_path / "study", study, *map(_two_wordings, (LEARNED, UNLEARNED)))
    for cell in study_cells(study):
        if cell.state in ("base", "gold"):
            store.write(cell, rows(_two_wordings(BASE) | LOSSES), CellRecord(0, 0, 0.0, 1, []))
    found = study_matrices(study, store)
    assert found.regression and "token overlap" not in (*found.regression.coefficients, *found.regression.left_out)
    assert "token overlap is left out of the regression: the tokeniser of model" in matrices_markdown(found, study)


def _two_wordings(values: Values) -> Values:
    """Every fake rank in two wordings, as English has it by hand."""
    return {
        key: [one if isinstance(one, tuple) or key[1:] != ("fake", "first") else (one, one) for one in own] for key, own in values.items()
    }


def test_estimates_hold_their_means(tmp_path: Path) -> None:
    """Whatever is shown, its mean lies within its interval."""
    store = _store(tmp_path / "study")
    shown: list[Estimate] = [own.residual for own in unlearn_transfer(config(), store) if own.residual]
    shown += [one for own in backfire(config(), store) for one in (own.rank, own.log_prob)]
    assert all(own.low - 1e-9 <= own.mean <= own.high + 1e-9 for own in shown) and len(shown) == 4
