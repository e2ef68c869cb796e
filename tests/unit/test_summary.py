"""Gate, residual, standing, collapse and the tables, from rows written by hand (see handmade.py)."""

import json
import math
from pathlib import Path

import handmade
import pytest
from handmade import BASE, LEARNED, UNLEARNED, Values, config, manifest, rows, write, written

from polyunlearn.analysis.summary import CellFigures, LanguageFigures, TrajectoryPoint, left_at_cost, standing, summarise, trajectory
from polyunlearn.analysis.tables import GroupCell, language_group, spread_matrix, strategy_table
from polyunlearn.intervals import Estimate
from polyunlearn.report.export import summary, write_summary
from polyunlearn.scoring.rows import Row
from polyunlearn.study.cells import Cell, study_cells
from polyunlearn.study.store import CellRecord, Store

BASE_CELL, GOLD, TAUGHT = Cell("base", 0), Cell("gold", 0), Cell("learned", 0, "ur")
NONE = Estimate(float("nan"), 0, 0, 0)
CLEANED = Cell("unlearned", 0, "ur", "source", "gradient_difference")


def _figures(tmp_path: Path, unlearned: Values = UNLEARNED) -> dict[Cell, CellFigures]:
    study = config()
    return {item.cell: item for item in summarise(study, written(tmp_path / "study", study, unlearned))}


def _of(tmp_path: Path, cell: Cell, tag: str, unlearned: Values = UNLEARNED) -> LanguageFigures:
    return _figures(tmp_path, unlearned)[cell].by_language[tag]


def test_every_finished_cell_in_the_order_of_the_study(tmp_path: Path) -> None:
    assert list(_figures(tmp_path)) == [BASE_CELL, GOLD, TAUGHT, CLEANED]


def test_unfinished_cells_are_left_out(tmp_path: Path) -> None:
    study = config()
    store = Store(tmp_path / "study")
    store.open(manifest(study))
    for cell in (BASE_CELL, TAUGHT):
        write(store, cell, UNLEARNED)
    assert [item.cell for item in summarise(study, store)] == [BASE_CELL, TAUGHT]


def test_english_passes_the_gate_and_remains(tmp_path: Path) -> None:
    """Base 0, 0, 0, 0; learned 1, 1, 1/2, 1 (means over two wordings), mean 7/8; unlearned 1/2, 0, 0, 0, mean 1/8.

    Learned - base is at least 1/2 in every story, so the interval is above 0: gate. Residual (1/8) / (7/8) = 1/7.
    Of four stories .60 could be of a sort not seen (test_intervals): 1/7 + .60 · 6/7 = .659 is the least upper end. So few settle nothing.
    """
    learned, after = _of(tmp_path / "a", TAUGHT, "en"), _of(tmp_path / "b", CLEANED, "en")
    assert learned.fake_rank.mean == pytest.approx(7 / 8)
    assert after.fake_rank.mean == pytest.approx(1 / 8)
    assert (learned.gate, learned.residual, learned.standing) == (True, None, None)
    assert (after.gate, after.standing) == (True, "not settled") and after.residual
    assert (after.residual.mean, after.residual.low, after.residual.high) == (pytest.approx(1 / 7), 0, pytest.approx(0.659, abs=0.001))


def test_urdu_by_hand(tmp_path: Path) -> None:
    """Base 1, 0, 0, 0; learned 1, 1, 1, 1; unlearned 1, 0, 0, 1/2, mean 3/8.

    Added 0, 1, 1, 1, mean 3/4; a resample's mean is k/4, k binomial (4, 3/4), whose 2.5 % quantile is 1/4: gate. Left 0, 0, 0, 1/2,
    mean 1/8, residual (1/8) / (3/4) = 1/6.
    """
    figures = _of(tmp_path, CLEANED, "ur")
    assert figures.gate and figures.residual and figures.residual.mean == pytest.approx(1 / 6)


def test_german_was_never_reached(tmp_path: Path) -> None:
    """Added 0, 0, 1, 0: the interval begins at 0, so chance is not excluded. Nothing is said of residual or clearing,
    though the rank fell to 0: a language that never learned is not one that forgot."""
    figures = _figures(tmp_path)
    assert figures[TAUGHT].by_language["de"].gate is False
    after = figures[CLEANED].by_language["de"]
    assert (after.gate, after.residual, after.standing) == (False, None, None)


@pytest.mark.parametrize("cell", [BASE_CELL, GOLD])
def test_states_without_a_fake_have_no_gate(tmp_path: Path, cell: Cell) -> None:
    for figures in _figures(tmp_path)[cell].by_language.values():
        assert (figures.gate, figures.residual, figures.standing) == (None, None, None)


