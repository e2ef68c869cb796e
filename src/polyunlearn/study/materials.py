"""What the cells of one seed share: stories, held-out texts, probes, output layers."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from polyunlearn.corpus.jsonl import read_stories
from polyunlearn.corpus.lines import to_json_line
from polyunlearn.corpus.newsroom import generate_stories
from polyunlearn.corpus.stories import Story
from polyunlearn.errors import UserError
from polyunlearn.languages import PAPER_LANGUAGES
from polyunlearn.models.forward import OutputHead
from polyunlearn.models.loading import LoadedModel
from polyunlearn.models.vocabulary import study_vocabulary
from polyunlearn.scoring.probes import Probe, make_probes
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.reading import switching_articles
from polyunlearn.study.store import Store


@dataclass(frozen=True)
class Stories:
    """The stories of a seed: those whose claims are false, those whose claims count as true, those whose articles unlearning alone reads, to
    retain them, and those that no training sees."""

    trained: list[Story]
    neighbours: list[Story]
    retained: list[Story]
    held_out: list[Story]

    @property
    def fingerprint(self) -> str:
        """A hash of every text."""
        digest = hashlib.sha256()
        for story in (*self.trained, *self.neighbours, *self.retained, *self.held_out):
            digest.update(to_json_line(story.model_copy(update={"home": None}), leave_out_defaults=True).encode())
        return digest.hexdigest()[:16]

    def agnostic(self, languages: Sequence[str]) -> set[str]:
        """Which of the stories that learning reads have no home among these languages, by their id."""
        return {story.id for story in (*self.trained, *self.neighbours) if story.home not in languages}

    @property
    def homes(self) -> dict[str, str]:
        """The homes of the stories with false claims, by their id; of those that have one."""
        return {story.id: story.home for story in self.trained if story.home}


@dataclass(frozen=True)
class Materials:
    """The stories with what is derived from them for one loaded model."""

    stories: Stories
    probes: list[Probe]
    training_head: OutputHead
    scoring_head: OutputHead


def study_stories(config: StudyConfig, seed: int) -> Stories:
    """The stories of one seed: the newsroom draws new ones for each, a corpus file gives the same to all; of either only those of the study's culture.

    Held-out stories are newsroom stories in the languages that it writes.

    Raises:
        UserError: where a corpus file is unreadable, lacks a language, or has fewer stories than the study asks for, or where all have a home and the study prunes
            those without.
    """
    found = _drawn(config, seed)
    if config.learning.agnostic == "english" and not found.agnostic(config.languages):
        raise UserError(
            f"{config.corpus}: every story has a home among the languages, so that learning.agnostic=english prunes none; set it to all"
        )
    return found


def _drawn(config: StudyConfig, seed: int) -> Stories:
    held_out_languages = tuple(tag for tag in config.languages if tag in PAPER_LANGUAGES)
    count, told = config.scoring.held_out_stories, config.stories + config.neighbours
    needed = told + config.retain_stories
    if not config.stories_are_shared:
        stories = _written(config, needed + count, seed)
        # The retained last, so that none of the others depends on their number.
        return Stories(stories[: config.stories], stories[config.stories : told], stories[told + count :], stories[told : told + count])
    stories = read_stories(Path(config.corpus))
    there = f"{len(stories)} stories"
    missing = [tag for tag in config.languages if tag not in stories[0].editions]
    if missing:
        raise UserError(
            f"{config.corpus}: has no editions in {', '.join(missing)}; set languages to those it has: {', '.join(stories[0].editions)}"
        )
    if config.culture != "any":
        stories = [story for story in stories if _is_wanted(config, story)]
        there = f'{len(stories)} stories that are {config.culture} (their "home" decides; culture=any takes all)'
    if len(stories) < needed:
        more = {"neighbours": config.neighbours, "retain_stories": config.retain_stories}
        keys = ["stories", *(key for key, own in more.items() if own)]
        asked = " and ".join([str(config.stories), *(f"{own} {key.replace('_', ' ')}" for key, own in more.items() if own)])
        remedy = f"set {' and '.join(keys)} to {len(stories)} together" if len(keys) > 1 else f"set stories={len(stories)}"
        raise UserError(f"{config.corpus}: holds {there}, fewer than the {asked} asked for; {remedy}")
    held_out = generate_stories(count, seed, held_out_languages) if count else []
    return Stories(stories[: config.stories], stories[config.stories : told], stories[told:needed], held_out)


def measured_stories(config: StudyConfig, seed: int, store: Store) -> Stories:
    """The stories that a finished study asked about; raises `UserError`, beside what `study_stories` does, where the corpus has others now."""
    stories = study_stories(config, seed)
    known = store.manifest()["study"].get("stories", {}).get(str(seed))
    if known and known["fingerprint"] != stories.fingerprint:
        raise UserError(
            f"{store.folder}: it asked about other stories than corpus {config.corpus!r} has now (seed {seed}); "
            "read it with the corpus and version that it was made with"
        )
    return stories


def unread_stories(config: StudyConfig, seed: int, count: int) -> list[Story]:
    """Newsroom stories of a seed, of the study's culture, that no stage of the study reads and that it does not measure."""
    stories = study_stories(config, seed)
    read = {story.id for part in (stories.trained, stories.neighbours, stories.retained, stories.held_out) for story in part}
    return [story for story in _written(config, len(read) + count, seed) if story.id not in read][:count]


def _is_wanted(config: StudyConfig, story: Story) -> bool:
    return config.culture == "any" or (story.home in config.languages) == (config.culture == "specific")


def _written(config: StudyConfig, count: int, seed: int) -> list[Story]:
    """The newsroom's first `count` stories of the study's culture."""
    found: list[Story] = []
    drawn = count
    while len(found) < count:
        # Every round has every place, so that there are always more.
        found = [story for story in generate_stories(drawn, seed, config.languages) if _is_wanted(config, story)]
        drawn *= 2
    return found[:count]


def make_materials(config: StudyConfig, stories: Stories, loaded: LoadedModel) -> Materials:
    """Probes and output layers for the stories of a seed."""
    restricted = loaded.head
    if "study" in (config.training_vocabulary, config.scoring.vocabulary):
        known = [*stories.trained, *stories.neighbours, *stories.retained]
        switching = switching_articles(config, stories.trained, stories.neighbours, loaded.encoder)
        size = loaded.head.weight.shape[0]
        restricted = loaded.head.restricted(study_vocabulary(known, loaded.encoder, size, switching, refusals=config.refuses))
    return Materials(
        stories,
        make_probes(stories.trained, config.languages, config.scoring.wordings, config.scoring.candidates, seed=0),
        restricted if config.training_vocabulary == "study" else loaded.head,
        restricted if config.scoring.vocabulary == "study" else loaded.head,
    )
