"""Running the cases: two processes a case, one a way, which take turns; so times are paired and memory is each way's own."""

import math
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing.connection import Connection

import torch
from transformers import AutoConfig

from polyunlearn.bench.cases import Case, Outcome, Way, cases
from polyunlearn.errors import UserError, first_line
from polyunlearn.models.cost import matrix_rate
from polyunlearn.models.embedded import fetch_embedded
from polyunlearn.models.loading import EMBEDDED
from polyunlearn.models.memory import peak_bytes

REPEATS = 3
INSTALL = "pip install -e '.[bench]'"
QUIET = {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1", "TQDM_DISABLE": "1"}
"""What keeps the libraries of the usual way from telling their makers of a run, and from drawing progress bars."""


@dataclass(frozen=True)
class Figure:
    """One case: the least seconds of each way, their ratio, ours as a share of the matrix rate measured beside it, and peak memory.

    `max_abs_difference` is the largest difference between the values of both ways: losses, log-probs a token, or, for answers,
    token numbers, so that 0 means the same answers; None where ours leaves tokens out of the softmax and the values are not comparable.
    """

    name: str
    usual_seconds: float
    ours_seconds: float
    ratio: float
    gemm_share: float
    peak_bytes_usual: int
    peak_bytes_ours: int
    max_abs_difference: float | None


def run_bench(model: str, only: str, say: Callable[[str], None]) -> Iterator[Figure]:
    """Run every case that `choose` chooses, and yield its figure as soon as it is there.

    Raises:
        UserError: where there is none, or no such model.
    """
    folder = str(fetch_embedded(say)) if model == EMBEDDED else model
    chosen = choose(cases(_layers(folder)), only, say)
    # Read when the libraries of the usual way are imported, which is in the processes of the cases.
    os.environ |= QUIET
    for case in chosen:
        say(case.name)
        yield _figure(case, folder)


def _layers(model: str) -> int:
    """How many layers the model of a folder or name has; raises `UserError` where that cannot be read."""
    try:
        count = getattr(AutoConfig.from_pretrained(model), "num_hidden_layers", None)
    except (OSError, ValueError) as error:
        raise UserError(f"model {model!r} could not be loaded: {first_line(error)}; give {EMBEDDED!r}, or a model's folder") from error
    if count is None:
        raise UserError(
            f"model {model!r}: its configuration has no num_hidden_layers; give {EMBEDDED!r}, or the folder of a decoder-only model"
        )
    return int(count)


def choose(every: Sequence[Case], only: str, say: Callable[[str], None]) -> list[Case]:
    """The cases whose name holds `only`; says of each whose package is not installed that it is left out.

    Raises:
        UserError: where no case has such a name, or none of them can run.
    """
    named = [case for case in every if only in case.name]
    if not named:
        raise UserError(f"no case holds {only!r}; the cases are: {'; '.join(case.name for case in every)}")
    lacking = [case for case in named if case.package and not find_spec(case.package)]
    reasons = [
        f"{case.name}: its usual way needs {case.package}, which is not installed; type in polyunlearn's folder: {INSTALL}"
        for case in lacking
    ]
    chosen = [case for case in named if case not in lacking]
    if not chosen:
        raise UserError("; ".join(reasons))
    for reason in reasons:
        say(f"left out: {reason}")
    return chosen


def _figure(case: Case, model: str) -> Figure:
    context = multiprocessing.get_context("spawn")
    ways: tuple[Way, Way] = ("usual", "ours")
    ends: dict[Way, Connection] = {}
    outcomes: dict[Way, list[Outcome]] = {way: [] for way in ways}
    peaks: dict[Way, int] = {}
    rates = []
    processes = []
    try:
        for way in ways:
            ends[way], theirs = context.Pipe()
            processes.append(context.Process(target=_worker, args=(case.name, way, model, theirs), daemon=True))
            processes[-1].start()
            theirs.close()
            # The first time warms caches and is not counted.
            _ask(ends[way], case, way)
        for _ in range(REPEATS):
            for way in ways:
                outcome, peaks[way] = _ask(ends[way], case, way)
                outcomes[way].append(outcome)
            rates.append(matrix_rate(torch.device("cuda" if torch.cuda.is_available() else "cpu")))
    finally:
        for process in processes:
            process.kill()
            process.join()
    seconds = {way: min(outcome.seconds for outcome in outcomes[way]) for way in ways}
    return Figure(
        case.name,
        seconds["usual"],
        seconds["ours"],
        seconds["usual"] / seconds["ours"],
        outcomes["ours"][0].flops / seconds["ours"] / max(rates),
        peaks["usual"],
        peaks["ours"],
        difference(outcomes["usual"][0].values, outcomes["ours"][0].values) if case.exact else None,
    )


def difference(usual: Sequence[float], ours: Sequence[float]) -> float:
    """The largest absolute difference; infinite where the ways gave different numbers of values, or one that is no number."""
    if len(usual) != len(ours):
        return math.inf
    found = [abs(a - b) for a, b in zip(usual, ours, strict=True)]
    return max(found, default=0.0) if all(map(math.isfinite, found)) else math.inf


def _ask(end: Connection, case: Case, way: Way) -> tuple[Outcome, int]:
    end.send(None)
    try:
        answer: tuple[Outcome, int] = end.recv()
    except EOFError:
        raise RuntimeError(f"{case.name}, {way}: its process died; see the message above") from None
    return answer


def _worker(name: str, way: Way, model: str, end: Connection) -> None:
    case = next(case for case in cases(_layers(model)) if case.name == name)
    work = case.make(model, way)
    while True:
        end.recv()
        end.send((work(), peak_bytes()))
