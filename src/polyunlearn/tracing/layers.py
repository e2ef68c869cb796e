"""In which layers claims live, and which to train to unlearn them: curves by layer and language, and a band with its reasons."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from random import Random

import torch
from torch import Tensor, nn

from polyunlearn.corpus.claims import Tells
from polyunlearn.corpus.readers import flores
from polyunlearn.errors import UserError
from polyunlearn.intervals import Estimate, estimate, paired_difference
from polyunlearn.languages import get_language
from polyunlearn.models.body import Body, decoder_layers
from polyunlearn.models.forward import OutputHead
from polyunlearn.models.sequences import Encoder, TokenSequence
from polyunlearn.models.trainable import restore, snapshot
from polyunlearn.progress import Work
from polyunlearn.tracing.band import LayerPlan, lens_shares, make_layer_plan, patched_shares
from polyunlearn.tracing.capture import mean_prompt_states, mean_text_states
from polyunlearn.tracing.conflict import Conflict, conflict
from polyunlearn.tracing.coverage import claim_questions
from polyunlearn.tracing.lens import claim_lens
from polyunlearn.tracing.patching import answer_log_probs, band_of, first_differing, patched_log_probs, share_of_rise
from polyunlearn.tracing.similarity import LEAST_TEXTS, Alike, Texts, alike, mute_layers

PATCHED_CLAIMS = 12
"""How many claims at most are patched, drawn from all: each takes a pass a layer, three times, and a share over twelve is told from one over more only
within its interval."""

PARALLEL_TEXTS = 100
"""How many texts of a parallel file are read at most, drawn from all: in nine languages as many passes as 900 questions take."""

FEW = 5
"""How many claims a language must have to say something of layers, where another has as many."""


@dataclass(frozen=True)
class Patching:
    """What patching found. `raised`, by language: how far the claims' log-prob lies above that of the model before, nats a token, over claims.

    The others are shares of that, a value a layer, in the languages where its interval lies above 0: `brought`, by the states of this model up to the
    layer, into the model before; `answered`, by those that predict the answer alone; `lost`, by the states of the model before, in this one.
    """

    raised: dict[str, Estimate]
    brought: dict[str, tuple[float, ...]]
    answered: dict[str, tuple[float, ...]]
    lost: dict[str, tuple[float, ...]]


@dataclass(frozen=True)
class SideBySide:
    """Over what `languages` are set side by side: so many `texts` that say the same in each, the claims' questions or, where `parallel`, others."""

    languages: tuple[str, ...]
    texts: int
    parallel: bool


@dataclass(frozen=True)
class LayerTrace:
    """Curves by language, a value a layer: `lens`, the claims' edge over other claims' answers (nats a token, over claims), and `readable`, their own
    log-prob. `alike`, a value a layer, is `over` what it says, and empty where too few claims are told in all languages; `mute` are the layers that MUTE would
    take by it. `patching` is None without a model before."""

    claims: int
    languages: tuple[str, ...]
    lens: dict[str, tuple[Estimate, ...]]
    readable: dict[str, tuple[float, ...]]
    alike: tuple[Alike, ...]
    patching: Patching | None
    conflict: Conflict
    plan: LayerPlan
    over: SideBySide
    mute: tuple[int, ...]

    @property
    def layers(self) -> int:
        """How many layers the model has."""
        return self.plan.layers


@dataclass(frozen=True)
class Located:
    """Where a state holds its claims: the `languages` to unlearn them in and why, in sentences, and what was found layer by layer."""

    languages: tuple[str, ...]
    reasons: tuple[str, ...]
    layers: LayerTrace


