"""The presets, and the YAML files of users: read, changed by overrides, and checked as a whole before anything runs."""

from collections.abc import Hashable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from polyunlearn.errors import UserError, fault_text, unknown_name
from polyunlearn.files import read_utf8
from polyunlearn.study.config import StudyConfig


class _Once(yaml.SafeLoader):
    """Reads YAML in which no key stands twice in one section, of which YAML would keep the last without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key, _ in node.value:
            name = self.construct_object(key, deep=True)
            if not isinstance(name, Hashable):
                raise yaml.constructor.ConstructorError(None, None, f"{name!r} cannot be a key; write a word", key.start_mark)
            if name in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {name!r} stands twice in one section; keep one", key.start_mark
                )
            seen.add(name)
        return dict(super().construct_mapping(node, deep))


def preset_names() -> list[str]:
    """The presets that come with the package."""
    return sorted(entry.name.removesuffix(".yaml") for entry in files("polyunlearn.presets").iterdir() if entry.name.endswith(".yaml"))


def load_config(preset: str, overrides: Sequence[str] = ()) -> StudyConfig:
    """Read a preset by name, or a YAML file by path, and apply overrides such as "unlearning.rate=1e-5".

    Raises:
        UserError: with every problem found, each on a line of its own.
    """
    path = Path(preset)
    if preset in preset_names():
        where, text = f"preset {preset!r}", files("polyunlearn.presets").joinpath(f"{preset}.yaml").read_text(encoding="utf-8")
    elif path.suffix in (".yaml", ".yml") and path.is_file():
        where, text = str(path), read_utf8(path)
    elif path.is_file():
        raise UserError(f"{path}: a study is a YAML file; give it the ending .yaml")
    elif path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        raise UserError(f"{path}: there is no such file; presets are {', '.join(preset_names())}")
    else:
        raise unknown_name("preset", preset, preset_names(), ", or give the path of a YAML file")
    try:
        data = yaml.load(text, _Once)
    except yaml.YAMLError as error:
        raise UserError(f"{where}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise UserError(f"{where}: must be a mapping of keys, such as 'sources: [de]'")
    came_with = list(_method_settings(data))
    for override in overrides:
        _apply(data, override)
    # Who asks for other methods need not take away the settings of those that a preset has.
    for method in came_with:
        if any(override.startswith("methods=") for override in overrides) and method not in (data.get("methods") or []):
            _method_settings(data).pop(method, None)
    try:
        return StudyConfig.model_validate(data)
    except ValidationError as error:
        raise UserError("\n".join(f"{where}: {line}" for item in error.errors() for line in _explained(item).split("\n"))) from error


def _method_settings(data: dict[str, Any]) -> dict[str, Any]:
    """`unlearning.settings` as it stands, which may change; a copy of its own where there is none."""
    unlearning = data.get("unlearning")
    settings = unlearning.get("settings") if isinstance(unlearning, dict) else None
    return settings if isinstance(settings, dict) else {}


def _apply(data: dict[str, Any], override: str) -> None:
    key, sign, value = override.partition("=")
    if not sign or not key:
        raise UserError(f"--set {override}: write key=value, such as --set unlearning.rate=1e-5")
    *parents, last = key.split(".")
    node = data
    for parent in parents:
        child = node.setdefault(parent, {})
        if not isinstance(child, dict):
            raise UserError(f"--set {override}: {parent!r} is a value, not a section")
        node = child
    try:
        node[last] = yaml.load(value, _Once)
    except yaml.YAMLError as error:
        raise UserError(f"--set {override}: {value!r} is not a YAML value; quote it, or write a number, a word or [a, b]") from error


def _explained(item: Any) -> str:
    if item["type"] == "extra_forbidden":
        return fault_text(item, _keys_beside(item["loc"]))
    key, message = ".".join(str(part) for part in item["loc"]), fault_text(item, ())
    return "\n".join(f"{key}: {line}" for line in message.split("\n")) if key else message


def _keys_beside(location: tuple[Any, ...]) -> list[str]:
    section: Any = StudyConfig
    for part in location[:-1]:
        section = section.model_fields[part].annotation
    return list(section.model_fields)
