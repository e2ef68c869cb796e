"""Recovery beyond gold: worked numbers."""

from pathlib import Path

import pytest

from polyunlearn.analysis.recovery import CurvePoint, hardest, recoveries, relearning_curves, relearning_matrix
from polyunlearn.attacks.target import BEFORE, Variant, form_before
from polyunlearn.intervals import estimate
from polyunlearn.report.attacks import write_recoveries_markdown
from polyunlearn.scoring.rows import Row
from polyunlearn.study.cells import Cell
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.store import CellRecord, Store

CONFIG = StudyConfig.model_validate(
    {"name": "x", "stories": 4, "languages": ("en", "de"), "sources": ("de",), "strategies": ("english",), "methods": ("npo",)}
)
GOLD, LEARNED, UNLEARNED = Cell("gold", 0), Cell("learned", 0, "de"), Cell("unlearned", 0, "de", "english", "npo")


def _rows(*values: float, language: str = "en") -> list[Row]:
    return [Row(0, True, f"s{number}", language, "fake", 0, "first", value) for number, value in enumerate(values)]


def _store(folder: Path) -> Store:
    store = Store(folder)
    for cell, values in ((GOLD, (0, 0, 0, 1)), (LEARNED, (1, 1, 1, 1)), (UNLEARNED, (0, 0, 0, 0))):
        store.write(cell, _rows(*values) + _rows(*values, language="de"), CellRecord(0, 0, 0.0, 0, []))
    return store


def test_the_rise_of_gold_is_taken_off(tmp_path: Path) -> None:
    """Unlearned 0 → 1, 1, 1, 0; gold 0, 0, 0, 1 → 1, 0, 0, 1: the rises are 1, 1, 1, 0 and 1, 0, 0, 0, so the excess is 0, 1, 1, 0: 1/2. Unlearning took
    all of 1: half of it is back. In German nothing moves."""
    store = _store(tmp_path)
    four = Variant("4 bits, a row", 4)
    store.write_attack("quantisation", UNLEARNED, [(four, row) for row in _rows(1, 1, 1, 0) + _rows(0, 0, 0, 0, language="de")])
    store.write_attack("quantisation", GOLD, [(four, row) for row in _rows(1, 0, 0, 1) + _rows(0, 0, 0, 1, language="de")])
    english, german = recoveries(CONFIG, store)
    assert (english.language, english.before, english.after, english.gold_before, english.gold_after) == ("en", 0, 0.75, 0.25, 0.5)
    assert (english.excess.mean, english.excess.n, english.recovered) == (0.5, 4, 0.5)
    # Four stories leave .60 open (test_intervals), in which the excess may be -1: .5 - .602 · 1.5, and 0 - .602.
    assert (english.excess.low, english.excess.high) == (pytest.approx(-0.404, abs=0.001), 1)
    assert (german.excess.mean, german.excess.low, german.excess.high) == (
        0,
        pytest.approx(-0.602, abs=0.001),
        pytest.approx(0.602, abs=0.001),
    )


def test_the_hardest_form_is_chosen_on_other_stories_than_it_is_reported_on(tmp_path: Path) -> None:
    """On stories 1 and 3 four bits bring back both in English, three bits none; on 2 and 4 three bits bring back both and four one. So four bits are
    reported, with 1/2; gold does not move. In German four bits bring back one of 1 and 3, so English is where most came back, though of 2 and
    4 they bring back both in German."""
    store = _store(tmp_path)
    four, three = Variant("4 bits", 4), Variant("3 bits", 3)
    found = [(four, row) for row in _rows(1, 1, 1, 0) + _rows(1, 1, 0, 1, language="de")] + [(three, row) for row in _rows(0, 1, 0, 1)]
    store.write_attack("quantisation", UNLEARNED, found)
    gold = _rows(0, 0, 0, 1) + _rows(0, 0, 0, 1, language="de")
    store.write_attack("quantisation", GOLD, [(variant, row) for variant in (four, three) for row in gold])
    (own,) = hardest(CONFIG, store)
    assert own.attempt.variant == "4 bits" and own.worst == "en" and own.mean_excess == 0.75
    assert {tag: (each.excess.mean, each.excess.n) for tag, each in own.by_language.items()} == {"en": (0.5, 2), "de": (1, 2)}


