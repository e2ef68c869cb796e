"""Building a corpus: what is finished is in the output, what failed in the quarantine beside it, and what was answered in the client's cache."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from polyunlearn.backends.chat import ChatClient, UnusableAnswerError, Usage
from polyunlearn.corpus.builder.checks import story_faults
from polyunlearn.corpus.builder.settings import SOURCE, BuildSettings
from polyunlearn.corpus.builder.write import outline_events, write_story
from polyunlearn.corpus.jsonl import read_stories, write_stories
from polyunlearn.corpus.stories import Story
from polyunlearn.errors import UserError
from polyunlearn.files import read_utf8, write_text_atomically

Item = TypeVar("Item")


@dataclass(frozen=True)
class BuildSummary:
    """What a build left: finished stories, why others are in `quarantine` (by id), and what this run asked for."""

    finished: int
    quarantined: dict[str, tuple[str, ...]]
    quarantine: Path
    usage: Usage


class _Stoppable:
    """A client that asks nothing more once `stopped` is set."""

    def __init__(self, client: ChatClient) -> None:
        self._client = client
        self.stopped = threading.Event()

    def ask(self, prompt: str, parse: Callable[[Any], Item], temperature: float) -> Item:
        if self.stopped.is_set():
            raise CancelledError
        return self._client.ask(prompt, parse, temperature)


def quarantine_path(out: Path) -> Path:
    """Where stories that failed are listed, one a line: {"id": ..., "reasons": [...]}."""
    return out.with_name(f"{out.stem}.quarantine.jsonl")


def build_corpus(
    settings: BuildSettings, client: ChatClient, out: Path, watcher: Callable[[str, int, int], None] = lambda what, done, total: None
) -> BuildSummary:
    """Write the stories of `settings` to `out`, in order, each as soon as it and those before it are finished.

    A build that was broken off goes on and ends with the same file. Finished and quarantined stories are not asked for again. `watcher` hears
    what is in hand, how many stories are done, and of how many.

    Raises:
        UserError: where `out` holds another corpus, or the endpoint fails; what is finished stays.
    """
    own = settings.build_id(client.model)
    finished, failed = _finished(settings, own, out), _quarantined(own, out)
    names = [settings.story_id(number, client.model) for number in range(settings.stories)]
    numbers = [number for number, name in enumerate(names) if name not in finished.keys() | failed.keys()]
    if numbers:
        watcher("the outline", settings.stories - len(numbers), settings.stories)
        events = outline_events(settings, client)
        stoppable = _Stoppable(client)
        with ThreadPoolExecutor(settings.workers) as pool:
            tasks = {number: pool.submit(write_story, names[number], events[number], settings, stoppable) for number in numbers}
            try:
                for done, number in enumerate(numbers, start=settings.stories - len(numbers)):
                    watcher("stories", done, settings.stories)
                    _keep(names[number], tasks[number], finished, failed, out)
            except BaseException:
                # Nor does one that is waiting to be sent again.
                client.stop()
                raise
            finally:
                # Requests in flight end, and are cached; no other begins.
                stoppable.stopped.set()
                pool.shutdown(wait=False, cancel_futures=True)
    watcher("stories", settings.stories, settings.stories)
    return BuildSummary(len(finished), failed, quarantine_path(out), client.usage)


def _keep(name: str, task: Future[Story], finished: dict[str, Story], failed: dict[str, tuple[str, ...]], out: Path) -> None:
    """Put a story where it belongs, on disk before in hand."""
    try:
        story = task.result()
        faults = story_faults(story, finished.values())
    except UnusableAnswerError as error:
        faults = error.reasons
    except ValidationError as error:
        faults = [one["msg"] for one in error.errors()]
    if faults:
        failed[name] = tuple(faults)
        lines = (json.dumps({"id": own, "reasons": reasons}, ensure_ascii=False) + "\n" for own, reasons in sorted(failed.items()))
        write_text_atomically(quarantine_path(out), "".join(lines))
    else:
        finished[name] = story
        write_stories((finished[own] for own in sorted(finished)), out)


def _finished(settings: BuildSettings, own: str, out: Path) -> dict[str, Story]:
    """The stories of an earlier run; raises `UserError` where they are not of the build `own`."""
    if not out.exists():
        return {}
    stories = read_stories(out)
    wanted = {SOURCE, *settings.targets}
    for story in stories:
        if story.id.rsplit("-", 1)[0] != own or set(story.editions) != wanted:
            raise UserError(
                f"{out}: holds another corpus ({story.id} in {', '.join(story.editions)}), not {own} in {', '.join(sorted(wanted))}; where the "
                "names are alike, another model wrote it, or the topic or the numbers of sentences, questions or wordings were others; give another "
                "file, or move this one away"
            )
    return {story.id: story for story in stories}


def _quarantined(own: str, out: Path) -> dict[str, tuple[str, ...]]:
    """The stories of the build `own` that failed in an earlier run, not those of others; raises `UserError` where the file is not one of ours."""
    path = quarantine_path(out)
    if not path.exists():
        return {}
    try:
        rows = [json.loads(line) for line in read_utf8(path).splitlines() if line.strip()]
        failed = {row["id"]: tuple(row["reasons"]) for row in rows}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: is no list of failed stories; delete it, and they are tried again") from error
    return {name: reasons for name, reasons in failed.items() if str(name).startswith(f"{own}-")}
