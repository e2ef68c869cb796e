"""The built-in parallel corpus."""

from polyunlearn.corpus.newsroom.generator import WORDINGS, generate_stories

__all__ = ["WORDINGS", "generate_stories"]
