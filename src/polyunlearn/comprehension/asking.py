"""What a model makes of an article in one language and a question on it in another: the grid of LBMRC (arXiv 2010.14271)."""

from collections.abc import Sequence
from dataclasses import dataclass

from polyunlearn.corpus.stories import Story
from polyunlearn.languages import get_language
from polyunlearn.models.loading import LoadedModel
from polyunlearn.models.sequences import Encoder
from polyunlearn.progress import Work
from polyunlearn.scoring.probes import make_probes
from polyunlearn.scoring.ranking import RankedQuestion, finite_log_probs

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


def reading_prompt(story: Story, read: str, asked: str, question: str, encoder: Encoder) -> tuple[int, ...]:
    """The tokens that ask the question in `asked` behind the real article in `read`, an empty line between them; of `WITHOUT` the question alone."""
    prompt = encoder.prompt(get_language(asked), question)
    if read == WITHOUT:
        return prompt
    article = encoder.text(get_language(read), story.editions[read].article).ids[:-1]
    # The article begins as the prompt does, and the prompt goes on without its own beginning.
    return (*article, *encoder.empty_line, *prompt[1:])


def reading_questions(
    stories: Sequence[Story], languages: Sequence[str], candidates: int, encoder: Encoder
) -> dict[tuple[str, str], list[RankedQuestion]]:
    """By the language read, or `WITHOUT`, and the language asked in: each story's real question, to be ranked among the answers of `candidates` stories in
    the language asked in, its own first, the same stories in every language."""
    probes = [own for own in make_probes(stories, languages, 0, candidates, seed=0) if own.asks == "real"]
    known = {story.id: story for story in stories}
    return {
        (read, asked): [
            RankedQuestion(
                reading_prompt(known[probe.story], read, asked, probe.question, encoder),
                tuple(encoder.continuation(get_language(asked), own) for own in probe.candidates),
            )
            for probe in probes
            if probe.language == asked
        ]
        for read in (WITHOUT, *languages)
        for asked in languages
    }


def comprehension(
    loaded: LoadedModel,
    stories: Sequence[Story],
    languages: Sequence[str],
    candidates: int,
    work: Work = lambda what, done, total: None,
) -> list[Reading]:
    """Every language read, and nothing, by every language asked in; raises `UserError` where the model gives no numbers."""
    readings = []
    questions = reading_questions(stories, languages, candidates, loaded.encoder)
    for number, ((read, asked), own) in enumerate(questions.items()):
        work("asking", number, len(questions))
        scores = finite_log_probs(loaded, own)
        first = tuple(float(bool((values[0] > values[1:]).all())) for values in scores)
        readings.append(Reading(read, asked, first, sum(1 / len(values) for values in scores) / len(scores)))
    return readings
