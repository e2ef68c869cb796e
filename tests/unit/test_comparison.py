"""The comparison at the same loss of utility, from rows written by hand: handmade's base and learned state, on the first wording.

English: base 0, 0, 0, 0, learned 1, 1, 1, 1, so learning added 1 to every story. German: added 0, 0, 1, 0, whose interval begins at 0: not reached.
Urdu: base 1, 0, 0, 0, learned 1, 1, 1, 1: added 0, 1, 1, 1, reached. Bits per byte are 2 in every language, and all know the real stories.
"""

import json
import math
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import handmade
import pytest
from handmade import BASE, LEARNED, Values, manifest, rows, written
from rich.console import Console

from polyunlearn.analysis.budget import BudgetPath, budget_paths
from polyunlearn.analysis.comparison import Comparison, compare, comparison, paths_together
from polyunlearn.analysis.summary import summarise
from polyunlearn.errors import UserError
from polyunlearn.report.build import build_comparison
from polyunlearn.report.comparison import markdown, worst_language_text
from polyunlearn.report.html import write_html
from polyunlearn.study.cells import Cell, study_cells
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.store import CellRecord, Store

States = dict[int, Values]
"""What a cell is measured as after each of some steps, the last its end; what is not named is as learned."""


def config(**changes: Any) -> StudyConfig:
    """The study by hand, followed as a comparison needs it."""
    return handmade.config(unlearning={"measure": "budget", **changes.pop("unlearning", {})}, **changes)


def _store(folder: Path, study: StudyConfig, states: States | dict[Cell, States], record: CellRecord | None = None) -> Store:
    """A study in which every unlearned cell, or each as named, went through these states."""
    store = Store(folder)
    found = manifest(study)
    found["study"]["stories"] = {str(seed): {"count": 4, "fingerprint": "0"} for seed in study.seeds}
    store.open(found)
    for cell in study_cells(study):
        if cell.state != "unlearned":
            handmade.write(store, cell, {})
            continue
        own: Any = states.get(cell, states)
        last = max(own)
        measured = [row for step, values in own.items() for row in rows(LEARNED | values, step, end=step == last)]
        store.write(cell, measured, record or CellRecord(last, 0, 0.0, 1, []))
    return store


def _path(folder: Path, states: States) -> BudgetPath:
    study = config()
    (path,) = budget_paths(study, _store(folder, study, states))
    return path


def _compared(folder: Path, states: States | dict[Cell, States], *, record: CellRecord | None = None, **changes: Any) -> Comparison:
    study = config(**changes)
    found = compare(study, _store(folder, study, states, record))
    assert found is not None
    return found


def _bits(tag: str, value: float) -> Values:
    return {(tag, "text", "bits_per_byte"): [value, value]}


def _fake(tag: str, *values: float) -> Values:
    return {(tag, "fake", "first"): list(values)}


def _real(tag: str, *values: float) -> Values:
    return {(tag, "real", "first"): list(values)}


# --- utility loss ------------------------------------------------------------------------------------------------------------------------


def test_the_last_state_before_the_budget_is_crossed(tmp_path: Path) -> None:
    """Bits in English 2.02 after two steps, 1 % more; in German 2.1 at the end, 5 % more."""
    path = _path(tmp_path, {2: _bits("en", 2.02), 4: _bits("de", 2.1)})
    assert [(point.step, point.utility_loss) for point in path.points] == [(0, 0.0), (2, pytest.approx(0.01)), (4, pytest.approx(0.05))]
    assert [path.kept(budget).step for budget in (0.0, 0.009, 0.02, 0.049, 0.06)] == [0, 0, 2, 2, 4]


def test_a_path_that_comes_back_into_the_budget_is_followed(tmp_path: Path) -> None:
    """What is forgotten first and repaired then is judged by where it ends: 1 %, 5 %, .5 %, 10 % over bits of 2."""
    path = _path(tmp_path, {1: _bits("en", 2.02), 2: _bits("en", 2.1), 3: _bits("en", 2.01), 4: _bits("en", 2.2)})
    assert [path.kept(budget).step for budget in (0.02, 0.005, 0.004, 0.1)] == [3, 3, 0, 4]


