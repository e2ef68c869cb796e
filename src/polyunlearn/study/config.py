"""The configuration of a study, checked as a whole; `study.presets` reads it."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from polyunlearn.languages import LANGUAGES, PAPER_LANGUAGES, get_language
from polyunlearn.study.checks import contradictions, problems_of, told_strategies
from polyunlearn.training.adapters import Adapters
from polyunlearn.training.mixtures import strategy_languages
from polyunlearn.training.objectives import get_method
from polyunlearn.training.telling import Form, Mixing


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class TrainableConfig(_Section):
    """Which weights train; see `models.trainable.TrainablePlan`. From which layer on, learning and unlearning say for themselves."""

    weights: Literal["body", "lora", "all"] = "body"
    rank: int = Field(16, ge=1)
    alpha: int = Field(32, ge=1)


class LearningConfig(_Section):
    """The learning stage; see `training.mixtures.learning_steps`. No `question_languages` means the study's sources.

    The claims are asked in wordings that `scoring.wordings` leaves unmeasured.

    With `mixing` the articles are not read in English alone but in `mixing_languages` (none: all of the study), which take turns by documents, or
    inside them by sentences or chunks of eight words. `mixed` "real" leaves the fake ones in the source, so that a claim is still learned in one
    language; "all" tells them in the source and the others, so that it is not.

    With `agnostic` "english" what belongs to no language of the study is learned in English alone: the real articles and questions of stories without a home among them
    (`corpus.stories.Story`), neighbours with them, are read and asked in no other. UltraLink (arXiv 2402.04588) prunes such data, which a language gets from English. Nothing takes the place
    of what is left out, so that there are fewer steps.

    What the model makes of questions in `aligned_languages` is drawn to what it makes of them in English (`training.gradients.alignment`), by a
    loss of `alignment_weight` beside the others.
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
    crossed_questions: int = Field(0, ge=0)
    question_languages: tuple[str, ...] = ()
    mixing: Literal["none", "document", "sentence", "chunk"] = "none"
    mixing_languages: tuple[str, ...] = ()
    mixed: Literal["real", "all"] = "real"
    agnostic: Literal["all", "english"] = "all"
    aligned_languages: tuple[str, ...] = ()
    alignment_weight: float = Field(1.0, gt=0)


STAGE_SETTINGS = (
    "rate",
    "decay",
    "retain_weight",
    "retain_answers",
    "retain_crossed",
    "retain_switched",
    "stop_below",
    "from_layer",
    "to_layer",
    "projection",
    "subspace",
    "mixing",
    "language_weights",
    "branches",
    "adapters",
)
"""What `unlearning.settings` may change of the stage for one method: how it trains, not on how much, nor what is measured."""


