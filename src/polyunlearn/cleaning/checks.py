"""What is wrong with how an owner's claims are to be unlearned, said before anything is run."""

import math
from collections.abc import Sequence

from polyunlearn.cleaning.asking import Asking, asked_languages
from polyunlearn.cleaning.plan import Settings
from polyunlearn.corpus.claims import Claim, check_goal, goes_home
from polyunlearn.errors import UserError
from polyunlearn.models.body import decoder_layers
from polyunlearn.models.loading import LoadedModel
from polyunlearn.models.trainable import check_layer, check_weights
from polyunlearn.training.objectives import check_precision, get_method


def check_settings(settings: Settings, claims: Sequence[Claim]) -> None:
    """Raise `UserError` for what would fail later with any model."""
    if not 0 < settings.rate < math.inf:
        raise UserError(f"rate {settings.rate:g}: give a finite number above 0")
    forget = get_method(settings.method).forget
    if settings.adapter and forget.refuses_adapters:
        raise UserError(
            f"method {settings.method!r} cannot train an adapter: {forget.refuses_adapters}; leave out --adapter, or take another method"
        )
    if settings.steps < forget.least_steps:
        raise UserError(f"steps {settings.steps}: method {settings.method!r} takes at least {forget.least_steps}")
    if settings.from_layer is not None and settings.to_layer is not None and settings.to_layer <= settings.from_layer:
        raise UserError(f"to_layer {settings.to_layer}: nothing would train, since layers train from {settings.from_layer} on")
    asked_languages(claims, Asking(languages=settings.languages or ()))
    _check_goal(settings, claims)


def check_trainable(settings: Settings, loaded: LoadedModel) -> None:
    """Raise `UserError` for what would fail later with this model."""
    trainable = settings.trainable(len(decoder_layers(loaded.model)))
    check_layer(loaded.model, trainable.from_layer)
    if not settings.adapter:
        check_weights(loaded.model)
    check_precision(settings.method, decoder_layers(loaded.model)[trainable.from_layer :].parameters())
    if settings.to_layer is not None:
        if settings.to_layer <= trainable.from_layer:
            raise UserError(f"to_layer {settings.to_layer}: nothing would train, since layers train from {trainable.from_layer} on")
        check_layer(loaded.model, settings.to_layer - 1)


def _check_goal(settings: Settings, claims: Sequence[Claim]) -> None:
    check_goal(claims, settings.goal)
    if settings.goal == "home" and get_method(settings.method).retain is None:
        raise UserError(
            f"goal home: method {settings.method!r} has no retain term, so nothing holds claims away from home; take another method, or leave out --goal"
        )
    if settings.languages and all(goes_home(claim, settings.goal) for claim in claims if not claim.control):
        raise UserError(
            "goal home: every claim has a home and goes there alone, so that the languages say nothing; leave out --language, or --goal"
        )
