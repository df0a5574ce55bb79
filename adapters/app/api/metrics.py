"""What Prometheus reads under ``/metrics``: one prefix, base units, ``_total`` on counters (docs/operations.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from foreshade.adapters import control_models
from foreshade.adapters.app.api.forecast_score import Score
from foreshade.adapters.wire.forecast import Moment
from foreshade.agents.plan import Mode
from foreshade.envs.extras import require
from foreshade.envs.model.state import HostState, VmState
from foreshade.envs.snapshot import VM_WORDS, Snapshot

require("prometheus_client", "api", "metrics")

from prometheus_client import (  # noqa: E402
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

disable_created_metrics()  # type: ignore[no-untyped-call]  # Prometheus reads when a counter began from the series itself

CONTENT_TYPE = CONTENT_TYPE_LATEST
_TICK_S = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
_REQUEST_S = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


class Metrics:
    """Every series of one process; the controller's own are fed tick by tick, the API's request by request."""

    def __init__(self) -> None:
        r = self.registry = CollectorRegistry()
        ProcessCollector(namespace="foreshade", registry=r)
        self.ticks = Counter(
            "foreshade_ticks",
            "Ticks: decided, idle, or failed as store or world did.",
            ["result"],
            registry=r,
        )
        self.tick_seconds = Histogram(
            "foreshade_tick_duration_seconds",
            "Time of a tick, by stage.",
            ["stage"],
            buckets=_TICK_S,
            registry=r,
        )
        self.decisions = Counter("foreshade_decisions", "Ticks decided, by whom.", ["by"], registry=r)
        self.fallbacks = Counter("foreshade_fallbacks", "Ticks that the rules decided for HAM.", registry=r)
        self.fallback = Gauge(
            "foreshade_fallback_ratio",
            "Share of the last day's ticks that the rules decided for HAM.",
            registry=r,
        )
        self.agreement = Gauge(
            "foreshade_ham_rules_agreement_ratio",
            "Actions that HAM and rules share, of all that either has.",
            registry=r,
        )
        self.gain = Gauge(
            "foreshade_expected_gain_usd",
            "Expected gain of the tick's proposal, by whose.",
            ["by"],
            registry=r,
        )
        self.refused = Counter(
            "foreshade_validation_failures", "Orders that the guard refused, by rule.", ["rule"], registry=r
        )
        self.actions = Counter(
            "foreshade_actions", "Actions that ended, by outcome.", ["outcome"], registry=r
        )
        self.actions_by_kind = Counter(
            "foreshade_action_outcomes",
            "Actions that ended, by kind and outcome.",
            ["kind", "outcome"],
            registry=r,
        )
        self.plans = Counter("foreshade_plans", "Plans that came into a state.", ["state"], registry=r)
        self.settled = Counter(
            "foreshade_settled",
            "What was found under way or left by a crash, by what became of it.",
            ["outcome"],
            registry=r,
        )
        self.late_calls = Counter(
            "foreshade_late_calls",
            "Calls of a former leader that took effect after it lost the lease.",
            registry=r,
        )
        self.pinball = Gauge(
            "foreshade_forecast_pinball_ratio",
            "Pinball loss of forecasts that came due, of the mean demand.",
            ["resource", "horizon_seconds"],
            registry=r,
        )
        self.coverage = Gauge(
            "foreshade_forecast_coverage_ratio",
            "Share of demands within the 80 % interval of forecasts that came due.",
            ["resource", "horizon_seconds"],
            registry=r,
        )
        self.sample_age = Gauge(
            "foreshade_sample_age_seconds",
            "Age of the oldest newest sample of what is on.",
            ["of"],
            registry=r,
        )
        self.last_tick = Gauge(
            "foreshade_last_tick_timestamp_seconds",
            "Unix time of the last tick, by the machine's clock.",
            registry=r,
        )
        self.mode = Gauge("foreshade_mode", "1 for the mode that is in force.", ["mode"], registry=r)
        self.paused = Gauge("foreshade_paused", "1 = nothing is begun.", registry=r)
        self.leader = Gauge("foreshade_leader", "1 = this process has the lease.", registry=r)
        self.epoch = Gauge("foreshade_lease_epoch", "Epoch of the lease.", registry=r)
        self.hosts = Gauge("foreshade_hosts", "Hosts by state.", ["state"], registry=r)
        self.vms = Gauge("foreshade_vms", "VMs by state.", ["state"], registry=r)
        self.anomalies = Gauge("foreshade_anomalies", "Hosts and VMs that behave strangely now.", registry=r)
        self.power = Gauge(
            "foreshade_power_watts",
            "Power of the hosts, as it is and had nobody acted.",
            ["placement"],
            registry=r,
        )
        self.energy = Counter(
            "foreshade_energy_joules",
            "Energy of the hosts since the start, as it was and had nobody acted.",
            ["placement"],
            registry=r,
        )
        self.rate = Gauge(
            "foreshade_cost_usd_per_hour",
            "What running costs, as it is and had nobody acted.",
            ["placement"],
            registry=r,
        )
        self.cost = Counter("foreshade_cost_usd", "What running has cost, by term.", ["term"], registry=r)
        self.troubles = Gauge("foreshade_troubles", "Things that are wrong now.", registry=r)
        self.store_errors = Counter(
            "foreshade_store_errors", "Times that the store did not answer the API.", registry=r
        )
        self.requests = Counter(
            "foreshade_http_requests",
            "Requests by route and status.",
            ["method", "route", "status"],
            registry=r,
        )
        self.request_seconds = Histogram(
            "foreshade_http_request_duration_seconds",
            "Time of a request until its answer begins.",
            ["route"],
            buckets=_REQUEST_S,
            registry=r,
        )
        self.streams = Gauge("foreshade_event_streams", "Event streams that are open.", registry=r)
        self.dropped = Gauge(
            "foreshade_event_streams_dropped", "Streams ended because they did not read.", registry=r
        )
        self.webhooks = Gauge(
            "foreshade_webhook_events",
            "Events of a webhook by what became of them.",
            ["webhook", "outcome"],
            registry=r,
        )
        self.audit_head = Gauge(
            "foreshade_audit_entries", "Entries of the audit that this process added last.", registry=r
        )
        self._before: Moment | None = None
        self._decided: list[tuple[str, str]] = []
        for mode in Mode:
            self.mode.labels(mode.value).set(0)
        for state in ("succeeded", "failed", "compensated", "abandoned", "refused"):
            self.actions.labels(state)

    def observe(self, moment: Moment, snapshot: Snapshot, scores: Sequence[Score]) -> None:
        """One tick."""
        self.ticks.labels("idle" if moment.idle else "decided").inc()
        for stage, seconds in moment.seconds.items():
            self.tick_seconds.labels(stage).observe(seconds)
        if moment.by:
            self.decisions.labels(moment.by).inc()
            self._decided = [*self._decided[-287:], (moment.by, moment.why)]
            fell = [bool(why) for _, why in self._decided]
            self.fallback.set(sum(fell) / len(fell))
            if moment.why:
                self.fallbacks.inc()
        self.agreement.set(moment.agreement)
        for choice in moment.choices:
            self.gain.labels(choice.by).set(choice.gain_usd)
        for rule, count in moment.refused.items():
            self.refused.labels(rule).inc(count)
        for outcome, count in moment.settled.items():
            self.settled.labels(outcome).inc(count)
        for score in scores:
            labels = score.resource, f"{score.horizon_s:g}"
            self.pinball.labels(*labels).set(score.pinball)
            self.coverage.labels(*labels).set(score.coverage)
        _ages(self.sample_age, snapshot)
        self.last_tick.set_to_current_time()
        self._states(snapshot)
        self.anomalies.set(moment.anomalies or 0)
        self._money(moment)
        for term, usd in moment.cost_usd.items():
            if usd > 0.0:
                self.cost.labels(term).inc(usd)
        self._before = moment

    def count_step(self, event: control_models.Event, kind: str) -> None:
        """A plan or action that came into another state."""
        if event.kind == "plan":
            self.plans.labels(event.after).inc()
        elif event.before and event.after not in ("ongoing", "pending"):
            self.actions.labels(event.after).inc()
            self.actions_by_kind.labels(kind, event.after).inc()

    def show_status(self, status: control_models.Status, *, leader: bool) -> None:
        """What is asked for at each scrape."""
        for mode in Mode:
            self.mode.labels(mode.value).set(float(status.mode is mode))
        self.paused.set(float(status.paused))
        self.leader.set(float(leader))
        self.epoch.set(status.epoch)
        self.troubles.set(len(status.troubles))

    def text(self) -> bytes:
        """The exposition."""
        return generate_latest(self.registry)

    def _states(self, snapshot: Snapshot) -> None:
        for gauge, codes, words in (
            (self.hosts, snapshot.hosts["state"], [state.name.lower() for state in HostState]),
            (self.vms, snapshot.vm_states, VM_WORDS),
        ):
            counts = np.bincount(codes, minlength=len(words))
            for code, word in enumerate(words):
                if gauge is self.hosts or code != VmState.ABSENT:
                    gauge.labels(word).set(int(counts[code]))

    def _money(self, moment: Moment) -> None:
        before = self._before
        hours = 0.0 if before is None else max(0.0, (moment.time - before.time).total_seconds() / 3600.0)
        for placement, power, usd in (
            ("as_is", moment.power_w, moment.usd_h),
            ("no_action", moment.no_action_power_w, moment.no_action_usd_h),
        ):
            if power is not None:
                self.power.labels(placement).set(power)
                self.energy.labels(placement).inc(power * hours * 3600.0)
            if usd is not None:
                self.rate.labels(placement).set(usd)


def _ages(gauge: Gauge, snapshot: Snapshot) -> None:
    parts: Mapping[str, tuple[str, int]] = {
        "hosts": ("hosts", int(HostState.ON)),
        "vms": ("vms", int(VmState.RUNNING)),
    }
    for of, (name, state) in parts.items():
        columns = getattr(snapshot, name)
        ages = columns["age_s"][columns["state"] == state]
        finite = ages[np.isfinite(ages)]
        gauge.labels(of).set(float(finite.max()) if finite.size else 0.0)
