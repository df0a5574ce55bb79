"""What a template file may say, and the templates that ship with Foreshade."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, model_validator

from foreshade.envs.catalogue.entry import Count, Entry, NotNegative, Positive, Sourced, lookup
from foreshade.envs.errors import ScenarioError
from foreshade.envs.model.action import Allocation, Boot
from foreshade.envs.scenarios.schema import HostGroup, Scenario
from foreshade.envs.workloads.trace import REFERENCE_CORE_MHZ
from foreshade.envs.yaml_document import build, parse

SUFFIXES = (".yaml", ".yml")
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]
Utilisation = Annotated[float, Field(gt=0, le=1)]
BootPath = Literal["cold", "restored", "spare"]


class Image(Entry):
    """What the VM boots from."""

    name: Annotated[str, Field(min_length=1)]
    format: Literal["qcow2", "raw"] = "qcow2"
    disk_gib: Positive


class Network(Entry):
    """How the VM is attached."""

    attach: Name  # the hypervisor's network, by name
    model: Literal["virtio", "e1000e"] = "virtio"
    ports: tuple[Annotated[int, Field(ge=1, le=65_535)], ...] = ()  # that must be reachable


class Sizes(Entry):
    """Resources of one VM; a vCPU is taken as 2,500 MHz, as everywhere."""

    vcpus: Count
    memory_mib: Positive
    disk_mib_s: Positive
    network_mbit: Positive
    gpus: Annotated[int, Field(ge=0)] = 0

    @property
    def allocation(self) -> Allocation:
        """MHz, MiB, MiB/s, Mbit/s, GPUs."""
        return (
            self.vcpus * REFERENCE_CORE_MHZ,
            self.memory_mib,
            self.disk_mib_s,
            self.network_mbit,
            float(self.gpus),
        )


class Limits(Entry):
    """Least and most that a VM of the template may be given."""

    least: Sizes
    most: Sizes


class Target(Entry):
    """Share of its allocation that a VM is meant to use at the predicted demand."""

    cpu: Utilisation
    memory: Utilisation
    disk: Utilisation = 0.8
    network: Utilisation = 0.8
    gpu: Utilisation = 1.0

    @property
    def shares(self) -> Allocation:
        """In the order of resources."""
        return self.cpu, self.memory, self.disk, self.network, self.gpu


class Template(Sourced):
    """A pre-configured VM for one application type."""

    layout: Literal[1]  # of this file; another number is another set of keys
    name: Name
    version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")]
    application: Name  # the type that it serves
    description: str
    image: Image
    software: tuple[str, ...] = ()
    network: Network
    allocation: Sizes  # where nothing is predicted
    limits: Limits
    target: Target
    boot: Annotated[tuple[BootPath, ...], Field(min_length=1)]  # the paths that are prepared
    lead_s: NotNegative = 0.0  # from the guest's boot until the software serves

    @property
    def boots(self) -> tuple[Boot, ...]:
        """The prepared paths, cheapest to keep ready first."""
        return tuple(path for path in Boot if path.name.lower() in self.boot)

    @model_validator(mode="after")
    def _consistent(self) -> Template:
        for key in Sizes.model_fields:
            low, at, high = (getattr(s, key) for s in (self.limits.least, self.allocation, self.limits.most))
            if low > high:
                raise ValueError(f"expected limits.least.{key} <= limits.most.{key}, found {low} > {high}")
            if not low <= at <= high:
                raise ValueError(f"expected allocation.{key} within {low} to {high}, found {at}")
        if len(set(self.boot)) < len(self.boot):
            raise ValueError(f"expected each boot path once, found {list(self.boot)}")
        return self


@cache
def templates() -> Mapping[str, Template]:
    """The shipped templates by name."""
    found = (
        load(entry.read_text(encoding="utf-8"), entry.name)
        for entry in files(__package__).iterdir()
        if entry.name.endswith(SUFFIXES)
    )
    return {template.name: template for template in sorted(found, key=lambda t: t.name)}


def template(name_or_path: str) -> Template:
    """A shipped template by name, or a file by path.

    Raises:
        ScenarioError: an unknown name, or a file that is not as it should be: file, line, key, expected, found.

    """
    if not name_or_path.endswith(SUFFIXES) and "/" not in name_or_path:
        return lookup("template", name_or_path, templates())
    try:
        text = Path(name_or_path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{name_or_path}: expected a readable template file, found {error}") from error
    return load(text, name_or_path)


def load(text: str, name: str) -> Template:
    """One template from its YAML; ``name`` is said in errors."""
    document = parse(text, name)
    if not isinstance(document.value, Mapping):
        raise ScenarioError(f"{name}:1: expected keys and values, found {type(document.value).__name__}")
    return build(Template, document)


def show(said: Template) -> str:
    """The template as YAML that can be loaded again, defaults included."""
    return yaml.safe_dump(said.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=100)


def check_fits(said: Template, scenario: Scenario) -> None:
    """Refuse a template whose least VM fits on no host of the scenario, even an empty one.

    Raises:
        ScenarioError: with what it wants at least and what the roomiest host of that resource has.

    """
    groups = [group for rack in scenario.fleet for group in rack.hosts] + list(scenario.rented)
    rooms = [_room(group, scenario) for group in groups]
    least = said.limits.least.allocation
    if any(all(want <= room for want, room in zip(least, has, strict=True)) for has in rooms):
        return
    most = [max(column) for column in zip(*rooms, strict=True)]
    units = ("MHz", "MiB", "MiB/s", "Mbit/s", "GPUs")
    for want, room, unit in zip(least, most, units, strict=True):
        if want > room:
            raise ScenarioError(
                f"template {said.name}: expected a host of {scenario.name} with {want:,.0f} {unit}, "
                f"found at most {room:,.0f}"
            )
    raise ScenarioError(
        f"template {said.name}: expected a host of {scenario.name} that holds its least VM, "
        "found one for each resource but none for all"
    )


def _room(group: HostGroup, scenario: Scenario) -> Allocation:
    """What an empty host may promise to one VM: the room that docs/physics.md checks, GPUs counted."""
    profile, limits = group.profile, scenario.overcommit
    cpu, memory, disk, network, gpu = group.machine.capacity
    share = profile.efficiency
    return (
        cpu * share.cpu * min(limits.cpu, profile.cpu_overcommit) - profile.per_vm.cpu_mhz,
        memory * share.memory * min(limits.memory, profile.memory_overcommit) - profile.per_vm.memory_mib,
        disk * share.disk * limits.disk,
        network * share.network * limits.network,
        gpu,
    )
