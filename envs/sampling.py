"""Random data centres for training: fleets, workloads, tariffs, forecasts and failures drawn from ranges.

Domain randomisation in the manner of Tobin et al., IROS 2017: a policy that has seen many data centres takes
the next one for one more of them. Start hours, prices' levels and lengths of episodes are drawn by each
episode (``Decision``), all else here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from foreshade import _core
from foreshade.envs import catalogue
from foreshade.envs.data_centre import cut
from foreshade.envs.errors import InputError
from foreshade.envs.forecast.distortion import MOST_BIAS, MOST_NOISE, Distortion
from foreshade.envs.forecast.table import Forecast, workload_table
from foreshade.envs.scenarios.load import load_scenario
from foreshade.envs.scenarios.schema import Scenario
from foreshade.envs.simulated import SimulatedWorld
from foreshade.envs.workloads.of_scenario import workload_of
from foreshade.envs.workloads.spec import Spec
from foreshade.envs.workloads.workload import Workload

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Sampling:
    """What may be drawn; a pair is the least and the most, drawn uniformly unless it says otherwise.

    Raises:
        InputError: a range is empty or out of bounds, or there is nothing to choose from.

    """

    #: Shipped scenario or file that says all that is not drawn: actions, overcommit, unmet prices.
    scenario: str = "enterprise"
    #: Specs of workloads, one drawn for each world; none = the scenario's own. VMs are sampled to fit the
    #: fleet.
    workloads: Sequence[str] = ()
    #: Hosts of our own, log-uniform: 20 to 200 span the fleets that a policy is trained for.
    hosts: tuple[int, int] = (20, 200)
    #: Servers of which the fleet is mixed, each in a share drawn from a flat Dirichlet; none = the
    #: scenario's own.
    servers: Sequence[str] = ()
    #: Or racks that are all alike: how many of which server stand in each; hosts are then whole racks.
    rack: Mapping[str, int] | None = None
    #: VMs' memory over the fleet's; below 1 some hosts can be off.
    fill: Range = (0.4, 0.8)
    #: Multiplier of all demand; a series never wants more than its VMs are provisioned with.
    demand: Range = (0.7, 1.4)
    #: Tariffs and grids of the catalogue, one of each drawn; none = the scenario's own.
    electricity: Sequence[str] = ()
    grids: Sequence[str] = ()
    #: Mean time between failures of a host in hours, log-uniform; None = hosts never fail.
    mtbf_h: Range | None = (500.0, 20_000.0)
    #: Share of failures that are foreseen, and false alarms a host and day: the quality of the hazard signal.
    recall: Range = (0.3, 0.9)
    false_alarms: Range = (0.0, 0.05)
    #: How far a world's forecasts are off, all of them: means times 1 + b, from -1 to 10.
    forecast_bias: Range | None = None
    #: And each by itself, in every tick and application: standard deviation of the logarithm, from 0 to 3. With
    #: either range the state shows forecasts, (0, 0) = the table's own; with both None it shows none.
    forecast_noise: Range | None = None
    #: Who places the first VMs where ``Decision.placed`` is set: worst-fit spreads, best-fit has
    #: consolidated.
    schedulers: Sequence[str] = ("worst-fit", "first-fit", "best-fit")

    def __post_init__(self) -> None:
        for name, bounds, least, limit in (
            ("hosts", self.hosts, 1.0, math.inf),
            ("fill", self.fill, 1e-3, math.inf),
            ("demand", self.demand, 0.0, math.inf),
            ("mtbf_h", self.mtbf_h or (1.0, 1.0), 1e-3, math.inf),
            ("recall", self.recall, 0.0, math.inf),
            ("false_alarms", self.false_alarms, 0.0, math.inf),
            ("forecast_bias", self.forecast_bias or (0.0, 0.0), -1.0, MOST_BIAS),
            ("forecast_noise", self.forecast_noise or (0.0, 0.0), 0.0, MOST_NOISE),
        ):
            if not least <= bounds[0] <= bounds[1] <= limit:
                below = f" <= {limit:g}" if limit < math.inf else ""
                raise InputError(
                    f"sampling: {name}: expected {least:g} <= least <= most{below}, got {bounds}"
                )
        if self.rack is not None:
            size = sum(self.rack.values())
            if self.servers or min(self.rack.values(), default=0) < 1 or any(n % size for n in self.hosts):
                raise InputError(
                    f"sampling: rack: expected servers to be empty and hosts in whole racks of {size}, "
                    f"got {self.hosts} and {dict(self.rack)}"
                )
        if not self.schedulers:
            raise InputError("sampling: schedulers: expected at least one, got none")


def sampled_worlds(sampling: Sampling, n: int, seed: int) -> list[SimulatedWorld]:
    """``n`` data centres; the same seed gives the same ones, and the first of them whatever ``n``.

    Where forecasts are drawn, each world's table is made and kept where ``forecast="table"`` keeps it.

    Raises:
        InputError: the scenario, a workload, a server or a tariff is unknown; a table of forecasts cannot be
            written.

    """
    base = load_scenario(sampling.scenario)
    return [_world(base, sampling, np.random.default_rng((seed, i))) for i in range(n)]


def _world(base: Scenario, sampling: Sampling, rng: np.random.Generator) -> SimulatedWorld:
    said = base.model_dump(exclude_unset=True)
    servers = list(sampling.servers) or sorted({g.server for rack in base.fleet for g in rack.hosts})
    changes: dict[str, Any] = {
        "fleet": _fleet(servers, round(_log_uniform(rng, sampling.hosts)), rng)
        if sampling.rack is None
        else _alike(sampling.rack, round(_log_uniform(rng, sampling.hosts))),
        "maintenance": (),  # it names hosts of the scenario's own fleet
        "scheduler": str(rng.choice(list(sampling.schedulers))),
        "failures": {
            **said.get("failures", {}),
            "mtbf_h": None if sampling.mtbf_h is None else _log_uniform(rng, sampling.mtbf_h),
            "recall": rng.uniform(*sampling.recall),
            "false_alarms_per_host_day": rng.uniform(*sampling.false_alarms),
        },
        "prices": dict(said.get("prices", {})),
    }
    if sampling.electricity:
        changes["prices"]["electricity"] = str(rng.choice(list(sampling.electricity)))
    if sampling.grids:
        changes["prices"]["grid"] = str(rng.choice(list(sampling.grids)))
    scenario = Scenario.model_validate({**said, **changes})
    spec = str(rng.choice(list(sampling.workloads))) if sampling.workloads else None
    room_mib = rng.uniform(*sampling.fill) * sum(
        catalogue.server(group["server"]).memory_mib * group["count"]
        for rack in changes["fleet"]
        for group in rack["hosts"]
    )
    workload = _workload(scenario, spec, room_mib, int(rng.integers(2**31)))
    scaled = _scaled(workload, rng.uniform(*sampling.demand))
    return SimulatedWorld(scenario, scaled, forecast=_forecast(scenario, scaled, sampling, rng))


def _forecast(
    scenario: Scenario, workload: Workload, sampling: Sampling, rng: np.random.Generator
) -> Forecast | _core.ForecastTable:
    """Drawn after all else, so that the same world can be had with and without."""
    if sampling.forecast_bias is None and sampling.forecast_noise is None:
        return "none"
    distortion = Distortion(
        bias=rng.uniform(*(sampling.forecast_bias or (0.0, 0.0))),
        noise=rng.uniform(*(sampling.forecast_noise or (0.0, 0.0))),
        seed=int(rng.integers(2**31)),
    )
    return workload_table(workload, cut(workload, scenario.n_ticks), distortion=distortion)


def _fleet(servers: Sequence[str], hosts: int, rng: np.random.Generator) -> tuple[Mapping[str, Any], ...]:
    """Racks of at most 16 hosts in two zones, each of one model as a purchase is."""
    counts = rng.multinomial(hosts, rng.dirichlet(np.ones(len(servers))))
    racks: list[Mapping[str, Any]] = []
    for name, count in zip(servers, counts, strict=True):
        for first in range(0, int(count), 16):
            group = {"server": name, "count": min(16, int(count) - first)}
            racks.append({"zone": "ab"[len(racks) % 2], "hosts": (group,)})
    return tuple(racks)


def _alike(rack: Mapping[str, int], hosts: int) -> tuple[Mapping[str, Any], ...]:
    """Racks of the same servers, by turns in two zones."""
    groups = tuple({"server": name, "count": count} for name, count in rack.items())
    return tuple({"zone": "ab"[k % 2], "hosts": groups} for k in range(round(hosts / sum(rack.values()))))


def _workload(scenario: Scenario, spec: str | None, room_mib: float, seed: int) -> Workload:
    """As many VMs as the room holds on average: counted on a first sample, then drawn again."""
    few = _read(scenario, spec, 100, seed)
    each_mib = _memory_at_once_mib(few) / 100.0
    return _read(scenario, spec, max(2, round(room_mib / each_mib)), seed)


def _memory_at_once_mib(workload: Workload) -> float:
    """Mean of what the VMs that are there at a time are provisioned with."""
    vms = workload.vms
    stay = vms.departure_tick - vms.arrival_tick
    return float((vms.flavour[:, 1] * stay).sum()) / workload.n_ticks


def _read(scenario: Scenario, spec: str | None, vms: int, seed: int) -> Workload:
    text = spec or scenario.workload
    if text is None:
        raise InputError(f"sampling: expected workloads for scenario {scenario.name}, got none")
    options = Spec.parse(text).options
    if "vms" in options:
        raise InputError(f"sampling: workload {text}: expected no vms, they follow from the fleet")
    loaded = workload_of(scenario, f"{text}{'&' if options else '?'}vms={vms}", seed)
    if not isinstance(loaded.played, Workload):
        raise InputError(f"sampling: scenario {scenario.name}: expected engine foreshade, got another")
    return loaded.played


def _scaled(workload: Workload, factor: float) -> Workload:
    """All demand times ``factor``, at most what the series' VMs have."""
    has = np.zeros((len(workload.apps), 4), np.float32)  # of the largest VM of each application
    np.maximum.at(has, workload.vms.app, workload.vms.flavour[:, :4])
    provisioned = np.zeros((workload.n_series, 4), np.float32)
    np.add.at(provisioned, workload.apps.series, has * workload.apps.members[:, None])
    demand = workload.demand * np.float32(factor)
    most = np.maximum(provisioned, workload.demand.max(axis=0))  # what it already wants stays possible
    return replace(workload, demand=np.ascontiguousarray(np.minimum(demand, most), dtype=np.float32))


def _log_uniform(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    low, high = np.log(bounds[0]), np.log(bounds[1])
    drawn: npt.NDArray[np.float64] = np.exp(rng.uniform(low, high, 1))
    return float(drawn[0])
