"""Which probes a run measures when."""

from polyunlearn.corpus.newsroom import generate_stories
from polyunlearn.scoring.probes import make_probes
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.measurement import trajectory_probes

LANGUAGES = ("en", "de", "ur")


def test_a_trajectory_is_followed_in_the_languages_that_the_study_names() -> None:
    """Three stories, a fake question in the first of two wordings and a real one: six probes a language; a language that the study does
    not ask in is no mistake, so that a preset can be narrowed down."""
    probes = make_probes(generate_stories(3, languages=LANGUAGES), LANGUAGES, wordings=2, candidates=3, seed=0)
    for named, count in ((), 18), (("de",), 6), (("ur", "en", "fr"), 12):
        config = StudyConfig.model_validate(
            {"name": "x", "languages": LANGUAGES, "sources": ["de"], "unlearning": {"trajectory_languages": named}}
        )
        chosen = trajectory_probes(config, probes)
        assert len(chosen) == count
        assert {probe.wording for probe in chosen} == {0}
        assert {probe.language for probe in chosen} == set(LANGUAGES if not named else set(named) & set(LANGUAGES))
