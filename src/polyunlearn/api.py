"""From Python, on a model that is in memory: `audit`, `unlearn`, `verify`; docs/guide.md shows them."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

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
from polyunlearn.corpus.claims import Claim
from polyunlearn.errors import UserError
from polyunlearn.models.loading import wrap_model


@contextmanager
def _as_it_was(model: PreTrainedModel) -> Iterator[None]:
    """Afterwards the model is in the mode that it was in, and the same weights train."""
    mode, trains = model.training, {name: own.requires_grad for name, own in model.named_parameters()}
    try:
        yield
    finally:
        model.train(mode)
        for name, own in model.named_parameters():
            own.requires_grad_(trains[name])
            own.grad = None


def audit(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, claims: Sequence[Claim], asking: Asking | None = None) -> Audit:
    """Where the model holds the claims; nothing is changed.

    Raises:
        UserError: where the model is of a kind that is not supported, or no claim has a language that is asked.
    """
    with _as_it_was(model):
        return audit_claims(wrap_model(model, tokenizer), claims, asking)


def unlearn(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    claims: Sequence[Claim],
    settings: Settings | None = None,
    kept: Sequence[Kept] = (),
    work: Path | None = None,
) -> Cleaning:
    """Take out of the model, in place, the claims that an audit finds; `work` keeps the stages, so that a run that was stopped goes on there.

    Raises:
        UserError: as `audit`, and where `work` holds something else or a setting does not fit the model.
    """
    if settings and settings.adapter:
        raise UserError(
            "an adapter in a model in memory could not be told from it; use `polyunlearn unlearn --adapter`, or settings without adapter"
        )
    with _as_it_was(model), tempfile.TemporaryDirectory() as folder:
        return unlearn_claims(wrap_model(model, tokenizer), claims, work or Path(folder), settings, kept)


def verify(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    claims: Sequence[Claim],
    before: Audit | None = None,
    attacks: Sequence[str] = DEFAULT_ATTACKS,
    asking: Asking | None = None,
    allowed: float = 0.1,
    trained: Trained | None = None,
) -> Verification:
    """Audit the model and attack it; its weights come back as they were. With what it was `trained` on (`Cleaning.trained`) claims are judged by other wordings,
    where they have any.

    Raises:
        UserError: as `audit`, and for an attack that is not known.
    """
    with _as_it_was(model):
        wrapped, chosen = wrap_model(model, tokenizer), get_attacks(attacks) if attacks else []
        return verify_claims(wrapped, claims, before, chosen, asking, allowed, trained=trained)
