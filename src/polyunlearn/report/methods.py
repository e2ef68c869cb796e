"""The unlearning methods, from the cards of their terms: in the terminal, as Markdown (docs/methods.md) and as JSON."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from polyunlearn.files import write_json_atomically, write_text_atomically
from polyunlearn.training.cards import NO_RETAIN, Card, Instead
from polyunlearn.training.labels import Need
from polyunlearn.training.objectives import FORGET_TERMS, RETAIN_TERMS

NEEDS: Mapping[Need, str] = {
    "logits": "logits of all tokens at each label",
    "states": "hidden states of the watched layer (the last that trains)",
    "instead": "the answer to give instead",
    "reference": "log-probs of the labels under the state that unlearning starts from",
    "reference_logits": "logits under the state that unlearning starts from",
    "reference_states": "hidden states of the state that unlearning starts from",
    "reference_repeated": "log-probs, under the state that unlearning starts from, that the label before is said once more in a label's stead",
}
"""What a term asks for beside the log-probs of the labels, in words."""

INSTEAD: Mapping[Instead, str] = {"truth": "the true answer", "refusal": "a refusal in the answer's language"}
"""The answers to give instead, in words."""

INTRODUCTION = (
    "A method is a forget term, by its name, with the retain term that it comes with. Write `npo+kl` for another retain term, `npo+none` for none. "
    "`unlearning.settings.METHOD.SETTING` in a study changes a setting, and what the stage has for all (`rate`, `retain_weight`, `branches` …) for one method. "
    "In formulas f is what to forget, r what to retain, p the probability of a label or answer, z logits, h hidden states; log-probs are in nats. "
    "Cost is said beside a step of `gradient_difference`."
)


def print_methods(console: Console) -> None:
    """Print every card."""
    console.print(INTRODUCTION.replace("`", ""), markup=False, highlight=False)
    for title, cards in _parts():
        console.print(f"\n{title}", style="bold underline", highlight=False)
        for card in cards.values():
            console.print(Text.assemble("\n", (card.name, "bold green"), f"  {card.title}"))
            for name, text in _facts(card):
                console.print(Padding(Text.assemble((f"{name.replace('`', '')}: ", "dim"), text.replace("`", "")), (0, 0, 0, 2)))


def methods_markdown() -> str:
    """Every card as a Markdown document."""
    lines = ["# Methods", "", "Made by `polyunlearn methods --markdown docs/methods.md`.", "", INTRODUCTION]
    for title, cards in _parts():
        lines += ["", f"## {title}"]
        for card in cards.values():
            lines += ["", f"### `{card.name}`: {card.title}", ""]
            lines += [f"- **{name}**: " + (f"`{text}`" if name == "formula" else text) for name, text in _facts(card)]
    return "\n".join(lines) + "\n"


def methods_json() -> list[dict[str, Any]]:
    """Every card as plain data."""
    return [_data(card) for _, cards in _parts() for card in cards.values()]


def write_methods_markdown(path: Path) -> None:
    """Write the Markdown document, atomically."""
    write_text_atomically(path, methods_markdown())


def write_methods_json(path: Path) -> None:
    """Write the cards as JSON, atomically."""
    write_json_atomically(path, {"schema": 1, "terms": methods_json()})


def _parts() -> list[tuple[str, Mapping[str, Card]]]:
    return [("Forget terms", FORGET_TERMS), ("Retain terms", RETAIN_TERMS)]


def _data(card: Card) -> dict[str, Any]:
    data: dict[str, Any] = {
        "name": card.name,
        "part": card.part,
        "title": card.title,
        "formula": card.formula,
        "paper": card.paper,
        "settings": card.defaults,
        "needs": [need for need in NEEDS if need in card.needs],
        "cost": card.cost,
    }
    if card.part == "retain":
        return data
    names = (*RETAIN_TERMS, NO_RETAIN)
    return data | {
        "instead": card.instead,
        "retain": card.retain or NO_RETAIN,
        "refuses": {name: reason for name in names if (reason := card.refusal(name))},
        "moves_weights": card.moves_weights,
        "refuses_adapters": card.refuses_adapters,
        "refuses_merging": card.refuses_merging,
        "least_steps": card.least_steps,
    }


def _facts(card: Card) -> list[tuple[str, str]]:
    """What the card says, a name and a line each; what it does not have is left out."""
    facts = [("formula", card.formula), ("paper", card.paper)]
    if card.defaults:
        facts.append(("settings", ", ".join(_setting(name, value, card) for name, value in card.defaults.items())))
    if card.needs:
        facts.append(("needs", "; ".join(_in_words(need, card) for need in NEEDS if need in card.needs)))
    facts.append(("cost", card.cost))
    if card.fp32_alone:
        facts.append(("weights", "in fp32 alone, since bf16 rounds away how far they are moved"))
    if card.part == "forget":
        facts.append(("retain term", f"`{card.retain}`" if card.retain else "none"))
        if card.insists:
            facts.append(("refuses any other", card.insists))
        facts += [(f"refuses `{name}`", reason) for name, reason in card.refuses.items()]
        if card.least_steps > 1:
            facts.append(("steps", f"at least {card.least_steps}"))
        if card.refuses_adapters:
            facts.append(("refuses low-rank adapters", card.refuses_adapters))
        if card.refuses_merging:
            facts.append(("refuses merged branches", card.refuses_merging))
    return facts


def _setting(name: str, value: float, card: Card) -> str:
    words = str(card.bounds_of(name))
    return f"`{name}` = {value:g}" + (f" ({words})" if words else "")


def _in_words(need: Need, card: Card) -> str:
    return f"{NEEDS[need]}, {INSTEAD[card.instead]}" if need == "instead" and card.instead else NEEDS[need]
