"""What chooses: the one protocol behind every baseline, the rules and HAM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from foreshade._core import ClusterState
from foreshade.envs.model.action import Action, ActionKind
from foreshade.envs.model.state import Resource

F32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Economy:
    """Prices that an operator knows; the same that the reward is made of."""

    electricity_usd_kwh: F32  # (n_ticks,) tariff at each tick of the run
    carbon_usd_kwh: F32  # (n_ticks,) price of the carbon of one kWh at each tick
    pue: float
    unmet_usd_h: tuple[float, float, float, float, float]  # per MHz·h, MiB·h, (MiB/s)·h, (Mbit/s)·h, GPU·h
    late_usd_mhz_h: float
    downtime_usd_h: float
    migration_usd: float
    boot_usd: float
    slo_stretch: float = 2.0  # response time promised over the unloaded one; beyond it work counts as late


@dataclass(frozen=True, slots=True)
class Site:
    """What an agent is told once, before the first tick; nothing in it knows the future's demand."""

    tick_s: float
    n_ticks: int
    capabilities: frozenset[ActionKind]
    economy: Economy
    power_w: F32  # (n_hosts, 11) power at 0, 10, …, 100 % of the CPU; 0 where it is a provider's
    cores: npt.NDArray[np.int32]  # (n_hosts,) physical cores
    off_w: F32  # (n_hosts,)
    vm_overhead: F32  # (n_hosts, 5) what the hypervisor takes for each VM that stands there
    rented: npt.NDArray[np.bool_]  # (n_hosts,) hosts that a cloud rents us by the hour
    seed: int
    #: (n_hosts,) largest CPU allocation of one VM that a host can serve, MHz; None = any
    largest_vm_mhz: F32 | None = None
    #: (n_racks,) what each rack draws by itself until it is switched off; None = not told
    rack_w: F32 | None = None


class Agent(Protocol):
    """Turns what is seen of a cluster into the actions of one tick; does no I/O and knows no future."""

    @property
    def name(self) -> str:
        """As written on the command line, parameters included."""
        ...

    @property
    def power_managed(self) -> bool:
        """False = its hosts draw full power whatever their load (the baseline ``npa`` alone)."""
        ...

    def reset(self, site: Site) -> None:
        """Forget everything; a run on ``site`` begins."""
        ...

    def act(self, state: ClusterState) -> Sequence[Action]:
        """The actions of this tick, in order; ``state`` is valid until the next tick only."""
        ...


#: The resources that every VM uses; GPUs are placed by allocation alone.
DENSE = slice(Resource.CPU, Resource.GPU)
