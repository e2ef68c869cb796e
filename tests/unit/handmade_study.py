"""A small study that traces can look at."""

from typing import Any

SETTINGS: dict[str, Any] = {
    "name": "layers", "stories": 4, "languages": ["en", "de"], "sources": ["de", "en"], "strategies": ["all"],
    "learning": {"from_layer": 2, "passes": 6, "rate": 3e-3}, "unlearning": {"from_layer": 1, "steps": 4, "batch": 4, "wordings": 1},
    "scoring": {"wordings": 1, "answered_wordings": 0, "candidates": 4, "held_out_stories": 0},
}  # fmt: skip
