"""Selectivity of linear probes: worked numbers."""

from pathlib import Path

import pytest

from polyunlearn.analysis.selectivity import Probed, Selectivity, selectivities
from polyunlearn.attacks.target import Variant
from polyunlearn.intervals import Estimate
from polyunlearn.scoring.rows import Row
from polyunlearn.study.cells import Cell
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.store import Store

CONFIG = StudyConfig.model_validate({"name": "x", "sources": ("de",)})
GOLD, LEARNED, UNLEARNED = Cell("gold", 0), Cell("learned", 0, "de"), Cell("unlearned", 0, "de", "english", "npo")


def _rows(layers: int, fitted: str, *values: float, asked: str = "en") -> list[tuple[Variant, Row]]:
    variant = Variant(f"after layer {layers - 1}", layers, fitted)
    return [(variant, Row(0, True, f"s{number}", asked, "fake", 0, "first", value)) for number, value in enumerate(values)]


def test_the_control_is_taken_off_layer_by_layer(tmp_path: Path) -> None:
    """After two layers the unlearned state's probe has 1 of 2 in English and 2 of 2 in German, 3/4, its control 1 of 4: a selectivity of 1/2; gold 1/4 and
    1/4; the learned state was not probed so. By story, over both languages, the unlearned state's is 1, less 0 of gold; and 0, less 0: 1/2 beyond gold, drawn
    as 0, 1/2 or 1, of which a share of 1 − sqrt(.025) = .842 may be of another sort, −1: from .5 − .842 · 1.5 = −.763 on. Layer 10 comes behind layer 2; what has no control, and another attack, is left out."""
    store = Store(tmp_path)
    own = [*_rows(10, "en", 1, 1), *_rows(2, "en", 1, 0), *_rows(2, "en", 1, 1, asked="de"), *_rows(2, "de", 1, 1)]
    store.write_attack("linear_probe", UNLEARNED, own)
    store.write_attack("control_probe", UNLEARNED, [*_rows(10, "en", 0, 1), *_rows(2, "en", 0, 0), *_rows(2, "en", 0, 1, asked="de")])
    store.write_attack("pruning", UNLEARNED, _rows(2, "en", 0, 0, 0, 0))
    for attack in ("linear_probe", "control_probe"):
        store.write_attack(attack, GOLD, [*_rows(2, "en", 0, 1), *_rows(2, "en", 0, 0, asked="de")])
        store.write_attack(attack, LEARNED, _rows(10, "en", 1, float(attack == "linear_probe")))
    assert selectivities(CONFIG, store) == {
        ("de", "npo", "english"): [
            Selectivity(2, "en", None, Probed(0.25, 0.25), Probed(0.75, 0.25), Estimate(0.5, pytest.approx(-0.763, abs=0.001), 1.0, 2)),
            Selectivity(10, "en", Probed(1.0, 0.5), None, Probed(1.0, 0.5), None),
        ]
    }
    assert Probed(0.75, 0.25).selectivity == 0.5


def test_without_probes_there_is_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write_attack("pruning", UNLEARNED, _rows(2, "", 1, 1))
    assert selectivities(CONFIG, store) == {}
