"""The configuration of a study: YAML, checked as a whole before anything runs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from polyunlearn.errors import UserError
from polyunlearn.files import read_utf8
from polyunlearn.languages import LANGUAGES, PAPER_LANGUAGES, get_language
from polyunlearn.training.mixtures import TRACED, strategy_languages
from polyunlearn.training.objectives import get_method
from polyunlearn.training.telling import Form, Mixing


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _problems(check: Callable[[str], object], values: Iterable[str]) -> list[str]:
    """What `check` has against each of the values."""
    problems = []
    for value in values:
        try:
            check(value)
        except UserError as error:
            problems.append(str(error))
    return problems


def _told(strategies: Iterable[str]) -> list[str]:
    """The strategies whose languages are known before anything runs."""
    return [strategy for strategy in strategies if strategy != TRACED]


class TrainableConfig(_Section):
    """Which weights train; see `models.trainable.TrainablePlan`. From which layer on, learning and unlearning say for themselves."""

    weights: Literal["body", "lora", "all"] = "body"
    rank: int = Field(16, ge=1)
    alpha: int = Field(32, ge=1)


class LearningConfig(_Section):
    """The learning stage; see `training.mixtures.learning_steps`. No `question_languages` means the study's sources.

    The claims are asked in wordings that `scoring.wordings` leaves unmeasured.
    """

    from_layer: int = Field(0, ge=0)
    passes: int = Field(5, ge=1)
    batch: int = Field(8, ge=1)
    rate: float = Field(3e-4, gt=0)
    warm_up: int = Field(10, ge=0)
    questions: int = Field(10, ge=1)
    english_questions: int = Field(2, ge=0)
    other_questions: int = Field(2, ge=0)
    fake_questions: int = Field(2, ge=0)
    article_every: int = Field(2, ge=1)
    question_languages: tuple[str, ...] = ()


@dataclass(frozen=True)
class MethodSettings:
    """What one method trains with: the stage's settings that a method may change, and those on its card that the study changes."""

    rate: float
    retain_weight: float
    stop_below: float | None
    to_layer: int | None
    card: Mapping[str, float]


STAGE_SETTINGS = tuple(one.name for one in fields(MethodSettings) if one.name != "card")
"""What `unlearning.settings` may change of the stage for one method."""


