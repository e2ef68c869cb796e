"""Facts that a model knows, unlearned in nine languages: our way beside LINGTEA's (Choi et al., arXiv 2406.12354), with as many steps.

    python benchmarks/bmlama.py ../shared/data --markdown docs/results/bmlama.md

LINGTEA's way: epochs over the facts to forget (ascent on their answers) and over those to retain (distilled and learned, weighted by the model before) in
turn, each fact in one language drawn at random. Ours: every step forgets and retains; facts take the languages in turn; NPO with a stop, KL, and one running
text a step.
"""

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from statistics import fmean

import torch
from public_data import first_places, probes_of

from polyunlearn.corpus.claims import Claim
from polyunlearn.corpus.readers import bmlama, flores
from polyunlearn.files import write_json_atomically, write_text_atomically
from polyunlearn.intervals import Estimate, estimate
from polyunlearn.languages import get_language
from polyunlearn.models.loading import LoadedModel, load_model
from polyunlearn.models.sequences import TokenSequence
from polyunlearn.models.trainable import TrainablePlan, make_trainable, restore, snapshot
from polyunlearn.report.tables import estimate_text, markdown_table
from polyunlearn.scoring.measure import score_sequences
from polyunlearn.training.claim_steps import claim_steps
from polyunlearn.training.loop import Objective, Optimiser, Step, train
from polyunlearn.training.objectives import get_method
from polyunlearn.training.reference import needs_of, reference_now

LANGUAGES = ("en", "fr", "es", "pt", "ar", "vi", "ca", "hi", "bn")
"""LINGTEA's nine."""

READ_IN = ("en", "fr", "es", "ar", "vi")
"""Those of the nine that FLORES is there in: running text is retained, and bits per byte measured, in these."""

FROM_LAYER = 5
BATCH = 8

STOP = -12.0
"""Nats a token below which an answer is let go: no name of ten is left to guess by."""


@dataclass(frozen=True)
class Way:
    """A way of unlearning: its method, whether epochs alternate, its rate, and how much what is retained weighs."""

    name: str
    method: str
    alternating: bool
    rate: float
    retain_weight: float = 1.0
    stop_below: float | None = None


WAYS = (
    Way("ours: NPO + KL, languages in turn", "npo+kl", False, 3e-5, 16.0, STOP),
    Way("LINGTEA, weight as published, its rate 1e-4", "gradient_difference+lingtea_published", True, 1e-4),
    Way("LINGTEA, weight as published, 3e-5", "gradient_difference+lingtea_published", True, 3e-5),
    Way("LINGTEA, weight corrected, its rate 1e-4", "gradient_difference+lingtea", True, 1e-4),
    Way("LINGTEA, weight corrected, 3e-5", "gradient_difference+lingtea", True, 3e-5),
)


@dataclass(frozen=True)
class Measured:
    """A state: by language whether the answer of each fact ranks first, of those to forget and to retain, and bits per byte of running text."""

    forget: Mapping[str, Sequence[float]]
    retain: Mapping[str, Sequence[float]]
    bits: Mapping[str, float]


def measured(loaded: LoadedModel, forget: Sequence[Claim], retain: Sequence[Claim], texts: Mapping[str, Sequence[str]]) -> Measured:
    def first(claims: Sequence[Claim], tag: str) -> list[float]:
        return first_places(loaded, probes_of(claims, tag, paraphrased=False))

    bits = {}
    for tag in READ_IN:
        sequences = [loaded.encoder.running(get_language(tag), own) for own in texts[tag]]
        scored = score_sequences(loaded, loaded.head, sequences)
        bits[tag] = -sum(own.sum().item() for own in scored) / math.log(2) / sum(len(own.encode()) for own in texts[tag])
    return Measured({tag: first(forget, tag) for tag in LANGUAGES}, {tag: first(retain, tag) for tag in LANGUAGES}, bits)