def test_at_the_budget_is_inside(tmp_path: Path) -> None:
    """2.04 / 2 - 1 is 2 % but for the last bits."""
    assert _path(tmp_path, {4: _bits("ur", 2.04)}).kept(0.02).step == 4


def test_a_gain_makes_up_for_nothing(tmp_path: Path) -> None:
    """English 10 % better, German 3 % worse: the loss is 3 %; with English alone it is 0, not below."""
    path = _path(tmp_path, {2: _bits("en", 1.8) | _bits("de", 2.06), 4: _bits("en", 1.8)})
    assert [point.utility_loss for point in path.points] == pytest.approx([0.0, 0.03, 0.0])
    assert path.points[2].bits_rise["en"] == pytest.approx(-0.1)


def test_a_state_that_has_diverged_is_in_no_budget(tmp_path: Path) -> None:
    """NaN bits are no gain: after 4 steps the loss is infinite, so that the state after 2 is kept."""
    path = _path(tmp_path, {2: _bits("en", 2.0), 4: _bits("de", math.nan)})
    assert (path.points[2].utility_loss, path.kept(1e9).step) == (math.inf, 2)


def test_where_the_learned_state_itself_diverged_it_is_kept(tmp_path: Path) -> None:
    """Its loss has no end, so that no budget has it; a report must still be written."""
    path = _path(tmp_path, {2: _bits("en", 2.0)})
    diverged = replace(path, points=tuple(replace(point, bits_rise={"en": math.nan}) for point in path.points))
    assert diverged.points[0].utility_loss == math.inf and diverged.kept(0.02) is diverged.points[0]


@pytest.mark.parametrize(("lost", "counted"), [(1, 0.0), (2, 0.0), (3, 0.75), (4, 1.0)])
def test_quality_counts_where_it_is_surely_lost(tmp_path: Path, lost: int, counted: float) -> None:
    """Of four stories, a resample holds none of 1, 2 or 3 that lost with the chance (3/4)^4 = 32 %, (1/2)^4 = 6 %, (1/4)^4 = 0.4 %: only from
    three on is the 2.5 % quantile of the drop above 0. The loss as measured is lost / 4. Over the three languages it is a third of it."""
    (_, point) = _path(tmp_path, {4: _real("en", *([0.0] * lost + [1.0] * (4 - lost)))}).points
    assert point.quality_loss == {"en": lost / 4, "de": 0.0, "ur": 0.0}
    assert (point.sure_loss, point.utility_loss) == (counted, counted)


def test_small_losses_in_many_languages_count_together(tmp_path: Path) -> None:
    """Stories 0 and 3 lose in English, 1 in German, 2 in Urdu: in no language surely, but each story loses a third over all."""
    (_, point) = _path(tmp_path, {4: _real("en", 0, 1, 1, 0) | _real("de", 1, 0, 1, 1) | _real("ur", 1, 1, 0, 1)}).points
    assert point.quality_loss == {"en": 0.5, "de": 0.25, "ur": 0.25}
    assert point.utility_loss == pytest.approx(1 / 3)


def test_what_was_never_known_cannot_be_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """German knew one of the four stories, its interval [0, 0.75]; that it knows none now is no loss."""
    monkeypatch.setattr(handmade, "LEARNED", LEARNED | _real("de", 0, 0, 0, 1))
    (_, point) = _path(tmp_path, {4: _real("de", 0, 0, 0, 0)}).points
    assert (set(point.quality_loss), point.utility_loss) == ({"en", "ur"}, 0.0)


# --- what is left ------------------------------------------------------------------------------------------------------------------------


