"""What a simulator plays: complete demand tables, who uses them, and when they come and go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from foreshade.envs.errors import WorkloadError

if TYPE_CHECKING:
    from foreshade.envs.forecast.event import ScheduledEvent

F32 = npt.NDArray[np.float32]
I32 = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class WorkloadVms:
    """One row per VM that the workload asks for."""

    name: tuple[str, ...]
    app: I32  # (n_vms,) row of the application it serves
    flavour: F32  # (n_vms, 5) MHz, MiB, MiB/s, Mbit/s, GPUs provisioned
    arrival_tick: I32  # (n_vms,) first tick it wants to run; 0 = there from the start
    departure_tick: I32  # (n_vms,) first tick it is gone; n_ticks = stays
    credit: F32  # (n_vms,) multiplier of the SLA credit

    def __len__(self) -> int:
        """Number of VMs."""
        return len(self.name)


@dataclass(frozen=True, slots=True)
class WorkloadApps:
    """One row per application: VMs that serve one load together share its demand by traffic weight."""

    name: tuple[str, ...]
    series: I32  # (n_apps,) column of the demand table
    members: I32  # (n_apps,) VMs among which the load is split at first
    memory_floor: F32  # (n_apps,) share of the memory demand that each member needs whatever its traffic
    offloadable: F32  # (n_apps,) largest share of the load that micro-VMs can take
    kind: tuple[
        str, ...
    ] = ()  # (n_apps,) type of each, as templates name them, "" = unknown; empty = all unknown

    def __len__(self) -> int:
        """Number of applications."""
        return len(self.name)


@dataclass(frozen=True, slots=True)
class Workload:
    """Demand of every series at every tick; a VM with a trace of its own is an application of one member."""

    name: str
    source: str  # where a person finds it
    start_epoch_s: int  # Unix time of tick 0
    tick_s: int
    demand: F32  # (n_ticks, n_series, 4) MHz, MiB, MiB/s, Mbit/s; finite, not negative, C-contiguous
    gpu: F32  # (n_ticks, n_gpu_series) GPUs wanted
    gpu_series: I32  # (n_gpu_series,) the series that each GPU column belongs to, ascending
    vms: WorkloadVms
    apps: WorkloadApps
    defects: Mapping[str, int] = field(default_factory=dict)  # what was met and mended, by kind
    notes: tuple[str, ...] = ()
    events: tuple[ScheduledEvent, ...] = ()  # that people announced, of applications by name

    def __post_init__(self) -> None:
        if self.demand.ndim != 3 or self.demand.shape[2] != 4:
            raise WorkloadError(
                f"{self.source}: demand has shape {self.demand.shape}, expected (n_ticks, n_series, 4)"
            )
        if self.demand.shape[0] == 0 or len(self.vms) == 0:
            raise WorkloadError(f"{self.source}: expected at least one tick and one VM")
        if not bool(np.isfinite(self.demand).all()) or bool((self.demand < 0).any()):
            raise WorkloadError(f"{self.source}: demand must be finite and not negative")
        if bool((self.apps.series < 0).any()) or bool((self.apps.series >= self.demand.shape[1]).any()):
            raise WorkloadError(f"{self.source}: an application names a series that does not exist")
        if bool((self.vms.app < 0).any()) or bool((self.vms.app >= len(self.apps)).any()):
            raise WorkloadError(f"{self.source}: a VM names an application that does not exist")

    @property
    def n_ticks(self) -> int:
        """Length in ticks."""
        return int(self.demand.shape[0])

    @property
    def n_series(self) -> int:
        """Number of demand series."""
        return int(self.demand.shape[1])