def test_the_lead_is_over_what_gold_makes_of_the_claim(tmp_path: Path) -> None:
    """Losses after the attack 2, 2, 3, 3 of the unlearned state and 6, 4, 3, 5 of gold: leads 4, 2, 0, 2, a mean of 2. An attack that ranks by itself has none."""
    store = _store(tmp_path)
    for cell, losses in ((UNLEARNED, (2, 2, 3, 3)), (GOLD, (6, 4, 3, 5))):
        rows = _rows(0, 0, 0, 0) + [Row(0, True, f"s{number}", "en", "fake", 0, "loss", value) for number, value in enumerate(losses)]
        store.write_attack("pruning", cell, [(Variant("10 %", 0.1), row) for row in rows])
        store.write_attack("linear_probe", cell, [(Variant("probe", 4), row) for row in _rows(0, 0, 0, 0)])
    leads = {own.attempt.attack: own.lead for own in recoveries(CONFIG, store)}
    assert leads["linear_probe"] is None and leads["pruning"] is not None
    assert (leads["pruning"].mean, leads["pruning"].n) == (2, 4) and leads["pruning"].low > 0


def test_a_story_that_seeds_share_is_one_cluster(tmp_path: Path) -> None:
    """Four stories of a file in two seeds: the interval is of four draws, and of eight where the newsroom draws new ones."""
    for corpus, clusters in (("mine.jsonl", 4), ("newsroom", 8)):
        config = CONFIG.model_copy(update={"seeds": (0, 1), "corpus": corpus})
        store = Store(tmp_path / corpus)
        for seed in config.seeds:
            for cell in (Cell("gold", seed), Cell("learned", seed, "de"), Cell("unlearned", seed, "de", "english", "npo")):
                store.write(cell, _rows(0, 0, 0, 0), CellRecord(0, 0, 0.0, 0, []))
                values = (1, 1, 0, seed) if cell.state == "unlearned" else (0, 0, 0, 0)
                store.write_attack("pruning", cell, [(Variant("10 %", 0.1), row) for row in _rows(*values)])
        (own,) = recoveries(config, store)
        assert own.excess.n == clusters and own.excess.mean == 5 / 8


def test_one_story_a_seed_has_no_half_to_choose_on(tmp_path: Path) -> None:
    """Two seeds of which an attack asked one story each, as relearning does where there are two: nothing is reported, and nothing breaks."""
    config = CONFIG.model_copy(update={"seeds": (0, 1)})
    store = Store(tmp_path)
    for seed in config.seeds:
        cells = Cell("gold", seed), Cell("learned", seed, "de"), Cell("unlearned", seed, "de", "english", "npo")
        for cell in cells:
            store.write(cell, _rows(0, 1), CellRecord(0, 0, 0.0, 0, []))
            store.write_attack("relearning", cell, [(Variant("half", 20, "en"), row) for row in _rows(1)])
    assert hardest(config, store) == [] and len(recoveries(config, store)) == 1


def test_relearning_after_the_last_step_by_languages(tmp_path: Path) -> None:
    """Taught in German: asked in English 1 of 4 after one step, 2 after twenty; in German 4. Of the steps the last counts."""
    store = _store(tmp_path)
    one, twenty = Variant("half", 1, "de"), Variant("half", 20, "de")
    found = [(one, row) for row in _rows(1, 0, 0, 0)] + [(twenty, row) for row in _rows(1, 1, 0, 0) + _rows(1, 1, 1, 1, language="de")]
    store.write_attack("relearning", UNLEARNED, found)
    gold = _rows(0, 0, 0, 1) + _rows(0, 0, 0, 1, language="de")
    store.write_attack("relearning", GOLD, [(variant, row) for variant in (one, twenty) for row in gold])
    matrix = relearning_matrix(recoveries(CONFIG, store))
    assert {told: {tag: own.excess.mean for tag, own in line.items()} for told, line in matrix.items()} == {"de": {"en": 0.5, "de": 1}}