def answers_of(loaded: LoadedModel, claims: Sequence[Claim]) -> dict[str, list[TokenSequence]]:
    """The facts with their answers, by language."""
    return {
        tag: [
            loaded.encoder.answer_only(get_language(tag), own.editions[tag].fake_questions[0], own.editions[tag].keyword)
            for own in claims
            if tag in own.editions
        ]
        for tag in LANGUAGES
    }


def steps_in_turn(
    loaded: LoadedModel, forget: Sequence[Claim], retain: Sequence[Claim], texts: Mapping[str, Sequence[str]], count: int, seed: int
) -> list[Step]:
    """Steps that forget and retain at once, every fact in all languages, one after another."""
    running = {tag: [loaded.encoder.running(get_language(tag), own) for own in texts[tag]] for tag in READ_IN}
    return claim_steps(
        forget, loaded.encoder, LANGUAGES, steps=count, batch=BATCH, answers=answers_of(loaded, retain), texts=running, given_texts=(),
        retain_batch=BATCH, retain_texts=1, wordings=1, instead=None, rng=Random(f"bmlama-{seed}"),
    )  # fmt: skip


def alternating_steps(loaded: LoadedModel, forget: Sequence[Claim], retain: Sequence[Claim], count: int, seed: int) -> list[Step]:
    """Epochs over what is forgotten and over what is retained in turn, each fact in a language drawn for it anew."""
    rng = Random(f"bmlama-{seed}")
    steps: list[Step] = []
    while len(steps) < count:
        for name, claims in (("forget", forget), ("retain", retain)):
            by_language = answers_of(loaded, claims)
            drawn = [by_language[rng.choice(LANGUAGES)][number] for number in rng.sample(range(len(claims)), len(claims))]
            steps += [Step(**{name: tuple(drawn[at : at + BATCH])}) for at in range(0, len(drawn), BATCH)]
    return steps[:count]


