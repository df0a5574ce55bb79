"""Hypervisor profiles of a file, laid out as the catalogue: what was learned can be read, edited and simulated."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from foreshade.envs import catalogue
from foreshade.envs.errors import InputError, ScenarioError
from foreshade.envs.profiler import ABILITIES, ALL, Estimated, Profiler
from foreshade.envs.scenarios.schema import HostGroup, Scenario
from foreshade.envs.yaml_document import build, parse


def read_profiles(path: str | Path) -> dict[str, catalogue.Hypervisor]:
    """The entries of a file's ``hypervisors``, by name.

    Raises:
        InputError: it cannot be read, or an entry is not what the catalogue's are.

    """
    try:
        document = parse(Path(path).read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected a file of profiles, found {error}") from error
    said = document.value
    entries = said.get("hypervisors") if isinstance(said, Mapping) else None
    if not isinstance(entries, Mapping) or not entries:
        raise ScenarioError(f"{path}:1: expected hypervisors with their entries, found none")
    if extra := sorted(str(key) for key in said.keys() - {"hypervisors", "fingerprints"}):
        raise ScenarioError(
            f"{path}:{document.line((extra[0],))}: expected hypervisors and fingerprints, found {extra[0]!r}"
        )
    return {
        str(name): build(catalogue.Hypervisor, document, given, ("hypervisors", name))
        for name, given in entries.items()
    }


def with_profiles(scenario: Scenario, profiles: Mapping[str, catalogue.Hypervisor]) -> Scenario:
    """The scenario whose hosts have those figures; hypervisors that are not named keep the catalogue's.

    Raises:
        ScenarioError: no host of the scenario has any of them.

    """

    def figured(group: HostGroup) -> HostGroup:
        found = profiles.get(group.hypervisor)
        return group.model_copy(update={"figures": found}) if found is not None else group

    there = {g.hypervisor for rack in scenario.fleet for g in rack.hosts} | {
        g.hypervisor for g in scenario.rented
    }
    if not there & profiles.keys():
        raise ScenarioError(
            f"scenario {scenario.name}: expected profiles of {', '.join(sorted(there))}, "
            f"found {', '.join(sorted(profiles))}"
        )
    return scenario.model_copy(
        update={
            "fleet": tuple(
                rack.model_copy(update={"hosts": tuple(figured(group) for group in rack.hosts)})
                for rack in scenario.fleet
            ),
            "rented": tuple(figured(group) for group in scenario.rented),
        }
    )


def profiles_text(profiler: Profiler, hypervisors: tuple[str, ...]) -> str:
    """What ``read_profiles`` reads back, with the fingerprints of every class of workload beside it."""
    said: dict[str, Any] = {
        "hypervisors": {name: profiler.measured(name).model_dump(mode="json") for name in hypervisors},
        "fingerprints": {},
    }
    for hypervisor, workload, quantity, found in profiler.fingerprints():
        if hypervisor in hypervisors:
            of_class = said["fingerprints"].setdefault(hypervisor, {}).setdefault(workload, {})
            of_class[quantity] = _row(found)
    text = yaml.safe_dump(said, sort_keys=False, width=110, default_flow_style=None, allow_unicode=True)
    heading = f"# Learned hypervisor profiles; {ALL!r} is every class of workload. Shares, s, Mbit/s and ms;"
    return f"{heading}\n# {', '.join(ABILITIES)}: chance of success. low, high: 95 % interval.\n{text}"


def _row(found: Estimated) -> dict[str, float]:
    return {
        "value": float(f"{found.value:.4g}"),
        "low": float(f"{found.low:.4g}"),
        "high": float(f"{found.high:.4g}"),
        "n": found.n,
    }
