"""Whether an audit and a trace find where planted claims went, which the model before the planting tells.

    python examples/plant_claims.py runs/planted-jv --source jv --seed 80 --claims 10
    python benchmarks/tracing.py runs/planted-jv --markdown tracing.md

An audit has no second model. Here there is one: a claim is in a language where its answer's log-prob rose by more than that of any control, none of which
the model was told. What the audit finds is set against that, claim by claim and language by language; the trace says in which languages and layers to unlearn.
"""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np

from polyunlearn.cleaning.asking import Asking, claim_probes
from polyunlearn.cleaning.audit import audit_claims
from polyunlearn.cleaning.layers import locate_claims
from polyunlearn.cleaning.plan import held_in
from polyunlearn.corpus.claims import Claim, languages_of, read_claims
from polyunlearn.files import write_text_atomically
from polyunlearn.intervals import RESAMPLES, Estimate
from polyunlearn.languages import get_language
from polyunlearn.models.loading import LoadedModel, load_model
from polyunlearn.report.tables import estimate_text, markdown_table
from polyunlearn.scoring.measure import own_answers
from polyunlearn.scoring.ranking import candidate_log_probs
from polyunlearn.tracing.languages import living_in

Pairs = set[tuple[str, str]]
"""Claims and languages."""


def log_probs(loaded: LoadedModel, claims: Sequence[Claim], asking: Asking) -> dict[tuple[str, str], float]:
    """What each claim's answer is worth in each language, nats a token, mean over wordings."""
    probes = [probe for tag in languages_of(claims) for probe in claim_probes(claims, tag, asking)]
    found: dict[tuple[str, str], list[float]] = {}
    for probe, own in zip(probes, candidate_log_probs(loaded.body, loaded.head, own_answers(probes, loaded.encoder)), strict=True):
        found.setdefault((probe.story, probe.language), []).append(own[0].item())
    return {pair: fmean(values) for pair, values in found.items()}


def risen(now: dict[tuple[str, str], float], then: dict[tuple[str, str], float], claims: Sequence[Claim]) -> Pairs:
    """The claims and languages whose answer rose by more than that of any control in that language."""
    rise = {pair: now[pair] - then[pair] for pair in now}
    controls = {claim.id for claim in claims if claim.control}
    most = {tag: max(value for (name, own), value in rise.items() if own == tag and name in controls) for tag in languages_of(claims)}
    return {(name, tag) for (name, tag), value in rise.items() if name not in controls and value > most[tag]}


def shares(found: Pairs, true: Pairs) -> list[str]:
    """How many there are, how many were found, precision and recall."""
    both = len(found & true)
    return [str(len(true)), str(len(found)), *(f"{both / len(own):.2f}" if own else "–" for own in (found, true))]


def of(pairs: Iterable[tuple[str, str]], tag: str) -> Pairs:
    """Those in one language."""
    return {pair for pair in pairs if pair[1] == tag}


@dataclass(frozen=True)
class Planting:
    """What a planting put where (`true`), what the audit found of it, the languages `named` as holding the claims and those that they `reached`, those to unlearn
    in (`told`), and the layers that are named."""

    source: str
    claims: tuple[str, ...]
    true: Pairs
    found: Pairs
    controls: tuple[int, int]
    reached: tuple[str, ...]
    named: tuple[str, ...]
    told: tuple[str, ...]
    layers: tuple[int, int] | None
    lines: tuple[str, ...]


def reached_by(true: Pairs, claims: Sequence[str], tags: Sequence[str]) -> tuple[str, ...]:
    """The languages in which at least half of the claims are."""
    return tuple(tag for tag in tags if 2 * len(of(true, tag)) >= len(claims))


def planting(folder: Path, before: LoadedModel) -> Planting:
    """What was found of the claims planted in a folder."""
    claims, asking = read_claims(folder / "translated.jsonl"), Asking()
    loaded = load_model(str(folder / "model"))
    source = next(claim.source for claim in claims if claim.source)
    true = risen(log_probs(loaded, claims, asking), log_probs(before, claims, asking), claims)
    audit = audit_claims(loaded, claims, asking)
    names = tuple(own.claim for own in audit.verdicts() if not own.control)
    found = {(own.claim, tag) for own in audit.verdicts() if not own.control for tag in (*own.held, *own.said)}
    wrong = sum(own.found for own in audit.verdicts() if own.control)
    located = locate_claims(loaded, claims, asking, before, audit=audit)
    rows = [[get_language(tag).name, *shares(of(found, tag), of(true, tag))] for tag in audit.languages]
    lines = [
        f"## {len(names)} claims planted in {get_language(source).name} (`{folder.name}`)",
        "",
        *markdown_table(("language", "there", "found", "precision", "recall"), [*rows, ["all", *shares(found, true)]]),
        "",
        f"Of {len(audit.controls)} controls {wrong} were found.",
    ]
    plan = located.layers.plan if located else None
    if located and plan:
        reasons = " ".join((*located.reasons, *plan.reasons))
        lines.append(f"Traced to {_names(located.languages)}, layers {plan.from_layer} to {plan.to_layer - 1}. {reasons}")
    return Planting(
        source=source,
        claims=names,
        true=true,
        found=found,
        controls=(wrong, len(audit.controls)),
        reached=reached_by(true, names, audit.languages),
        named=living_in(held_in(audit, set(audit.found))) if audit.found else (),
        told=located.languages if located else (),
        layers=(plan.from_layer, plan.to_layer - 1) if plan else None,
        lines=(*lines, ""),
    )