def test_residuals_by_hand(tmp_path: Path) -> None:
    """English 1, 1, 0, 0 from an added 4: 1/2. Urdu 1, 1, 0, 0 is 0, 1, 0, 0 above base, of an added 3: 1/3. German does not count."""
    path = _path(tmp_path, {4: _fake("en", 1, 1, 0, 0) | _fake("de", 1, 1, 1, 1) | _fake("ur", 1, 1, 0, 0)})
    assert [path.residual(point) for point in path.points] == [
        {"en": 1.0, "ur": 1.0},
        {"en": 0.5, "ur": pytest.approx(1 / 3)},
    ]


def test_a_row_by_hand(tmp_path: Path) -> None:
    """The end lost 5 % and is over the budget; the state after two of four steps is kept. Worst is English, 1/4; Urdu 1, 0, 0, 0 is as base.

    English draws k/4, k binomial (4, 1/4): 0 to 3/4 (see test_intervals). The mean over both languages is 1/8, half of English's, and so are its draws; but of
    four stories .602 can be of another sort (test_intervals), of the three to which learning added Urdu .708: so much is left open there, and
    1/8 + .602 · 7/8 = .652 in the mean.
    Seconds 1 + 2, tokens 10 + 20. Bits rise by 1 % in German, real quality falls by 1/4 in Urdu: (1 + 1 + 3/4) / 3 = 11/12 over all.
    """
    kept = _fake("en", 1, 0, 0, 0) | _fake("ur", 1, 0, 0, 0) | _bits("de", 2.02) | _real("ur", 1, 1, 1, 0)
    record = CellRecord(4, 100, 99.0, 1, [0.5] * 4, [10, 20, 30, 40], [1.0, 2.0, 3.0, 4.0])
    found = _compared(tmp_path, {2: kept, 4: _bits("en", 2.1)}, record=record)
    (row,) = found.rows
    assert (row.source, row.method, row.strategy, row.seeds, row.unmoved, row.worst) == ("ur", "gradient_difference", "source", 1, 0, "en")
    assert {tag: (own.mean, own.low, own.high, own.n) for tag, own in row.residual.items()} == {
        "en": (0.25, 0, 0.75, 4),
        "ur": (0, 0, pytest.approx(0.708, abs=0.001), 3),
    }
    assert row.mean is not None and (row.mean.mean, row.mean.low, row.mean.high) == (0.125, 0.0, pytest.approx(0.652, abs=0.001))
    cost = row.cost
    assert (cost.bits_rise, cost.bits_language) == (pytest.approx(0.01), "de")
    assert (cost.quality_before, cost.quality, cost.quality_loss, cost.quality_language) == (1.0, pytest.approx(11 / 12), 0.25, "ur")
    assert (cost.utility_loss, cost.steps, cost.tokens, cost.seconds) == (pytest.approx(0.01), 2, 30, 3.0)
    (way,) = found.ways
    assert way.worst_source == row and way.sources == ("ur",) and way.worst_language == row.worst_residual and way.cost == cost
    assert [(point.step, point.worst_residual) for point in way.path] == [(0, 1.0), (2, 0.25), (4, 1.0)]
    assert (found.steps, [point.utility_loss for point in way.path]) == ((0, 2, 4), pytest.approx([0, 0.01, 0.05]))


def test_where_every_point_is_over_the_budget_the_learned_state_is_kept(tmp_path: Path) -> None:
    """All is left in every draw, though Urdu's stories differ in what was added: the same stories are drawn for both. Four stories leave
    .602 open, the three to which Urdu was added .708."""
    (row,) = _compared(tmp_path, {2: _fake("en", 0, 0, 0, 0) | _bits("en", 3.0), 4: _bits("en", 3.0)}).rows
    assert (row.unmoved, row.cost.steps, row.cost.utility_loss) == (1, 0, 0)
    assert [(own.mean, own.low, own.high) for own in row.residual.values()] == [
        (1, pytest.approx(1 - open_, abs=0.001), 1) for open_ in (0.602, 0.708)
    ]
    assert (row.cost.tokens, row.cost.seconds) == (None, None)


