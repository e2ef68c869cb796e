"""Pages for a browser: a template of this package, filled in."""

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from polyunlearn.files import write_text_atomically
from polyunlearn.report.tables import places, signed


def write_page(template: str, path: Path, heat: Callable[[Any], str] | None = None, **fields: Any) -> None:
    """Fill in a template and write the page atomically; `heat` gives the background of a cell."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"heat": heat, "places": places, "signed": signed} if heat else {"places": places, "signed": signed}
    page = environment.from_string(files("polyunlearn.report").joinpath(template).read_text(encoding="utf-8"))
    write_text_atomically(path, page.render(**fields))