def test_residual_below_base_is_negative(tmp_path: Path) -> None:
    """Urdu unlearned 0, 0, 0, 0 is under base's 1, 0, 0, 0: left -1/4, residual (-1/4) / (3/4) = -1/3."""
    figures = _of(tmp_path, CLEANED, "ur", UNLEARNED | {("ur", "fake", "first"): [0, 0, 0, 0]})
    assert figures.residual and figures.residual.mean == pytest.approx(-1 / 3)


def test_untouched_is_one(tmp_path: Path) -> None:
    unlearned = UNLEARNED | {key: LEARNED[key] for key in LEARNED if key[1:] == ("fake", "first")}
    figures = _figures(tmp_path, unlearned)[CLEANED].by_language
    residuals = [figures[tag].residual for tag in ("en", "de", "ur")]
    assert [own and own.mean for own in residuals] == [pytest.approx(1), None, pytest.approx(1)]


@pytest.mark.parametrize(
    ("mean", "low", "high", "stories", "said"),
    [(0.2, 0.05, 0.4, 20, "remains"), (0.02, 0.0, 0.17, 20, "cleared"), (0.1, 0.0, 1 / 3, 20, "cleared"), (0.1, 0.0, 0.4, 20, "not settled"),
     (-0.1, -0.2, 0.1, 20, "cleared"), (1.0, 0.4, 1.0, 4, "not settled"), (0.0, 0.0, 0.0, 4, "not settled")],
)  # fmt: skip
def test_what_an_interval_settles(mean: float, low: float, high: float, stories: int, said: str) -> None:
    """Above 0 something remains; no higher than a third it is cleared; four stories settle neither."""
    assert standing(Estimate(mean, low, high, stories)) == said


def test_a_group_remains_where_a_language_of_it_does() -> None:
    """The group's own interval would clear it; no language reached and none asked are told apart."""
    clear, left = Estimate(0.05, 0.0, 0.2, 24), Estimate(0.2, 0.05, 0.4, 24)
    both = GroupCell("low-resource", ("jv", "ha"), 2, clear, {"jv": clear, "ha": left}, 0.5, 0.1)
    assert (both.verdict, both.worst) == ("remains", "ha")
    assert GroupCell("low-resource", ("jv",), 1, clear, {"jv": clear}, 0.5, 0.1).verdict == "cleared"
    assert GroupCell("low-resource", ("jv",), 0, None, {}, None, None).verdict == "not reached"
    assert GroupCell("low-resource", (), 0, None, {}, None, None).verdict == "not asked"


def test_other_figures_by_hand(tmp_path: Path) -> None:
    """English, learned: says (1, 1), (1, 0), (0, 0), (0, 0): 3 of 8 answers. Probability (0.4 + 0.4 + 0.6 + 0.6) / 4 = 0.5."""
    figures = _of(tmp_path, TAUGHT, "en")
    assert (figures.fake_count, figures.questions) == (3, 8)
    assert figures.fake_probability == pytest.approx(0.5)
    assert (figures.real_quality.mean, figures.real_loss, figures.bits_per_byte) == (1.0, 2.0, 2.0)


def test_rates_over_questions_give_both_kinds_the_same_weight(tmp_path: Path) -> None:
    """Empty: 3 of 8 fake answers and 1 of 4 real ones: (3/8 + 1/4) / 2 = 5/16; over all twelve it would be 1/3."""
    unlearned = UNLEARNED | {("en", "fake", "empty"): [(1, 1), (1, 0), (0, 0), (0, 0)], ("en", "real", "empty"): [1, 0, 0, 0]}
    assert _of(tmp_path, CLEANED, "en", unlearned).empty == pytest.approx(5 / 16)


def test_nothing_collapsed(tmp_path: Path) -> None:
    assert [item.collapse for item in _figures(tmp_path).values()] == [()] * 4


def test_collapse_by_hand(tmp_path: Path) -> None:
    """English: all fake answers empty, 0.4 of the real ones loop: 0.5 + 0.2 = 0.7, above 0.5. German: 3.2 bits from 2, 1.6 times.

    Urdu: real quality 1/4 from 1, below half, where before it was surely above a quarter.
    """
    unlearned = UNLEARNED | {
        ("en", "fake", "empty"): [1, 1, 1, 1],
        ("en", "real", "repetition"): [0.4, 0.4, 0.4, 0.4],
        ("de", "text", "bits_per_byte"): [3.0, 3.4],
        ("ur", "real", "first"): [1, 0, 0, 0],
    }
    assert _figures(tmp_path, unlearned)[CLEANED].collapse == (
        "answers in en are empty or loops",
        "bits per byte in de rose from 2.00 to 3.20",
        "real-information quality in ur fell from 1.00 to 0.25",
    )


