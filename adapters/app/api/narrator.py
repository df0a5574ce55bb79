"""Tells what the controller does: follows its journal beside it, and keeps what charts and metrics show.

It has a thread of its own. The controller's thread only puts a snapshot in place and events into a queue, so that a
slow store, a thousand listeners or a slip in here cost the tick nothing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np

from foreshade.adapters import control_models
from foreshade.adapters.app.api.event_bus import EventBus
from foreshade.adapters.app.api.forecast_score import ForecastScore
from foreshade.adapters.app.api.metrics import Metrics
from foreshade.adapters.app.api.recent import Recent
from foreshade.adapters.app.api.spells import Spells
from foreshade.adapters.control_service import TICK_FAILED, ControlService
from foreshade.adapters.late_calls import LATE
from foreshade.adapters.tracing import TickTraces
from foreshade.adapters.wire.forecast import Chosen, Moment, Spell
from foreshade.agents.counterfactual import Baseline, Comparison, NoAction
from foreshade.agents.journal import TickRecord
from foreshade.envs.errors import ForeshadeError
from foreshade.envs.model.state import HostState, VmState
from foreshade.envs.snapshot import Snapshot

LOG = logging.getLogger("foreshade.narrator")
_SAID = (
    "mode",
    "pause",
    "drain",
)  # by people; what a configuration file asked for is told as the mode that it sets
_PATIENCE_S = 0.5  # between looks at the store, where no controller runs in this process


class Narrator:
    """One per process that serves the API, leader or standby."""

    def __init__(
        self,
        service: ControlService,
        bus: EventBus,
        recent: Recent,
        spells: Spells,
        metrics: Metrics,
        traces: TickTraces | None = None,
    ) -> None:
        self._service, self._bus, self._recent, self._spells, self._metrics = (
            service,
            bus,
            recent,
            spells,
            metrics,
        )
        self._traces = traces
        self._no_action: tuple[int, NoAction] | None = None
        self._baseline: Baseline | None = None
        self._score = ForecastScore()
        self._told: Snapshot | None = None
        self._kinds: dict[str, str] = {}  # of the actions of the plan that was last looked at
        self._troubles: tuple[str, ...] = ()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="narrator", daemon=True)

    def start(self) -> None:
        """Begin with what the journal already has."""
        for record in self._service.ticks(288):
            self._recent.remember(moment_of(record, None, None, 0))
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """End."""
        self._stopped.set()
        self._thread.join(timeout_s)
        if self._traces is not None:
            self._traces.close()

    def _run(self) -> None:
        subscription = self._service.subscribe()
        try:
            while not self._stopped.is_set():
                try:
                    event = subscription.get(_PATIENCE_S)
                    if event is None:
                        self._service.publish()  # what another process journalled
                    elif event.kind in ("plan", "action"):
                        self._bus.publish("plan", _plan_data(event))
                        self._metrics.count_step(event, self._kind(event))
                    elif event.kind == LATE:
                        self._bus.publish("trouble", {"late call": event.action, "reason": event.reason})
                        self._metrics.late_calls.inc()
                    elif event.kind == TICK_FAILED:
                        self._metrics.ticks.labels("failed").inc()
                        self._trouble((event.reason,))
                    elif event.kind == "control" and event.after in _SAID:
                        self._bus.publish("mode", _said(event))
                    self._look()
                except ForeshadeError as error:
                    LOG.warning("%s", error)
                    self._metrics.store_errors.inc()
                    self._stopped.wait(_PATIENCE_S)
        finally:
            self._service.unsubscribe(subscription)

    def _kind(self, event: control_models.Event) -> str:
        """Kind of the action that an event is about; "" of a plan."""
        if event.kind != "action":
            return ""
        if event.action not in self._kinds:
            self._kinds = {action.key: action.kind for action in self._service.plan(event.plan).actions}
        return self._kinds.get(event.action, "")

    def _look(self) -> None:
        """Tell of a new tick, where there is one."""
        snapshot = self._service.newest()
        if snapshot is None or snapshot is self._told:
            return
        found = self._service.ticks(1)
        if not found or found[0].tick != snapshot.tick:
            return  # the journal is a moment behind; it is looked at again
        self._told = snapshot
        record = found[0]
        anomalies = self._spells.observe(snapshot, self._tell_spell)
        moment = moment_of(record, snapshot, self._compare(snapshot), anomalies)
        self._recent.add(snapshot, moment)
        scores = self._score.observe(snapshot)
        if self._traces is not None:
            self._traces.tick(moment)
        self._metrics.observe(moment, snapshot, scores)
        self._trouble(record.troubles)
        self._bus.publish("tick", {"tick": moment.tick, "moment": moment.model_dump(mode="json")})
        self._keep_baseline(snapshot)

    def _trouble(self, troubles: tuple[str, ...]) -> None:
        """Tell what is wrong, or that nothing is any more, once."""
        if troubles != self._troubles:
            self._troubles = troubles
            self._bus.publish("trouble", {"troubles": list(troubles)})

    def _compare(self, snapshot: Snapshot) -> Comparison:
        generation = snapshot.inventory.generation
        if self._no_action is None:
            self._baseline = self._service.baseline()
            self._no_action = generation, NoAction(self._baseline)
        elif self._no_action[0] != generation:  # slots mean other hosts and VMs now, names are what they were
            self._no_action = generation, NoAction(self._baseline)
        return self._no_action[1].observe(snapshot)

    def _keep_baseline(self, snapshot: Snapshot) -> None:
        """So that whoever comes after a restart, or takes over, goes on with it."""
        if self._no_action is None:
            return
        found = self._no_action[1].baseline(snapshot)
        if found != self._baseline:
            self._baseline = found
            self._service.keep_baseline(found)

    def _tell_spell(self, spell: Spell) -> None:
        self._bus.publish("anomaly", spell.model_dump(mode="json"))


def moment_of(
    record: TickRecord, snapshot: Snapshot | None, comparison: Comparison | None, anomalies: int
) -> Moment:
    """A tick as charts show it; what was not measured is null."""
    seen: dict[str, Any] = {}
    if snapshot is not None:
        on = snapshot.hosts["state"] == int(HostState.ON)
        there = snapshot.vms["state"] != int(VmState.ABSENT)
        seen = {
            "hosts_on": int(on.sum()),
            "vms": int(there.sum()),
            "anomalies": anomalies,
            "cpu_demand_mhz": round(float(snapshot.vms["demand"][there, 0].sum(dtype=np.float64)), 1),
            "cpu_capacity_mhz": round(float(snapshot.hosts["capacity"][on, 0].sum(dtype=np.float64)), 1),
            "power_w": round(float(snapshot.hosts["power_w"].sum(dtype=np.float64)), 1),
        }
    if comparison is not None:
        seen |= {
            "power_w": round(comparison.as_is.power_w, 1),
            "no_action_power_w": round(comparison.no_action.power_w, 1),
            "usd_h": round(comparison.as_is.total_usd_h, 5),
            "no_action_usd_h": round(comparison.no_action.total_usd_h, 5),
        }
    return Moment(
        tick=record.tick,
        time=datetime.fromtimestamp(record.time_s, UTC),
        mode=record.mode.value,
        paused=record.paused,
        idle=record.idle,
        by=record.by,
        why=record.why,
        agreement=record.agreement,
        choices=tuple(
            Chosen(
                by=c.by,
                actions=dict(c.actions),
                gain_usd=c.gain_usd,
                transition_usd=c.transition_usd,
                doubts=dict(c.doubts),
                error=c.error,
            )
            for c in record.choices
        ),
        plans=tuple(record.plans),
        refused=dict(record.refused),
        settled={str(k): v for k, v in record.settled.items()},
        seconds=dict(record.seconds),
        cost_usd=dict(record.cost_usd),
        **seen,
    )


def _said(event: control_models.Event) -> Mapping[str, Any]:
    """What a person told the controller, so that a receiver need not ask what has changed."""
    data: Mapping[str, Any] = event.data or {}
    value: Any = data.get("value")
    told: dict[str, Any] = {"what": event.after, "by": event.by, "reason": event.reason}
    if event.after == "pause":
        return told if value["paused"] else {**told, "what": "resume"}
    if event.after == "drain":
        what = "undrain" if data.get("undo") else "drain"
        return {**told, "what": what, "host": data.get("host", ""), "draining": value}
    return {**told, "mode": value}


def _plan_data(event: control_models.Event) -> Mapping[str, Any]:
    return {
        "plan": event.plan,
        "action": event.action,
        "before": event.before,
        "after": event.after,
        "by": event.by,
        "reason": event.reason,
    }
