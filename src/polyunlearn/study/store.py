"""The results of a study on disk: a manifest, one Parquet file of rows a cell, the weights of learned states.

A cell's file appears whole or not at all, so a killed study goes on where it stopped.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from polyunlearn.attacks.target import Variant
from polyunlearn.errors import UserError, first_line
from polyunlearn.files import atomic_path, write_text_atomically
from polyunlearn.scoring.rows import Row
from polyunlearn.study.cells import Cell, no_growth
from polyunlearn.study.config import StudyConfig
from polyunlearn.tracing.languages import Trace
from polyunlearn.tracing.selection import Choice

MANIFEST = "manifest.json"
FP32 = "float32"
"""The precision of weights that a manifest leaves out."""

OWN_ANSWERS = "own-answers"
"""The folder, in a study's, of what its learned states answer by themselves (`study.own_answers`)."""

_RECORD = b"polyunlearn.cell"
_TYPES = {int: pa.int32(), bool: pa.bool_(), str: pa.string(), float: pa.float64()}


@dataclass(frozen=True)
class CellRecord:
    """What is known of a finished cell beside its rows: steps and tokens of its own training, seconds of all its work, the loss of each step.

    `step_tokens` and `step_seconds` are those of each step's training, without what is measured in between; what comes before the first step,
    such as asking a reference, is in the first's seconds. Empty for cells that were written before these were kept. `found` says in which
    languages a cell was unlearned whose strategy was told none, and why; None for others.
    """

    steps: int
    tokens: int
    seconds: float
    peak_rss_bytes: int
    losses: list[float]
    step_tokens: list[int] = field(default_factory=list)
    step_seconds: list[float] = field(default_factory=list)
    found: Trace | Choice | None = None


