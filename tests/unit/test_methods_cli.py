"""`polyunlearn methods`: every card, in words, and docs/methods.md as the command writes it."""

import json
from io import StringIO
from pathlib import Path
from typing import get_args

import pytest
from rich.console import Console
from typer.testing import CliRunner

from polyunlearn.cli import app
from polyunlearn.report.methods import INSTEAD, NEEDS, methods_json, methods_markdown, print_methods
from polyunlearn.training.cards import Card, Instead
from polyunlearn.training.labels import Need
from polyunlearn.training.objectives import FORGET_TERMS, NO_RETAIN, RETAIN_TERMS, get_method

CARDS = FORGET_TERMS | RETAIN_TERMS
DOCUMENT = Path(__file__).parents[2] / "docs" / "methods.md"


def test_the_document_is_what_the_command_writes() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == methods_markdown(), "run: polyunlearn methods --markdown docs/methods.md"


def test_every_need_and_answer_has_words() -> None:
    assert set(NEEDS) == set(get_args(Need)) and set(INSTEAD) == set(get_args(Instead))


@pytest.mark.parametrize("card", CARDS.values(), ids=lambda card: card.name)
def test_every_card_is_listed_whole(card: Card) -> None:
    """In the terminal as in Markdown: formula, paper, cost, every setting, every refusal and what is needed, in words."""
    out = StringIO()
    print_methods(Console(file=out, width=400))
    sections = methods_markdown().split("\n### ")
    (section,) = [part for part in sections if part.startswith(f"`{card.name}`: {card.title}\n")]
    said = [card.formula, card.paper, card.cost, *card.refuses.values(), *(NEEDS[need] for need in card.needs)]
    said += [INSTEAD[card.instead]] if card.instead else []
    said += [part for part in (card.insists, card.refuses_adapters, card.refuses_merging) if part]
    for text in (*said, *(f"`{name}` = {value:g}" for name, value in card.defaults.items())):
        assert text in section
        assert text.replace("`", "") in out.getvalue()
    for name in card.bounds:
        assert f"`{name}` = {card.defaults[name]:g} ({card.bounds[name]})".removesuffix(" ()") in section
    if card.part == "forget":
        assert f"- **retain term**: {f'`{card.retain}`' if card.retain else 'none'}\n" in section + "\n"


def test_json_says_which_combinations_are_refused() -> None:
    """A combination stands among the refused ones where a study refuses it, and nowhere else."""
    terms = {term["name"]: term for term in methods_json()}
    assert list(terms) == list(CARDS)
    for name in FORGET_TERMS:
        retain = terms[name]["retain"]
        assert (get_method(name).retain or None) == (RETAIN_TERMS[retain] if retain != NO_RETAIN else None)
        for other in (*RETAIN_TERMS, NO_RETAIN):
            assert terms[name]["refuses"].get(other) == FORGET_TERMS[name].refusal(other)
    assert terms["npo"]["settings"] == {"beta": 0.1} and terms["npo"]["needs"] == ["reference"]
    assert terms["gradient_difference"]["refuses"] == {"none": "gradient difference without a retain term is gradient_ascent"}
    assert "retain" not in terms["cross_entropy"]


def test_the_command_prints_or_writes(tmp_path: Path) -> None:
    runner = CliRunner()
    printed = runner.invoke(app, ["methods"])
    assert printed.exit_code == 0 and "Negative preference optimisation" in printed.stdout
    written = runner.invoke(app, ["methods", "--json", str(tmp_path / "m.json"), "--markdown", str(tmp_path / "m.md")])
    assert (written.exit_code, written.stdout) == (0, "")
    assert (tmp_path / "m.md").read_text(encoding="utf-8") == methods_markdown()
    assert json.loads((tmp_path / "m.json").read_text(encoding="utf-8")) == {"schema": 1, "terms": methods_json()}
