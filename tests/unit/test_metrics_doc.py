"""docs/metrics.md is what the cards say, and the cards say what there is."""

import importlib
import inspect
from pathlib import Path

import pytest

from polyunlearn.report.metrics import CARDS, HEADER, metrics_markdown
from polyunlearn.scoring.metrics.abstention import Outcomes
from polyunlearn.scoring.metrics.suite import ANSWER_METRICS

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"
ELSEWHERE = {"normalised", "words", "associations", "is_empty", "log_truth_ratio", "count_outcomes", "get_answer_metrics"}
"""Public functions that are no metric, or that a card calls otherwise (`empty`, `edge`)."""


def test_the_document_is_what_the_cards_say() -> None:
    remedy = (
        "run: python -c 'from polyunlearn.report.metrics import metrics_markdown; print(metrics_markdown(), end=\"\")' > docs/metrics.md"
    )
    assert DOCUMENT.read_text(encoding="utf-8") == metrics_markdown(), remedy


def test_every_card_is_whole_and_stands_in_a_row_of_its_own() -> None:
    lines = [line for line in metrics_markdown().splitlines() if line.startswith("| `")]
    assert len({card.name for card in CARDS}) == len(CARDS) == len(lines)
    for card, line in zip(CARDS, lines, strict=True):
        assert all(vars(card).values()), card.name
        assert line.replace("\\|", "").count("|") == len(HEADER) + 1, line


@pytest.mark.parametrize(
    "module", ["answers", "overlap", "tokens", "leakage", "association", "truth", "membership", "abstention", "confusion"]
)
def test_every_metric_has_a_card(module: str) -> None:
    own = importlib.import_module(f"polyunlearn.scoring.metrics.{module}")
    functions = {name for name, what in inspect.getmembers(own, inspect.isfunction) if what.__module__ == own.__name__ and name[0] != "_"}
    assert functions - ELSEWHERE <= {card.name for card in CARDS}


def test_every_outcome_has_a_card_and_every_row_a_metric() -> None:
    properties = {name for name, what in vars(Outcomes).items() if isinstance(what, property) and name[0] != "_"}
    measured = {"first", "probability", "loss", "bits_per_byte", "says", "repetition", "empty", "off_script", "chrf"}
    assert properties | measured <= {card.name for card in CARDS}
    assert all(metric.card.of == "answer" for metric in ANSWER_METRICS.values())
