"""A run that is killed on the way."""

from polyunlearn.study.processes import Silent


class Killing(Silent):
    """Watches a run, and kills it before a cell begins."""

    def __init__(self, before: str):
        self.before = before

    def cell(self, name: str, number: int, count: int) -> None:
        if name == self.before:
            raise KeyboardInterrupt