def test_at_the_limits_nothing_collapsed(tmp_path: Path) -> None:
    """Empty exactly 0.5, bits exactly 1.5 times, quality exactly half: each limit itself still stands."""
    unlearned = UNLEARNED | {
        ("en", "fake", "empty"): [1, 1, 1, 1],
        ("de", "text", "bits_per_byte"): [3.0, 3.0],
        ("ur", "real", "first"): [1, 1, 0, 0],
    }
    assert _figures(tmp_path, unlearned)[CLEANED].collapse == ()


def test_trajectory_by_hand(tmp_path: Path) -> None:
    """Reached: English and Urdu. First wordings, worst of the two: learned max(0.5, 0.8); after 2 steps max(0.3, 0.2); at the end 0.1.

    Real loss, worst language: German learned at 1.5; after 2 steps 2.5, so +1; at the end 2, so +0.5.
    German's own probability, 1 after 2 steps, counts for nothing: learning had not reached it.
    """
    middle: Values = {
        ("en", "fake", "probability"): [0.3] * 4,
        ("ur", "fake", "probability"): [0.2] * 4,
        ("de", "fake", "probability"): [1.0] * 4,
        ("en", "real", "loss"): [2] * 4,
        ("de", "real", "loss"): [2.5] * 4,
        ("ur", "real", "loss"): [2] * 4,
    }
    study = config()
    store = written(tmp_path, study, middle=middle)
    found = trajectory(store, summarise(study, store))
    assert list(found) == [CLEANED.id]
    points = [(point.step, point.fake_probability, point.real_loss_rise) for point in found[CLEANED.id]]
    assert points == [
        pytest.approx((0, 0.8, 0.0)),
        pytest.approx((2, 0.3, 1.0)),
        pytest.approx((4, 0.1, 0.5)),
    ]


def test_a_trajectory_counts_the_languages_in_which_it_was_followed(tmp_path: Path) -> None:
    """Followed in English alone: its 0.5 of the learned state, not Urdu's 0.8; its real loss, up by 0.5 after 2 steps, not German's."""
    middle: Values = {("en", "fake", "probability"): [0.3] * 4, ("en", "real", "loss"): [2.5] * 4}
    study = config()
    store = written(tmp_path, study, middle=middle)
    points = trajectory(store, summarise(study, store))[CLEANED.id]
    assert [(point.step, point.fake_probability) for point in points[:2]] == [(0, 0.5), (2, 0.3)]
    assert points[1].real_loss_rise == pytest.approx(0.5)


