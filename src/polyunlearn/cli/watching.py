"""How a run is followed in the terminal."""

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from polyunlearn.cli.app import errors


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(), console=errors
    )


GOES_ON = "the same command goes on from here"


def _end(kind: type[BaseException] | None, interrupted: str) -> None:
    """Say what an interruption left behind, and end with the exit code of one."""
    if kind is not None and issubclass(kind, KeyboardInterrupt):
        errors.print(f"interrupted; {interrupted}", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(130)


class ProgressWatcher:
    """Shows a run as two progress bars: its cells, and the work of the one in hand; where it is interrupted, it says what that leaves."""

    def __init__(self, interrupted: str = GOES_ON) -> None:
        self._progress, self._interrupted = _progress(), interrupted
        self._cells: TaskID | None = None
        self._work: TaskID | None = None

    def __enter__(self) -> "ProgressWatcher":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._cells is not None:
            self._progress.update(self._cells, completed=self._progress.tasks[0].total if kind is None else None)
            self._progress.stop()
        _end(kind, self._interrupted)

    def cell(self, name: str, number: int, count: int) -> None:
        if self._cells is None:
            self._progress.start()
            self._cells = self._progress.add_task("cells", total=count)
            self._work = self._progress.add_task("", total=1)
        self._progress.update(self._cells, completed=number - 1)
        self._name = name
        if not self._progress.console.is_terminal:
            errors.print(f"[{number}/{count}] {name}", highlight=False, markup=False)

    def work(self, what: str, done: int, total: int) -> None:
        assert self._work is not None
        self._progress.update(self._work, description=f"{self._name}: {what}", completed=done, total=total)

    def say(self, text: str) -> None:
        self._progress.console.print(text, highlight=False, markup=False)


class Working:
    """Shows one piece of work after another as a progress bar, and what is said above it; as `ProgressWatcher` where it is interrupted."""

    def __init__(self, interrupted: str = "nothing was written") -> None:
        self._progress, self._interrupted = _progress(), interrupted
        self._task: TaskID | None = None

    def __enter__(self) -> "Working":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._task is not None:
            self._progress.stop()
        _end(kind, self._interrupted)

    def __call__(self, what: str, done: int, total: int) -> None:
        begins = self._task is None or self._progress.tasks[0].description != what
        if self._task is None:
            self._progress.start()
            self._task = self._progress.add_task(what, total=total)
        elif begins:
            self._progress.reset(self._task)
        if begins and not self._progress.console.is_terminal:
            # A bar is drawn at the end alone where nobody watches.
            self.say(what)
        self._progress.update(self._task, description=what, completed=done, total=total)

    def say(self, text: str) -> None:
        self._progress.console.print(text, highlight=False, markup=False, soft_wrap=True)