def read_parallel(file: Path, languages: Sequence[str]) -> dict[str, list[str]]:
    """Parallel texts (`corpus.readers.flores`) in those of the languages that a file has; at most `PARALLEL_TEXTS`, the same for the same file.

    Raises:
        UserError: where they cannot be read, or fewer than two of the languages or `LEAST_TEXTS` texts are there.
    """
    found = flores.read([str(file)], {}).by_language
    there = [tag for tag in languages if tag in found]
    if len(there) < 2:
        raise UserError(
            f"{file}: of {', '.join(languages)}, which the claims are asked in, it has {' and '.join(there) or 'none'}; give a file with at least two of them"
        )
    count = len(found[there[0]])
    if count < LEAST_TEXTS:
        raise UserError(f"{file}: has {count} texts in each language; give at least {LEAST_TEXTS}")
    drawn = sorted(Random("parallel").sample(range(count), min(count, PARALLEL_TEXTS)))
    return {tag: [found[tag][number] for number in drawn] for tag in there}


def trace_layers(
    body: Body,
    head: OutputHead,
    encoder: Encoder,
    parameters: Mapping[str, nn.Parameter],
    claims: Sequence[Tells],
    languages: Sequence[str],
    retained: Sequence[TokenSequence],
    before: Mapping[str, Tensor] | None = None,
    work: Work = lambda what, done, total: None,
    parallel: Texts | None = None,
) -> LayerTrace:
    """In which layers the claims live in the model as it is, whose weights stay; gradients are taken of `parameters`.

    `before` are the weights, by name, that a model which was not told the claims has otherwise (or all), `retained` what must stay. Languages are set side by side
    over the questions of the claims that all have, or over `parallel` texts. Passes over the
    claims' questions in all languages: 4 for the lens, 1 for the languages' likeness, about 3 (forward and back) for gradients and, with `before`,
    3 × (layers + 2) over `PATCHED_CLAIMS` of them and 3 for the check: of 24 claims in 18 layers 38 in all.

    Raises:
        UserError: where no language has two claims.
        ValueError: for a body that computes its first layers only once.
    """
    there = {tag: own for tag in languages if (own := [claim for claim in claims if tag in claim.editions])}
    asked = {tag: claim_questions(own, tag, encoder) for tag, own in there.items()}
    lens: dict[str, tuple[Estimate, ...]] = {}
    readable: dict[str, tuple[float, ...]] = {}
    for number, (tag, own) in enumerate(there.items(), start=1):
        found = claim_lens(body, head, encoder, own, tag)
        if found:
            lens[tag] = tuple(estimate(layer) for layer in found.edge.tolist())
            readable[tag] = tuple(found.own.mean(1).tolist())
        work("reading every layer", number, len(there))
    if not lens:
        raise UserError("no language has two claims, and a claim is read against the others' answers; give more claims, or controls")
    work("setting languages side by side", 0, 1)
    likeness, over = _alike(body, claims, list(there), encoder) if parallel is None else _parallel(body, parallel, encoder)
    mute = mute_layers(likeness)
    work("taking gradients", 0, 1)
    gradients = conflict(body, head, parameters, asked, retained, len(decoder_layers(body.model)))
    if before is None:
        plan = make_layer_plan(lens_shares(lens), likeness, gradients, "lens")
        return LayerTrace(len(claims), tuple(there), lens, readable, likeness, None, gradients, plan, over, mute)
    own_weights = dict(body.model.named_parameters())
    patched = {name: own_weights[name] for name in before}
    after = snapshot(patched)
    drawn = _drawn(claims)
    questions = {tag: claim_questions([claim for claim in drawn if tag in claim.editions], tag, encoder) for tag in there}
    try:
        patching = _patching(body, head, patched, after, before, questions, work)
        plan = make_layer_plan(patched_shares(patching.brought, patching.lost), likeness, gradients, "patching")
        raised = [sequence for tag in patching.brought for sequence in questions[tag]]
        if raised and plan.core is not None:
            states = (after, band_of(after, before, *plan.core), before)
            plan = plan.checked(_share_gone(body, head, patched, states, raised))
    finally:
        restore(patched, after)
    return LayerTrace(len(claims), tuple(there), lens, readable, likeness, patching, gradients, plan, over, mute)


