"""What contradicts itself in the configuration of a study: each with what to do about it."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from polyunlearn.errors import UserError
from polyunlearn.training.mixtures import TRACED, strategy_languages
from polyunlearn.training.objectives import get_method

if TYPE_CHECKING:
    from polyunlearn.study.config import StudyConfig, UnlearningConfig


def problems_of(check: Callable[[str], object], values: Iterable[str]) -> list[str]:
    """What `check` has against each of the values."""
    problems = []
    for value in values:
        try:
            check(value)
        except UserError as error:
            problems.append(str(error))
    return problems


def told_strategies(strategies: Iterable[str]) -> list[str]:
    """The strategies whose languages are known before anything runs."""
    return [strategy for strategy in strategies if strategy != TRACED]


def contradictions(config: "StudyConfig") -> list[str]:
    """What does not fit together in a study whose every entry is known by itself, a sentence each; none where all does."""
    problems = [
        f"{field}: {tag!r} is not among the languages"
        for field, tags in (
            ("sources", config.sources),
            ("learning.question_languages", config.learning.question_languages),
            ("learning.mixing_languages", config.learning.mixing_languages),
            ("learning.aligned_languages", config.learning.aligned_languages),
        )
        for tag in tags
        if tag not in config.languages
    ]
    if "en" not in config.languages:
        problems.append("languages: must hold 'en', the language of the real articles")
    unfit = problems_of(
        lambda strategy: strategy_languages(strategy, config.sources[0], config.languages), told_strategies(config.strategies)
    )
    problems += [f"strategies: {problem}" for problem in unfit]
    if config.trainable.weights == "all" and "study" in (config.training_vocabulary, config.scoring.vocabulary):
        problems.append(
            "trainable.weights: 'all' trains the output layer too, which a study vocabulary keeps a copy of; "
            "set training_vocabulary=full and scoring.vocabulary=full, or trainable.weights=body"
        )
    if "en" in config.learning.aligned_languages:
        problems.append("learning.aligned_languages: the others are drawn to 'en'; leave it out")
    problems += _unfit_mixing(config)
    problems += _unfit_settings(config.methods, config.unlearning)
    if not unfit:
        problems += _unfit_languages(config)
    problems += _unfit_methods(config.methods, config.unlearning, config.trainable.weights)
    if any(layer <= config.unlearning.from_layer for layer in config.unlearning.to_layers(config.methods)):
        problems.append("unlearning.to_layer: must be above from_layer, or nothing trains")
    if config.unlearning.measure == "budget" and not config.scoring.held_out_stories:
        problems.append("unlearning.measure: 'budget' reads held-out texts; set scoring.held_out_stories to 1 or more")
    if config.unlearning.projection != "none" and config.unlearning.subspace != "none":
        problems.append("unlearning.subspace: does not go with a projection; set one of the two to none")
    if config.unlearning.subspace != "none" and len(config.languages) < 2:
        problems.append("unlearning.subspace: what languages share is told by two or more; name more languages")
    if config.unlearning.wordings > config.scoring.wordings:
        problems.append("unlearning.wordings: more wordings than are measured (scoring.wordings)")
    return problems


def _unfit_mixing(config: "StudyConfig") -> list[str]:
    part = config.learning
    if part.mixing == "none" and (part.mixing_languages or part.mixed == "all"):
        return [
            "learning.mixing: 'none' mixes nothing, so mixing_languages and mixed say nothing; set learning.mixing=document, sentence or chunk"
        ]
    if part.mixing in ("sentence", "chunk") and config.training_vocabulary == "study":
        return [
            f"learning.mixing: an article with a language a {part.mixing} has tokens that no article of the corpus has, which a study vocabulary lacks; "
            "set training_vocabulary=full, or learning.mixing=document"
        ]
    return []


def _unfit_settings(methods: Sequence[str], unlearning: "UnlearningConfig") -> list[str]:
    problems = []
    for method, changed in unlearning.settings.items():
        if method not in methods:
            problems.append(f"unlearning.settings: {method!r} is not among the methods ({', '.join(methods)})")
            continue
        known = unlearning.known_settings(method)
        problems += [
            f"unlearning.settings.{method}: no setting {name!r}; it has {', '.join(known)}" for name in changed if name not in known
        ]
    return problems


def _unfit_methods(methods: Sequence[str], unlearning: "UnlearningConfig", weights: str) -> list[str]:
    problems = []
    for name in methods:
        method = get_method(name)
        for what, own in (("projection", unlearning.projection), ("subspace", unlearning.subspace)):
            if own != "none" and method.forget.rule:
                problems.append(
                    f"unlearning.{what}: method {name!r} makes its gradient in a way of its own, which does not go with a {what}; "
                    f"set {what}=none, or leave the method out"
                )
        if unlearning.projection != "none" and not method.forget.rule and not method.retain:
            problems.append(
                f"unlearning.projection: method {name!r} has no retain term, so there is nothing to keep its gradient from; "
                "set projection=none, or leave the method out"
            )
        if weights == "lora" and method.forget.refuses_adapters:
            problems.append(f"trainable.weights: method {name!r} cannot train 'lora': {method.forget.refuses_adapters}; set weights=body")
        needs = {need for card in method.cards for need in card.needs}
        if weights == "all" and needs & {"states", "reference_logits"}:
            problems.append(
                f"trainable.weights: method {name!r} asks for states or predictions of the model before, and 'all' trains the output layer "
                "that these go through; set weights=body"
            )
        if unlearning.form == "article" and method.forget.instead:
            problems.append(
                f"unlearning.form: method {name!r} gives another answer to a question, and an article asks none; set form=question"
            )
        if unlearning.goal == "told" and not method.retain:
            problems.append(f"unlearning.goal: method {name!r} has no retain term, so nothing holds the other languages; leave it out")
        if unlearning.steps < method.forget.least_steps:
            problems.append(f"unlearning.steps: method {name!r} takes at least {method.forget.least_steps} (got {unlearning.steps})")
    return problems


def _unfit_languages(config: "StudyConfig") -> list[str]:
    """What contradicts the rest in how unlearning shares languages."""
    part, problems = config.unlearning, []
    if isinstance(part.language_weights, dict):
        outside = [tag for tag in part.language_weights if tag not in config.languages]
        problems += [f"unlearning.language_weights: {tag!r} is not among the languages" for tag in outside]
    if part.form == "article" and part.mixing in ("sentence", "chunk"):
        if config.training_vocabulary == "study":
            problems.append(
                f"unlearning.mixing: an article with a language a {part.mixing} has tokens that no article of the corpus has, which a study "
                "vocabulary lacks; set training_vocabulary=full, or unlearning.form=question"
            )
        if part.language_weights != "equal":
            problems.append(
                f"unlearning.language_weights: an article with a language a {part.mixing} has no language to weight it by; "
                "set unlearning.language_weights=equal, or unlearning.form=question"
            )
    if part.branches != "none":
        if part.mixing != "fact":
            problems.append(
                f"unlearning.branches: a branch has one language, so nothing to mix by {part.mixing}; set unlearning.mixing=fact"
            )
        if part.language_weights == "residual":
            problems.append(
                "unlearning.branches: branches do not see what is left in each other's languages; set unlearning.language_weights=equal"
            )
        if part.measure == "budget":
            problems.append("unlearning.branches: branches have no trajectory to measure; set unlearning.measure=loss")
        if part.branches == "merge" and config.trainable.weights == "lora":
            problems.append(
                "unlearning.branches: a sum of adapters is not the sum of what they change; set trainable.weights=body or unlearning.branches=distil"
            )
        named = [strategy_languages(one, own, config.languages) for one in told_strategies(config.strategies) for own in config.sources]
        # Tracing may find a claim in every language.
        most = max(map(len, named if TRACED not in config.strategies else [config.languages]), default=1)
        least = most * max((get_method(name).forget.least_steps for name in config.methods), default=1)
        if part.steps < least:
            problems.append(f"unlearning.branches: {most} languages share {part.steps} steps; set unlearning.steps={least} or more")
    return problems
