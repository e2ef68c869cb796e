"""The cells of a study: which model states are trained and measured, and what each is made from."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from polyunlearn.study.config import StudyConfig
from polyunlearn.training.mixtures import FOUND, strategy_languages

State = Literal["base", "gold", "learned", "unlearned"]


@dataclass(frozen=True)
class Cell:
    """One trained and measured point of a study."""

    state: State
    seed: int
    source: str | None = None
    strategy: str | None = None
    method: str | None = None

    @property
    def id(self) -> str:
        """The name of the cell and of its files."""
        parts = (self.state, self.source, self.strategy, self.method, f"seed{self.seed}")
        # A colon has no place in a file's name on every system.
        return "-".join(part.replace(":", "-") for part in parts if part)

    @property
    def parent(self) -> "Cell | None":
        """The cell whose weights this one starts from; None where that is the base model."""
        return Cell("learned", self.seed, self.source) if self.state == "unlearned" else None


def study_cells(config: StudyConfig) -> Iterator[Cell]:
    """All cells, parents before children, each source's cells together.

    Strategies that come to the same languages, as "source" and "english" do for English claims, make one cell; one whose languages are
    yet to be found is always one of its own.
    """
    for seed in config.seeds:
        yield Cell("base", seed)
        yield Cell("gold", seed)
        for source in config.sources:
            yield Cell("learned", seed, source)
            distinct = {told_languages(name, source, config): name for name in reversed(config.strategies)}
            for method in config.methods:
                for strategy in reversed(distinct.values()):
                    yield Cell("unlearned", seed, source, strategy, method)


def told_languages(strategy: str, source: str, config: StudyConfig) -> frozenset[str]:
    """What tells strategies apart: the languages that they unlearn in; of one whose are yet to be found, its name."""
    return frozenset([strategy] if strategy in FOUND else strategy_languages(strategy, source, config.languages))


def no_growth(config: StudyConfig, older: StudyConfig) -> str:
    """Why a study is not an older one with more seeds, sources, strategies or methods, of which it has every cell as it is; "" where it is.

    States may come to be kept. What all cells share must stay: the languages of questions, which are the sources where none are named, the tokens of the
    study's vocabulary, which holds refusals where a method trains them, and the layers that no cell trains.
    """
    grown = ("seeds", "sources", "strategies", "methods")
    settings, before = config.unlearning.settings, older.unlearning.settings
    same = older.model_copy(
        update={field: getattr(config, field) for field in grown}
        | {"unlearning": older.unlearning.model_copy(update={"settings": settings}), "keep_states": config.keep_states}
    )
    lost = set(study_cells(older)) - set(study_cells(config))
    changed = [method for method in older.methods if settings.get(method, {}) != before.get(method, {})]
    if same != config or config.keep_states < older.keep_states:
        return "only more seeds, sources, strategies and methods may be asked for"
    if lost:
        return f"it would have no {min(cell.id for cell in lost)} any more"
    if changed:
        return f"the settings of {changed[0]!r} are others"
    if config.sources != older.sources and not config.learning.question_languages:
        return "questions are asked in the sources, in their order, unless learning.question_languages names languages"
    if config.sources != older.sources and config.learning.mixed == "all" and config.learning.mixing in ("sentence", "chunk"):
        return "articles that switch between the sources and other languages decide the vocabulary of all"
    if config.refuses != older.refuses:
        return "a method that trains refusals changes the vocabulary of all"
    if min(config.learning.from_layer, config.untrained_layers) != min(older.learning.from_layer, older.untrained_layers):
        return "a method that trains lower layers changes what all compute once"
    return ""
