"""The results of LINGTEA's protocol on disk: what it was run on, and one Parquet file of rows a state, which appears whole or not at all."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from polyunlearn.errors import UserError, first_line
from polyunlearn.files import atomic_path, write_json_atomically
from polyunlearn.lingtea.ways import WAYS
from polyunlearn.scoring.rows import Row

MANIFEST = "lingtea.json"
BEFORE = "before"
"""The name of the state before anything is unlearned."""

_RECORD = b"polyunlearn.lingtea"


@dataclass(frozen=True)
class Record:
    """Of a state the steps that led to it, those that were taken, seconds of training and measuring, and the most memory that the process held so far."""

    kept: int
    taken: int
    seconds: float
    peak_bytes: int


@dataclass(frozen=True)
class State:
    """A measured state; `seed` is 0 before anything is unlearned."""

    way: str
    seed: int
    rows: tuple[Row, ...]
    record: Record


class Results:
    """The folder of one run."""

    def __init__(self, folder: Path):
        self.folder = folder

    def open(self, manifest: Mapping[str, Any]) -> None:
        """Begin, or go on with what is there; raises `UserError` where that is something else. `manifest["lingtea"]` is what decides the rows."""
        if self.folder.exists() and not self.folder.is_dir():
            raise UserError(f"{self.folder} is a file; give a folder with --out")
        path = self.folder / MANIFEST
        if not path.is_file():
            if self.folder.is_dir() and any(not own.name.startswith(".") for own in self.folder.iterdir()):
                raise UserError(f"{self.folder} is not empty and holds no run of this command; give another folder with --out")
            write_json_atomically(path, manifest)
            return
        there, wanted = self.manifest()["lingtea"], json.loads(json.dumps(manifest["lingtea"]))
        differing = [f"{name}: {there.get(name)!r} there, {own!r} asked" for name, own in wanted.items() if there.get(name) != own]
        if differing:
            raise UserError(
                f"{self.folder} holds another run (different: {', '.join(differing)}); give another folder with --out, or remove it"
            )

    def manifest(self) -> dict[str, Any]:
        """What was run; raises `UserError` where it cannot be read."""
        path = self.folder / MANIFEST
        try:
            data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return {**data, "lingtea": dict(data["lingtea"])}
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: damaged; remove the folder and run the command again") from error

    def path(self, way: str, seed: int) -> Path:
        """Where a state is."""
        return self.folder / "states" / f"{way if way == BEFORE else f'{way}-seed-{seed}'}.parquet"

    def write(self, state: State) -> None:
        """Write a measured state, atomically."""
        table = pa.Table.from_pylist([asdict(row) for row in state.rows])
        with atomic_path(self.path(state.way, state.seed)) as temporary:
            pq.write_table(table.replace_schema_metadata({_RECORD: json.dumps(asdict(state.record)).encode()}), temporary)

    def states(self) -> list[State]:
        """Every state that is there: the one before, then those of each way in the order of tables, by seed."""
        names = {name: number for number, name in enumerate((BEFORE, *WAYS))}
        found = [_named(path) for path in (self.folder / "states").glob("*.parquet")]
        return [self._read(way, seed) for way, seed in sorted(found, key=lambda own: (names[own[0]], own[1]))]

    def _read(self, way: str, seed: int) -> State:
        path = self.path(way, seed)
        try:
            table = pq.read_table(path)
            record = Record(**json.loads(table.schema.metadata[_RECORD]))
        except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
            raise UserError(f"{path}: damaged ({first_line(error)}); remove it, and the command makes it anew") from error
        return State(way, seed, tuple(Row(**row) for row in table.to_pylist()), record)


def _named(path: Path) -> tuple[str, int]:
    found = re.fullmatch(rf"(?:({BEFORE})|({'|'.join(map(re.escape, WAYS))})-seed-(\d+))", path.stem)
    if not found:
        raise UserError(f"{path}: is no state of this command; remove it")
    return found[1] or found[2], int(found[3] or 0)
