"""The built-in parallel corpus."""

from polyunlearn.corpus.newsroom.generator import generate_stories

__all__ = ["generate_stories"]
