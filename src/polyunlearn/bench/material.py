"""What both ways of a benchmark work on: one loaded model, the newsroom's stories, the steps and questions of a study."""

from dataclasses import dataclass
from random import Random

from polyunlearn.corpus.newsroom import generate_stories
from polyunlearn.languages import PAPER_LANGUAGES, get_language
from polyunlearn.models.forward import OutputHead
from polyunlearn.models.loading import LoadedModel, load_model
from polyunlearn.models.vocabulary import study_vocabulary
from polyunlearn.scoring.measure import ranked_questions
from polyunlearn.scoring.probes import make_probes
from polyunlearn.scoring.ranking import RankedQuestion
from polyunlearn.training.loop import Step
from polyunlearn.training.mixtures import unlearning_steps
from polyunlearn.training.objectives import get_method

STORIES = 24
STEPS = 2
PROMPT_STRIDE, QUESTION_STRIDE = 12, 77
"""Every so manieth of the study's 648 probes is answered or ranked: fake and real questions in all languages."""


@dataclass(frozen=True)
class Material:
    """The same for both ways: drawn from a fixed seed."""

    loaded: LoadedModel
    restricted: OutputHead
    steps: list[Step]
    questions: list[RankedQuestion]
    prompts: list[tuple[int, ...]]


def make_material(model: str, frozen_layers: int, method: str = "gradient_difference") -> Material:
    """Load the model and draw ranked questions of 24 names, prompts, and the method's steps.

    A step has 8 questions to forget and, where the method retains, 8 to retain.
    """
    chosen = get_method(method)
    stories = generate_stories(STORIES, 0, PAPER_LANGUAGES)
    loaded = load_model(model, frozen_layers=frozen_layers)
    encoder = loaded.encoder
    steps = unlearning_steps(
        stories, encoder, ("en", "de"), neighbours=(), steps=STEPS, batch=8, form="question", wordings=1, instead=chosen.forget.instead,
        questions=10, retain_languages=("en", "de") if chosen.retain else (), retain_batch=8, rng=Random(0),
    )  # fmt: skip
    probes = make_probes(stories, PAPER_LANGUAGES, 2, STORIES, seed=0)
    return Material(
        loaded,
        loaded.head.restricted(study_vocabulary(stories, encoder, loaded.head.weight.shape[0])),
        steps,
        ranked_questions(probes[::QUESTION_STRIDE], encoder),
        [encoder.prompt(get_language(probe.language), probe.question) for probe in probes[::PROMPT_STRIDE]],
    )
