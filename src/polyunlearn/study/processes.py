"""Jobs of a study in several processes beside each other, each job when those that it builds upon are done."""

import os
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Any, Generic, TypeVar

import torch

from polyunlearn.errors import UserError
from polyunlearn.study.states import Watcher

Job = TypeVar("Job", bound=Hashable)


class Silent:
    """Watches nothing: of several jobs beside each other a person sees which have begun."""

    def cell(self, name: str, number: int, count: int) -> None: ...

    def work(self, what: str, done: int, total: int) -> None: ...

    def say(self, text: str) -> None: ...


@dataclass(frozen=True)
class Jobs(Generic[Job]):
    """What processes do: each calls `begin(*arguments)` once, for its first job, and keeps what that gives, and `do(kept, job)` for each of its jobs.

    Both are functions of a module, since they are sent to the processes. `name` is what a person sees of a job, `seed` the seed whose materials
    it needs, `before` the jobs that it builds upon.
    """

    begin: Callable[..., Any]
    arguments: tuple[Any, ...]
    do: Callable[[Any, Job], None]
    name: Callable[[Job], str]
    seed: Callable[[Job], int]
    before: Callable[[Job], set[Job]]


_kept: Callable[[], Any]
"""What `begin` gives in this process."""


def _end_with_parent() -> None:
    """Go as soon as the run itself is gone: who holds the folder's lock is the run, so nothing may write there after it."""
    parent = parent_process()
    if parent:
        parent.join()
        os._exit(1)


def _prepare(begin: Callable[..., Any], arguments: tuple[Any, ...], threads: int) -> None:
    global _kept
    Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    # Called by the first job, whose error comes back; one that is raised here would look like a process that was killed.
    _kept = cache(partial(begin, *arguments))


def _do(do: Callable[[Any, Any], None], job: Any) -> None:
    do(_kept(), job)


def run_beside(task: Jobs[Job], jobs: Sequence[Job], workers: int, watcher: Watcher) -> Iterator[Job]:
    """Do `jobs` in `workers` processes, which share the cores, and yield each when it is done.

    A process keeps to a seed while there is something to do for it, since what a seed's jobs share is computed once a process and seed. Where a
    job fails, those in hand elsewhere are brought to their end and kept before its error is raised.

    Raises:
        UserError: where a process was killed.
    """
    workers = min(workers, len(jobs))
    threads = max(1, (os.cpu_count() or 1) // max(1, workers))
    # A pool each, so that it is ours to say who gets which job.
    pools = [
        ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_prepare, initargs=(task.begin, task.arguments, threads))
        for _ in range(workers)
    ]
    waiting, running = list(jobs), dict[Future[None], tuple[int, Job]]()
    seeds: dict[int, int] = {}
    try:
        while waiting or running:
            idle = [worker for worker in range(workers) if all(worker != busy for busy, _ in running.values())]
            for worker in idle:
                job = _choice(task, waiting, [job for _, job in running.values()], worker, seeds)
                if job is None:
                    break
                waiting.remove(job)
                seeds[worker] = task.seed(job)
                watcher.cell(task.name(job), len(jobs) - len(waiting), len(jobs))
                running[pools[worker].submit(_do, task.do, job)] = worker, job
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                _, job = running.pop(future)
                try:
                    future.result()
                except BrokenProcessPool as error:
                    raise UserError(
                        f"{task.name(job)}: its process was killed, most often because memory ran out; the same command with fewer --workers goes on"
                    ) from error
                yield job
    finally:
        for pool in pools:
            pool.shutdown(cancel_futures=True)


def _choice(task: Jobs[Job], waiting: Sequence[Job], running: Sequence[Job], worker: int, seeds: Mapping[int, int]) -> Job | None:
    """Of the jobs that could begin, the first of the seed that the process is at, else of the seed that fewest processes are at; those that others
    wait for before the rest. None where all wait for what is running."""
    unfinished = {*waiting, *running}
    awaited = {own for job in waiting for own in task.before(job)}
    ready = [job for job in waiting if not unfinished & task.before(job)]

    def cost(job: Job) -> tuple[bool, int, bool]:
        others = sum(seed == task.seed(job) for own, seed in seeds.items() if own != worker)
        return seeds.get(worker) != task.seed(job), others, job not in awaited

    return min(ready, key=cost, default=None)
