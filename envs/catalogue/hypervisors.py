"""Hypervisor profiles: what one takes, how fast it boots, what it can change, how it migrates."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from pydantic import model_validator

from foreshade.envs.catalogue.entry import (
    Count,
    Entry,
    Factor,
    NotNegative,
    Positive,
    Share,
    Sourced,
    document,
    lookup,
)
from foreshade.envs.yaml_document import build


class Efficiency(Entry):
    """Share of the hardware's capacity that guests can use; the rest is the hypervisor's tax."""

    cpu: Share
    memory: Share
    disk: Share
    network: Share
    gpu: Share


class VmOverhead(Entry):
    """What each VM costs its host beyond what the guest sees."""

    cpu_mhz: NotNegative
    memory_mib: NotNegative


class BootTimes(Entry):
    """Seconds from the request until the guest serves."""

    cold: Positive
    restored: Positive  # from a saved image
    spare: Positive  # resume of a paused VM
    microvm: Positive


class HotPlug(Entry):
    """What can be changed while the guest runs."""

    cpu_up: bool
    cpu_down: bool
    memory_up: bool
    memory_down: bool
    disk: bool
    network: bool


class Migration(Entry):
    """Pre-copy live migration.

    A VM of ``m`` MiB used memory dirties ``dirty_share_per_s * m * cpu_utilisation`` MiB each second, and
    never more than ``writable_share * m`` of distinct pages in one round. Rounds end when the rest can be
    sent within ``downtime_ms``, or after ``max_rounds``.
    """

    bandwidth_mbit: Positive  # limit of one migration
    setup_s: NotNegative
    downtime_ms: Positive  # pause that the last round may take
    resume_s: NotNegative  # announce the new place, resume
    max_rounds: Count
    cpu_mhz_per_gbit: NotNegative  # at each end, while copying at 1000 Mbit/s
    slowdown: Share  # share of its CPU that the migrating VM loses
    dirty_share_per_s: NotNegative  # of used memory, at full CPU
    writable_share: Share  # writable working set, of used memory


class Hypervisor(Sourced):
    """One hypervisor's profile."""

    title: str
    efficiency: Efficiency
    per_vm: VmOverhead
    cpu_overcommit: Factor  # largest sum of vCPU over capacity
    memory_overcommit: Factor  # largest sum of memory over capacity
    boot_s: BootTimes
    shutdown_s: Positive
    hot_plug: HotPlug
    migration: Migration
    swap_slowdown: Factor  # a VM whose memory is short runs this many times slower

    @model_validator(mode="after")
    def _consistent(self) -> Hypervisor:
        times = self.boot_s
        if not times.spare <= times.restored <= times.cold:
            raise ValueError(f"expected boot_s spare <= restored <= cold, found {times}")
        return self


@cache
def hypervisors() -> Mapping[str, Hypervisor]:
    """Every profile of the catalogue by name."""
    read = document("hypervisors.yaml")
    return {
        name: build(Hypervisor, read, given, ("hypervisors", name))
        for name, given in read.value["hypervisors"].items()
    }


def hypervisor(name: str) -> Hypervisor:
    """One profile; ScenarioError lists the known names."""
    return lookup("hypervisor", name, hypervisors())
