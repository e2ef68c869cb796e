"""`python -m polyunlearn`."""

from polyunlearn.cli import main

main()
