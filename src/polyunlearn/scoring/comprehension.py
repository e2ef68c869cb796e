"""Reading comprehension across languages: an article in one, a question on it in another (the grid of LBMRC, arXiv 2010.14271)."""

from collections.abc import Sequence
from dataclasses import dataclass

from polyunlearn.corpus.stories import Story
from polyunlearn.languages import get_language
from polyunlearn.models.loading import LoadedModel
from polyunlearn.models.sequences import Encoder
from polyunlearn.scoring.probes import make_probes
from polyunlearn.scoring.ranking import RankedQuestion, candidate_log_probs

WITHOUT = "-"
"""In place of an article's language: nothing is read before the question."""


@dataclass(frozen=True)
class Reading:
    """Whether the answer to each story's question ranks first, asked in `asked` after its article in `read` (`WITHOUT`: after nothing); `chance` is
    what guessing gives."""

    read: str
    asked: str
    first: tuple[float, ...]
    chance: float


def reading_question(story: Story, read: str, asked: str, question: str, candidates: Sequence[str], encoder: Encoder) -> RankedQuestion:
    """The question in `asked` behind the real article in `read`, an empty line between them, with its candidates; of `WITHOUT` the question alone."""
    language = get_language(asked)
    prompt = encoder.prompt(language, question)
    if read != WITHOUT:
        article = encoder.text(get_language(read), story.editions[read].article).ids[:-1]
        # The article begins as the prompt does, and the prompt goes on without its own beginning.
        prompt = (*article, *encoder.empty_line, *prompt[1:])
    return RankedQuestion(prompt, tuple(encoder.continuation(language, own) for own in candidates))


def comprehension(loaded: LoadedModel, stories: Sequence[Story], languages: Sequence[str], candidates: int) -> list[Reading]:
    """Every language read, and nothing, by every language asked in. Each story's real question is ranked among the answers of `candidates` stories in
    the language asked in, its own included, the same stories in every language."""
    probes = [own for own in make_probes(stories, languages, 0, candidates, seed=0) if own.asks == "real"]
    known = {story.id: story for story in stories}
    readings = []
    for read in (WITHOUT, *languages):
        for asked in languages:
            own = [probe for probe in probes if probe.language == asked]
            questions = [
                reading_question(known[probe.story], read, asked, probe.question, probe.candidates, loaded.encoder) for probe in own
            ]
            scores = candidate_log_probs(loaded.body, loaded.head, questions)
            first = tuple(float(bool((values[0] > values[1:]).all())) for values in scores)
            readings.append(Reading(read, asked, first, sum(1 / len(values) for values in scores) / len(scores)))
    return readings
