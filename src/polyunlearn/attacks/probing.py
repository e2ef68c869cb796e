"""Linear probes: a state that no longer says a claim may still tell its name from others, in the states that leave its layers.

A probe reads one state: that of the last token of a name behind a question. It is fitted to half of the claims in one language, whose names it is shown
beside others', and scores the candidates of the other half in every language. What it has learned there is what it is like, in that layer, for a name to
belong to its question, whatever the name and the question.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from random import Random

import torch
from torch import Tensor

from polyunlearn.attacks.relearning import taught_and_asked
from polyunlearn.attacks.target import Measure, Target, Variant
from polyunlearn.corpus.claims import Tells
from polyunlearn.languages import get_language
from polyunlearn.models.loading import LoadedModel
from polyunlearn.models.rows import forest
from polyunlearn.scoring.measure import ranked_questions
from polyunlearn.scoring.probes import Probe
from polyunlearn.tracing.capture import layer_states

OTHERS = 7
"""How many other claims' names stand beside each taught claim's own."""

PENALTY = 0.1
"""Of the mean squared length of the states that a probe is fitted to."""


def linear_probe(target: Target, measure: Measure) -> None:
    """Fit a probe to every layer in English and each source, of a state that is set against no learned one in each language; ask the other half."""
    _probe(target, measure, lambda probe: probe)


def control_probe(target: Target, measure: Measure) -> None:
    """The control task (Hewitt & Liang, arXiv 1909.03368): as `linear_probe`, with a name drawn at random called the claim's own, of taught claims and of
    asked ones. The accuracy of `linear_probe` less this one is its selectivity."""
    _probe(target, measure, partial(drawn, seed=target.seed))


def drawn(probe: Probe, seed: int) -> Probe:
    """The probe with one of its candidates, the same for a claim in all wordings and languages, in its answer's place, and the answer among the others.

    The answer may be drawn like any other: so what is known of it makes the drawn one neither more likely nor less.
    """
    at = Random(f"control-{seed}-{probe.story}").randrange(len(probe.candidates))
    name, others = probe.candidates[at], (*probe.candidates[:at], *probe.candidates[at + 1 :])
    return replace(probe, answer=name, candidates=(name, *others), surface_forms=(name,))


def taught_probes(claims: Sequence[Tells], tag: str) -> list[Probe]:
    """What probes are fitted to in one language: every wording of every claim that has it, and its own name among those of up to `OTHERS` claims of its
    kind; claims that are the only ones of their kind have each other.

    The others are the next of the kind, the last followed by the first. So a name is others' as often as any, and no name gives itself away.
    """
    there = [claim for claim in claims if tag in claim.editions]
    kinds = [[claim for claim in there if claim.kind == kind] for kind in dict.fromkeys(claim.kind for claim in there)]
    groups = [[own[0] for own in kinds if len(own) == 1], *(own for own in kinds if len(own) > 1)]
    found = []
    for group in groups:
        for at, claim in enumerate(group):
            own = claim.editions[tag]
            others = (group[(at + shift) % len(group)].editions[tag].keyword for shift in range(1, min(OTHERS + 1, len(group))))
            names = tuple(dict.fromkeys((own.keyword, *others)))
            found += [
                Probe(claim.id, tag, "fake", wording, question, own.keyword, names, own.surface_forms)
                for wording, question in enumerate(own.fake_questions)
                if len(names) > 1
            ]
    return found


def fitted(states: Sequence[Tensor]) -> Tensor:
    r"""The direction (width,) in which the first candidate's state lies beyond the others'; `states` are (candidates, width), of a question each.

    Ridge regression. With x the states less their mean over the question's candidates, so that neither question nor language matters, each dimension
    divided by its root mean square s, and y likewise 1 for the first and 0 for the others less their mean,

    .. math:: w = (X^\top X + \lambda I)^{-1} X^\top y, \quad \lambda = 0.1 \, \overline{\lVert x \rVert^2}

    The direction is w / s: what a candidate scores is its state times that.
    """
    centred = torch.cat([own.double() - own.double().mean(0) for own in states])
    wanted = torch.cat([torch.eye(1, len(own), dtype=torch.float64)[0] - 1 / len(own) for own in states])
    # A dimension that is the same for all candidates says nothing, and gets no weight.
    scale = centred.square().mean(0).sqrt().clamp(min=torch.finfo(torch.float64).tiny)
    scaled = centred / scale
    ridge = PENALTY * scaled.square().sum(1).mean() * torch.eye(scaled.shape[1], dtype=torch.float64)
    direction: Tensor = torch.linalg.solve(scaled.T @ scaled + ridge, scaled.T @ wanted) / scale
    return direction.float()


def at_names(loaded: LoadedModel, probes: Sequence[Probe], make: Callable[[Tensor], Tensor]) -> list[Tensor]:
    """What `make` makes of the states (layers, candidates, width) that leave each layer at the last token of each of a probe's candidates."""
    rows, keep = [], []
    for question in ranked_questions(probes, loaded.encoder):
        row, places = forest([question.prompt + candidate for candidate in question.candidates])
        rows.append(row)
        keep.append(partial(_at_ends, ends=[own[-1] for own in places], make=make))
    return layer_states(loaded.body, rows, keep)


def _probe(target: Target, measure: Measure, named: Callable[[Probe], Probe]) -> None:
    taught, _ = taught_and_asked(target.claims)
    # A name that is alone needs no probe to come first.
    asked = [named(probe) for probe in target.probes_besides(taught) if len(probe.candidates) > 1]
    shown = {tag: [named(probe) for probe in taught_probes(taught, tag)] for tag in _spoken(target)}
    directions = {tag: _directions(target.whole, probes) for tag, probes in shown.items() if probes}
    if not (directions and asked):
        return
    each = torch.stack(list(directions.values()))
    scores = at_names(target.whole, asked, lambda states: torch.einsum("lcw,tlw->tlc", states.float(), each.to(states.device)))
    questions = ranked_questions(asked, target.whole.encoder)
    for place, tag in enumerate(directions):
        for layer in range(each.shape[1]):
            name = f"after layer {layer}, fitted in {get_language(tag).name}"
            measure(Variant(name, layer + 1, tag), target.whole, asked, questions, [own[place, layer] for own in scores])


def _spoken(target: Target) -> list[str]:
    """The languages that probes are fitted in."""
    return [tag for tag in target.languages if not target.learned or tag == "en" or tag in target.learned]


def _directions(loaded: LoadedModel, probes: Sequence[Probe]) -> Tensor:
    """A direction a layer (layers, width)."""
    states = at_names(loaded, probes, lambda own: own)
    return torch.stack([fitted([own[layer] for own in states]) for layer in range(len(states[0]))])


def _at_ends(states: Tensor, ends: Sequence[int], make: Callable[[Tensor], Tensor]) -> Tensor:
    return make(states[:, torch.tensor(ends, device=states.device)])
