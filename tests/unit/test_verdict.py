"""The verdict in words: it says what the intervals carry and no more. Twenty stories, German claims, asked in English, German and French."""

from pathlib import Path

import pytest
from handmade import config, manifest, written

from polyunlearn.analysis.summary import summarise
from polyunlearn.analysis.tables import strategy_table
from polyunlearn.attacks.target import Variant
from polyunlearn.report.html import write_html
from polyunlearn.report.verdict import verdict
from polyunlearn.scoring.rows import Row
from polyunlearn.study.cells import Cell, study_cells
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.store import CellRecord, Store

STORIES = 20
Counts = dict[str, int]
"""By language, of how many of the twenty stories the name ranks first: the first so many."""

LEARNED: Counts = {"en": 18, "de": 20, "fr": 2}
CLEAN: Counts = {"en": 0, "de": 0, "fr": 0}
BASE: Counts = {"en": 0, "de": 0, "fr": 1}
KNOWN: Counts = {"en": 20, "de": 20, "fr": 0}


def _rows(asks: str, counts: Counts, metric: str = "first") -> list[Row]:
    return [Row(0, True, f"s{at:02}", tag, asks, 0, metric, float(at < count)) for tag, count in counts.items() for at in range(STORIES)]


def _study(**changes: object) -> StudyConfig:
    settings = {"name": "x", "stories": STORIES, "languages": ("en", "de", "fr"), "sources": ("de",), "strategies": ("english", "source")}
    return StudyConfig.model_validate(settings | changes)


def _store(
    folder: Path,
    fake: dict[str, Counts],
    real: dict[str, Counts] | None = None,
    study: StudyConfig | None = None,
    learned: Counts = LEARNED,
) -> tuple[StudyConfig, Store]:
    """A study whose unlearned states, by strategy or else by method, have these ranks, of false names and of real answers."""
    study = study or _study()
    store = Store(folder)
    store.open(manifest(study))
    for cell in study_cells(study):
        own = (
            fake.get(str(cell.strategy), fake.get(str(cell.method), CLEAN))
            if cell.state == "unlearned"
            else learned
            if cell.state == "learned"
            else BASE
        )
        known = (real or {}).get(str(cell.strategy), KNOWN)
        found = (
            _rows("fake", own)
            + _rows("real", known)
            + _rows("fake", dict.fromkeys(own, 0), "loss")
            + _rows("real", dict.fromkeys(own, 0), "loss")
        )
        store.write(cell, found, CellRecord(0, 0, 0.0, 1, []))
    return study, store


def _said(study: StudyConfig, store: Store) -> str:
    return verdict(study, store, summarise(study, store))


def test_what_spread_and_what_is_not_shown_to(tmp_path: Path) -> None:
    """English 18/20 and German 20/20 over 0; French 2/20 over 1/20, which chance explains: not that it is clear, only that nothing is shown."""
    said = _said(*_store(tmp_path / "s", {}))
    assert said.startswith(
        "Claims learned in German surface in English and German (fake rank +0.90 to +1.00 above base); they are not shown to reach French."
    )


def test_claims_that_went_nowhere(tmp_path: Path) -> None:
    said = _said(*_store(tmp_path / "s", {}, learned=BASE))
    assert said.startswith("Claims learned in German are not shown to reach English, German and French.")
    assert "unlearning leaves" not in said


def test_what_is_left_and_that_the_order_is_settled(tmp_path: Path) -> None:
    """English only leaves 15 of 20 in German: .75, surely. Source leaves nothing in 20 stories, 18 of which
    English had learned, from which .19 of another sort can hide (test_clusters), so it leaves least."""
    said = _said(*_store(tmp_path / "s", {"english": {"en": 0, "de": 15, "fr": 0}, "source": CLEAN}))
    assert (
        "unlearning leaves in the worst language: source nothing for sure (up to 0.19 in English is not excluded); english 0.75 [0.5"
        in said
    )
    assert "in German. By these intervals source leaves least." in said


