"""What the tests of readers share: rows as a JSONL file, and the text of an error."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from polyunlearn.errors import UserError

Rows = list[dict[str, Any]]


def jsonl(path: Path, rows: Rows) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def said(call: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        call()
    return str(caught.value)