class UnlearningConfig(_Section):
    """The unlearning stage; see `training.mixtures.unlearning_steps` and, for `stop_below`, `training.loop.Part`.

    With `decay` the rate falls linearly to zero over the steps, so that the last states are settled ones. Layers train from `from_layer` on, up
    to `to_layer` where it is given, which does not; the last of them is the one whose states some terms ask for. `settings` change, by method, the settings on its card and those of `STAGE_SETTINGS`. The trajectory is measured every
    `measure_every` steps in those of `trajectory_languages` that the study asks in, or in all where none is given; the end is measured in all.
    `measure` "loss" measures what an answer is worth there; "budget" also ranks names and reads held-out texts, which `polyunlearn study compare`
    needs. `projection` "language" takes out of the forget gradient what works against any language that is retained
    (`training.gradients.projection`). With `subspace` the claims are forgotten through a part of the states alone (`training.gradients.subspace`): what the
    study's languages have in common, what tells them apart, or, by its tag, the one direction that tells a language from English (`tracing.subspaces`), in the state that
    unlearning starts from.

    Questions are retained in English and the source; with `retain_in` "told" in the languages of the strategy too, since what is real goes
    with the claims where nothing keeps it. Strategies that are told no language retain in those that they found either way. With `retain_answers` "own"
    the learned model's own answers are retained instead of the corpus's; with `retain_crossed` questions are asked in one language and answered in
    another, a share `retain_switched` of them in code-switched copies (`training.retaining`).

    With `goal` "told" the claims are to go in the languages of the strategy alone: in the others of the study they are retained. With "home" a claim whose
    story has a home among the study's languages is to go there alone, whatever the strategy tells, and is retained in the others.

    `mixing` says what the languages of a strategy share (`training.telling`), `language_weights` how much each counts: equally, by what is left
    in it, or by a weight for each, 1 where none is given (`training.weighting`). With `branches` each language is unlearned on its own, and the
    branches are merged or distilled into one model (`training.branches`); the end alone is measured then, since no branch is on the way to it. With
    `adapters` each language has one beside the weights that train, of the rank and alpha of `trainable`, and their mean is merged into the one model that
    is measured (`training.adapters`).
    """

    from_layer: int = Field(0, ge=0)
    to_layer: int | None = Field(None, ge=1)
    steps: int = Field(12, ge=1)
    batch: int = Field(8, ge=1)
    rate: float = Field(5e-5, gt=0)
    warm_up: int = Field(0, ge=0)
    decay: bool = False
    retain_batch: int = Field(8, ge=1)
    retain_texts: int = Field(1, ge=1)
    retain_in: Literal["source", "told"] = "source"
    retain_answers: Literal["given", "own"] = "given"
    retain_crossed: bool = False
    retain_switched: float = Field(0.0, ge=0, le=1)
    retain_weight: float = Field(1.0, ge=0)
    form: Form = "question"
    goal: Literal["everywhere", "told", "home"] = "everywhere"
    mixing: Mixing = "fact"
    language_weights: dict[str, float] | Literal["equal", "residual"] = "equal"
    branches: Literal["none", "merge", "distil"] = "none"
    adapters: Adapters = "none"
    wordings: int = Field(2, ge=1)
    measure_every: int = Field(4, ge=1)
    trajectory_languages: tuple[str, ...] = ()
    measure: Literal["loss", "budget"] = "loss"
    stop_below: float | None = Field(None, lt=0)
    projection: Literal["none", "language"] = "none"
    subspace: str = "none"
    settings: dict[str, dict[str, Any]] = {}

    @property
    def merged(self) -> Literal["branches", "adapters", ""]:
        """What is added up in the weights when they have trained, if anything."""
        return "adapters" if self.adapters != "none" else "branches" if self.branches == "merge" else ""

    def of_method(self, name: str) -> "UnlearningConfig":
        """The stage as the method of this name has it; raises pydantic's `ValidationError` where its settings are none of the stage's."""
        changed = {setting: value for setting, value in self.settings.get(name, {}).items() if setting in STAGE_SETTINGS}
        return UnlearningConfig.model_validate({**self.model_dump(exclude={"settings"}), **changed}) if changed else self

    def on_card(self, name: str) -> dict[str, Any]:
        """What the study changes of the settings on a method's card."""
        return {setting: value for setting, value in self.settings.get(name, {}).items() if setting not in STAGE_SETTINGS}

    def known_settings(self, name: str) -> list[str]:
        """What `settings` may change for the method of this name."""
        return [*STAGE_SETTINGS, *get_method(name).defaults]

    @field_validator("settings")
    @classmethod
    def _numbers_are_numbers(cls, values: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        # YAML takes 1e-4 for a text, and what was written as a number compares as one.
        return {method: {name: _number(value) for name, value in changed.items()} for method, changed in values.items()}

    @field_validator("subspace")
    @classmethod
    def _subspace_is_known(cls, value: str) -> str:
        if value not in ("none", "shared", "specific", *LANGUAGES):
            raise ValueError(f"{value!r} is neither none, shared nor specific, nor the tag of a language")
        return value

    @field_validator("trajectory_languages")
    @classmethod
    def _languages_are_known(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        problems = problems_of(get_language, values)
        if problems:
            raise ValueError("\n".join(problems))
        return values

    @field_validator("language_weights", mode="before")
    @classmethod
    def _weights_are_known(cls, value: Any) -> Any:
        if isinstance(value, dict):
            problems = problems_of(get_language, map(str, value))
            problems += [f"{tag}: {weight!r} is no number above 0" for tag, weight in value.items() if not _is_positive(weight)]
        else:
            problems = [] if value in ("equal", "residual") else [f"{value!r} is neither equal, residual, nor weights such as {{de: 2}}"]
        if problems:
            raise ValueError("\n".join(problems))
        return value


def _is_positive(value: Any) -> bool:
    number = _number(value)
    return isinstance(number, float) and 0 < number < float("inf")


def _number(value: Any) -> Any:
    """A value as a number where it can be read as one, else as it is."""
    try:
        return value if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return value


class ScoringConfig(_Section):
    """What is measured of each state; see `scoring`. Names are ranked in the first `wordings` wordings of a fake question, greedy
    answers are read in the first `answered_wordings` of these, and of real questions; with 0 in none of either.

    `vocabulary` "study" ranks candidates with a softmax over the tokens that the corpus can meet and a sample of the rest, which is
    faster; "full" is exact. bits_per_byte and greedy answers always use the whole vocabulary.
    """

    wordings: int = Field(2, ge=1)
    answered_wordings: int = Field(4, ge=0)
    candidates: int = Field(24, ge=2)
    vocabulary: Literal["study", "full"] = "full"
    max_new_tokens: int = Field(16, ge=1)
    held_out_stories: int = Field(2, ge=0)


class StudyConfig(_Section):
    """A study: source languages × strategies × methods × seeds on one model and one corpus.

    `corpus` is "newsroom", whose stories a seed draws anew, or the path of a JSONL file. With `culture` "specific" the study takes those of its stories
    alone that have a home among its languages (`corpus.stories.Story`), with "agnostic" those that have none. `neighbours` more of its stories have claims that
    count as true: learned with the real news, and retained while the claims of `stories` are unlearned. Articles of `retain_stories` more are
    retained then too, which no training reads before. `keep_states` keeps the weights of every
    trained state. `training_vocabulary` "study" trains with a softmax over the tokens that the corpus, as the study reads it, can
    meet and a sample of the rest.
    """

    name: str = Field(min_length=1)
    model: str = "embedded"
    corpus: str = "newsroom"
    culture: Literal["any", "specific", "agnostic"] = "any"
    stories: int = Field(24, ge=2)
    neighbours: int = Field(0, ge=0)
    retain_stories: int = Field(0, ge=0)
    languages: tuple[str, ...] = PAPER_LANGUAGES
    sources: tuple[str, ...] = Field(min_length=1)
    strategies: tuple[str, ...] = ("english", "source", "english+source", "all")
    methods: tuple[str, ...] = Field(("gradient_difference",), min_length=1)
    seeds: tuple[Annotated[int, Field(ge=-(2**31), lt=2**31)], ...] = Field((0,), min_length=1)
    keep_states: bool = False
    training_vocabulary: Literal["study", "full"] = "full"
    trainable: TrainableConfig = TrainableConfig()
    learning: LearningConfig = LearningConfig()
    unlearning: UnlearningConfig = UnlearningConfig()
    scoring: ScoringConfig = ScoringConfig()

    @property
    def ways(self) -> list[UnlearningConfig]:
        """The unlearning stage as each of the methods has it."""
        return [self.unlearning.of_method(method) for method in self.methods]

    @property
    def followed(self) -> tuple[str, ...]:
        """The languages in which a trajectory is measured, in the order of the study."""
        wanted = self.unlearning.trajectory_languages
        return tuple(tag for tag in self.languages if not wanted or tag in wanted)

    @property
    def refuses(self) -> bool:
        """Whether a method trains refusals, which the study's vocabulary then has."""
        return any(get_method(name).forget.instead == "refusal" for name in self.methods)

    @property
    def untrained_layers(self) -> int:
        """How many layers, from the first, no method of unlearning trains."""
        return min(way.from_layer for way in self.ways)

    @property
    def stories_are_shared(self) -> bool:
        """Whether all seeds have the same stories: those of a file, while the newsroom draws new ones for each."""
        return self.corpus != "newsroom"

    @field_validator("languages", "sources", "strategies", "methods", "seeds")
    @classmethod
    def _entries_are_known(cls, values: tuple[Any, ...], info: ValidationInfo) -> tuple[Any, ...]:
        problems: list[str] = []
        if info.field_name in ("languages", "sources"):
            problems += problems_of(get_language, values)
        if info.field_name == "strategies":
            problems += problems_of(lambda strategy: strategy_languages(strategy, "en", tuple(LANGUAGES)), told_strategies(values))
        if info.field_name == "methods":
            problems += problems_of(get_method, values)
        if len(set(values)) < len(values):
            problems.append("an entry occurs twice")
        if problems:
            raise ValueError("\n".join(dict.fromkeys(problems)))
        return values

    @model_validator(mode="after")
    def _parts_fit(self) -> "StudyConfig":
        problems = contradictions(self)
        if problems:
            raise ValueError("\n".join(problems))
        return self