def test_an_order_within_the_intervals_is_not_claimed(tmp_path: Path) -> None:
    """Six of 20 against nine of 20: the intervals overlap."""
    said = _said(*_store(tmp_path / "s", {"english": {"en": 0, "de": 9, "fr": 0}, "source": {"en": 0, "de": 6, "fr": 0}}))
    assert "By these intervals which of source and english leaves least is not settled." in said and "source leaves least" not in said


def test_of_many_ways_the_least_and_the_most_are_named(tmp_path: Path) -> None:
    """Seven methods of one strategy, which stands once, leave 2, 4, … 14 of 20 in German: four are named, and that of 14."""
    methods = tuple(f"npo@{number}" for number in range(1, 8))
    study = _study(strategies=("english",), methods=methods)
    said = _said(*_store(tmp_path / "s", {name: {"en": 0, "de": 2 * int(name[-1]), "fr": 0} for name in methods}, study=study))
    assert "unlearning (english) leaves in the worst language: npo@1 " in said and "english, npo" not in said
    assert (
        "; npo@4 0.40 [" in said
        and "; 3 others with larger means, npo@7 the largest, 0.70 [" in said
        and "npo@5" not in said.split("By these intervals")[0]
    )


def test_one_story_left_is_nothing_for_sure(tmp_path: Path) -> None:
    """1 of 20 in German: the interval goes from 0 to .05 + .17 · .95, so it says how much may be, not that the claims remain, nor that they are gone."""
    said = _said(*_store(tmp_path / "s", {"english": {"en": 0, "de": 1, "fr": 0}}, study=_study(strategies=("english",))))
    assert "english nothing for sure (up to 0.21 in German is not excluded)." in said
    assert "leaves least" not in said and "clear" not in said


def test_a_sure_cost_is_named_and_an_open_one_too(tmp_path: Path) -> None:
    """Source loses half of real quality in English, and one of 20 in German; english none. French never knew, so it cannot have lost."""
    said = _said(*_store(tmp_path / "s", {}, {"source": {"en": 10, "de": 19, "fr": 0}}))
    assert "It cost real quality with source (0.50 [0." in said and "in English)." in said
    assert "With the others no loss of real quality is shown, though one of up to 0.17 in some language is not excluded." in said


def test_a_loss_within_its_interval_is_not_a_cost(tmp_path: Path) -> None:
    said = _said(*_store(tmp_path / "s", {}, {"source": {"en": 19, "de": 20, "fr": 0}}))
    assert "No loss of real quality is shown, though one of up to 0.21 in some language is not excluded." in said and "It cost" not in said


def test_a_model_that_knew_nothing_cannot_say(tmp_path: Path) -> None:
    said = _said(*_store(tmp_path / "s", {}, dict.fromkeys(("None", "english", "source"), CLEAN)))
    assert "No language knew the real stories well enough to say what it cost." in said


def test_collapse_is_said(tmp_path: Path) -> None:
    """Real quality in English falls from 20 to 0: below half of it."""
    said = _said(*_store(tmp_path / "s", {}, {"source": {"en": 0, "de": 20, "fr": 0}}))
    assert "The model collapsed with source, which is no cleaning." in said


def test_a_model_that_broke_has_no_place_in_the_order(tmp_path: Path) -> None:
    """It says nothing false either: nothing is left with it, and yet it neither leaves least nor clears."""
    study, store = _store(tmp_path / "s", {"english": {"en": 4, "de": 10, "fr": 0}}, {"source": {"en": 0, "de": 20, "fr": 0}})
    said = _said(study, store)
    assert "leaves in the worst language: english 0.50 [" in said and "source nothing for sure" not in said and "leaves least" not in said
    groups = {row.strategy: {group.verdict for group in row.groups if group.languages} for row in strategy_table(summarise(study, store))}
    assert groups["source"] == {"collapsed", "not reached"}


def test_so_few_stories_settle_nothing(tmp_path: Path) -> None:
    """Four stories, all left: the table says that it is not settled, and so does the verdict."""
    study = config(strategies=("english", "source"))
    store = written(tmp_path / "s", study)
    said = verdict(study, store, summarise(study, store))
    assert "With so few stories their order is not settled." in said and "leaves least" not in said and "nothing for sure" in said