def _patching(
    body: Body,
    head: OutputHead,
    parameters: Mapping[str, nn.Parameter],
    after: Mapping[str, Tensor],
    before: Mapping[str, Tensor],
    questions: Mapping[str, Sequence[TokenSequence]],
    work: Work,
) -> Patching:
    everything = [own for part in questions.values() for own in part]
    layers = len(decoder_layers(body.model))
    passes, done = 3 * (2 + layers - first_differing(after, before, layers)), 0

    def after_pass() -> None:
        nonlocal done
        done += 1
        work("patching layer by layer", done, passes)

    brought = patched_log_probs(body, head, parameters, after, before, everything, "all", after_pass)
    answered = patched_log_probs(body, head, parameters, after, before, everything, "answer", after_pass)
    lost = patched_log_probs(body, head, parameters, before, after, everything, "all", after_pass)
    ends = list(accumulate(len(part) for part in questions.values()))
    slices = {tag: slice(end - len(part), end) for end, (tag, part) in zip(ends, questions.items(), strict=True)}
    low, high = brought[0], lost[0]
    raised = {tag: paired_difference(high[own].tolist(), low[own].tolist()) for tag, own in slices.items() if questions[tag]}

    def shares(patched: Tensor, target: Tensor) -> dict[str, tuple[float, ...]]:
        return {tag: tuple(share_of_rise(patched[:, slices[tag]], target[slices[tag]])) for tag in surely_raised(raised)}

    return Patching(raised, shares(brought, high), shares(answered, high), shares(lost, low))


def surely_raised(raised: Mapping[str, Estimate]) -> list[str]:
    """The languages whose log-prob surely rose; one with fewer than `FEW` claims only where none has more, since an interval of one has no width."""
    least = min(FEW, max((own.n for own in raised.values()), default=0))
    return [tag for tag, own in raised.items() if own.low > 0 and own.n >= least]


def _share_gone(
    body: Body,
    head: OutputHead,
    parameters: Mapping[str, nn.Parameter],
    states: Sequence[Mapping[str, Tensor]],
    sequences: Sequence[TokenSequence],
) -> float:
    """The share of the rise from the last state to the first that is gone in the second."""
    values = []
    for weights in states:
        restore(parameters, weights)
        values.append(answer_log_probs(body, head, sequences).double().sum().item())
    high, between, low = values
    return (high - between) / (high - low)


def _alike(body: Body, claims: Sequence[Tells], languages: Sequence[str], encoder: Encoder) -> tuple[tuple[Alike, ...], SideBySide]:
    """How alike the languages are in each layer, over the prompts of the claims that all of them have."""
    everywhere = [claim for claim in claims if all(tag in claim.editions for tag in languages)]
    over = SideBySide(tuple(languages), len(everywhere), parallel=False)
    if len(everywhere) < LEAST_TEXTS or len(languages) < 2:
        return (), over
    questions = [own for tag in languages for own in claim_questions(everywhere, tag, encoder)]
    return _by_layer(mean_prompt_states(body, questions), over), over


def _parallel(body: Body, texts: Texts, encoder: Encoder) -> tuple[tuple[Alike, ...], SideBySide]:
    """The same over other texts."""
    over = SideBySide(tuple(texts), len(next(iter(texts.values()))), parallel=True)
    states = [mean_text_states(body, [encoder.running(get_language(tag), text) for text in own]) for tag, own in texts.items()]
    return _by_layer(torch.cat(states, dim=1), over), over


def _by_layer(states: Tensor, over: SideBySide) -> tuple[Alike, ...]:
    return tuple(alike(layer.reshape(len(over.languages), over.texts, -1)) for layer in states)


def _drawn(claims: Sequence[Tells]) -> list[Tells]:
    """At most `PATCHED_CLAIMS` claims, the same for the same ones."""
    if len(claims) <= PATCHED_CLAIMS:
        return list(claims)
    return sorted(Random("patched").sample(list(claims), PATCHED_CLAIMS), key=lambda claim: claim.id)