class Store:
    """The folder of one study."""

    def __init__(self, folder: Path):
        self.folder = folder

    def open(self, manifest: dict[str, Any]) -> None:
        """Begin or go on with a study, which may have grown (`study.cells.no_growth`); raises `UserError` where the folder holds something else.

        `manifest["study"]` identifies it: everything that decides the rows. The rest may differ between runs.
        """
        path = self.folder / MANIFEST
        if self.folder.exists() and not self.folder.is_dir():
            raise UserError(f"{self.folder} is a file; give a folder with --out")
        if path.is_file():
            differing = self._differing(manifest)
            if not differing:
                return
            problem = self._no_growth(manifest)
            if problem:
                raise UserError(
                    f"{self.folder} holds another study (different: {differing}); give another folder with --out, or remove it. It cannot become this one: "
                    f"{problem}"
                )
            if set(self.config().sources) != set(StudyConfig.model_validate(manifest["study"]["config"]).sources):
                # Gold is attacked with the learned states of all sources.
                for attacked in list(self.folder.glob("attacks/*/gold-*.parquet")):
                    attacked.unlink()
        elif self.folder.is_dir() and any(not own.name.startswith(".") for own in self.folder.iterdir()):
            raise UserError(f"{self.folder} is not empty and holds no study; give another folder with --out")
        write_text_atomically(path, json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")

    def check(self, manifest: dict[str, Any]) -> None:
        """Raise `UserError` where the study that is there was made of something else than `manifest["study"]` says."""
        differing = self._differing(manifest)
        if differing:
            raise UserError(
                f"{self.folder} was made of something else (different: {differing}); use the model, corpus and version that it was made with"
            )

    def _differing(self, manifest: dict[str, Any]) -> str:
        """What another study has otherwise than the one that is there; "" for the same.

        Settings that came after the study was begun count as at their defaults, which leave everything as it was.
        """
        found = self.manifest()["study"] | {"config": self.config().model_dump(mode="json")}
        self._check_precision(found, manifest["study"])
        wanted = json.loads(json.dumps(manifest["study"]))
        return ", ".join(_differences(found, wanted)) if found != wanted else ""

    def _check_precision(self, found: dict[str, Any], wanted: dict[str, Any]) -> None:
        there, asked = (study.get("precision", FP32) for study in (found, wanted))
        if there != asked:
            raise UserError(
                f"{self.folder} was made with weights in {there}, and here they would be in {asked}; go on where it was begun, or begin another there "
                "with --out"
            )

    def _no_growth(self, manifest: dict[str, Any]) -> str:
        """Why the study that is there is not this one with fewer cells; "" where it is."""
        found, wanted = self.manifest()["study"], json.loads(json.dumps(manifest["study"]))
        there, asked = (part.get("stories", {}) for part in (found, wanted))
        if found | {"config": None, "stories": None} != wanted | {"config": None, "stories": None}:
            return "its model is another"
        problem = no_growth(StudyConfig.model_validate(wanted["config"]), self.config())
        return problem or ("" if there.items() <= asked.items() else "its stories are others")

    def config(self) -> StudyConfig:
        """The configuration of the study that is there; raises `UserError` where there is none, or one that this version cannot read."""
        study = self.manifest()["study"]
        try:
            return StudyConfig.model_validate(study.get("config") if isinstance(study, dict) else None)
        except ValidationError as error:
            unknown = [".".join(map(str, item["loc"])) for item in error.errors() if item["type"] == "extra_forbidden"]
            if not unknown:
                raise self._damaged() from error
            raise UserError(
                f"{self.folder / MANIFEST}: {unknown[0]!r} is no setting of this version; use the version that the study was begun with"
            ) from error

    def manifest(self) -> dict[str, Any]:
        """The manifest; raises `UserError` where the folder holds no study."""
        try:
            data: dict[str, Any] = json.loads((self.folder / MANIFEST).read_text(encoding="utf-8"))
        except OSError as error:
            raise UserError(
                f"{self.folder}: holds no study ({MANIFEST} is missing); run one with: polyunlearn study run PRESET --out {self.folder}"
            ) from error
        except ValueError as error:
            raise self._damaged() from error
        if not isinstance(data, dict) or "study" not in data:
            raise self._damaged()
        return data

    def _damaged(self) -> UserError:
        return UserError(f"{self.folder / MANIFEST}: damaged; remove the folder and run the study again")

    def rows_path(self, cell: Cell) -> Path:
        """Where the rows of a cell are."""
        return self.folder / "cells" / f"{cell.id}.parquet"

    def weights_path(self, cell: Cell) -> Path:
        """Where the trained weights of a cell are, while they are kept."""
        return self.folder / "states" / f"{cell.id}.safetensors"

    def is_done(self, cell: Cell) -> bool:
        """Whether the cell's rows are on disk."""
        return self.rows_path(cell).is_file()

    def write(self, cell: Cell, rows: Sequence[Row], record: CellRecord) -> None:
        """Write a finished cell, atomically; its identity stands in every row."""
        about = json.dumps({**_identity(cell), "seed": cell.seed, **asdict(record)})
        table = _table(cell, rows).replace_schema_metadata({_RECORD: about.encode()})
        with atomic_path(self.rows_path(cell)) as temporary:
            pq.write_table(table, temporary)

    def attack_path(self, attack: str, cell: Cell) -> Path:
        """Where the rows of an attack on a cell are."""
        return self.folder / "attacks" / attack / f"{cell.id}.parquet"

    def write_attack(self, attack: str, cell: Cell, rows: Sequence[tuple[Variant, Row]]) -> None:
        """Write what an attack made of a cell, atomically: its rows, with the variant that each was measured under."""
        table = _table(cell, [row for _, row in rows])
        variants = [variant for variant, _ in rows]
        table = table.append_column("attack", pa.array([attack] * len(rows), pa.string()))
        table = table.append_column("variant", pa.array([own.name for own in variants], pa.string()))
        table = table.append_column("strength", pa.array([own.strength for own in variants], pa.float64()))
        table = table.append_column("attack_language", pa.array([own.language for own in variants], pa.string()))
        with atomic_path(self.attack_path(attack, cell)) as temporary:
            pq.write_table(table, temporary)

    def layers_page(self, cell: Cell) -> Path:
        """Where the page of a learned state that was traced layer by layer is; its figures stand beside it as JSON."""
        return self.folder / "layers" / f"{cell.id}.html"

    def knowledge_path(self, cell: Cell) -> Path:
        """Where the rows of what a cell's state knows are (`study.knowledge`)."""
        return self.folder / "knowledge" / f"{cell.id}.parquet"

    def write_knowledge(self, cell: Cell, rows: Sequence[Row]) -> None:
        """Write what a cell's state knows, atomically."""
        with atomic_path(self.knowledge_path(cell)) as temporary:
            pq.write_table(_table(cell, rows), temporary)

    def record(self, cell: Cell) -> CellRecord:
        """What was written beside the rows of a finished cell; raises `UserError` where they cannot be read."""
        about = json.loads(_footer(self.rows_path(cell)).metadata[_RECORD])
        known = {own.name: about[own.name] for own in fields(CellRecord) if own.name in about}
        # Called "trace" while there was but one such strategy.
        found = about.get("found") or about.get("trace")
        return CellRecord(**known | {"found": (Trace if "held" in found else Choice).of(found) if found else None})

    def query(self, sql: str) -> pa.Table:
        """Run SQL over the table `rows`: the rows of all finished cells, in the order in which they were written."""
        files = sorted(str(path) for path in (self.folder / "cells").glob("*.parquet"))
        if not files:
            raise UserError(f"{self.folder}: no cell is finished yet; see: polyunlearn study status {self.folder}")
        return self._query(files, sql)

    def is_attacked(self) -> bool:
        """Whether the rows of some attack are on disk."""
        return any((self.folder / "attacks").glob("*/*.parquet"))

    def query_attacks(self, sql: str) -> pa.Table:
        """Run SQL over the table `rows`: those of all attacks on all cells."""
        files = sorted(str(path) for path in (self.folder / "attacks").glob("*/*.parquet"))
        if not files:
            raise UserError(f"{self.folder}: nothing was attacked yet; run: polyunlearn attack {self.folder}")
        return self._query(files, sql)

    def query_knowledge(self, sql: str) -> pa.Table:
        """Run SQL over the table `rows`: those of what states know."""
        files = sorted(str(path) for path in (self.folder / "knowledge").glob("*.parquet"))
        if not files:
            raise UserError(f"{self.folder}: no state was measured so yet; run: polyunlearn study knowledge {self.folder}")
        return self._query(files, sql)

    def _query(self, files: list[str], sql: str) -> pa.Table:
        try:
            with duckdb.connect() as connection:
                rows = connection.read_parquet(files)  # noqa: F841 — DuckDB reads it by its name
                return connection.sql(sql).to_arrow_table()
        except duckdb.Error:
            for file in files:
                _footer(Path(file))
            raise


def _footer(path: Path) -> pq.FileMetaData:
    """What a file of rows says of itself; raises `UserError` where it cannot be read, as no kill of ours leaves one behind."""
    try:
        return pq.read_metadata(path)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: damaged ({first_line(error)}); remove it, and the command that made it makes it anew") from error


def _identity(cell: Cell) -> dict[str, str | None]:
    return {"cell": cell.id, "state": cell.state, "source": cell.source, "strategy": cell.strategy, "method": cell.method}


def _table(cell: Cell, rows: Sequence[Row]) -> pa.Table:
    """Rows as a table, with the identity of their cell in every one."""
    columns: dict[str, pa.Array] = {name: pa.array([value] * len(rows), pa.string()) for name, value in _identity(cell).items()}
    columns["seed"] = pa.array([cell.seed] * len(rows), pa.int32())
    for own in fields(Row):
        kind = own.type if isinstance(own.type, type) else {"int": int, "bool": bool, "str": str, "float": float}[str(own.type)]
        columns[own.name] = pa.array([getattr(row, own.name) for row in rows], _TYPES[kind])
    return pa.table(columns)


def _differences(found: Any, wanted: Any, prefix: str = "") -> list[str]:
    if not (isinstance(found, dict) and isinstance(wanted, dict)):
        return [f"{prefix}: {found!r} there, {wanted!r} asked"]
    return [
        item
        for key in sorted(found.keys() | wanted.keys())
        if found.get(key) != wanted.get(key)
        for item in _differences(found.get(key), wanted.get(key), f"{prefix}.{key}" if prefix else key)
    ]
