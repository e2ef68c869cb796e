"""How a study's learning stage draws languages to English: the questions, and what the base model makes of them."""

from random import Random

import torch

from polyunlearn.languages import get_language
from polyunlearn.models.loading import LoadedModel
from polyunlearn.models.rows import TokenRow
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.materials import Stories
from polyunlearn.tracing.subspaces import direction, subspaces
from polyunlearn.training.gradients.alignment import Alignment, Question, Spaces, mean_states
from polyunlearn.training.mixtures import in_turn
from polyunlearn.training.retaining import real_questions


@torch.no_grad()
def alignment(config: StudyConfig, stories: Stories, loaded: LoadedModel, seed: int) -> Alignment:
    """The rule that `learning.aligned_languages` asks for, for a model in its base state: the real questions that learning trains, each in English and
    in one of these languages, all of them in turn; none that is measured. What languages share and what tells them apart is told by the study's languages.
    """
    languages = tuple(dict.fromkeys(("en", *config.languages, *config.learning.aligned_languages)))
    asked = real_questions(stories.trained, config.learning.questions)
    rows = {
        tag: [
            TokenRow.plain(loaded.encoder.prompt(get_language(tag), story.editions[tag].questions[number].question))
            for story, number in asked
        ]
        for tag in languages
    }
    states = {tag: mean_states(loaded.body, rows[tag]) for tag in languages}
    means = {tag: torch.stack(own).mean(0) for tag, own in states.items()}
    found = subspaces(torch.stack(list(means.values())).cpu())
    specific = found.specific.to(means["en"])
    directions = {tag: direction(means[tag], means["en"], specific) for tag in config.learning.aligned_languages}
    questions = [
        Question(rows["en"][number], rows[tag][number], tag, states["en"][number], states[tag][number])
        for tag in config.learning.aligned_languages
        for number in range(len(asked))
    ]
    spaces = Spaces(found.shared.to(specific), specific, directions)
    return Alignment(in_turn(questions, Random(f"alignment-{seed}")), spaces, config.learning.alignment_weight)
