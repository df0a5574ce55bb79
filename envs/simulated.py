"""A simulated data centre behind the ``World`` port."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from foreshade import _core
from foreshade.envs.anomaly.watch import AnomalyWatch
from foreshade.envs.data_centre import cut, plant
from foreshade.envs.forecast.table import Forecast
from foreshade.envs.model.action import Action, ActionKind, Outcome, Plan
from foreshade.envs.run_metrics import RunMetrics
from foreshade.envs.scenarios.schema import Scenario
from foreshade.envs.workloads.workload import Workload

RESOURCE_NAMES = ("cpu", "memory", "disk", "network", "gpu")


class SimulatedWorld:
    """One environment of the native simulator; laws and units in docs/physics.md."""

    def __init__(
        self,
        scenario: Scenario,
        workload: Workload,
        seed: int = 0,
        *,
        power_managed: bool = True,
        anomalies: bool = False,
        forecast: Forecast | _core.ForecastTable = "none",
    ) -> None:
        """Build the plant and reset to its first tick.

        Args:
            scenario: fleet, prices, failures and allowed actions.
            workload: who wants how much; cut to the scenario's length.
            seed: of failures and alarms.
            power_managed: False = every host that is on draws its full power.
            anomalies: whether detectors run beside the world and fill the columns ``anomaly``, ``anomaly_p``
                and ``widen``; their price is in docs/anomaly.md.
            forecast: what the state shows of demand to come: nothing; the workload's table, made first where
                the cache does not have it (minutes for a month of many VMs); or the engine's, fed inside with
                the demand that is observed (docs/forecasting.md has the price); or what a table of
                one's own says.

        Raises:
            ScenarioError: the scenario and the workload do not go together.

        """
        self.scenario = scenario
        self.workload = workload
        self.plant = plant(scenario, workload, power_managed=power_managed, forecast=forecast)
        self._simulator = _core.Simulator(self.plant, seed)
        self._simulator.record_history(True)
        self._state = _core.ClusterState()
        self._simulator.prepare(self._state)
        self._anomalies = anomalies
        self._start_watch()
        kinds = {ActionKind[kind.upper()] for kind in scenario.actions}
        self._capabilities = frozenset(kinds | {ActionKind.WAIT, ActionKind.SPAWN})

    @property
    def capabilities(self) -> frozenset[ActionKind]:
        """What the scenario allows; a VM that waits can always be placed (``SPAWN`` with a VM)."""
        return self._capabilities

    @property
    def tick_s(self) -> float:
        """Length of a control interval in seconds."""
        return self.scenario.tick_s

    @property
    def n_ticks(self) -> int:
        """Ticks that can be played."""
        return cut(self.workload, self.scenario.n_ticks)

    @property
    def done(self) -> bool:
        """Whether the last tick has been played."""
        return self._simulator.done

    def reset(self, seed: int, start_tick: int = 0) -> None:
        """Start again; the same seed gives the same failures."""
        self._simulator.reset(seed, start_tick)
        self._start_watch()

    def schedule(self) -> int:
        """Place what waits by the scenario's own rule; returns how many VMs still wait."""
        return self._simulator.schedule()

    def observe(self) -> _core.ClusterState:
        """What telemetry shows at the end of the last tick."""
        self._simulator.observe(self._state)
        if self._watch is not None:
            alarms = self._watch.update(self._state)
            self._alarms["vm_alarms"] += int(alarms.vms.sum())
            self._alarms["host_alarms"] += int(alarms.hosts.sum())
        return self._state

    def execute(self, plan: Plan) -> Sequence[Outcome]:
        """Start each action in turn, or refuse it with a reason."""
        results = self._simulator.execute([_native(action) for action in plan.actions])
        return [
            Outcome(True, vm=vm) if not refusal else Outcome(False, _refused(action, refusal))
            for action, (refusal, vm) in zip(plan.actions, results, strict=True)
        ]

    def advance(self) -> Mapping[str, float]:
        """Play one tick; its cost by term in USD."""
        self._simulator.advance()
        return self._simulator.last_cost()

    def metrics(self) -> RunMetrics:
        """Sums since the last reset."""
        t = self._simulator.totals()
        slatah = t["overloaded_s"] / t["on_s"] if t["on_s"] > 0 else 0.0
        demand = t["demand"][0]
        pdm = t["migration_unmet_mhz_s"] / demand if demand > 0 else 0.0
        energy = t["host_kwh"]
        return RunMetrics(
            ticks=self._simulator.tick,
            energy_kwh=energy,
            rack_kwh=t["rack_kwh"],
            cooling_kwh=(self.scenario.prices.pue - 1.0) * (energy + t["rack_kwh"]),
            cost_usd=sum(t["cost"].values()),
            cost_terms=t["cost"],
            migrations=t["migrations"],
            migration_downtime_s=t["migration_downtime_s"],
            slatah=slatah,
            pdm=pdm,
            slav=slatah * pdm,
            esv=energy * slatah * pdm,
            unmet_demand=t["unmet"][0] / demand if demand > 0 else 0.0,
            unmet_demand_worst_vm=self._simulator.worst_vm_unmet,
            unmet_by_resource={
                name: (t["unmet"][r] / t["demand"][r] if t["demand"][r] > 0 else 0.0)
                for r, name in enumerate(RESOURCE_NAMES)
            },
            sla_violations=t["sla_violations"],
            host_shutdowns=t["host_shutdowns"],
            counts={
                "host_boots": t["host_boots"],
                "host_failures": t["host_failures"],
                "hosts_reclaimed": t["hosts_reclaimed"],
                "crashed_vm_s": round(t["crashed_s"]),
                "migrations_failed": t["migrations_failed"],
                "oom_kills": t["oom_kills"],
                "refused": t["refused"],
                "scheduled": t["scheduled"],
                "spawned": t["spawned"],
                **self._alarms,
            },
            history=self._simulator.history(),
        )

    def _start_watch(self) -> None:
        """Detectors that have seen nothing; the alarms they raise count from 0."""
        self._watch: AnomalyWatch | None = None
        self._alarms: dict[str, int] = {}
        if self._anomalies:
            state = self._state
            self._watch = AnomalyWatch(len(state.vms.state), len(state.hosts.state), self.tick_s)
            self._alarms = {"vm_alarms": 0, "host_alarms": 0}


def _native(action: Action) -> _core.Action:
    return _core.Action(
        int(action.kind),
        action.vm,
        action.host,
        action.app,
        action.rack,
        action.value,
        action.value2,
        action.allocation,
    )


def _refused(action: Action, why: str) -> str:
    named = {"vm": action.vm, "host": action.host, "app": action.app, "rack": action.rack}
    where = " ".join(f"{key} {number}" for key, number in named.items() if number >= 0)
    return f"{action.kind.name.lower()} {where}: {why}"
