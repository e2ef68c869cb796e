"""Few-shot prompts: other questions of the form of the claims, answered, stand before the question."""

from collections.abc import Sequence
from random import Random

from polyunlearn.attacks.target import Measure, Target, Variant
from polyunlearn.corpus.claims import Tells
from polyunlearn.languages import get_language
from polyunlearn.models.sequences import Encoder
from polyunlearn.scoring.measure import ranked_questions
from polyunlearn.scoring.probes import Probe
from polyunlearn.scoring.ranking import RankedQuestion

SHOTS = (1, 3)


def few_shot_questions(probes: Sequence[Probe], shown: Sequence[Tells], shots: int, encoder: Encoder, seed: int) -> list[RankedQuestion]:
    """The probes as tokens, each behind the claims of `shots` stories of `shown`, asked and answered in its language; the same stories for a story's
    probes in every language and wording. Raises `ValueError` where there are not so many stories."""
    questions = []
    for probe, plain in zip(probes, ranked_questions(probes, encoder), strict=True):
        language = get_language(probe.language)
        chosen = Random(f"shots-{seed}-{probe.story}").sample(list(shown), shots)
        editions = [story.editions[probe.language] for story in chosen]
        shown_first = [encoder.shot(language, edition.fake_questions[0], edition.keyword) for edition in editions]
        # The prompt's first token opens the text, and so comes once.
        start, rest = plain.prompt[:1], plain.prompt[1:]
        questions.append(RankedQuestion((*start, *(token for shot in shown_first for token in shot), *rest), plain.candidates))
    return questions


def few_shot(target: Target, measure: Measure) -> None:
    """Show neighbours' claims, which the model may know; with fewer neighbours in all of the languages than shots, fewer variants."""
    shown = [story for story in target.neighbours if all(tag in story.editions for tag in target.languages)]
    for shots in SHOTS:
        if shots <= len(shown):
            questions = few_shot_questions(target.probes, shown, shots, target.loaded.encoder, target.seed)
            measure(Variant(f"{shots} shown" if shots > 1 else "one shown", shots), target.loaded, target.probes, questions)