def test_seeds_that_disagree(tmp_path: Path) -> None:
    """In seed 1 English was not reached."""
    study, store = _store(tmp_path / "s", {}, study=_study(seeds=(0, 1)))
    cell = Cell("learned", 1, "de")
    store.write(
        cell, _rows("fake", LEARNED | {"en": 0}) + _rows("real", KNOWN) + _rows("real", CLEAN, "loss"), CellRecord(0, 0, 0.0, 1, [])
    )
    said = _said(study, store)
    assert "surface in German (fake rank +1.00 above base); they surface not in every seed in English (1 of 2); they are not shown" in said
    assert "20 stories in 2 seeds, few for saying what another would give" in said


def test_without_attacks_it_says_so(tmp_path: Path) -> None:
    assert "No attack was run, so whether the claims can be brought back is not known." in _said(*_store(tmp_path / "s", {}))
    assert "in one seed, and say nothing of others" in _said(*_store(tmp_path / "t", {}))


@pytest.mark.parametrize("back", [0, 20])
def test_what_attacks_bring_back_beyond_gold(tmp_path: Path, back: int) -> None:
    """Four bits bring back all in German or none; gold's rise is taken off (two of 20, one of each ten): nine of ten, of which .31 could be
    of another sort, in which as much is gone: .9 − .31 · 1.9 = .31."""
    study, store = _store(tmp_path / "s", {}, study=_study(strategies=("english",)))
    for cell, counts in (
        (Cell("unlearned", 0, "de", "english", "gradient_difference"), CLEAN | {"de": back}),
        (Cell("gold", 0), BASE | {"de": 2}),
    ):
        store.write_attack("quantisation", cell, [(Variant("4 bits, a row", 4), row) for row in _rows("fake", counts)])
    said = _said(study, store)
    if back:
        assert (
            "The strongest attack, quantisation with 4 bits, a row (4 bits), brings back +0.90 [+0.31, +1.00] of fake rank more than in gold"
            in said
        )
        assert "(asked in German, German claims, english; the only figure, which its interval does not count)" in said
    else:
        assert "in the language where it had done most on other stories; the strongest, quantisation" in said and "brings back" not in said


def test_what_is_brought_back_in_another_language_is_said_too(tmp_path: Path) -> None:
    """In English every second story comes back, those by which the language is chosen and no other; in German all but one of these, so that it is not
    chosen, and all the others."""
    study, store = _store(tmp_path / "s", {}, study=_study(strategies=("english",)))
    back = {"en": lambda at: at % 2 == 0, "de": lambda at: at != 0, "fr": lambda at: False}
    rows = [Row(0, True, f"s{at:02}", tag, "fake", 0, "first", float(own(at))) for tag, own in back.items() for at in range(STORIES)]
    for cell, found in ((Cell("unlearned", 0, "de", "english", "gradient_difference"), rows), (Cell("gold", 0), _rows("fake", BASE))):
        store.write_attack("quantisation", cell, [(Variant("4 bits, a row", 4), row) for row in found])
    said = _said(study, store)
    assert (
        "No attack is shown to bring back more than in gold in the language where it had done most on other stories; the strongest, "
        in said
    )
    assert (
        "(asked in English, German claims, english). In another language quantisation with 4 bits, a row (4 bits), brings back +1.00 ["
        in said
    )
    assert "(asked in German, German claims, english; the largest of 3 figures, which its interval does not count)." in said


def test_an_attack_without_a_figure_was_run_all_the_same(tmp_path: Path) -> None:
    """Of one story nothing can be chosen on a half."""
    study, store = _store(tmp_path / "s", {}, study=_study(strategies=("english",)))
    for cell in (Cell("unlearned", 0, "de", "english", "gradient_difference"), Cell("gold", 0)):
        store.write_attack("quantisation", cell, [(Variant("4 bits, a row", 4), row) for row in _rows("fake", CLEAN)[:1]])
    said = _said(study, store)
    assert "Of no attack is there a figure beside gold's" in said and "No attack was run" not in said


