"""What people and programs ask of a controller: one thread-safe object for the command line and for the API.

Everything it answers comes from the store, so that it answers in any process; beside a running controller, the
newest snapshot is at hand and events arrive at once. What it changes is a row of the store that the controller reads:
nothing here touches the world.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from foreshade.adapters import control_models as answers
from foreshade.adapters.control_models import plan_answer
from foreshade.adapters.store.baseline import read_baseline, write_baseline
from foreshade.adapters.store.journal import StoreJournal
from foreshade.adapters.store.lease import read_lease
from foreshade.adapters.store.snapshots import newest_tick, read_snapshot
from foreshade.adapters.store.store import Store
from foreshade.agents.counterfactual import Baseline
from foreshade.agents.journal import Controls, TickRecord
from foreshade.agents.plan import ActionState, Mode, PlanRecord, PlanState
from foreshade.envs.errors import InputError
from foreshade.envs.model.state import HostState, Resource, VmState
from foreshade.envs.snapshot import VM_WORDS, Snapshot

if TYPE_CHECKING:
    from foreshade.adapters.store.history import History

_RESOURCES = ("cpu_mhz", "memory_mib", "disk_mib_s", "network_mbit_s")
_AT_ONCE = 500  # events that are told in one go
TICK_FAILED = "tick failed"  # kind of an event that is told and, as the store may be why, not journalled
_QUEUE = 1_000  # events that a slow listener may fall behind before it loses the oldest


class Subscription:
    """Events as they happen; what is not taken in time is lost, and counted."""

    def __init__(self) -> None:
        self._queue: queue.Queue[answers.Event] = queue.Queue(maxsize=_QUEUE)
        self.lost = 0

    def put(self, event: answers.Event) -> None:
        """Never waits: the oldest event makes room."""
        while True:
            try:
                self._queue.put_nowait(event)
                return
            except queue.Full:
                try:
                    self._queue.get_nowait()
                    self.lost += 1
                except queue.Empty:
                    continue

    def get(self, timeout_s: float) -> answers.Event | None:
        """The next event; None = none came in time."""
        try:
            return self._queue.get(timeout=timeout_s)
        except queue.Empty:
            return None


class ControlService:
    """The service of one cluster; see the module."""

    def __init__(
        self,
        store: Store,
        cluster: str,
        *,
        history: Callable[[], History] | None = None,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self.store, self.cluster = store, cluster
        self._history = history  # opens it: what was measured lies beside the store; None = it is not at hand
        self.journal = StoreJournal(store, wall_s=wall_s)
        self._wall_s = wall_s
        self._snapshot: Snapshot | None = None  # of the controller in this process
        self._fault = ""  # why the last tick of the controller in this process came to nothing
        self._read: Snapshot | None = None  # of the store, where none runs here
        self._hosts: tuple[Snapshot, list[answers.HostRecord]] | None = None  # as of a snapshot
        self._subscriptions: list[Subscription] = []
        self._lock = threading.Lock()
        self._told = self.journal.last_event()
        self.wake: Callable[[], None] = lambda: None  # the controller's loop, where it runs in this process

    # -- beside a controller -------------------------------------------------------------------------------------

    def show(self, snapshot: Snapshot) -> None:
        """The newest snapshot, from the controller of this process."""
        self._snapshot, self._fault = snapshot, ""
        self._told_all(answers.Event(id=0, time_s=self._wall_s(), kind="snapshot"))

    def fail(self, why: str) -> None:
        """A tick that came to nothing: said until the next that does not, and told for whoever counts."""
        self._fault = why
        self._told_all(answers.Event(id=0, time_s=self._wall_s(), kind=TICK_FAILED, reason=why))

    def _told_all(self, event: answers.Event) -> None:
        with self._lock:
            for subscription in self._subscriptions:
                subscription.put(event)

    def publish(self) -> int:
        """Tell the subscribers what was journalled since the last call; returns how many events that were.

        A plan of thousands of actions that the guard refused is one event, and not thousands that drown the others.
        """
        with self._lock:
            last = self.journal.last_event()
            new = [_event(row) for row in self.journal.steps(self._told, last, _AT_ONCE)]
            self._told = last if len(new) < _AT_ONCE else new[-1].id
            for subscription in self._subscriptions:
                for event in new:
                    subscription.put(event)
        return len(new)

    def subscribe(self) -> Subscription:
        """Events from now on; give it back with ``unsubscribe``."""
        subscription = Subscription()
        with self._lock:
            self._subscriptions.append(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Forget a subscriber."""
        with self._lock:
            if subscription in self._subscriptions:
                self._subscriptions.remove(subscription)

    # -- questions -----------------------------------------------------------------------------------------------

    @property
    def snapshot(self) -> Snapshot:
        """The newest snapshot: of this process, or else of the store.

        Raises:
            InputError: no tick has been played yet.

        """
        snapshot = self.newest()
        if snapshot is None:
            raise InputError(
                f"{self.store.name}: expected a snapshot of {self.cluster}, found none: no tick yet"
            )
        return snapshot

    def newest(self) -> Snapshot | None:
        """The newest snapshot, the same object as long as there is no newer; None = no tick has been played yet."""
        if self._snapshot is not None:
            return self._snapshot
        found = newest_tick(self.store, self.cluster)
        kept = self._read
        if found is None or (kept is not None and (kept.tick, kept.unix_s) == found):
            return kept if found is not None else None
        self._read = read_snapshot(self.store, self.cluster)
        return self._read

    @property
    def seen(self) -> Snapshot | None:
        """The newest snapshot that this process has looked at; never asks the store."""
        return self._snapshot if self._snapshot is not None else self._read

    def host_database(self) -> list[answers.HostRecord]:
        """Every host: its capacity, what of it was in use over the last hour, the shadows on it."""
        from foreshade.adapters.store.host_database import host_database  # noqa: PLC0415  only who asks needs polars

        snapshot = self.snapshot
        kept = self._hosts
        if kept is None or kept[0] is not snapshot:  # pages of one list read the history once
            rows = host_database(snapshot, None if self._history is None else self._history())
            kept = self._hosts = snapshot, list(rows)
        return kept[1]

    def baseline(self) -> Baseline | None:
        """What nobody's acting is reckoned from; None = nothing is kept yet."""
        return read_baseline(self.store, self.cluster)

    def keep_baseline(self, baseline: Baseline) -> None:
        """Keep it, where the controller runs in this process: others follow what it shows."""
        if self._snapshot is not None:
            write_baseline(self.store, self.cluster, baseline, self._wall_s())

    def controls(self) -> Controls:
        """Mode, pause and drains."""
        return self.journal.controls()

    def status(self) -> answers.Status:
        """How the controller and its cluster are."""
        controls = self.journal.controls()
        lease = read_lease(self.store, self.cluster)
        running = lease is not None and not lease.released and lease.expires_s > self._wall_s()
        last: TickRecord | None = next(iter(self.journal.ticks(limit=1)), None)
        snapshot = self.newest()
        said: dict[str, Any] = {}
        if snapshot is not None:
            ages = snapshot.hosts["age_s"][snapshot.hosts["state"] == HostState.ON]
            said = {
                "tick": snapshot.tick,
                "time_s": snapshot.unix_s,
                "hosts": _count(
                    snapshot.hosts["state"].tolist(), [state.name.lower() for state in HostState]
                ),
                "vms": _count([s for s in snapshot.vm_states.tolist() if s != VmState.ABSENT], VM_WORDS),
                "power_w": float(snapshot.hosts["power_w"].sum()),
                "oldest_sample_s": _finite(float(ages.max())) if ages.size else None,
            }
        if last is not None:
            said |= {
                "last_tick_s": last.time_s,
                "idle": last.idle,
                "decided_by": last.by,
                "why_rules": last.why,
                "agreement": last.agreement,
                "troubles": last.troubles,
                "tick_seconds": last.seconds,
            }
        if self._fault:
            said["troubles"] = (*said.get("troubles", ()), self._fault)
        return answers.Status(
            cluster=self.cluster,
            mode=controls.mode,
            paused=controls.paused,
            paused_by=controls.paused_by,
            paused_reason=controls.paused_reason,
            draining=tuple(sorted(controls.draining)),
            running=running,
            holder=lease.holder if lease is not None and running else "",
            epoch=lease.epoch if lease is not None else 0,
            plans_open=self.journal.open_counts(),
            **said,
        )

    def plans(
        self,
        limit: int = 50,
        states: Sequence[PlanState] = (),
        before: str | None = None,
        *,
        refused: bool = True,
    ) -> list[answers.Plan]:
        """The newest plans first; ``before`` is the id of the last one of the page before."""
        found = self.journal.plans(limit, states, before, refused=refused)
        if refused:
            return [plan_answer(plan) for plan in found]
        counts = self.journal.refused([plan.id for plan in found])
        return [plan_answer(plan, counts.get(plan.id, 0)) for plan in found]

    def count_plans(self, states: Sequence[PlanState] = ()) -> int:
        """How many there are in some states, or in all."""
        return self.journal.count_plans(states)

    def plan(self, plan_id: str) -> answers.Plan:
        """One plan; PlanError where there is none."""
        return plan_answer(self.journal.plan(plan_id))

    def explain(self, plan_id: str) -> answers.Explanation:
        """Why a plan is as it is: every decision with all its candidates."""
        return answers.Explanation(
            plan=self.plan(plan_id), decisions=tuple(self.journal.explanation(plan_id))
        )

    def ticks(self, limit: int = 100) -> list[TickRecord]:
        """The newest ticks, the oldest of them first: HAM against the rules over time."""
        return self.journal.ticks(limit)

    def events(self, after: int = 0, limit: int = 500, plan_id: str | None = None) -> list[answers.Event]:
        """Events past one, in order."""
        return [_event(row) for row in self.journal.events(after, limit, plan_id)]

    def forecasts(self, vms: Sequence[str] = (), resource: str = "cpu_mhz") -> list[answers.Forecast]:
        """Demand to come, of some VMs or of all that have a forecast.

        Raises:
            InputError: there is no such VM or resource.

        """
        if resource not in _RESOURCES:
            raise InputError(f"resource {resource}: expected one of {', '.join(_RESOURCES)}")
        snapshot = self.snapshot
        slots = snapshot.inventory.vm_slot
        for name in vms:
            if name not in slots:
                raise InputError(f"VM {name}: expected one of the cluster, found none")
        chosen = [slots[name] for name in vms] if vms else sorted(slots.values())
        r = _RESOURCES.index(resource)
        return [said for slot in chosen if (said := _forecast(snapshot, slot, r)) is not None]

    # -- verbs ---------------------------------------------------------------------------------------------------

    def approve(self, plan_id: str, by: str, *, dry_run: bool = False) -> answers.Said:
        """A recommended plan may be carried out; the controller checks it again and begins within a second or so."""
        plan = self.journal.plan(plan_id)
        approved = plan.to(PlanState.APPROVED, "", by)
        if not dry_run:
            self.journal.step_plan(approved, plan.state, self._wall_s())
            self._tell()
        return self._said(approved, f"plan {plan_id} is approved by {by}", dry_run=dry_run)

    def apply(self, plan_id: str, by: str, *, dry_run: bool = False) -> answers.Said:
        """Approve where that is still to be done, so that it is carried out now."""
        plan = self.journal.plan(plan_id)
        if plan.state is not PlanState.APPROVED:
            return self.approve(plan_id, by, dry_run=dry_run)
        self._tell()
        return self._said(
            plan, f"plan {plan_id} was approved by {plan.approved_by} and is being begun", dry_run=dry_run
        )

    def cancel(self, plan_id: str, by: str, reason: str = "", *, dry_run: bool = False) -> answers.Said:
        """What was not begun is not begun any more; what is under way is seen to its end."""
        plan = self.journal.plan(plan_id)
        why = f"by {by}" + (f": {reason}" if reason else "")
        if plan.state is PlanState.ONGOING:
            pending = [action for action in plan.actions if action.state is ActionState.PENDING]
            if not dry_run:
                for action in pending:
                    self.journal.step_action(plan_id, action.to(ActionState.CANCELLED, why), self._wall_s())
                self._tell()
            return self._said(
                self.journal.plan(plan_id),
                f"{len(pending)} actions of plan {plan_id} are not begun",
                dry_run=dry_run,
            )
        cancelled = plan.to(PlanState.CANCELLED, why)
        if not dry_run:
            self.journal.step_plan(cancelled, plan.state, self._wall_s())
            for action in plan.actions:
                if action.open:
                    ended = action.to(ActionState.CANCELLED, why)
                    self.journal.step_action(plan_id, ended, self._wall_s())
                    cancelled = cancelled.with_action(ended)
            self._tell()
        return self._said(cancelled, f"plan {plan_id} is cancelled {why}", dry_run=dry_run)

    def set_mode(self, mode: Mode, by: str, *, dry_run: bool = False) -> answers.Said:
        """How far the controller goes by itself, from its next tick."""
        before = self.journal.controls().mode
        if not dry_run:
            self.journal.say("mode", mode.value, by)
            self._tell()
        return self._said(None, f"mode {before} becomes {mode}", dry_run=dry_run)

    def pause(self, by: str, reason: str = "", *, dry_run: bool = False) -> answers.Said:
        """Nothing is begun from now on; what is under way is seen to its end."""
        if not dry_run:
            self.journal.say("pause", {"paused": True, "reason": reason}, by, reason)
            self._tell()
        return self._said(None, f"paused by {by}", dry_run=dry_run)

    def resume(self, by: str, *, dry_run: bool = False) -> answers.Said:
        """The controller goes on."""
        if not dry_run:
            self.journal.say("pause", {"paused": False, "reason": ""}, by)
            self._tell()
        return self._said(None, f"resumed by {by}", dry_run=dry_run)

    def drain(self, host: str, by: str, *, undo: bool = False, dry_run: bool = False) -> answers.Said:
        """Empty a host from the next tick on and keep it empty, or let it be filled again.

        Raises:
            InputError: there is no such host.

        """
        snapshot = self.snapshot
        slot = snapshot.inventory.host_slot.get(host, -1)
        if slot < 0:
            raise InputError(f"host {host}: expected one of the cluster, found none")
        if not dry_run:
            self.journal.say_drain(host, by, undo=undo)
            self._tell()
        here = int(snapshot.hosts["n_vms"][slot])
        what = (
            f"host {host} may be filled again" if undo else f"host {host} is drained: {here} VMs are to move"
        )
        return self._said(None, what, dry_run=dry_run)

    def _tell(self) -> None:
        self.publish()
        self.wake()

    @staticmethod
    def _said(plan: PlanRecord | None, what: str, *, dry_run: bool) -> answers.Said:
        return answers.Said(
            done=not dry_run,
            what=f"dry run: {what}" if dry_run else what,
            plan=plan_answer(plan) if plan is not None else None,
        )


