"""The command line: parse, call, print."""

import polyunlearn.cli.abstaining
import polyunlearn.cli.barriers
import polyunlearn.cli.builder
import polyunlearn.cli.claims
import polyunlearn.cli.comprehension
import polyunlearn.cli.corpus
import polyunlearn.cli.lingtea
import polyunlearn.cli.study
import polyunlearn.cli.suppress
import polyunlearn.cli.trace
import polyunlearn.cli.truthfulness  # noqa: F401 — each adds its commands
from polyunlearn.cli.app import app, main

__all__ = ["app", "main"]
