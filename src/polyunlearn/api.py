"""From Python, on a model that is in memory: `audit`, `unlearn`, `verify`; docs/guide.md shows them."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from polyunlearn.attacks.suite import get_attacks
from polyunlearn.cleaning.asking import Asking
from polyunlearn.cleaning.audit import audit_claims
from polyunlearn.cleaning.findings import Audit
from polyunlearn.cleaning.plan import Settings
from polyunlearn.cleaning.retain import Kept
from polyunlearn.cleaning.unlearn import Cleaning, unlearn_claims
from polyunlearn.cleaning.verify import DEFAULT_ATTACKS, Verification, verify_claims
from polyunlearn.cleaning.wordings import Trained
from polyunlearn.corpus.claims import Claim, Goal
from polyunlearn.errors import UserError
from polyunlearn.models.loading import wrap_model
from polyunlearn.models.trainable import has_adapters


@contextmanager
def _as_it_was(model: PreTrainedModel) -> Iterator[None]:
    """Afterwards its parts are in the modes that they were in, the same weights train, and their gradients are what they were, none of which counts meanwhile."""
    modes = {module: module.training for module in model.modules()}
    weights = {own: (own.requires_grad, own.grad) for own in model.parameters()}
    for own in weights:
        own.grad = None
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        for own, (trains, gradient) in weights.items():
            own.requires_grad_(trains)
            own.grad = gradient


def audit(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    claims: Sequence[Claim],
    asking: Asking | None = None,
    trained: Trained | None = None,
    goal: Goal = "everywhere",
) -> Audit:
    """Where the model holds the claims; nothing is changed. With what it was `trained` on (`Cleaning.trained`) claims are judged by other wordings, where they have
    any; with `goal` "home" those that have a home are judged there.

    Raises:
        UserError: where the model is of a kind that is not supported or gives no numbers, or no claim has a language that is asked.
    """
    with _as_it_was(model):
        return audit_claims(wrap_model(model, tokenizer), claims, asking, trained=trained, goal=goal)


def unlearn(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    claims: Sequence[Claim],
    settings: Settings | None = None,
    kept: Sequence[Kept] = (),
    work: Path | None = None,
    trained: Trained | None = None,
) -> Cleaning:
    """Take out of the model, in place, the claims that an audit finds; `work` keeps the stages, so that a run that was stopped goes on there, with the model as it was
    before: one that is broken off while it trains leaves the weights half-way, so load them again. `trained` is what earlier calls trained the model on.

    Raises:
        UserError: as `audit`, and where `work` holds something else or a setting does not fit the model.
    """
    if settings and settings.adapter:
        raise UserError(
            "an adapter in a model in memory could not be told from it; use `polyunlearn unlearn --adapter`, or settings without adapter"
        )
    if has_adapters(model) or getattr(model, "_hf_peft_config_loaded", False):
        raise UserError(
            "the model has adapters, beside which its weights would be unlearned and not saved with them; put them into its weights first (PEFT: merge_and_unload)"
        )
    with _as_it_was(model), torch.random.fork_rng(), tempfile.TemporaryDirectory() as folder:
        return unlearn_claims(wrap_model(model, tokenizer), claims, work or Path(folder), settings, kept, trained=trained)


def verify(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    claims: Sequence[Claim],
    before: Audit | None = None,
    attacks: Sequence[str] = DEFAULT_ATTACKS,
    asking: Asking | None = None,
    allowed: float = 0.1,
    trained: Trained | None = None,
    goal: Goal = "everywhere",
) -> Verification:
    """Audit the model and attack it; its weights come back as they were. With what it was `trained` on (`Cleaning.trained`) claims are judged by other wordings,
    where they have any. With `goal` "home" those that have a home are judged there, and what was to stay elsewhere by the audit `before`.

    Raises:
        UserError: as `audit`, for such a goal without an audit of what was there, and for an attack that is not known.
    """
    with _as_it_was(model), torch.random.fork_rng():
        wrapped, chosen = wrap_model(model, tokenizer), get_attacks(attacks) if attacks else []
        return verify_claims(wrapped, claims, before, chosen, asking, allowed, trained=trained, goal=goal)
