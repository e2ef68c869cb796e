"""What contradicts itself in the configuration of a study: each with what to do about it."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from pydantic import ValidationError

from polyunlearn.corpus.newsroom import WORDINGS
from polyunlearn.errors import UserError
from polyunlearn.tracing.languages import MOST
from polyunlearn.tracing.similarity import LEAST_TEXTS
from polyunlearn.training.mixtures import ALIGNED, COVERING, FOUND, strategy_languages
from polyunlearn.training.objectives import get_method
from polyunlearn.training.unlearning import distilled

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
    return [strategy for strategy in strategies if strategy not in FOUND]


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
    if config.learning.crossed_questions and not set(config.learning.question_languages or config.sources) - {"en"}:
        problems.append(
            "learning.crossed_questions: questions are crossed with English, and no other language is asked in; name one in learning.question_languages"
        )
    if "en" in config.learning.aligned_languages:
        problems.append("learning.aligned_languages: the others are drawn to 'en'; leave it out")
    if {ALIGNED, COVERING} & set(config.strategies) and (config.stories < LEAST_TEXTS or len(config.languages) < 2):
        problems.append(
            f"strategies: {ALIGNED!r} and {COVERING!r} compare true articles; set stories={LEAST_TEXTS} or more, and name two languages or more"
        )
    problems += [*_unfit_mixing(config), *_unfit_pruning(config)]
    if config.unlearning.trajectory_languages and not config.followed:
        named = ", ".join(config.unlearning.trajectory_languages)
        problems.append(
            f"unlearning.trajectory_languages: none of {named} is among the languages, so no trajectory would be measured; name one that is, or [] for all"
        )
    if config.unlearning.measure == "budget" and not config.scoring.held_out_stories:
        problems.append("unlearning.measure: 'budget' reads held-out texts; set scoring.held_out_stories to 1 or more")
    problems += _unfit_settings(config) or _unfit_methods(config, bool(unfit))
    if config.corpus == "newsroom" and config.learning.fake_questions and config.scoring.wordings >= WORDINGS:
        problems.append(
            f"scoring.wordings: the newsroom asks in {WORDINGS} wordings, of which learning takes those that are not measured; "
            f"set scoring.wordings={WORDINGS - 1} or less, or learning.fake_questions=0"
        )
    if config.unlearning.wordings > config.scoring.wordings:
        problems.append("unlearning.wordings: more wordings than are measured (scoring.wordings)")
    return problems


def _unfit_mixing(config: "StudyConfig") -> list[str]:
    part = config.learning
    if part.mixing == "none" and (part.mixing_languages or part.mixed == "all"):
        return [
            "learning.mixing: 'none' mixes nothing, so mixing_languages and mixed say nothing; set learning.mixing=document, sentence or chunk"
        ]
    return []


def _unfit_pruning(config: "StudyConfig") -> list[str]:
    part = config.learning
    if part.agnostic == "all":
        return []
    problems = []
    if config.culture == "specific":
        problems.append(
            "learning.agnostic: with culture 'specific' every story has a home, so that none is pruned; set learning.agnostic=all, or another culture"
        )
    if config.culture == "agnostic":
        problems.append(
            "learning.agnostic: with culture 'agnostic' no story has a home, so that all that is real is learned in English alone; set culture=any"
        )
    asked = (part.other_questions or part.crossed_questions) and set(part.question_languages or config.sources) - {"en"}
    if not asked and not (part.mixing != "none" and set(part.mixing_languages or config.languages) - {"en"}):
        problems.append(
            "learning.agnostic: what is real is learned in English alone anyway; set learning.agnostic=all, or name other languages in learning.question_languages"
        )
    if not part.english_questions:
        problems.append("learning.agnostic: 'english' asks in English alone, and learning.english_questions=0 never; set it to 1 or more")
    if part.aligned_languages:
        problems.append(
            "learning.agnostic: learning.aligned_languages reads what is pruned in these languages again; set one of the two to its default"
        )
    return problems


def _unfit_settings(config: "StudyConfig") -> list[str]:
    """What is wrong with the settings of single methods."""
    problems = []
    for method, changed in config.unlearning.settings.items():
        if method not in config.methods:
            problems.append(f"unlearning.settings: {method!r} is not among the methods ({', '.join(config.methods)})")
            continue
        own, where = get_method(method), f"unlearning.settings.{method}"
        known = config.unlearning.known_settings(method)
        problems += [f"{where}: no setting {name!r}; it has {', '.join(known)}" for name in changed if name not in known]
        problems += [
            f"{where}.{name}: {problem}"
            for name, value in config.unlearning.on_card(method).items()
            if name in known and (problem := own.bounds_of(name).problem(value))
        ]
        try:
            config.unlearning.of_method(method)
        except ValidationError as error:
            problems += [
                f"{where}.{'.'.join(map(str, item['loc']))}: {item['msg'].removeprefix('Value error, ')} (got {item['input']!r})"
                for item in error.errors()
            ]
    return problems


def _unfit_methods(config: "StudyConfig", strategies_unfit: bool) -> list[str]:
    """What contradicts itself in the stage as all methods have it, or as one has it by its own settings, which is then said."""

    def found(name: str, part: "UnlearningConfig") -> list[str]:
        languages = [] if strategies_unfit else _unfit_languages(config, part, get_method(name).forget.least_steps)
        return (
            _unfit_stage(part, config.languages, config.trainable.weights) + _unfit_method(name, part, config.trainable.weights) + languages
        )

    problems: dict[str, None] = {}
    for name in config.methods:
        of_all, changed = found(name, config.unlearning), config.unlearning.settings.get(name, {})
        for problem in found(name, config.unlearning.of_method(name)):
            # What the method's own settings bring about is set right there.
            own = "" if problem in of_all else f"unlearning.settings.{name} ({', '.join(map(str, changed))}): "
            problems[own + problem] = None
    return list(problems)


def _unfit_stage(part: "UnlearningConfig", languages: Sequence[str], weights: str) -> list[str]:
    problems = []
    if part.retain_switched and not part.retain_crossed:
        problems.append(
            "unlearning.retain_switched: copies switch between the two languages of a crossed question; set unlearning.retain_crossed=true"
        )
    if part.to_layer is not None and part.to_layer <= part.from_layer:
        problems.append("unlearning.to_layer: must be above from_layer, or nothing trains")
    if part.projection != "none" and part.subspace != "none":
        problems.append("unlearning.subspace: does not go with a projection; set one of the two to none")
    if part.subspace != "none" and len(languages) < 2:
        problems.append("unlearning.subspace: what languages share is told by two or more; name more languages")
    if part.subspace == "en":
        problems.append(
            "unlearning.subspace: 'en' is what languages are told from, so no direction tells it; name another, or shared or specific"
        )
    elif part.subspace not in ("none", "shared", "specific", *languages):
        problems.append(f"unlearning.subspace: {part.subspace!r} is not among the languages")
    if part.subspace != "none" and weights == "all":
        problems.append(
            "unlearning.subspace: it goes through the states of layers, past the output layer and the norm before it, which 'all' trains; "
            "set trainable.weights=body or unlearning.subspace=none"
        )
    return problems


def _unfit_method(name: str, part: "UnlearningConfig", weights: str) -> list[str]:
    problems = []
    method = get_method(name)
    for what, own in (("projection", part.projection), ("subspace", part.subspace)):
        if own != "none" and method.forget.rule:
            problems.append(
                f"unlearning.{what}: method {name!r} makes its gradient in a way of its own, which does not go with a {what}; "
                f"set {what}=none, or leave the method out"
            )
    if part.projection != "none" and not method.forget.rule and not method.retain:
        problems.append(
            f"unlearning.projection: method {name!r} has no retain term, so there is nothing to keep its gradient from; "
            "set projection=none, or leave the method out"
        )
    if part.projection != "none" and method.retain and (method.forget.dual or not part.retain_weight):
        problems.append(
            f"unlearning.projection: the weight of what method {name!r} retains may be 0, and then nothing keeps its gradient from anything; "
            "set projection=none" + ("" if method.forget.dual else ", or a retain_weight above 0")
        )
    if weights == "lora" and method.forget.refuses_adapters:
        problems.append(f"trainable.weights: method {name!r} cannot train 'lora': {method.forget.refuses_adapters}; set weights=body")
    if part.branches == "merge" and method.forget.refuses_merging:
        problems.append(
            f"unlearning.branches: branches of method {name!r} cannot be merged: {method.forget.refuses_merging}; "
            "set branches=none or distil, or leave the method out"
        )
    needs = {need for card in method.cards for need in card.needs}
    if weights == "all" and needs & {"states", "reference_logits"}:
        problems.append(
            f"trainable.weights: method {name!r} asks for states or predictions of the model before, and 'all' trains the output layer "
            "that these go through; set weights=body"
        )
    problems += _unfit_adapters(name, part, weights) if part.adapters != "none" else []
    if part.form == "article" and method.forget.instead:
        problems.append(f"unlearning.form: method {name!r} gives another answer to a question, and an article asks none; set form=question")
    if part.goal != "everywhere" and not method.retain:
        problems.append(f"unlearning.goal: method {name!r} has no retain term, so nothing holds the other languages; leave it out")
    if not method.retain and (part.retain_answers != "given" or part.retain_crossed):
        problems.append(
            f"unlearning.retain_answers, unlearning.retain_crossed: method {name!r} has no retain term, so it retains no answer; "
            "set given and false, or leave the method out"
        )
    if (part.warm_up or part.decay) and (part.branches != "none" or method.forget.procedure is distilled):
        what = "in branches" if part.branches != "none" else "whose second half repairs what the first has blurred"
        problems.append(
            f"unlearning.warm_up, unlearning.decay: method {name!r}, {what}, is trained in several parts, each of which would begin or end the rate anew; "
            "set unlearning.warm_up=0 and unlearning.decay=false"
        )
    if part.steps < method.forget.least_steps:
        problems.append(f"unlearning.steps: method {name!r} takes at least {method.forget.least_steps} (got {part.steps})")
    return problems


def _unfit_adapters(name: str, part: "UnlearningConfig", weights: str) -> list[str]:
    """What contradicts adapters of languages, where there are any."""
    problems = []
    method = get_method(name)
    if method.forget.rule or method.forget.procedure:
        problems.append(
            f"unlearning.adapters: method {name!r} makes its gradient, or what becomes of the weights, in a way of its own, which knows no adapters of "
            "languages; set adapters=none, or leave the method out"
        )
    if part.adapters != "language" and not method.retain:
        problems.append(
            f"unlearning.adapters: method {name!r} has no retain term, by which {part.adapters!r} chooses them; set adapters=none or language, "
            "or leave the method out"
        )
    elif part.adapters != "language" and (method.forget.dual or not part.retain_weight):
        problems.append(
            f"unlearning.adapters: the weight of what method {name!r} retains may be 0, and then nothing says which {part.adapters!r} chooses; "
            "set adapters=none or language" + ("" if method.forget.dual else ", or a retain_weight above 0")
        )
    for what, own in (("projection", part.projection), ("subspace", part.subspace), ("branches", part.branches)):
        if own != "none":
            problems.append(f"unlearning.adapters: adapters of languages do not go with {what}; set one of the two to none")
    if weights == "lora":
        problems.append(
            "unlearning.adapters: they stand beside weights that all languages share and train, which 'lora' leaves as they are; "
            "set trainable.weights=body or unlearning.adapters=none"
        )
    if part.retain_crossed:
        problems.append(
            "unlearning.adapters: a question that is asked in one language and answered in another has no adapter of its own; "
            "set unlearning.retain_crossed=false"
        )
    if part.mixing in ("sentence", "chunk"):
        problems.append(
            f"unlearning.adapters: a text with a language a {part.mixing} has no adapter of its own; set unlearning.mixing=fact or token"
        )
    return problems


def _unfit_languages(config: "StudyConfig", part: "UnlearningConfig", least_steps: int) -> list[str]:
    """What contradicts the rest in how unlearning shares languages; a method takes at least so many steps."""
    problems = []
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
    if part.retain_crossed and "en" in config.sources:
        alone = [
            strategy
            for strategy in told_strategies(config.strategies)
            if part.retain_in == "source" or set(strategy_languages(strategy, "en", config.languages)) == {"en"}
        ]
        if alone:
            problems.append(
                f"unlearning.retain_crossed: strategy {alone[0]!r} retains English claims' questions in English alone, and there is nothing to cross it with; "
                "set unlearning.retain_in=told and leave out strategies that tell English alone, or leave 'en' out of the sources"
            )
    if part.goal == "home" and part.mixing == "token":
        problems.append("unlearning.mixing: claims that go in their homes have no share of labels; set unlearning.mixing=fact")
    if part.branches != "none":
        if part.mixing != "fact":
            problems.append(
                f"unlearning.branches: a branch has one language, so nothing to mix by {part.mixing}; set unlearning.mixing=fact"
            )
        if part.goal == "home":
            problems.append(
                "unlearning.branches: a branch is of a language that is told, and claims go in their homes; set unlearning.goal=told or everywhere"
            )
        if part.language_weights == "residual":
            problems.append(
                "unlearning.branches: branches do not see what is left in each other's languages; set unlearning.language_weights=equal"
            )
        if part.branches == "merge" and config.trainable.weights == "lora":
            problems.append(
                "unlearning.branches: a sum of adapters is not the sum of what they change; set trainable.weights=body or unlearning.branches=distil"
            )
        if part.branches == "distil" and config.trainable.weights == "all":
            problems.append(
                "unlearning.branches: what a branch predicts goes through the output layer, which 'all' trains on in the student; "
                "set trainable.weights=body or unlearning.branches=merge"
            )
        named = [strategy_languages(one, own, config.languages) for one in told_strategies(config.strategies) for own in config.sources]
        if FOUND.keys() & set(config.strategies):
            named.append(config.languages[:MOST])
        most = max(map(len, named), default=1)
        least = most * least_steps
        if part.steps < least:
            problems.append(f"unlearning.branches: {most} languages share {part.steps} steps; set unlearning.steps={least} or more")
    return problems