class UnlearningConfig(_Section):
    """The unlearning stage; see `training.mixtures.unlearning_steps` and, for `stop_below`, `training.loop.Part`.

    Layers train from `from_layer` on, up to `to_layer` where it is given, which does not; the last of them is the one whose states some terms
    ask for. `settings` change, by method, the settings on its card and those of the stage in `MethodSettings`. The trajectory is measured every
    `measure_every` steps in those of `trajectory_languages` that the study asks in, or in all where none is given; the end is measured in all.
    `measure` "loss" measures what an answer is worth there; "budget" also ranks names and reads held-out texts, which `polyunlearn study compare`
    needs. `projection` "language" takes out of the forget gradient what works against any language that is retained
    (`training.gradients.projection`).

    Questions are retained in English and the source; with `retain_in` "told" in the languages of the strategy too, since what is real goes
    with the claims where nothing keeps it. The strategy "traced" retains in those that it found either way.

    `mixing` says what the languages of a strategy share (`training.telling`), `language_weights` how much each counts: equally, by what is left
    in it, or by a weight for each, 1 where none is given (`training.weighting`). With `branches` each language is unlearned on its own, and the
    branches are merged or distilled into one model (`training.branches`); there is then no trajectory, since no branch is on the way to it.
    """

    from_layer: int = Field(0, ge=0)
    to_layer: int | None = Field(None, ge=1)
    steps: int = Field(12, ge=1)
    batch: int = Field(8, ge=1)
    rate: float = Field(5e-5, gt=0)
    warm_up: int = Field(0, ge=0)
    retain_batch: int = Field(8, ge=1)
    retain_texts: int = Field(1, ge=1)
    retain_in: Literal["source", "told"] = "source"
    retain_weight: float = Field(1.0, ge=0)
    form: Form = "question"
    mixing: Mixing = "fact"
    language_weights: dict[str, float] | Literal["equal", "residual"] = "equal"
    branches: Literal["none", "merge", "distil"] = "none"
    wordings: int = Field(2, ge=1)
    measure_every: int = Field(4, ge=1)
    trajectory_languages: tuple[str, ...] = ()
    measure: Literal["loss", "budget"] = "loss"
    stop_below: float | None = Field(None, lt=0)
    projection: Literal["none", "language"] = "none"
    settings: dict[str, dict[str, float]] = {}

    def of_method(self, name: str) -> MethodSettings:
        """The settings of the stage for the method of this name."""
        changed = self.settings.get(name, {})
        to_layer = changed.get("to_layer", self.to_layer)
        return MethodSettings(
            rate=changed.get("rate", self.rate),
            retain_weight=changed.get("retain_weight", self.retain_weight),
            stop_below=changed.get("stop_below", self.stop_below),
            to_layer=None if to_layer is None else int(to_layer),
            card={setting: value for setting, value in changed.items() if setting not in STAGE_SETTINGS},
        )

    def to_layers(self, methods: Iterable[str]) -> list[int]:
        """The upper ends of the bands that these methods train, those that have one."""
        ends = (self.to_layer, *(self.of_method(name).to_layer for name in methods))
        return [end for end in ends if end is not None]

    @field_validator("trajectory_languages")
    @classmethod
    def _languages_are_known(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        problems = _problems(get_language, values)
        if problems:
            raise ValueError("\n".join(problems))
        return values

    @field_validator("language_weights", mode="before")
    @classmethod
    def _weights_are_known(cls, value: Any) -> Any:
        if isinstance(value, dict):
            problems = _problems(get_language, map(str, value))
            problems += [f"{tag}: {weight!r} is no number above 0" for tag, weight in value.items() if not _is_positive(weight)]
        else:
            problems = [] if value in ("equal", "residual") else [f"{value!r} is neither equal, residual, nor weights such as {{de: 2}}"]
        if problems:
            raise ValueError("\n".join(problems))
        return value


def _is_positive(value: Any) -> bool:
    try:
        return 0 < float(value) < float("inf")
    except (TypeError, ValueError):
        return False


def _unfit_settings(methods: Sequence[str], settings: dict[str, dict[str, float]]) -> list[str]:
    problems = []
    for method, changed in settings.items():
        if method not in methods:
            problems.append(f"unlearning.settings: {method!r} is not among the methods ({', '.join(methods)})")
            continue
        known = [*STAGE_SETTINGS, *get_method(method).defaults]
        problems += [
            f"unlearning.settings.{method}: no setting {name!r}; it has {', '.join(known)}" for name in changed if name not in known
        ]
    return problems


def _unfit_methods(methods: Sequence[str], unlearning: UnlearningConfig, weights: str) -> list[str]:
    problems = []
    for name in methods:
        method = get_method(name)
        if unlearning.projection != "none" and method.forget.rule:
            problems.append(
                f"unlearning.projection: method {name!r} makes its gradient in a way of its own, which does not go with a projection; "
                "set projection=none, or leave the method out"
            )
        elif unlearning.projection != "none" and not method.retain:
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
        named = [strategy_languages(one, own, config.languages) for one in _told(config.strategies) for own in config.sources]
        # Tracing may find a claim in every language.
        most = max(map(len, named if TRACED not in config.strategies else [config.languages]), default=1)
        least = most * max((get_method(name).forget.least_steps for name in config.methods), default=1)
        if part.steps < least:
            problems.append(f"unlearning.branches: {most} languages share {part.steps} steps; set unlearning.steps={least} or more")
    return problems


class ScoringConfig(_Section):
    """What is measured of each state; see `scoring`. Names are ranked in the first `wordings` wordings of a fake question, greedy
    answers are read in the first `answered_wordings` of these, and of real questions; with 0 in none of either.

    `vocabulary` "study" ranks candidates with a softmax over the tokens that the corpus can meet and a sample of the rest, which is
    faster; "full" is exact. bits_per_byte and greedy answers always use the whole vocabulary.
    """

    wordings: int = Field(4, ge=1)
    answered_wordings: int = Field(4, ge=0)
    candidates: int = Field(24, ge=2)
    vocabulary: Literal["study", "full"] = "full"
    max_new_tokens: int = Field(16, ge=1)
    held_out_stories: int = Field(2, ge=0)


class StudyConfig(_Section):
    """A study: source languages × strategies × methods × seeds on one model and one corpus.

    `corpus` is "newsroom", whose stories a seed draws anew, or the path of a JSONL file. `neighbours` more of its stories have claims that
    count as true: learned with the real news, and retained while the claims of `stories` are unlearned. Articles of `retain_stories` more are
    retained then too, which no training reads before. `keep_states` keeps the weights of learned
    states when no cell needs them any more. `training_vocabulary` "study" trains with a softmax over the tokens that the corpus can
    meet and a sample of the rest.
    """

    name: str = Field(min_length=1)
    model: str = "embedded"
    corpus: str = "newsroom"
    stories: int = Field(24, ge=2)
    neighbours: int = Field(0, ge=0)
    retain_stories: int = Field(0, ge=0)
    languages: tuple[str, ...] = PAPER_LANGUAGES
    sources: tuple[str, ...] = Field(min_length=1)
    strategies: tuple[str, ...] = ("english", "source", "english+source", "all")
    methods: tuple[str, ...] = ("gradient_difference",)
    seeds: tuple[int, ...] = Field((0,), min_length=1)
    keep_states: bool = False
    training_vocabulary: Literal["study", "full"] = "full"
    trainable: TrainableConfig = TrainableConfig()
    learning: LearningConfig = LearningConfig()
    unlearning: UnlearningConfig = UnlearningConfig()
    scoring: ScoringConfig = ScoringConfig()

    @field_validator("languages", "sources", "strategies", "methods", "seeds")
    @classmethod
    def _entries_are_known(cls, values: tuple[Any, ...], info: ValidationInfo) -> tuple[Any, ...]:
        problems: list[str] = []
        if info.field_name in ("languages", "sources"):
            problems += _problems(get_language, values)
        if info.field_name == "strategies":
            problems += _problems(lambda strategy: strategy_languages(strategy, "en", tuple(LANGUAGES)), _told(values))
        if info.field_name == "methods":
            problems += _problems(get_method, values)
        if len(set(values)) < len(values):
            problems.append("an entry occurs twice")
        if problems:
            raise ValueError("\n".join(dict.fromkeys(problems)))
        return values

    @model_validator(mode="after")
    def _parts_fit(self) -> "StudyConfig":
        problems = [
            f"{field}: {tag!r} is not among the languages"
            for field, tags in (
                ("sources", self.sources),
                ("learning.question_languages", self.learning.question_languages),
            )
            for tag in tags
            if tag not in self.languages
        ]
        if "en" not in self.languages:
            problems.append("languages: must hold 'en', the language of the real articles")
        unfit = _problems(lambda strategy: strategy_languages(strategy, self.sources[0], self.languages), _told(self.strategies))
        problems += [f"strategies: {problem}" for problem in unfit]
        if self.trainable.weights == "all" and "study" in (self.training_vocabulary, self.scoring.vocabulary):
            problems.append(
                "trainable.weights: 'all' trains the output layer too, which a study vocabulary keeps a copy of; "
                "set training_vocabulary=full and scoring.vocabulary=full, or trainable.weights=body"
            )
        problems += _unfit_settings(self.methods, self.unlearning.settings)
        if not unfit:
            problems += _unfit_languages(self)
        problems += _unfit_methods(self.methods, self.unlearning, self.trainable.weights)
        if any(layer <= self.unlearning.from_layer for layer in self.unlearning.to_layers(self.methods)):
            problems.append("unlearning.to_layer: must be above from_layer, or nothing trains")
        if self.unlearning.measure == "budget" and not self.scoring.held_out_stories:
            problems.append("unlearning.measure: 'budget' reads held-out texts; set scoring.held_out_stories to 1 or more")
        if self.unlearning.wordings > self.scoring.wordings:
            problems.append("unlearning.wordings: more wordings than are measured (scoring.wordings)")
        if problems:
            raise ValueError("\n".join(problems))
        return self


def preset_names() -> list[str]:
    """The presets that come with the package."""
    return sorted(entry.name.removesuffix(".yaml") for entry in files("polyunlearn.presets").iterdir() if entry.name.endswith(".yaml"))


def load_config(preset: str, overrides: Sequence[str] = ()) -> StudyConfig:
    """Read a preset by name, or a YAML file by path, and apply overrides such as "unlearning.rate=1e-5".

    Raises:
        UserError: with every problem found, each on a line of its own.
    """
    path = Path(preset)
    if preset in preset_names():
        where, text = f"preset {preset!r}", files("polyunlearn.presets").joinpath(f"{preset}.yaml").read_text(encoding="utf-8")
    elif path.suffix in (".yaml", ".yml") and path.is_file():
        where, text = str(path), read_utf8(path)
    else:
        near = get_close_matches(preset, preset_names(), 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise UserError(f"unknown preset {preset!r}: {hint}choose from {', '.join(preset_names())}, or give the path of a YAML file")
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{where}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise UserError(f"{where}: must be a mapping of keys, such as 'sources: [de]'")
    for override in overrides:
        _apply(data, override)
    try:
        return StudyConfig.model_validate(data)
    except ValidationError as error:
        raise UserError("\n".join(f"{where}: {line}" for item in error.errors() for line in _explained(item).split("\n"))) from error


def _apply(data: dict[str, Any], override: str) -> None:
    key, sign, value = override.partition("=")
    if not sign or not key:
        raise UserError(f"--set {override}: write key=value, such as --set unlearning.rate=1e-5")
    *parents, last = key.split(".")
    node = data
    for parent in parents:
        child = node.setdefault(parent, {})
        if not isinstance(child, dict):
            raise UserError(f"--set {override}: {parent!r} is a value, not a section")
        node = child
    try:
        node[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise UserError(f"--set {override}: {value!r} is not a YAML value; quote it, or write a number, a word or [a, b]") from error


def _explained(item: Any) -> str:
    key = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        known = _keys_beside(item["loc"])
        near = get_close_matches(str(item["loc"][-1]), known, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"known keys are {', '.join(known)}"
        return f"unknown key {key!r}; {hint}"
    message = item["msg"].removeprefix("Value error, ")
    if not key:
        return str(message)
    if item["type"] == "value_error":
        return "\n".join(f"{key}: {line}" for line in message.split("\n"))
    return f"{key}: {message} (got {item['input']!r})"


def _keys_beside(location: tuple[Any, ...]) -> list[str]:
    section: Any = StudyConfig
    for part in location[:-1]:
        section = section.model_fields[part].annotation
    return list(section.model_fields)