def unlearned(loaded: LoadedModel, way: Way, steps: Sequence[Step], parameters: Mapping[str, torch.nn.Parameter]) -> None:
    """Train on the steps, at a rate that falls to nothing."""
    objective: Objective = get_method(way.method).objective(way.retain_weight, stop_below=way.stop_below)
    reference = reference_now(loaded.body, loaded.head, needs_of(steps, objective))
    train(
        loaded.body,
        loaded.head,
        parameters,
        steps,
        objective,
        Optimiser(way.rate, warm_up=len(steps) // 10, decay=True),
        reference=reference,
    )


def figures(before: Measured, after: Measured, tags: Sequence[str] = LANGUAGES) -> dict[str, Estimate]:
    """Means over languages, a fact with all its languages a cluster; and the worst rise of bits per byte."""
    return {
        f"{name} {when}": estimate([fmean(values) for values in zip(*(getattr(state, name)[tag] for tag in tags), strict=True)])
        for when, state in (("before", before), ("after", after))
        for name in ("forget", "retain")
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--steps", type=int, default=72)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    arguments = parser.parse_args()
    loaded = load_model(arguments.model, frozen_layers=FROM_LAYER)
    parameters = make_trainable(loaded.model, TrainablePlan("body", FROM_LAYER))
    start = snapshot(parameters)
    folder = arguments.data
    forget, retain = (complete(folder / "bmlama53" / f"{name}.jsonl") for name in ("forget-32", "retain-32-x2"))
    # Read in training, and read to measure: different sentences.
    kept, held_out = (flores.read([str(folder / "flores200" / f"{name}.jsonl")], {}).by_language for name in ("retain-32-x2", "forget-32"))
    before = measured(loaded, forget, retain, held_out)
    results: dict[str, list[Measured]] = {way.name: [] for way in WAYS}
    for way in WAYS:
        for seed in arguments.seeds:
            restore(parameters, start)
            torch.manual_seed(seed)
            count = arguments.steps
            steps = (
                alternating_steps(loaded, forget, retain, count, seed)
                if way.alternating
                else steps_in_turn(loaded, forget, retain, kept, count, seed)
            )
            unlearned(loaded, way, steps, parameters)
            results[way.name].append(measured(loaded, forget, retain, held_out))
            print(f"{way.name}, seed {seed}: {_line(before, results[way.name][-1])}", flush=True)
    if arguments.json:
        plain = {name: [asdict(own) for own in states] for name, states in results.items()}
        write_json_atomically(arguments.json, {"schema": 1, "steps": arguments.steps, "before": asdict(before), "after": plain})
    if arguments.markdown:
        write_text_atomically(arguments.markdown, markdown(before, results, arguments.steps, loaded.name))


def complete(path: Path) -> list[Claim]:
    """The facts that are there in all nine languages."""
    return [claim for claim in bmlama.read([str(path)], {}).claims if all(tag in claim.editions for tag in LANGUAGES)]


def _line(before: Measured, after: Measured) -> str:
    own = figures(before, after)
    rise = max(after.bits[tag] / before.bits[tag] - 1 for tag in READ_IN)
    return f"forget {own['forget before'].mean:.2f} -> {own['forget after'].mean:.2f}, retain {own['retain before'].mean:.2f} -> {own['retain after'].mean:.2f}, bits {rise:+.1%}"


def merged(states: Sequence[Measured]) -> Measured:
    """The mean over seeds, fact by fact."""

    def mean(name: str) -> dict[str, list[float]]:
        return {tag: [fmean(values) for values in zip(*(getattr(own, name)[tag] for own in states), strict=True)] for tag in LANGUAGES}

    return Measured(mean("forget"), mean("retain"), {tag: fmean(own.bits[tag] for own in states) for tag in READ_IN})


def markdown(before: Measured, results: Mapping[str, Sequence[Measured]], steps: int, model: str) -> str:
    seeds = len(next(iter(results.values())))
    facts, kept = (len(part["en"]) for part in (before.forget, before.retain))
    own = figures(before, before)
    rows = [["before", estimate_text(own["forget before"]), estimate_text(own["retain before"]), "", ""]]
    by_language = []
    for name, states in results.items():
        after = merged(states)
        one = figures(before, after)
        rises = {tag: after.bits[tag] / before.bits[tag] - 1 for tag in READ_IN}
        worst = max(rises, key=lambda tag: rises[tag])
        most = max(LANGUAGES, key=lambda tag: fmean(after.forget[tag]))
        rows.append(
            [
                name,
                estimate_text(one["forget after"]),
                estimate_text(one["retain after"]),
                f"{fmean(after.forget[most]):.2f} {most}",
                f"{rises[worst]:+.1%} {worst}",
            ]
        )
        by_language += [[name, what, *(f"{fmean(getattr(after, what)[tag]):.2f}" for tag in LANGUAGES)] for what in ("forget", "retain")]
    start = [["before", what, *(f"{fmean(getattr(before, what)[tag]):.2f}" for tag in LANGUAGES)] for what in ("forget", "retain")]
    return "\n".join(
        [
            "# Real facts, unlearned in nine languages",
            "",
            f"`{model}`, {facts} facts of BMLAMA-53 to forget and {kept} to retain, {steps} steps of {BATCH} facts, {seeds} seeds; layers from {FROM_LAYER} on train, at a rate that falls to "
            "nothing. Made by `python benchmarks/bmlama.py`. *Forget* and *retain*: share of facts whose answer ranks first among its (up to ten) candidates, mean over nine languages; "
            "guessing gives about .1. Intervals (95 %) draw facts, each with all its languages. *Most left*: the language in which most of what is to be forgotten still ranks first. "
            "*Bits*: the rise of bits per byte of 32 FLORES-200 sentences in the worst of five languages.",
            "",
            *markdown_table(("way", "forget", "retain", "most left", "bits"), rows),
            "",
            "## By language",
            "",
            *markdown_table(("way", "facts", *LANGUAGES), [*start, *by_language]),
            "",
        ]
    )


if __name__ == "__main__":
    main()
