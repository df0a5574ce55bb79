"""Scenario files from disk or from the package to values."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from foreshade.envs.catalogue.entry import lookup
from foreshade.envs.errors import ScenarioError
from foreshade.envs.scenarios.schema import Scenario
from foreshade.envs.yaml_document import Document, build, parse

SUFFIXES = (".yaml", ".yml")


def list_scenarios() -> Mapping[str, str]:
    """The shipped scenarios: name to description, by name."""
    found = {}
    for entry in files(__package__).iterdir():
        if entry.name.endswith(SUFFIXES):
            said = parse(entry.read_text(encoding="utf-8"), entry.name).value
            found[entry.name.rsplit(".", 1)[0]] = str(said.get("description", ""))
    return dict(sorted(found.items()))


def load_scenario(name_or_path: str | Path, variant_name: str = "") -> Scenario:
    """A shipped scenario by name, or a file by path; ``variant_name`` picks one of its variants.

    Every variant of the file is checked, also those that are not picked. Raises ScenarioError with one line:
    file, line, key, what was expected and what was found.
    """
    document = _document(name_or_path)
    if not isinstance(document.value, Mapping):
        found = type(document.value).__name__
        raise ScenarioError(f"{document.name}:1: expected keys and values, found {found}")
    plain = build(Scenario, document)
    for name, override in plain.variants.items():
        _check_variant(document, name, override)
    return variant(plain, variant_name) if variant_name else plain


def variant(scenario: Scenario, name: str) -> Scenario:
    """The scenario with one of its variants laid over it; mappings merge key by key, all else replaces."""
    override = lookup(f"variant of {scenario.name}", name, scenario.variants)
    given = scenario.model_dump(exclude_unset=True)
    return Scenario.model_validate({**_merge(given, override), "variant": name})


def show(scenario: Scenario) -> str:
    """The effective scenario as YAML that can be loaded again: every key, defaults included."""
    foreign = {"cloudsim"} if scenario.engine != "cloudsim" else None
    said = _plain(scenario.model_dump(exclude=foreign))
    return yaml.safe_dump(said, sort_keys=False, allow_unicode=True, width=100)


def _document(name_or_path: str | Path) -> Document:
    given = str(name_or_path)
    if given.endswith(SUFFIXES) or "/" in given or isinstance(name_or_path, Path):
        try:
            return parse(Path(given).read_text(encoding="utf-8"), given)
        except (OSError, UnicodeDecodeError) as error:
            raise ScenarioError(f"{given}: expected a readable scenario file, found {error}") from error
    shipped = files(__package__).joinpath(f"{given}.yaml")
    if not shipped.is_file():
        raise ScenarioError(
            f"unknown scenario {given!r}, expected one of {', '.join(list_scenarios())}, "
            "or a path to a .yaml file"
        )
    return parse(shipped.read_text(encoding="utf-8"), f"{given}.yaml")


def _check_variant(document: Document, name: str, override: Mapping[str, Any]) -> None:
    """Validate a variant so that an error in it points at the line inside ``variants``."""
    if forbidden := {"variants", "variant", "name"} & set(override):
        key = min(forbidden)
        line = document.line(("variants", name, key))
        raise ScenarioError(f"{document.name}:{line}: variants.{name}: expected no {key}, found one")
    lines = dict(document.lines)
    prefix = ("variants", name)
    lines.update({path[2:]: line for path, line in document.lines.items() if path[:2] == prefix and path[2:]})
    value = _merge(document.value, override)
    build(Scenario, Document(f"{document.name} (variant {name})", value, lines))


def _merge(base: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in override.items():
        below = merged.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            merged[key] = _merge(below, value)
        else:
            merged[key] = value
    return merged


def _plain(value: Any) -> Any:
    """Lists, dicts and ISO times, which YAML writes without tags."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value.isoformat() if isinstance(value, datetime) else value
