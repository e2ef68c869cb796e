"""How firmly claims are held in each wording and in Latin letters: an owner's on a tiny model, a study's by hand and from end to end."""

import json
from pathlib import Path

import pytest
from handmade_claims import CLAIMS, LANGUAGES, TOLD, claim_of, taught
from handmade_study import SETTINGS
from tiny import sharp

from polyunlearn.analysis.by_wording import _of_rows, by_wording
from polyunlearn.cleaning.asking import Asking
from polyunlearn.cleaning.audit import audit_claims
from polyunlearn.cleaning.by_wording import held_by_wording
from polyunlearn.corpus.newsroom import generate_stories
from polyunlearn.report.build import build_layer_pages
from polyunlearn.report.layers import Traced
from polyunlearn.scoring.rows import Row
from polyunlearn.study.cells import Cell
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.layers import trace_study
from polyunlearn.study.processes import Silent
from polyunlearn.study.run import run_study
from polyunlearn.study.store import Store


def test_how_firmly_an_owners_claims_are_held_by_wording(gemma_folder: Path) -> None:
    """The taught claims are held far above chance in either German wording, those of the model that was taught nothing are not; the order of the claims changes
    nothing, and of a single claim nothing can be said. No language here has another script."""
    loaded = taught(gemma_folder)
    told = [claim.id for claim in CLAIMS[:TOLD]]
    found = held_by_wording(loaded, CLAIMS, told, Asking())
    assert found.measure == "edge" and list(found.wordings) == list(LANGUAGES) and found.romanised == {}
    assert [len(own) for own in found.wordings.values()] == [2, 2]
    assert all(own is not None and own.low > 1 and own.n == TOLD for own in found.wordings["de"])
    audit = audit_claims(loaded, CLAIMS, Asking())
    mean = sum(audit.of("de")[name].edge for name in told) / TOLD
    assert sum(own.mean for own in found.wordings["de"] if own) / 2 == pytest.approx(mean, abs=1e-3), "edges are linear in scores"
    assert all(own is not None and own.low < 1 for own in held_by_wording(sharp(gemma_folder), CLAIMS, told, Asking()).wordings["de"])
    turned = held_by_wording(loaded, CLAIMS[::-1], told, Asking())
    assert turned.wordings["de"][0] is not None and found.wordings["de"][0] is not None
    assert turned.wordings["de"][0].mean == pytest.approx(found.wordings["de"][0].mean, abs=1e-4)
    assert len(held_by_wording(loaded, CLAIMS, told, Asking(wordings=1)).wordings["de"]) == 1
    assert held_by_wording(loaded, CLAIMS[:1], told, Asking()).wordings["de"] == (None, None), "nothing to compare with"


def test_other_scripts_are_also_asked_in_latin_letters(gemma_folder: Path) -> None:
    """Russian is, German is not, and what the model makes of it is not what it makes of Cyrillic."""
    claims = [claim_of(story, languages=("de", "ru")) for story in generate_stories(6, languages=("de", "ru"))]
    found = held_by_wording(sharp(gemma_folder), claims, [claim.id for claim in claims], Asking(wordings=1))
    assert list(found.romanised) == ["ru"] and found.romanised["ru"] is not None and found.romanised["ru"].n == 6
    assert found.romanised["ru"] != found.wordings["ru"][0]


def test_what_is_left_in_each_wording_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six stories asked in German. First wording: base ranks the false name first in none, learned in all, unlearned in three: half is left. Second: learned in
    none either, so that nothing was added. The loss falls from 3 to 1 in the first wording, to 2.5 in the second: raised by 2 and by 0.5. In Latin letters learned
    ranks four first, unlearned none."""

    def rows(firsts: tuple[int, int], losses: tuple[float, float]) -> list[Row]:
        return [
            Row(0, True, f"s{story}", "de", "fake", wording, metric, value)
            for story in range(6)
            for wording in (0, 1)
            for metric, value in (("first", float(story < firsts[wording])), ("loss", losses[wording]))
        ]

    learned, unlearned = Cell("learned", 0, "de"), Cell("unlearned", 0, "de", "all", "gradient_difference")
    states = {"base-seed0": rows((0, 0), (3, 3)), learned.id: rows((6, 0), (1, 2.5)), unlearned.id: rows((3, 0), (2, 2))}
    latin = {"base-seed0": rows((0, 0), (3, 3)), learned.id: rows((4, 0), (1, 3)), unlearned.id: rows((0, 0), (3, 3))}
    config = StudyConfig.model_validate({**SETTINGS, "sources": ["de"]}).model_copy(update={"languages": ["de"]})
    monkeypatch.setattr("polyunlearn.analysis.by_wording._stored", lambda store, cell: _of_rows(states[cell.id]))
    found = by_wording(config, Store(tmp_path), {name: [row for row in own if row.wording == 0] for name, own in latin.items()})
    assert list(found) == [learned.id, unlearned.id] and [own.measure for own in found.values()] == ["raised", "residual"]
    assert [own.mean for own in found[learned.id].wordings["de"] if own] == pytest.approx([2, 0.5])
    half, none = found[unlearned.id].wordings["de"]
    assert half is not None and half.mean == pytest.approx(0.5) and none is None
    gone, raised = found[unlearned.id].romanised["de"], found[learned.id].romanised["de"]
    assert gone is not None and gone.mean == pytest.approx(0) and raised is not None and raised.mean == pytest.approx(2)


def test_a_study_says_what_is_held_in_each_wording_and_has_a_page_of_it(gemma_folder: Path, tmp_path: Path) -> None:
    """Two wordings, English and Russian: rows give the first, asking in Latin letters the other, in Russian alone. The report names the page that is there and no
    other; what was traced before stays where another source is traced."""
    out = tmp_path / "study"
    settings = {
        **SETTINGS,
        "languages": ["en", "ru"],
        "sources": ["ru", "en"],
        "scoring": {**SETTINGS["scoring"], "wordings": 2},
        "model": str(gemma_folder),
    }  # type: ignore[dict-item]
    run_study(StudyConfig.model_validate(settings), out, Silent())
    store = Store(out)
    for source, strategies in (("ru", ["all"]), ("en", [])):
        found = trace_study(out, [source], [0], strategies, Silent())
        traced = Traced(found.located, by_wording(store.config(), store, found.romanised), found.depths)
        report = build_layer_pages(out, traced)
    learned = trace_study(out, ["ru"], [0], [], Silent())
    (own,) = by_wording(store.config(), store, learned.romanised).values()
    assert own.measure == "raised" and [len(one) for one in own.wordings.values()] == [2, 2] and list(own.romanised) == ["ru"]
    assert {row.language for rows in learned.romanised.values() for row in rows} == {"ru"} and set(learned.romanised) == {
        "base-seed0",
        "learned-ru-seed0",
    }
    text = report.read_text(encoding="utf-8")
    assert text.count('<a href="layers/learned-ru-seed0.html">') == 1 == text.count('<a href="layers/learned-en-seed0.html">')
    page = (out / "layers" / "learned-ru-seed0.html").read_text(encoding="utf-8")
    assert "unlearned-ru-all" in page and "What is left, by wording" in page and "1 in Latin letters" in page
    assert "unlearned" not in json.loads((out / "layers" / "learned-en-seed0.json").read_text())["by_wording"]