def _event(row: Mapping[str, Any]) -> answers.Event:
    return answers.Event(
        id=row["id"],
        time_s=row["time_s"],
        kind=row["kind"],
        plan=row["plan_id"],
        action=row["action_key"],
        before=row["before"],
        after=row["after"],
        by=row["by"],
        reason=row["reason"],
        data=row["data"],
    )


def _count(codes: Sequence[int], names: Sequence[str]) -> dict[str, int]:
    return {names[code]: count for code, count in sorted(Counter(codes).items())}


def _finite(value: float) -> float | None:
    return value if value - value == 0.0 else None


def _forecast(snapshot: Snapshot, slot: int, r: int) -> answers.Forecast | None:
    """Of one VM: the row's forecast, by the share of it that reaches the VM."""
    columns = snapshot.forecasts
    row = int(columns["series"][slot]) if len(columns["series"]) > slot else -1
    if row < 0 or columns["moments"].size == 0:
        return None
    share = float(columns["memory_share" if r == Resource.MEMORY else "share"][slot])
    levels = [f"{level:g}" for level in columns["levels"].tolist()]
    points = []
    for h, ticks in enumerate(columns["horizons"].tolist()):
        mean, sigma = (float(x) * share for x in columns["moments"][h, row, r])
        quantiles = columns["quantiles"][row, r, h] * share if columns["quantiles"].size else []
        points.append(
            answers.ForecastPoint(
                horizon_s=ticks * snapshot.site.tick_s,
                mean=mean,
                sigma=sigma,
                quantiles=dict(zip(levels, map(float, quantiles), strict=False)),
            )
        )
    return answers.Forecast(
        vm=snapshot.names[slot],
        resource=_RESOURCES[r],
        now=float(snapshot.vms["demand"][slot, r]),
        points=tuple(points),
    )