def test_curves_are_means_over_languages(tmp_path: Path) -> None:
    """Unlearned: 0 before; after one step 1/4 in English and 1 in German; gold stays at 1/4. In German it leads gold by 3 nats in every story, in English by
    0, 2, 4, 6: stories' means are 1.5, 2.5, 3.5, 4.5, and the interval draws these. In Markdown a line a way and
    attack, and the excess by language of four claims: 1/4 and 1."""
    store = _store(tmp_path)
    one = Variant("half", 1, "de")
    losses = {(UNLEARNED, "de"): [2.0] * 4, (GOLD, "de"): [5.0] * 4, (UNLEARNED, "en"): [1.0] * 4, (GOLD, "en"): [1.0, 3.0, 5.0, 7.0]}
    told: dict[Cell, list[Row]] = {UNLEARNED: [], GOLD: []}
    for (cell, tag), values in losses.items():
        told[cell] += [Row(0, True, f"s{number}", tag, "fake", 0, "loss", loss) for number, loss in enumerate(values)]
    rows = {UNLEARNED: _rows(1, 0, 0, 0) + _rows(1, 1, 1, 1, language="de"), GOLD: _rows(0, 0, 0, 1) + _rows(0, 0, 0, 1, language="de")}
    for cell, own in rows.items():
        store.write_attack("relearning", cell, [(one, row) for row in [*own, *told[cell]]])
    found = recoveries(CONFIG, store)
    assert relearning_curves(found) == {"relearning": [CurvePoint(0, 0, 0.25), CurvePoint(1, 0.625, 0.25, estimate([1.5, 2.5, 3.5, 4.5]))]}
    write_recoveries_markdown(found, hardest(CONFIG, store), {}, CONFIG, tmp_path / "a.md")
    text = (tmp_path / "a.md").read_text()
    assert "| German claims, english, npo | relearning | +3.0 [+2.0, +4.0]; 0.62, 0.25 |" in text
    assert "| relearning | half (1 steps) | 4 | 0.25 [-0.50, 0.75] | 1.00 [-0.20, 1.00] |" in text


def test_an_attack_that_asks_half_is_paired_with_that_half(tmp_path: Path) -> None:
    """Stories 1 and 3 after ten steps: unlearned 0, 0 → 1, 1, gold 0, 1 → 0, 1: an excess of 1."""
    store = _store(tmp_path)
    ten = Variant("half of the claims in German", 10, "de")
    store.write_attack("relearning", UNLEARNED, [(ten, row) for row in _rows(0, 1, 0, 1)[1::2]])
    store.write_attack("relearning", GOLD, [(ten, row) for row in _rows(0, 0, 0, 1)[1::2]])
    (own,) = recoveries(CONFIG, store)
    assert (own.excess.mean, own.excess.n, own.gold_before, own.attempt.language, own.attempt.strength) == (1, 2, 0.5, "de", 10)


def test_without_gold_there_is_nothing_to_say(tmp_path: Path) -> None:
    store = _store(tmp_path)
    store.write_attack("pruning", UNLEARNED, [(Variant("10%", 0.1), row) for row in _rows(1, 1, 1, 1)])
    assert recoveries(CONFIG, store) == []