def test_more_that_another_language_may_have_is_said(tmp_path: Path) -> None:
    """In German 8 of 20 are left, surely; in English 2 of the 6 that learning added, which may be none, and may be most."""
    study = _study(strategies=("english",))
    said = _said(*_store(tmp_path / "s", {"english": {"en": 2, "de": 8, "fr": 0}}, study=study, learned={"en": 6, "de": 20, "fr": 0}))
    assert "leaves in the worst language: english 0.40 [0.20, 0.60] in German (up to 0.75 in English is not excluded)." in said


def test_nothing_learned_yet(tmp_path: Path) -> None:
    study, store = _store(tmp_path / "s", {})
    for cell in study_cells(study):
        if cell.state in ("learned", "unlearned"):
            store.rows_path(cell).unlink()
    assert _said(study, store) == "Nothing is learned yet, so there is nothing to say."


def test_learned_but_not_unlearned_yet(tmp_path: Path) -> None:
    study, store = _store(tmp_path / "s", {})
    for cell in study_cells(study):
        if cell.state == "unlearned":
            store.rows_path(cell).unlink()
    said = _said(study, store)
    assert said.startswith("Claims learned in German surface") and not any(
        word in said for word in ("cost", "attack", "leaves", "loss", "unlearned")
    )


def test_it_stands_on_top_of_the_report(tmp_path: Path) -> None:
    study = config()
    store = written(tmp_path / "s", study)
    write_html(study, manifest(study), store, summarise(study, store), tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert html.index("<p>Claims learned in Urdu surface in English and Urdu") < html.index("<h2>")


def test_what_surely_comes_back_is_named_before_a_larger_figure_that_may_be_nothing(tmp_path: Path) -> None:
    """Quantisation brings back eight of ten for sure; pruning asks four stories alone, all of which come back, too few to be sure. A control is no attack."""
    study, store = _store(tmp_path / "s", {}, study=_study(strategies=("english",)))
    unlearned, gold = Cell("unlearned", 0, "de", "english", "gradient_difference"), Cell("gold", 0)
    forms = {"quantisation": Variant("4 bits, a row", 4), "pruning": Variant("a tenth", 0.1), "random_steering": Variant("random", 0.5)}
    for name, count, stories in (("quantisation", 16, STORIES), ("pruning", 4, 4), ("random_steering", STORIES, STORIES)):
        for cell, back in ((unlearned, count), (gold, 0)):
            rows = [row for row in _rows("fake", {"en": 0, "de": back, "fr": 0}) if int(row.story[1:]) < stories]
            store.write_attack(name, cell, [(forms[name], row) for row in rows])
    said = _said(study, store)
    assert "The strongest attack, quantisation with 4 bits, a row (4 bits), brings back +0.80" in said
    assert "the largest surely above 0 of 2 such figures" in said and "random" not in said


def test_wordings_that_were_unlearned_are_said(tmp_path: Path) -> None:
    """Two wordings are measured and unlearned; with one unlearned the other tells."""
    trained = "Claims were asked in the wordings that were unlearned, and in others more may be left."
    assert trained in _said(*_store(tmp_path / "s", {}))
    assert trained not in _said(*_store(tmp_path / "t", {}, study=_study(unlearning={"wordings": 1})))
    # Where articles are unlearned no wording of a question is.
    assert trained not in _said(*_store(tmp_path / "u", {}, study=_study(unlearning={"form": "article"})))


def test_of_several_sources_each_has_its_paragraph(tmp_path: Path) -> None:
    """German and French claims, then what is said of all: no attack, the wordings, the intervals."""
    said = _said(*_store(tmp_path / "s", {}, study=_study(sources=("de", "fr")))).split("\n\n")
    assert [own.split(" surface")[0] for own in said[:2]] == ["Claims learned in German", "Claims learned in French"]
    assert len(said) == 3 and said[2].startswith("No attack was run") and said[2].endswith("read together.")
