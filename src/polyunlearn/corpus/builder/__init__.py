"""A corpus of stories about a topic of the user's, written and translated by a chat model and checked (documented for users in docs/builder.md)."""

from polyunlearn.corpus.builder.build import BuildSummary, build_corpus
from polyunlearn.corpus.builder.plan import BuildPlan, Prices, plan_build
from polyunlearn.corpus.builder.settings import BuildSettings

__all__ = ["BuildPlan", "BuildSettings", "BuildSummary", "Prices", "build_corpus", "plan_build"]