def test_seeds_are_averaged_and_their_stories_drawn_apart(tmp_path: Path) -> None:
    """English 1, 0, 0, 0 in both seeds: 1/4, as a resample k/8, k binomial (8, 1/4): P(0) = 0.10, P(<= 3) = 0.886, P(<= 5) = 0.996.

    So the interval begins at 0 and ends at 4/8 or 5/8, below the 3/4 of one seed. Urdu is untouched in one, gone in the other: 1/2 in every
    draw; of the six stories that it was added to .459 can be of another sort: 1/2 ± .230. The worst of both in each draw is never below Urdu's.
    """
    study = config(seeds=(0, 1))
    states = {
        cell: {4: _fake("en", 1, 0, 0, 0) | (_fake("ur", 1, 0, 0, 0) if cell.seed else {})}
        for cell in study_cells(study)
        if cell.state == "unlearned"
    }
    found = compare(study, _store(tmp_path, study, states))
    assert found is not None
    (row,) = found.rows
    assert (row.seeds, row.worst) == (2, "ur")
    urdu, worst = row.residual["ur"], row.worst_residual
    assert (urdu.mean, urdu.low, urdu.high, urdu.n) == (0.5, pytest.approx(0.270, abs=0.001), pytest.approx(0.730, abs=0.001), 6)
    assert worst is not None and (worst.mean, worst.low, worst.high) == (0.5, urdu.low, urdu.high)
    english = row.residual["en"]
    assert (english.mean, english.low) == (0.25, 0.0) and 0.5 <= english.high <= 0.625


def test_sources_share_their_stories_and_the_worst_is_named(tmp_path: Path) -> None:
    """Urdu claims: 1/4 left in English. German claims: Urdu untouched, English as before. Mean of the worst languages (1/4 + 1) / 2.

    The learned states are alike, so a story drawn twice counts twice in both sources: k/4 again, between 0 and 3/4, over two: 1/2 to 7/8;
    with what three stories leave open, to which Urdu was added, from .625 − .708 · .625 = .183 to .625 + .708 · .375 = .890.
    """
    study = config(sources=("ur", "de"))
    left = _fake("en", 1, 0, 0, 0) | _fake("ur", 1, 0, 0, 0)
    states = {cell: {4: left | (_fake("ur", 1, 1, 1, 1) if cell.source == "de" else {})} for cell in study_cells(study)}
    found = compare(study, _store(tmp_path, study, states))
    assert found is not None
    (way,) = found.ways
    assert [(row.source, row.worst) for row in found.rows] == [("ur", "en"), ("de", "ur")]
    assert way.worst_source == found.rows[1] and way.sources == ("ur", "de") and way.cells == 2
    assert way.worst_language is not None
    assert (way.worst_language.mean, way.worst_language.low, way.worst_language.high, way.worst_language.n) == (
        0.625,
        pytest.approx(0.183, abs=0.001),
        pytest.approx(0.890, abs=0.001),
        3,
    )
    assert way.mean is not None and way.mean.mean == pytest.approx((1 / 8 + 5 / 8) / 2)


def test_the_least_left_stands_first_and_what_was_never_reached_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = config(methods=("npo", "simnpo"))
    clean = _fake("en", 1, 0, 0, 0) | _fake("ur", 1, 0, 0, 0)
    states = {cell: {4: clean if cell.method == "simnpo" else {}} for cell in study_cells(study)}
    found = compare(study, _store(tmp_path / "reached", study, states))
    assert found is not None and [way.method for way in found.ways] == ["simnpo", "npo"]
    assert [row.method for row in found.rows] == ["npo", "simnpo"]
    monkeypatch.setattr(handmade, "LEARNED", BASE)
    nothing = _compared(tmp_path / "not", {4: BASE})
    (row,), (way,) = nothing.rows, nothing.ways
    assert (row.residual, row.worst, row.mean, row.worst_residual) == ({}, None, None, None)
    assert (way.worst_language, way.mean, way.worst_source, way.path) == (None, None, None, ())
    assert worst_language_text(row) == "–" and "| – | – | – |" in markdown(nothing, [config()], "tiny")


# --- several studies, as many steps, any cost ---------------------------------------------------------------------------------------------