def test_where_unlearning_took_nothing_there_is_no_share(tmp_path: Path) -> None:
    store = _store(tmp_path)
    store.write(LEARNED, _rows(0, 0, 0, 0), CellRecord(0, 0, 0.0, 0, []))
    for cell, values in ((UNLEARNED, (0, 0, 0, 0)), (GOLD, (0, 0, 0, 1))):
        store.write_attack("pruning", cell, [(Variant("10%", 0.1), row) for row in _rows(*values)])
    (own,) = recoveries(CONFIG, store)
    assert own.recovered is None and own.excess.mean == 0


def test_what_is_asked_among_fewer_is_asked_so_before(tmp_path: Path) -> None:
    """Asked among fewer candidates the unlearned state has 1, 0, 0, 0 and gold 0, 0, 0, 1 before; after, both have one more: no excess. Against the ranks
    among all candidates the unlearned state would have risen by 2/4, gold by 1/4. The form "before" is no attempt itself."""
    store = _store(tmp_path)
    taught = Variant("half of the claims in English", 5, "en")
    for cell, before, after in ((UNLEARNED, (1, 0, 0, 0), (1, 1, 0, 0)), (GOLD, (0, 0, 0, 1), (1, 0, 0, 1))):
        store.write_attack("relearning", cell, [(BEFORE, row) for row in _rows(*before)] + [(taught, row) for row in _rows(*after)])
    (own,) = recoveries(CONFIG, store)
    assert (own.before, own.after, own.gold_before, own.gold_after, own.excess.mean) == (0.25, 0.5, 0.25, 0.5, 0)
    assert relearning_curves([own])["relearning"][0] == CurvePoint(0, 0.25, 0.25)


def test_a_form_that_leaves_out_candidates_is_set_against_the_same_before(tmp_path: Path) -> None:
    """One token given: as many among fewer before, nothing gained. Two given, among fewer still: of none two come back, in gold none. The plain forms that
    stand beside are no attempts."""
    store = _store(tmp_path)
    one, two = Variant("the first token", 1), Variant("the first 2 tokens", 2)
    for cell, first, second in ((UNLEARNED, (1, 1, 0, 0), (1, 1, 0, 0)), (GOLD, (0, 0, 0, 0), (0, 0, 0, 0))):
        rows = [(one, row) for row in _rows(*first)] + [(form_before(one), row) for row in _rows(*first)]
        store.write_attack(
            "prefill", cell, [*rows, *((two, row) for row in _rows(*second)), *((form_before(two), row) for row in _rows(0, 0, 0, 0))]
        )
    found = {own.attempt.variant: (own.before, own.after, own.excess.mean) for own in recoveries(CONFIG, store)}
    assert found == {"the first token": (0.5, 0.5, 0), "the first 2 tokens": (0, 0.5, 0.5)}


def test_seeds_are_a_level_of_excess(tmp_path: Path) -> None:
    """Four stories come back in seed 0 and none in seed 1: 1/2, drawn as seed 0 alone, seed 1 alone or both, so the interval goes from 0 to 1; and eight
    stories leave .369 open, in which the excess may be -1: .5 - .369 · 1.5 = -.054."""
    study = CONFIG.model_copy(update={"seeds": (0, 1)})
    store = Store(tmp_path)
    for seed, back in ((0, 1), (1, 0)):
        gold, learned, unlearned = (Cell(own.state, seed, own.source, own.strategy, own.method) for own in (GOLD, LEARNED, UNLEARNED))
        for cell, rank in ((gold, 0), (learned, 1), (unlearned, 0)):
            store.write(cell, _rows(*[rank] * 4), CellRecord(0, 0, 0.0, 0, []))
        store.write_attack("pruning", gold, [(Variant("a tenth", 0.1), row) for row in _rows(0, 0, 0, 0)])
        store.write_attack("pruning", unlearned, [(Variant("a tenth", 0.1), row) for row in _rows(*[back] * 4)])
    (own,) = recoveries(study, store)
    assert (own.excess.mean, own.excess.low, own.excess.high, own.excess.n) == (0.5, pytest.approx(-0.054, abs=0.001), 1, 8)
