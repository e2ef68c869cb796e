"""Answers on disk, one file each, under a hash of all that was asked: what has been answered is never asked again."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polyunlearn.files import write_text_atomically


class AnswerCache:
    """Texts by their request, which is plain data. A file holds the request beside its answer, so that a person can read what was asked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, request: Mapping[str, Any]) -> str | None:
        """The answer that was kept, or None; a file that cannot be read counts as none and is written anew."""
        try:
            kept = json.loads(self._path(request).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        answer = kept.get("answer") if isinstance(kept, dict) else None
        return answer if isinstance(answer, str) else None

    def put(self, request: Mapping[str, Any], answer: str) -> None:
        """Keep an answer; raises `UserError` where the folder cannot be written."""
        write_text_atomically(self._path(request), json.dumps({"request": request, "answer": answer}, ensure_ascii=False, indent=1))

    def _path(self, request: Mapping[str, Any]) -> Path:
        name = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
        # A corpus has thousands of answers: a folder of them all would be slow to list.
        return self._folder / name[:2] / f"{name}.json"


def model_identity(name: str) -> str:
    """What tells a model from another in the cache: a hub's name, or a folder's path with the sizes and times of its files."""
    folder = Path(name)
    if not folder.is_dir():
        return name
    stats = {path.name: path.stat() for path in sorted(folder.iterdir()) if path.is_file()}
    return json.dumps([str(folder.resolve()), {own: [stat.st_size, stat.st_mtime_ns] for own, stat in stats.items()}])