def test_studies_of_the_same_learned_states_stand_in_one_comparison(tmp_path: Path) -> None:
    """Two folders, the second with a strategy of its own and other steps; each is seen as far as its second step, after which English has 1/4 left in the
    one. Text doubled there and more, which an infinite budget allows. The other has nothing left, and diverged: it stands last for that."""
    studies = [config(), config(strategies=("all",), unlearning={"steps": 8})]
    ends = (
        {2: _fake("en", 1, 0, 0, 0) | _fake("ur", 1, 0, 0, 0) | _bits("de", 9), 4: {}},
        {2: _fake("en", 0, 0, 0, 0) | _fake("ur", 0, 0, 0, 0) | _bits("de", math.nan), 8: {}},
    )
    stores = [_store(tmp_path / str(at), study, states) for at, (study, states) in enumerate(zip(studies, ends, strict=True))]
    found = comparison(paths_together(stores), math.inf, 2)
    assert found.steps == (0, 2) and found.left_out == ()
    assert [(way.strategy, way.unmoved, way.cost.steps, way.cost.utility_loss) for way in found.ways] == [
        ("source", 0, 2, 3.5),
        ("all", 0, 2, math.inf),
    ]
    assert math.isnan(found.ways[1].cost.bits_rise) and found.ways[1].cost.bits_language == "de"
    assert [row.residual["en"].mean for row in found.rows] == [0.25, 0]
    out = StringIO()
    build_comparison([store.folder for store in stores], math.inf, 2, Console(file=out, width=200), tmp_path / "c.json", tmp_path / "c.md")
    text = (tmp_path / "c.md").read_text()
    assert "at the end (at most 2 steps), whatever it cost" in out.getvalue()
    assert (
        "taken at its end, of the states measured after 0, 2 steps, whatever utility it lost." in text
        and "Learned states count" not in text
    )
    assert json.loads((tmp_path / "c.json").read_text())["budget"] is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"strategies": ("all",), "learning": {"passes": 9}}, "learning is another than in"),
        ({"strategies": ("all",), "scoring": {"candidates": 3}}, "scoring is another than in"),
        ({"unlearning": {"steps": 8}}, "gradient_difference, source is in .* too"),
        ({"strategies": ("all",), "sources": ("ur", "de")}, "what is asked in, the sources where .* is another"),
        ({"methods": ("idk",), "training_vocabulary": "study"}, "the study vocabulary, which holds refusals .* is another"),
        ({"strategies": ("all",), "unlearning": {"trajectory_languages": ("en", "ur")}}, "unlearning.trajectory_languages is another"),
        ({"strategies": ("all",), "seeds": (1,)}, "every source and seed is another"),
    ],
)
def test_studies_that_do_not_go_together_are_refused(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    same = {key: changes[key] for key in ("training_vocabulary",) if key in changes}
    stores = [_store(tmp_path / name, study, {4: {}}) for name, study in (("a", config(**same)), ("b", config(**changes)))]
    with pytest.raises(UserError, match=reason):
        paths_together(stores)


@pytest.mark.parametrize(("part", "reason"), [("stories", "the corpus is another"), ("model", "the model is another")])
def test_studies_of_another_corpus_or_model_are_refused(tmp_path: Path, part: str, reason: str) -> None:
    """The same words, but a corpus or weights that were changed in between: the manifest's fingerprint says so."""
    stores = [_store(tmp_path / "a", config(), {4: {}}), _store(tmp_path / "b", config(strategies=("all",)), {4: {}})]
    path = stores[1].folder / "manifest.json"
    data = json.loads(path.read_text())
    changed: dict[str, Any] = data["study"][part] if part == "model" else data["study"][part]["0"]
    changed["fingerprint"] = "changed"
    path.write_text(json.dumps(data))
    with pytest.raises(UserError, match=reason):
        paths_together(stores)


def test_studies_whose_learned_states_came_out_otherwise_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same settings, but the learned state does not rank one name first any more, as one trained by another version would not."""
    stores = [_store(tmp_path / "a", config(), {4: {}})]
    monkeypatch.setattr(handmade, "LEARNED", LEARNED | _fake("en", 1, 1, 1, 0))
    stores.append(_store(tmp_path / "b", config(strategies=("all",)), {4: {}}))
    with pytest.raises(UserError, match="a learned state of the same settings is another"):
        paths_together(stores)


def test_what_was_not_measured_in_as_many_steps_is_left_out_and_named(tmp_path: Path) -> None:
    """The second way has its end alone, after four steps: in two there is nothing of it to compare, which is not to say that it left everything."""
    study = config(methods=("npo", "npo@merged"), unlearning={"settings": {"npo@merged": {"branches": "merge"}}})
    plain, merged = (cell for cell in study_cells(study) if cell.state == "unlearned")
    store = _store(tmp_path, study, {plain: {2: _fake("en", 0, 0, 0, 0), 4: {}}, merged: {4: {}}})
    found = comparison(budget_paths(study, store), 1, 2)
    assert [way.method for way in found.ways] == ["npo"] and found.left_out == (("npo@merged", "source"),)
    assert "Left out, since measured after more steps alone: source, npo@merged." in markdown(found, [study], "tiny")
    with pytest.raises(UserError, match="no state was measured in 1 steps or fewer; the first were after 2"):
        comparison(budget_paths(study, store), 1, 1)


def test_ways_are_set_against_each_other_where_all_have_been(tmp_path: Path) -> None:
    """Two seeds of one way, of which the second is not done in the other: the first alone is compared, and by source each has its own."""
    study = config(seeds=(0, 1), methods=("npo", "simnpo"))
    store = _store(tmp_path, study, {cell: {4: _fake("en", *([0, 0, 0, 0] if cell.seed else [1, 1, 1, 1]))} for cell in study_cells(study)})
    store.rows_path(next(cell for cell in study_cells(study) if cell.method == "simnpo" and cell.seed == 1)).unlink()
    found = comparison(budget_paths(study, store), 1)
    assert [(way.cells, way.worst_language and way.worst_language.mean) for way in found.ways] == [(1, 1), (1, 1)]
    assert [(row.method, row.seeds, row.residual["en"].mean) for row in found.rows] == [("npo", 2, 0.5), ("simnpo", 1, 1)]


# --- what a person sees ------------------------------------------------------------------------------------------------------------------


def test_a_study_that_measured_too_little_says_what_to_set(tmp_path: Path) -> None:
    """The middle has losses only; then no cell is unlearned."""
    study = handmade.config()
    written(tmp_path / "loss", study, middle={(tag, "real", "loss"): [2] * 4 for tag in study.languages})
    with pytest.raises(UserError, match=r"unlearning.measure is 'loss'.*--set unlearning.measure=budget"):
        build_comparison([tmp_path / "loss"], 0.02, None, Console(file=StringIO()), None, None)
    store = Store(tmp_path / "begun")
    store.open(manifest(study))
    handmade.write(store, Cell("base", 0), {})
    with pytest.raises(UserError, match="no unlearned cell is finished yet"):
        build_comparison([tmp_path / "begun"], 0.02, None, Console(file=StringIO()), None, None)


@pytest.mark.parametrize("sources", [("ur",), ("ur", "de")])
def test_names_stand_whole_in_a_narrow_terminal(tmp_path: Path, sources: tuple[str, ...]) -> None:
    """80 columns: a strategy that all have stands once, above; of one source there is one table, least left first, with the language where most is left."""
    study = config(methods=("npo", "npo+lingtea_published"), sources=sources)
    cells = [cell for cell in study_cells(study) if cell.state == "unlearned"]
    states: dict[Cell, States] = {
        cell: {4: _fake("ur", 1, 0, 0, 0) | _fake("en", 0, 0, 0, 0) if cell.method != "npo" else {}} for cell in cells
    }
    _store(tmp_path / "study", study, states)
    out = StringIO()
    build_comparison([tmp_path / "study"], 0.02, None, Console(file=out, width=80), None, None)
    lines = out.getvalue().splitlines()
    assert "…" not in out.getvalue() and out.getvalue().count("source,") == (len(sources) == 1)
    assert [own for line in lines for own in line.split()[:3] if own.startswith("npo")][:2] == ["npo+lingtea_published", "npo"]
    assert ("By source" in out.getvalue()) == (len(sources) > 1)


def test_a_way_in_branches_is_judged_where_the_others_are_followed(tmp_path: Path) -> None:
    """Followed in English and Urdu: German, which the branch has at its end alone, and where it costs half, counts for neither. Nothing is compared of a study
    that follows losses, though a branch has ranks and bits at its end."""
    changes: dict[str, Any] = {"methods": ("npo", "npo@merged")}
    unlearning = {"trajectory_languages": ("en", "ur"), "settings": {"npo@merged": {"branches": "merge"}}}
    study = config(**changes, unlearning=unlearning)
    plain, merged = (cell for cell in study_cells(study) if cell.state == "unlearned")
    way = {key: value for key, value in (LEARNED | _bits("de", 9)).items() if key[0] != "de"}
    store = _store(tmp_path / "study", study, {plain: {2: {}, 4: {}}, merged: {4: _fake("en", 0, 0, 0, 0) | _bits("de", 3)}})
    store.write(plain, [*rows(way, 2, end=False), *rows(LEARNED, 4)], CellRecord(4, 0, 0.0, 1, []))
    found = compare(study, store)
    assert found and {row.method: row.unmoved for row in found.ways} == {"npo": 0, "npo@merged": 0}
    assert next(row for row in found.rows if row.method == "npo@merged").residual["en"].mean == 0
    assert "Measured at the end alone, so that they are inside there or count as untouched: source, npo@merged." in markdown(
        found, [study], "tiny"
    )
    assert compare(handmade.config(**changes, unlearning={"settings": unlearning["settings"]}), store) is None


def test_terminal_markdown_and_json_say_the_same(tmp_path: Path) -> None:
    study = config(name="a | b")
    _store(tmp_path / "study", study, {4: _fake("en", 1, 0, 0, 0) | _bits("de", 2.02)})
    out = StringIO()
    build_comparison([tmp_path / "study"], 0.02, None, Console(file=out, width=240), tmp_path / "out.json", tmp_path / "out.md")
    data = json.loads((tmp_path / "out.json").read_text())
    text = (tmp_path / "out.md").read_text()
    assert data["ways"][0]["worst_source"]["residual"]["en"] == {"mean": 0.25, "low": 0.0, "high": 0.75, "n": 4}
    assert (data["budget"], data["steps"], data["study"], data["model"]) == (0.02, [0, 4], "a | b", "tiny")
    # Urdu is untouched, so it is the worst.
    for place in (text, out.getvalue()):
        assert "1.00 [0.29, 1.00] in ur" in place and "gradient_difference" in place and "+1.0% de" in place
    assert "`a \\| b`" in text and "utility loss of at most 2.0%" in out.getvalue()
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in tables}) == 1 and len(tables) == 6


def test_the_report_has_a_section_where_the_study_has_the_rows(tmp_path: Path) -> None:
    def html(name: str, study: StudyConfig, store: Store) -> str:
        write_html(study, manifest(study), store, summarise(study, store), tmp_path / name)
        return (tmp_path / name).read_text(encoding="utf-8")

    study = config(name="<b>")
    with_rows = html("with.html", study, _store(tmp_path / "with", study, {2: _fake("en", 1, 0, 0, 0), 4: _bits("de", 2.5)}))
    assert "At the same loss of utility" in with_rows and "Urdu: 1.00 [0.29, 1.00] in ur" in with_rows and "<b>" not in with_rows
    assert "source, step 2: 1.00 left in the worst language; utility loss 0.0%" in with_rows
    losses: Values = {(tag, "real", "loss"): [2] * 4 for tag in study.languages} | {
        (tag, "fake", "probability"): [0.3] * 4 for tag in study.languages
    }
    without = html("without.html", study, written(tmp_path / "without", study, middle=losses))
    assert "At the same loss of utility" not in without
