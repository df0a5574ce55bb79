"""One run of the scenario ``cloudsim``: CloudSim's own methods natively, any other agent step by step."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from foreshade import _core
from foreshade.agents.agent import Agent
from foreshade.envs.cloudsim import CloudSimWorld, Method, Variant
from foreshade.envs.data_centre import server_model
from foreshade.envs.errors import InputError
from foreshade.envs.model.action import Plan
from foreshade.envs.run_metrics import RunMetrics
from foreshade.envs.scenarios.schema import Scenario
from foreshade.envs.site import Economy, Site
from foreshade.envs.workloads.planetlab import PercentDay

#: Nothing is priced in this scenario. Agents that weigh money are told the kWh of ``CloudSimRules`` at this price;
#: the level is high, so margins are small.
ENERGY_USD_KWH = 10.0
#: What a day of PlanetLab's VMs asks for, about: 250 GHz over 24 h.
DAY_MHZ_H = 6e6


def play_cloudsim(
    scenario: Scenario, day: PercentDay, agent: Agent, seed: int, on_tick: Callable[[int], None]
) -> tuple[RunMetrics, int]:
    """Play a PlanetLab day under CloudSim's rules; returns the metrics and the number of hosts."""
    method = _native_method(agent.name)
    world = cloudsim_world(scenario, day, method)
    if method is not None:
        world.run(method.policy, method.parameter)
    else:
        agent.reset(cloudsim_site(scenario, world, seed))
        for k in range(day.n_ticks):
            state = world.observe()
            world.execute(Plan(state.tick, agent.act(state)))
            if world.done:
                break
            world.advance()
            on_tick(k + 1)
    on_tick(day.n_ticks)
    return _metrics(world.metrics(), world.series(), day.n_ticks), scenario.n_hosts


def cloudsim_world(scenario: Scenario, day: PercentDay, method: Method | None = None) -> CloudSimWorld:
    """The world of a day, for one of CloudSim's own methods or for an agent."""
    variant: Variant = "stock" if scenario.cloudsim.remove_idle else "keepzero"
    return CloudSimWorld(
        day.percent,
        day.names,
        variant=variant,
        hosts=scenario.n_hosts,
        first_fit=method is not None and method.first_fit,
        full_power=method is not None and method.full_power,
    )


def _native_method(label: str) -> Method | None:
    """CloudSim's own method of that name, None for an agent that CloudSim does not know."""
    try:
        return Method.parse(label.replace("-", "_"))
    except InputError:
        return None


def _metrics(said: _core.CloudSimMetrics, series: _core.CloudSimSeries, ticks: int) -> RunMetrics:
    time_s = 300.0 * np.arange(1, len(series.power_w) + 1, dtype=np.float64)
    return RunMetrics(
        ticks=ticks,
        energy_kwh=said.energy_kwh,
        rack_kwh=0.0,
        cooling_kwh=0.0,
        cost_usd=0.0,
        cost_terms={},
        migrations=said.migrations,
        migration_downtime_s=0.0,
        slatah=said.slatah,
        pdm=said.pdm,
        slav=said.slav,
        esv=said.esv,
        unmet_demand=said.unmet_demand,
        unmet_demand_worst_vm=said.unmet_demand_worst_vm,
        unmet_by_resource={"cpu": said.unmet_demand},
        sla_violations=0,
        host_shutdowns=said.host_shutdowns,
        history={
            "time_s": time_s,
            "host_power_w": np.asarray(series.power_w, dtype=np.float64),
            "hosts_on": np.asarray(series.hosts_on, dtype=np.float64),
            "migrations": np.asarray(series.migrations, dtype=np.float64),
            "demand_cpu_mhz": np.asarray(series.requested_mips, dtype=np.float64),
            "used_cpu_mhz": np.asarray(series.allocated_mips, dtype=np.float64),
        },
    )


def cloudsim_site(scenario: Scenario, world: CloudSimWorld, seed: int) -> Site:
    """What an agent is told of it, with prices that the scenario does not have."""
    n_hosts = scenario.n_hosts
    group = scenario.fleet[0]
    curves = [
        server_model(host.machine, host.server, power_managed=True).power_w
        for host in group.hosts
        for _ in range(host.count)
    ]
    cores = [host.machine.mhz for host in group.hosts for _ in range(host.count)]
    n_ticks = 288
    return Site(
        tick_s=world.tick_s,
        n_ticks=n_ticks,
        capabilities=world.capabilities,
        economy=Economy(
            electricity_usd_kwh=np.full(n_ticks, ENERGY_USD_KWH, np.float32),
            carbon_usd_kwh=np.zeros(n_ticks, np.float32),
            pue=1.0,
            unmet_usd_h=(ENERGY_USD_KWH * scenario.cloudsim.unmet_kwh / DAY_MHZ_H, 0.0, 0.0, 0.0, 0.0),
            late_usd_mhz_h=0.0,
            downtime_usd_h=0.0,
            migration_usd=ENERGY_USD_KWH * scenario.cloudsim.migration_kwh,
            boot_usd=0.0,
        ),
        power_w=np.array([curves[h % len(curves)] for h in range(n_hosts)], dtype=np.float32),
        cores=np.full(n_hosts, 2, np.int32),
        off_w=np.zeros(n_hosts, np.float32),
        vm_overhead=np.zeros((n_hosts, 5), np.float32),
        rented=np.zeros(n_hosts, np.bool_),
        seed=seed,
        idle_is_off=True,
        migration_mbit_s=500.0,
        # A VM has one core and gets no more than one core of its host.
        largest_vm_mhz=np.array([cores[h % len(cores)] for h in range(n_hosts)], dtype=np.float32),
    )
