"""Whether an audit and a trace find where planted claims went, which the model before the planting tells.

    python examples/plant_claims.py runs/planted-jv --source jv --seed 80
    python benchmarks/tracing.py runs/planted-jv --markdown docs/results/tracing.md

An audit has no second model. Here there is one: a claim is in a language where its answer's log-prob rose by more than that of any control, none of which
the model was told. What the audit finds is set against that, claim by claim and language by language; the trace says in which languages and layers to unlearn.
"""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean

from polyunlearn.cleaning.asking import Asking, claim_probes
from polyunlearn.cleaning.audit import audit_claims
from polyunlearn.cleaning.layers import locate_claims
from polyunlearn.corpus.claims import Claim, languages_of, read_claims
from polyunlearn.files import write_text_atomically
from polyunlearn.languages import get_language
from polyunlearn.models.loading import LoadedModel, load_model
from polyunlearn.report.tables import markdown_table
from polyunlearn.scoring.measure import own_answers
from polyunlearn.scoring.ranking import candidate_log_probs

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


def lines_of(folder: Path, before: LoadedModel) -> list[str]:
    """What was found of the claims planted in a folder, as Markdown."""
    claims, asking = read_claims(folder / "translated.jsonl"), Asking()
    loaded = load_model(str(folder / "model"))
    source = next(claim.source for claim in claims if claim.source)
    true = risen(log_probs(loaded, claims, asking), log_probs(before, claims, asking), claims)
    audit = audit_claims(loaded, claims, asking)
    named = {own.claim: own for own in audit.verdicts() if not own.control}
    found = {(name, tag) for name, own in named.items() for tag in (*own.held, *own.said)}
    wrong = sum(own.found for own in audit.verdicts() if own.control)
    located = locate_claims(loaded, claims, asking, before, audit=audit)
    rows = [[get_language(tag).name, *shares(of(found, tag), of(true, tag))] for tag in audit.languages]
    lines = [
        f"## {len(named)} claims planted in {get_language(source).name}",
        "",
        *markdown_table(("language", "there", "found", "precision", "recall"), [*rows, ["all", *shares(found, true)]]),
        "",
        f"Of {len(audit.controls)} controls {wrong} were found.",
    ]
    if located:
        plan = located.layers.plan
        reasons = " ".join((*located.reasons, *plan.reasons))
        lines.append(f"Traced to {', '.join(map(_name, located.languages))}, layers {plan.from_layer} to {plan.to_layer - 1}. {reasons}")
    return [*lines, ""]


def _name(tag: str) -> str:
    return get_language(tag).name


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
        "model. A claim there and found counts for precision (of what was found) and recall (of what is there).",
        "",
    ]
    for folder in arguments.planted:
        own = lines_of(folder, before)
        print("\n".join(own), flush=True)
        lines += own
        if arguments.markdown:
            write_text_atomically(arguments.markdown, "\n".join(lines))


if __name__ == "__main__":
    main()
