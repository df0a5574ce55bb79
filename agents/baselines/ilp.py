"""Placement by integer program every hour, in the manner of OpenNebula's OneDRS.

From its documented behaviour (OpenNebula documentation, "Distributed Resource Scheduler"): placement and
migration of a cluster are one integer linear program whose objective weighs balance or consolidation,
forecasts and the number of migrations. Here everything is weighed in money over the time a placement is
expected to last, and HiGHS solves it:

    minimise  sum_h idle_h y_h + sum_vh slope_h cpu_v x_vh + sum of moves * price
              + unmet price * share of the time * sum_h (cpu beyond the target + memory beyond capacity)
    each VM on one host; what comes to a host fits beside all that is reserved there now; x_vh <= y_h.

Different from OneDRS, and from an exact optimum: only VMs on the least and the most loaded hosts may move
(the rest is a constant), and only to hosts with most free room, so that the program stays small on any
cluster; power is a straight line between idle and full; what a move frees can be used from the next program
on, because a copy's source stays reserved. The program is solved on one thread, from the present placement as
first solution, and ends on a gap or a number of nodes; the time limit stands far above both, so that a run
can be repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import highspy
import numpy as np

from foreshade._core import ClusterState
from foreshade.agents.baselines.overload import DemandHistory
from foreshade.agents.baselines.planned import F64, I64, N_RESOURCES, Mask, Planned
from foreshade.envs.model.action import Action
from foreshade.envs.model.state import Resource
from foreshade.envs.site import Site


@dataclass(frozen=True, slots=True)
class IntegerProgramConfig:
    """What bounds the program, and what it believes of the future."""

    period_s: float = 3600.0  # between two programs; OneDRS is run by a timer of this order
    window: int = 12  # ticks of history: mean for energy, peak for overload
    lasts_h: float = 4.0  # how long a placement is expected to last: what a move has to earn itself back in
    cpu_target: float = 0.8  # of capacity, below it queues are short
    fill: float = 0.9  # of allocation limits; the rest is for arrivals, that else wait for a host to boot
    peak_share: float = 0.25  # of the time in which the window's peak is met
    donors: int = 4  # least loaded hosts whose VMs may move, and as many of the most loaded
    receivers: int = 16  # hosts that may take them, donors included
    gap: float = 0.01  # relative, at which a solution is good enough
    nodes: int = 200  # of the search tree
    time_limit_s: float = 20.0  # a stop for pathological programs only


class IntegerProgram:
    """Arrivals go where power grows least; once an hour a program moves VMs."""

    name = "ilp"
    power_managed = True

    def __init__(self, config: IntegerProgramConfig | None = None) -> None:
        self._config = config or IntegerProgramConfig()
        self._site: Site | None = None
        self._history = DemandHistory(self._config.window)
        self._next_s = 0.0

    def reset(self, site: Site) -> None:
        """Forget the history; the first program is solved once a window has been seen."""
        self._site = site
        self._history = DemandHistory(self._config.window)
        self._next_s = self._config.window * site.tick_s

    def act(self, state: ClusterState) -> Sequence[Action]:
        """Arrivals, the program when it is due, empty hosts off."""
        assert self._site is not None  # noqa: S101 - reset comes first by the protocol
        plan = Planned(state, self._site)
        self._history.record(plan, state)
        plan.place_pending(lambda vm, room: self._cheapest(plan, vm, room), "arrival where power grows least")
        if state.time_s >= self._next_s and plan.movable.any():
            self._next_s = state.time_s + self._config.period_s
            tick = min(state.tick, len(self._site.economy.electricity_usd_kwh) - 1)
            program = _Program(plan, self._history, self._config, state.hosts.arriving > 0, tick)
            for vm, host in program.solve():
                plan.move(vm, host, "hourly program")
            if program.crowded >= 0:
                plan.await_room(program.crowded, "the program found no room below the target")
        plan.switch_off_empty()
        return plan.actions

    def _cheapest(self, plan: Planned, vm: int, room: Mask) -> int:
        cpu = plan.load[:, Resource.CPU] + plan.vm_load[vm, Resource.CPU]
        memory = plan.allocated[:, Resource.MEMORY] + plan.vm_allocation[vm, Resource.MEMORY]
        calm = room & (cpu <= self._config.cpu_target * plan.capacity[:, Resource.CPU])
        calm &= memory <= self._config.fill * plan.limit[:, Resource.MEMORY]
        return int(np.argmin(np.where(calm if calm.any() else room, plan.power_increase_w(vm), np.inf)))


class _Program:
    """One integer program over the VMs of a few hosts."""

    def __init__(
        self, plan: Planned, history: DemandHistory, config: IntegerProgramConfig, arriving: Mask, tick: int
    ) -> None:
        self.plan = plan
        self.config = config
        self.crowded = -1  # the largest VM of a host that stays beyond its target, if any
        series = history.of_hosts(plan) * plan.capacity[:, :2]
        self.host_peak: F64 = series.max(axis=0)  # (n_hosts, 2) MHz, MiB
        self.donors, self.receivers = self._neighbourhood()
        self.vms: I64 = np.flatnonzero(plan.movable & np.isin(plan.place, self.donors))
        of_vms = history.of_vms(self.vms)
        self.vm_mean: F64 = of_vms.mean(axis=0)  # (n_moving, 2)
        self.vm_peak: F64 = of_vms.max(axis=0)
        all_move = np.bincount(plan.place[self.vms], minlength=plan.n_hosts) == plan.count
        self.can_empty: Mask = all_move & ~arriving & plan.can_power
        economy = plan.site.economy
        usd_kwh = float(economy.electricity_usd_kwh[tick] + economy.carbon_usd_kwh[tick]) * economy.pue
        self.usd_w = usd_kwh / 1000.0 * config.lasts_h
        self.unmet_usd = np.array(economy.unmet_usd_h[:2]) * config.lasts_h * config.peak_share
        self.move_usd = economy.migration_usd

    def _neighbourhood(self) -> tuple[I64, I64]:
        plan, config = self.plan, self.config
        hosts = np.flatnonzero(plan.targets & (plan.count > 0))
        share = (self.host_peak / plan.capacity[:, :2]).max(axis=1)
        by_load = hosts[np.argsort(share[hosts], kind="stable")]
        donors = np.unique(np.concatenate((by_load[: config.donors], by_load[-config.donors :])))
        others = np.setdiff1d(hosts, donors)
        free = 1.0 - plan.allocated[:, Resource.MEMORY] / plan.limit[:, Resource.MEMORY]
        roomy = others[np.argsort(-free[others], kind="stable")]
        return donors, np.sort(np.concatenate((donors, roomy[: max(0, config.receivers - len(donors))])))

    def solve(self) -> list[tuple[int, int]]:
        """The moves of the best placement found."""
        plan, hosts, vms = self.plan, self.receivers, self.vms
        if not len(vms):
            return []
        rows = plan.place[vms]
        allowed = plan.fits_many(vms)
        allowed[np.arange(len(vms)), rows] = True
        v, h = np.nonzero(allowed[:, hosts])  # one x variable per pair
        host = hosts[h]
        moves = host != rows[v]
        n_x, n_h = len(v), len(hosts)
        y, over_cpu, over_memory = n_x + np.arange(n_h), n_x + n_h, n_x + 2 * n_h
        n = n_x + 3 * n_h

        power = plan.site.power_w
        slope = (power[hosts, -1] - power[hosts, 0]) / plan.capacity[hosts, Resource.CPU]
        cpu = self.vm_mean[v, 0] + plan.site.vm_overhead[host, Resource.CPU]
        cost = np.zeros(n)
        cost[:n_x] = slope[h] * cpu * self.usd_w + moves * self.move_usd
        cost[y] = (power[hosts, 0] - plan.site.off_w[hosts]) * self.usd_w
        cost[over_cpu:over_memory], cost[over_memory:] = self.unmet_usd
        lower, upper = np.zeros(n), np.ones(n)
        lower[y] = ~self.can_empty[hosts]
        upper[over_cpu:] = np.inf

        table = _Rows(n)
        for k in range(len(vms)):
            table.add(np.flatnonzero(v == k), 1.0, 1.0, 1.0)
        for k, where in enumerate(hosts):
            here = np.flatnonzero(h == k)
            coming = here[moves[here]]
            for r in range(N_RESOURCES):
                need = plan.vm_allocation[vms[v[coming]], r] + plan.reserve[where, r]
                if (need > 0.0).any():
                    room = self.config.fill * plan.limit[where, r] - plan.allocated[where, r]
                    table.add(coming, need, -np.inf, max(0.0, room))
            self._overload(table, int(where), here, v[here], (over_cpu + k, over_memory + k))
            if self.can_empty[where]:
                for x in here:
                    table.add(np.array([x, y[k]]), np.array([1.0, -1.0]), -np.inf, 0.0)
        start = np.zeros(n)
        start[:n_x] = ~moves
        start[y] = 1.0
        integer = np.arange(n) < n_x + n_h
        chosen, values = self._run(table, cost, lower, upper, integer, start)
        picked = np.flatnonzero(chosen[:n_x] & moves)
        self._note_crowded(values[over_cpu:over_memory], hosts)
        return [(int(vms[v[x]]), int(host[x])) for x in picked]

    def _overload(self, table: _Rows, host: int, here: I64, vms: I64, over: tuple[int, int]) -> None:
        plan = self.plan
        mine = plan.place[self.vms] == host
        bound = (self.config.cpu_target, 1.0)
        for r in range(2):
            overhead = float(plan.site.vm_overhead[host, r])
            fixed = self.host_peak[host, r] - (self.vm_peak[mine, r] + overhead).sum()
            most = bound[r] * plan.capacity[host, r] - fixed
            columns = np.append(here, over[r])
            weights = np.append(self.vm_peak[vms, r] + overhead, -1.0)
            table.add(columns, weights, -np.inf, most)

    def _run(
        self, table: _Rows, cost: F64, lower: F64, upper: F64, integer: Mask, start: F64
    ) -> tuple[Mask, F64]:
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = len(cost), len(table.lower)
        lp.col_cost_, lp.col_lower_, lp.col_upper_ = cost, lower, upper
        lp.row_lower_, lp.row_upper_ = np.array(table.lower), np.array(table.upper)
        lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        lp.a_matrix_.num_col_, lp.a_matrix_.num_row_ = len(cost), len(table.lower)
        lp.a_matrix_.start_ = np.array(table.starts, dtype=np.int32)
        lp.a_matrix_.index_ = np.concatenate(table.index).astype(np.int32)
        lp.a_matrix_.value_ = np.concatenate(table.value)
        kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
        lp.integrality_ = [kinds[int(is_integer)] for is_integer in integer]
        solver = highspy.Highs()  # type: ignore[no-untyped-call]
        for option, value in (
            ("output_flag", False),
            ("threads", 1),
            ("random_seed", 0),
            ("mip_rel_gap", self.config.gap),
            ("mip_max_nodes", self.config.nodes),
            ("time_limit", self.config.time_limit_s),
        ):
            solver.setOptionValue(option, value)
        solver.passModel(lp)
        first = highspy.HighsSolution()
        first.col_value = self._with_overload(table, start).tolist()
        solver.setSolution(first)
        solver.run()
        found = np.array(solver.getSolution().col_value)
        if len(found) != len(cost):  # stopped before any solution: stay
            found = start
        return found > 0.5, found

    def _with_overload(self, table: _Rows, start: F64) -> F64:
        """The present placement with the slack variables that make it feasible."""
        full = start.copy()
        n_h = len(self.receivers)
        first = len(start) - 2 * n_h
        for columns, values, upper in zip(table.index, table.value, table.upper, strict=True):
            if columns[-1] >= first:
                full[columns[-1]] = max(0.0, float((start[columns[:-1]] * values[:-1]).sum()) - upper)
        return full

    def _note_crowded(self, over: F64, hosts: I64) -> None:
        worst = int(np.argmax(over))
        if over[worst] <= 1.0:  # MHz: nothing but rounding
            return
        mine = np.flatnonzero(self.plan.place[self.vms] == hosts[worst])
        if len(mine):
            self.crowded = int(self.vms[mine[np.argmax(self.vm_peak[mine, 0])]])


class _Rows:
    """Constraints of a program, row by row."""

    def __init__(self, n_columns: int) -> None:
        self.n_columns = n_columns
        self.starts: list[int] = [0]
        self.index: list[I64] = []
        self.value: list[F64] = []
        self.lower: list[float] = []
        self.upper: list[float] = []

    def add(self, columns: I64, values: F64 | float, lower: float, upper: float) -> None:
        self.index.append(columns)
        self.value.append(np.broadcast_to(np.asarray(values, dtype=np.float64), columns.shape))
        self.starts.append(self.starts[-1] + len(columns))
        self.lower.append(lower)
        self.upper.append(upper)