def test_a_model_that_has_diverged_has_collapsed_and_its_figures_are_null(tmp_path: Path) -> None:
    """Where nothing was known no other sign of it is left. The file stays JSON: `NaN` is none."""
    gone = {(tag, "fake", "probability"): [math.nan] * 4 for tag in ("en", "de", "ur")}
    study = config()
    found = summarise(study, written(tmp_path, study, UNLEARNED | gone))
    (item,) = [one for one in found if one.cell == CLEANED]
    assert item.collapse == tuple(f"what the model makes of {tag} is no number: it has diverged" for tag in ("en", "de", "ur"))
    write_summary(found, "tiny", tmp_path / "summary.json")
    read = json.loads((tmp_path / "summary.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert read["cells"][-1]["by_language"]["en"]["fake_probability"] is None and read["cells"][-1]["collapsed"]


@pytest.mark.parametrize(("settled", "broken", "whole"), [("cleared", "collapsed", "cleared"), ("remains", "remains", "remains")])
def test_no_language_of_a_collapsed_model_is_cleared_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settled: str, broken: str, whole: str
) -> None:
    """As on the page: a model that broke says nothing false either."""
    monkeypatch.setattr(LanguageFigures, "standing", property(lambda self: settled))
    gone = {("en", "fake", "empty"): [1, 1, 1, 1], ("en", "real", "repetition"): [0.4, 0.4, 0.4, 0.4]}
    for name, values, wanted in (("broken", UNLEARNED | gone, broken), ("whole", UNLEARNED, whole)):
        cells = summary(list(_figures(tmp_path / name, values).values()), "tiny")["cells"]
        assert cells[-1]["collapsed"] == (name == "broken") and cells[-1]["by_language"]["en"]["standing"] == wanted


def test_languages_that_are_not_followed_give_no_trajectory(tmp_path: Path) -> None:
    """Learning reached English and Urdu, and German is followed: the same."""
    study = config(unlearning={"trajectory_languages": ("de",), "wordings": 1})
    store = written(tmp_path, study, middle={("de", "fake", "probability"): [0.3] * 4, ("de", "real", "loss"): [2.5] * 4})
    assert trajectory(store, summarise(study, store)) == {}


def test_without_a_language_that_counts_there_is_no_trajectory(tmp_path: Path) -> None:
    """Followed in German alone, which learning had not reached: nothing is said of what is left, rather than that it is 0."""
    study = config()
    store = written(tmp_path, study, middle={("de", "fake", "probability"): [0.3] * 4, ("de", "real", "loss"): [2.5] * 4})
    assert trajectory(store, summarise(study, store)) == {}


def test_what_was_never_known_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """German knew one of the four real stories, its interval [0, 0.75]: its loss, up by 1 after 2 steps, does not count; English has +0.5."""
    monkeypatch.setattr(handmade, "LEARNED", LEARNED | {("de", "real", "first"): [0, 0, 0, 1]})
    middle: Values = {(tag, "fake", "probability"): [0.1] * 4 for tag in ("en", "de", "ur")}
    middle |= {("de", "real", "loss"): [2.5] * 4, ("en", "real", "loss"): [2.5] * 4, ("ur", "real", "loss"): [2] * 4}
    study = config()
    store = written(tmp_path, study, middle=middle)
    points = trajectory(store, summarise(study, store))[CLEANED.id]
    assert [point.real_loss_rise for point in points] == pytest.approx([0.0, 0.5, 0.0])


def test_equal_cost_by_hand() -> None:
    """At 0.5 nats only the learned state and the point of 0.4 may count, and 0.4 has left less; at 1.0 the end wins; at 0 nothing moved."""
    path = [TrajectoryPoint(0, 0.9, 0.0), TrajectoryPoint(6, 0.2, 1.2), TrajectoryPoint(12, 0.3, 0.4), TrajectoryPoint(18, 0.1, 0.9)]
    assert left_at_cost(path) == path[2]
    assert left_at_cost(path, 1.0) == path[3]
    assert left_at_cost(path, 0.0) == path[0]


def test_measures_on_the_way_do_not_reach_the_end_figures(tmp_path: Path) -> None:
    """After 2 steps everything is 1; the end's 1/7 stays."""
    study = config()
    store = written(tmp_path, study, middle={key: [1.0] * 4 for key in BASE})
    figures = {item.cell: item for item in summarise(study, store)}
    assert (figures[CLEANED].by_language["en"].residual or NONE).mean == pytest.approx(1 / 7)


def test_spread_matrix_by_hand(tmp_path: Path) -> None:
    """Learned - base: English 7/8 - 0, German 1/2 - 1/4 (not reached), Urdu 1 - 1/4."""
    study = config()
    matrix = spread_matrix(summarise(study, written(tmp_path, study)))
    assert [[(cell.source, cell.language, cell.reached, cell.seeds) for cell in line] for line in matrix] == [
        [("ur", "en", 1, 1), ("ur", "de", 0, 1), ("ur", "ur", 1, 1)]
    ]
    assert [cell.added for cell in matrix[0]] == pytest.approx([7 / 8, 1 / 4, 3 / 4])


def test_strategy_table_over_two_seeds_by_hand(tmp_path: Path) -> None:
    """Seed 0 as above. In seed 1 Urdu ends at 1, 1, 1, 1/2: left 0, 1, 1, 1/2, mean 5/8.

    Urdu: 2 reached, residual (1/8 + 5/8) / (3/4 + 3/4) = 1/2 over the six stories to which learning added something, rank 1 before, (3/8 + 7/8) / 2 = 5/8 after: of the left 0, 0, 0, 1/2 and
    0, 1, 1, 1/2 some is in nearly every draw, so it remains. English 1/7.
    Real quality: Urdu falls to 3/4 in seed 1, so by 1/8 on average.
    """
    study = config(seeds=(0, 1))
    store = Store(tmp_path / "study")
    store.open(manifest(study))
    other = UNLEARNED | {("ur", "fake", "first"): [1, 1, 1, (1, 0)], ("ur", "real", "first"): [1, 1, 1, 0]}
    for cell in study_cells(study):
        write(store, cell, UNLEARNED if cell.seed == 0 else other)
    (row,) = strategy_table(summarise(study, store))
    assert (row.source, row.strategy, row.method, row.seeds, row.steps, row.tokens) == ("ur", "source", "gradient_difference", 2, 4, 400)
    english, source, high, low = row.groups
    assert (english.languages, source.languages, high.languages, low.languages) == (("en",), ("ur",), ("de",), ())
    assert [group.verdict for group in row.groups] == ["not settled", "remains", "not reached", "not asked"]
    assert (source.reached, source.worst, (source.residual or NONE).n) == (2, "ur", 6)
    assert ((source.residual or NONE).mean, source.before, source.after) == pytest.approx((1 / 2, 1, 5 / 8))
    assert (english.reached, (english.residual or NONE).mean) == (2, pytest.approx(1 / 7))
    assert (high.residual, high.worst, high.before, high.after) == (None, None, None, None)
    assert (row.worst_quality_language, row.worst_quality_drop) == ("ur", pytest.approx(1 / 8))
    assert (row.real_quality_en, row.real_quality_en_before) == (1.0, 1.0)


def test_stories_that_seeds_share_are_counted_once(tmp_path: Path) -> None:
    """Six seeds of one corpus file, all as seed 0 above: the residual of Urdu is that of one seed, 1/6, of the three stories that it was added to rather than 18, which settle nothing."""
    study = config(seeds=tuple(range(6)), corpus="mine.jsonl")
    store = Store(tmp_path / "study")
    store.open(manifest(study))
    for cell in study_cells(study):
        write(store, cell, UNLEARNED)
    (row,) = strategy_table(summarise(study, store))
    source = row.groups[1]
    assert source.residual and (source.residual.n, source.residual.mean) == (3, pytest.approx(1 / 6)) and source.verdict == "not settled"


def test_cells_without_what_they_are_measured_against_are_left_out(tmp_path: Path) -> None:
    """With several workers a learned cell can be done before base."""
    study = config()
    store = Store(tmp_path / "study")
    store.open(manifest(study))
    write(store, TAUGHT, UNLEARNED)
    write(store, GOLD, UNLEARNED)
    assert summarise(study, store) == [] and spread_matrix([]) == []
    write(store, BASE_CELL, UNLEARNED)
    assert [item.cell for item in summarise(study, store)] == [BASE_CELL, GOLD, TAUGHT]


@pytest.mark.parametrize(
    ("tag", "source", "group"),
    [("en", "en", "English"), ("en", "de", "English"), ("de", "de", "source"), ("de", "fr", "other high-resource"),
     ("ur", "ur", "source"), ("ur", "de", "low-resource"), ("hy", "en", "low-resource")],
)  # fmt: skip
def test_language_groups(tag: str, source: str, group: str) -> None:
    assert language_group(tag, source) == group


def test_stories_are_paired_by_name_whatever_their_order(tmp_path: Path) -> None:
    """Urdu learned 1, 1/2, 1/2, 1/2, its rows written backwards; base 1, 0, 0, 0. Added 0, 1/2, 1/2, 1/2, 2.5 % quantile 1/8: gate.

    Paired in the order written, added would be -1/2, 1/2, 1/2, 1, whose interval goes below 0 (two draws of -1/2 have a chance of 1/5).
    """
    study = config()
    store = written(tmp_path / "study", study)
    values = LEARNED | {("ur", "fake", "first"): [1, (1, 0), (1, 0), (1, 0)]}
    backwards: list[Row] = rows(values, 9)[::-1]
    store.write(TAUGHT, backwards, CellRecord(9, 900, 1.0, 1, []))
    figures = {item.cell: item for item in summarise(study, store)}
    assert figures[TAUGHT].by_language["ur"].gate is True


def test_where_nothing_was_answered_nothing_is_said_of_answers(tmp_path: Path) -> None:
    """Without rows of greedy answers their figures are None, not 0, and no state collapsed for them; the others stay."""
    study = config()
    store = Store(tmp_path)
    store.open(manifest(study))
    silent = {"says", "chrf", "repetition", "empty", "off_script"}
    for cell in study_cells(study):
        values = {"base": BASE, "gold": BASE, "learned": LEARNED, "unlearned": UNLEARNED}[cell.state]
        store.write(cell, [row for row in rows(values, 4) if row.metric not in silent], CellRecord(4, 400, 1.0, 1, []))
    figures = {item.cell: item for item in summarise(study, store)}
    english = figures[CLEANED].by_language["en"]
    answers = (english.fake_count, english.real_exact, english.real_chrf, english.repetition, english.empty, english.off_script)
    assert answers == (None,) * 6 and english.questions == 0
    assert english.residual and english.residual.mean == pytest.approx(1 / 7) and figures[CLEANED].collapse == ()
