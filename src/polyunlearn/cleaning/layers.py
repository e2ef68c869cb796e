"""Where an owner's model holds claims: languages read off an audit, layers by the lens and, with a model before, by patching."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from polyunlearn.cleaning.asking import Asking, claim_probes, restricted_to
from polyunlearn.cleaning.audit import audit_claims
from polyunlearn.cleaning.findings import Audit
from polyunlearn.cleaning.plan import Settings, make_plan
from polyunlearn.cleaning.retain import held_out_stories, neighbours_of
from polyunlearn.corpus.claims import Claim
from polyunlearn.errors import UserError
from polyunlearn.languages import get_language
from polyunlearn.models.body import Body
from polyunlearn.models.loading import LoadedModel
from polyunlearn.models.sequences import TokenSequence
from polyunlearn.models.trainable import TrainablePlan, make_trainable
from polyunlearn.progress import Work
from polyunlearn.tracing.layers import Located, trace_layers
from polyunlearn.tracing.similarity import Texts


def locate_claims(
    loaded: LoadedModel,
    claims: Sequence[Claim],
    asking: Asking,
    before: LoadedModel | None = None,
    work: Work = lambda what, done, total: None,
    audit: Audit | None = None,
    parallel: Texts | None = None,
) -> Located | None:
    """Where the model holds those of the claims that an audit finds, or that `audit` of it, made so, has found; None where there are none. The weights stay as
    they are.

    The languages to unlearn in are those that `polyunlearn unlearn` would take. Likelihoods are taken over the tokens of all answers and of what must stay, and a
    sample of the vocabulary, as in the audit. Languages are set side by side over `parallel` texts where they are given (`tracing.layers`).

    Raises:
        UserError: where no claim has a language that is asked, the model before is of another shape, or fewer than two claims are found in every language.
    """
    loaded = replace(loaded, body=Body(loaded.model))
    audit = audit or audit_claims(loaded, claims, asking, work)
    parameters = make_trainable(loaded.model, TrainablePlan())
    probes = (probe for tag in audit.languages for probe in claim_probes(claims, tag, asking))
    head = restricted_to(loaded, probes, _retained(loaded, claims, audit.languages))
    plan = make_plan(audit, claims, Settings(), loaded.body, head, loaded.encoder, parameters)
    if not plan.claims:
        return None
    found = [claim for claim in claims if claim.id in plan.claims]
    layers = trace_layers(
        loaded.body,
        head,
        loaded.encoder,
        parameters,
        found,
        audit.languages,
        _retained(loaded, found, audit.languages),
        weights_before(loaded, before) if before else None,
        work,
        parallel,
    )
    return Located(plan.languages, plan.reasons, layers)


def weights_before(loaded: LoadedModel, before: LoadedModel) -> dict[str, Tensor]:
    """The weights in which the model before differs; raises `UserError` where it is of another shape, or differs in none."""
    own, other = (dict(one.model.named_parameters()) for one in (loaded, before))
    if {name: part.shape for name, part in own.items()} != {name: part.shape for name, part in other.items()}:
        raise UserError(f"{before.name}: is of another shape than {loaded.name}; --before takes the model that it was trained from")
    differing = {name: other[name].detach() for name in own if not torch.equal(own[name], other[name].to(own[name].device))}
    if not differing:
        raise UserError(f"{before.name}: has the weights of {loaded.name}; --before takes the model that it was trained from")
    return differing


def _retained(loaded: LoadedModel, claims: Sequence[Claim], languages: Sequence[str]) -> list[TokenSequence]:
    """What must stay, for gradients: the claims' neighbours, and a true article in each of the languages that the newsroom has."""
    neighbours = [kept.sequence(loaded.encoder) for kept in neighbours_of(claims, languages)]
    stories = held_out_stories(languages)[:1]
    return [
        *neighbours,
        *(loaded.encoder.text(get_language(tag), own.article) for story in stories for tag, own in story.editions.items()),
    ]