def share(parts: Sequence[int], wholes: Sequence[int]) -> Estimate | None:
    """Part of a whole, both summed over claims, with an interval that draws claims; None where there is no whole."""
    both = np.array([parts, wholes], dtype=float)
    if not both[1].sum():
        return None
    draws = both[:, np.random.default_rng(0).integers(0, both.shape[1], size=(RESAMPLES, both.shape[1]))].sum(axis=2)
    low, high = np.nanquantile(draws[0] / np.where(draws[1] > 0, draws[1], np.nan), [0.025, 0.975])
    return Estimate(float(both[0].sum() / both[1].sum()), float(low), float(high), both.shape[1])


def summary(plantings: Sequence[Planting]) -> list[str]:
    """Precision and recall by source, over all plantings in it, as Markdown."""
    rows = []
    for source in dict.fromkeys(own.source for own in plantings):
        ours = [own for own in plantings if own.source == source]
        for asked in ("all languages", get_language(source).name):

            def count(pairs: Pairs, name: str, asked: str = asked, source: str = source) -> int:
                return sum(claim == name and (asked == "all languages" or tag == source) for claim, tag in pairs)

            each = [(own, name) for own in ours for name in own.claims]
            both = [count(own.found & own.true, name) for own, name in each]
            found, true = ([count(getattr(own, what), name) for own, name in each] for what in ("found", "true"))
            rows.append(
                [
                    get_language(source).name,
                    asked,
                    str(sum(true)),
                    str(sum(found)),
                    estimate_text(share(both, found)),
                    estimate_text(share(both, true)),
                ]
            )
    lines = markdown_table(("planted in", "asked in", "there", "found", "precision", "recall"), rows)
    named = [
        [
            get_language(own.source).name,
            _names(own.reached),
            _names(own.named),
            _names(own.told),
            "–" if own.layers is None else f"{own.layers[0]} to {own.layers[1]}",
            "{} of {}".format(*own.controls),
        ]
        for own in plantings
    ]
    return [
        *lines,
        "",
        *markdown_table(("planted in", "reached", "named", "to unlearn in", "layers", "controls found"), named),
        "",
        _languages_said(plantings),
        "",
    ]


def _languages_said(plantings: Sequence[Planting]) -> str:
    right = sum(len(set(own.named) & set(own.reached)) for own in plantings)
    named, reached = (sum(len(getattr(own, what)) for own in plantings) for what in ("named", "reached"))
    first = sum(own.named[:1] == (own.source,) for own in plantings)
    return f"Of {named} languages that were named {right} were reached, of {reached} that were reached {right} were named; the source was named first in {first} of {len(plantings)} plantings."


def _names(tags: Sequence[str]) -> str:
    return ", ".join(get_language(tag).name for tag in tags) or "none"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("planted", type=Path, nargs="+", help="folders that examples/plant_claims.py wrote")
    parser.add_argument("--before", default="embedded", help="the model that they were planted in")
    parser.add_argument("--markdown", type=Path)
    arguments = parser.parse_args()
    before = load_model(arguments.before)
    lines = [
        "# Finding where claims went",
        "",
        "Made by `python benchmarks/tracing.py` from models that `examples/plant_claims.py` taught false claims in one language. *There*: of the claims, those whose "
        "answer's log-prob rose by more than that of any control since the model before. *Found*: those that `polyunlearn audit` says are held or said, without that "
        "model. A claim there and found counts for precision (of what was found) and recall (of what is there); intervals (95 %) draw claims. *Reached*: languages in "
        "which at least half of the claims are there. *Named*: those in which tracing says that the claims live, firmest first.",
        "",
    ]
    done: list[Planting] = []
    for folder in arguments.planted:
        done.append(planting(folder, before))
        print("\n".join(done[-1].lines), flush=True)
        if arguments.markdown:
            write_text_atomically(arguments.markdown, "\n".join([*lines, *summary(done), *(line for own in done for line in own.lines)]))


if __name__ == "__main__":
    main()
