"""The daemon behind ``foreshade control``: puts the parts together and turns the loop."""

from __future__ import annotations

import gc
import logging
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from foreshade.adapters.app.control_config import NO_WORLD, ControlConfig
from foreshade.adapters.app.lease_keeper import keep_lease
from foreshade.adapters.app.live_forecast import LiveForecast
from foreshade.adapters.app.minds_in_force import MindsInForce
from foreshade.adapters.app.simulated_site import simulated_site
from foreshade.adapters.control_service import ControlService
from foreshade.adapters.executor import ExecutorKnobs, PlanExecutor
from foreshade.adapters.simulated_durable.world import DurableSimulatedWorld
from foreshade.adapters.store.history import History
from foreshade.adapters.store.journal import StoreJournal
from foreshade.adapters.store.lease import Lease, read_lease
from foreshade.adapters.store.maintenance import MaintenanceBook
from foreshade.adapters.store.snapshots import write_snapshot
from foreshade.adapters.store.store import Store
from foreshade.agents.controller import Controller
from foreshade.agents.explanation import Explained
from foreshade.agents.guard import Guard, Seen, Window
from foreshade.agents.journal import TickRecord
from foreshade.agents.plan import Mode
from foreshade.agents.proposal import Estimator
from foreshade.agents.reasons import named
from foreshade.envs.anomaly.watch import LiveWatch
from foreshade.envs.errors import FenceError, ForeshadeError, InputError, JournalError, WorldError
from foreshade.envs.inventory import ControlledWorld
from foreshade.envs.simulated import SimulatedWorld
from foreshade.envs.snapshot import Snapshot

log = logging.getLogger(__name__)
_WINDOWS_AHEAD_S = 86400.0  # of maintenance that the guard is told beforehand


@dataclass(slots=True)
class Running:
    """A controller with everything around it; what stands beside the loop is given this."""

    config: ControlConfig
    store: Store
    lease: Lease
    world: ControlledWorld
    controller: Controller
    service: ControlService
    history: History
    interval_s: float  # of the wall clock
    minds: MindsInForce
    forecast: LiveForecast | None = None  # of real hosts
    stops: Sequence[Callable[[], None]] = ()  # of what was started before the lease was there
    reloading: threading.Event = field(default_factory=threading.Event)
    stopping: threading.Event = field(default_factory=threading.Event)
    woken: threading.Event = field(default_factory=threading.Event)
    lost: FenceError | None = None  # the lease, to another

    def end_without_lease(self, error: FenceError) -> None:
        """The loop ends, and says that it failed: whoever sees to it that a controller runs begins another."""
        self.lost = error
        self.stopping.set()


Beside = Callable[[Running], Callable[[], None]]
"""Starts something beside the loop (an API, metrics), and returns what stops it."""


Standing = Callable[[ControlConfig, ControlService, Lease], Callable[[], None]]
"""Starts something that serves a standby too (an API), and returns what stops it."""


def assemble(config: ControlConfig, standing: Sequence[Standing] = ()) -> Running:
    """Open the store, take the lease, reach the world; nothing is touched.

    What ``standing`` starts is there while the lease is still waited for, and is stopped with the loop.

    Raises:
        InputError: something of the configuration cannot be used, or another controller has the lease.
        JournalError: the store cannot be opened.

    """
    try:
        config.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"state_dir {config.folder}: expected a folder to write to, {error.strerror}"
        ) from error
    store = Store(config.store_url)
    lease = Lease(store, config.cluster, length_s=config.lease.length_s)
    service = ControlService(store, config.cluster, history=lambda: open_history(config))
    stops = [start(config, service, lease) for start in standing]
    try:
        return _assemble(config, store, lease, service, stops)
    except BaseException:
        for stop in reversed(stops):
            stop()
        raise


def _assemble(
    config: ControlConfig,
    store: Store,
    lease: Lease,
    service: ControlService,
    stops: list[Callable[[], None]],
) -> Running:
    _take(lease, store, config)
    stops.insert(
        0, keep_lease(lease, config.lease.length_s)
    )  # reading a large cluster may take longer than a lease
    _outwait(lease, config)
    world, interval_s = make_world(config)
    kept = StoreJournal(store, wall_s=time.time, fence=lease.fence_in)
    minds = MindsInForce(config, store)
    history = open_history(config)
    forecast = None  # a simulated world forecasts by itself what its own configuration says
    if config.libvirt is not None:
        forecast = LiveForecast(config.forecast, config.folder / "refits", history, world)
        stops.append(forecast.close)
    estimators: list[Estimator] = [] if forecast is None else [forecast]
    if config.agent.anomalies:
        estimators.append(LiveWatch(world.tick_s))
    executor = PlanExecutor(world, kept, _executor_knobs(config), sleep=time.sleep, fence=lease.fence)
    controller = Controller(
        world,
        kept,
        executor,
        replace(minds.make(), estimators=estimators),
        Guard(config.guard),
        breaker=config.breaker,
        windows=_windows(MaintenanceBook(store), world),
        stopwatch=time.perf_counter,
        explain=explained if config.agent.explain else None,
    )
    _configured_mode(service, config.mode)
    running = Running(
        config, store, lease, world, controller, service, history, interval_s, minds, forecast, tuple(stops)
    )
    service.wake = running.woken.set
    return running


def _executor_knobs(config: ControlConfig) -> ExecutorKnobs:
    """As configured; a simulated cluster queues migrations itself, and passes only from tick to tick."""
    if config.simulated is not None and "executor" not in config.model_fields_set:
        return ExecutorKnobs(at_once=64, at_once_per_host=16)
    return config.executor


def open_history(config: ControlConfig) -> History:
    """The history of a configuration's cluster."""
    said = config.history
    return History(config.folder / "history", raw_days=said.raw_days, hourly_days=said.hourly_days)


def make_world(config: ControlConfig) -> tuple[ControlledWorld, float]:
    """The world that the configuration names, and how long an interval takes by the wall clock."""
    if config.libvirt is not None:
        from foreshade.adapters.app.live_world import open_libvirt_world  # noqa: PLC0415  keeps the start short

        changes = {} if config.tick_s is None else {"tick_s": config.tick_s}
        live = open_libvirt_world(config.libvirt.model_copy(update=changes))
        return live, live.tick_s
    said = config.simulated
    if said is None:
        raise InputError(NO_WORLD)
    scenario, workload = simulated_site(said)
    simulated = SimulatedWorld(scenario, workload, said.seed, forecast=said.forecast)
    world = DurableSimulatedWorld(simulated, config.folder / "world.jsonl", said.seed)
    return world, world.tick_s / said.acceleration


def run(
    running: Running,
    *,
    ticks: int | None = None,
    beside: Sequence[Beside] = (),
    reread: Callable[[], ControlConfig] | None = None,
) -> int:
    """Tick until told to stop; returns the number of ticks that were played.

    A store that cannot be written or a world that does not answer is said and counted, and tried again in the next
    tick.

    Raises:
        FenceError: another controller has the lease. Whoever started this one starts it again, and it waits as a
            standby.

    """
    _collect_rarely()
    stops = [*running.stops, *(start(running) for start in beside)]
    played = 0
    try:
        while not running.stopping.is_set() and (ticks is None or played < ticks) and not running.world.done:
            begun = time.monotonic()
            if running.reloading.is_set() and reread is not None:
                _reload(running, reread)
            _tick(running)
            played += 1
            _wait(running, begun + running.interval_s)
            if not running.stopping.is_set():
                _advance(running)
        if running.world.done:
            log.info("the simulated workload has ended after %d ticks", played)
    finally:
        for stop in reversed(stops):
            stop()
        _give_back(running.lease)
        running.world.close()
        running.store.close()
    if running.lost is not None:
        raise running.lost
    return played


def _collect_rarely() -> None:
    """What was loaded stays, and a tick makes many values and no cycles.

    Each look at all of it holds up every thread: 100 ms at 10,000 VMs, a dozen times in two ticks.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 10, 10)


def install_signals(running: Running) -> None:
    """SIGTERM and SIGINT end the loop after the tick; SIGHUP has the configuration read again between ticks."""

    def stop(number: int, _frame: Any) -> None:
        log.info("stopping: %s", signal.Signals(number).name)
        running.stopping.set()
        running.woken.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGHUP, lambda _number, _frame: running.reloading.set())


def _reload(running: Running, reread: Callable[[], ControlConfig]) -> None:
    running.reloading.clear()
    try:
        reconfigure(running, reread())
    except ForeshadeError as error:
        log.error("reload: the configuration before stays in force: %s", error)


def reconfigure(running: Running, config: ControlConfig) -> None:
    """Take over what can change while it runs: mode, guard, levels, log; the rest waits for a restart."""
    running.controller.guard = Guard(config.guard)
    _configured_mode(running.service, config.mode)
    for name in ("store", "lease", "agent", "simulated", "libvirt", "cluster", "state_dir", "executor"):
        if getattr(config, name) != getattr(running.config, name):
            log.warning("reload: %s has changed: it is taken over by a restart", name)
    running.config = config
    log.info("reload: the configuration was read again")


def _tick(running: Running) -> TickRecord | None:
    try:
        running.lease.renew()
        running.controller.minds = running.minds.follow(running.controller.minds)
        record = running.controller.tick()
        view = running.controller.view
        if view is not None:
            seen = view.seen
            snapshot = Snapshot.of(seen.state, seen.inventory, view.site, seen.now_s)
            running.service.show(snapshot)
            write_snapshot(running.store, running.config.cluster, snapshot)
            running.history.add(snapshot)
            if running.forecast is not None:
                running.history.add_loads(seen.now_s, seen.inventory.apps, running.forecast.loads)
        running.service.publish()
    except (JournalError, WorldError) as error:
        log.error("tick: nothing was begun: %s", error, extra={"counted": type(error).__name__})
        running.service.fail(f"tick: nothing was begun: {error}")
        return None
    except FenceError as error:
        log.error("tick: nothing is touched any more: %s", error)
        running.end_without_lease(error)
        return None
    _say(record)
    return record


def _give_back(lease: Lease) -> None:
    """So that the next need not wait; where the store cannot be written, it waits."""
    try:
        lease.release()
    except JournalError as error:
        log.error("the lease expires by itself: %s", error)


def _advance(running: Running) -> None:
    try:
        running.controller.cost_usd = running.world.advance()
    except WorldError as error:
        log.error("the interval did not pass: %s", error, extra={"counted": type(error).__name__})


def _wait(running: Running, until: float) -> None:
    """Until the next tick is due: what people approve is begun at once, and the lease is kept."""
    renewed = time.monotonic()
    while not running.stopping.is_set():
        left = until - time.monotonic()
        if left <= 0.0:
            return
        running.woken.wait(min(left, 0.5))
        running.woken.clear()
        try:
            if time.monotonic() - renewed > running.config.lease.length_s / 3.0:
                running.lease.renew()
                renewed = time.monotonic()
            running.controller.serve()
            running.service.publish()
        except FenceError as error:
            log.error("nothing is touched any more: %s", error)
            running.end_without_lease(error)
        except ForeshadeError as error:
            log.error("nothing was begun: %s", error, extra={"counted": type(error).__name__})


def _take(lease: Lease, store: Store, config: ControlConfig) -> None:
    said = False
    while not lease.acquire():
        row = read_lease(store, config.cluster)
        holder = row.holder if row is not None else "another"
        if not config.lease.standby:
            raise InputError(
                f"cluster {config.cluster}: expected no other controller, found {holder}; "
                "a second one waits with lease.standby: true"
            )
        if not said:
            log.info("standby: waiting for the lease of %s", holder)
            said = True
        time.sleep(min(1.0, config.lease.length_s / 3.0))


def _outwait(lease: Lease, config: ControlConfig) -> None:
    """Whoever fell silent may have begun a call just before: it ends within the longest that a call may take."""
    if not lease.waited_for:
        return
    log.info(
        "standby: the lease is ours, epoch %d; waiting %g s for calls of the holder before",
        lease.epoch,
        config.executor.call_timeout_s,
    )
    until = time.monotonic() + config.executor.call_timeout_s
    while (left := until - time.monotonic()) > 0.0:
        time.sleep(min(left, config.lease.length_s / 3.0))
        lease.renew()


def _windows(book: MaintenanceBook, world: ControlledWorld) -> Callable[[], Sequence[Window]]:
    """What the calendars say now; one that cannot be read freezes nothing, and is said."""

    def known() -> Sequence[Window]:
        try:
            return book.guard_windows(world.clock.calendar_s(), _WINDOWS_AHEAD_S, world.inventory())
        except InputError as error:
            log.error("maintenance: %s", error)
            return ()

    return known


def _configured_mode(service: ControlService, mode: Mode) -> None:
    """The file's mode counts when it is new there; what people said since counts until then."""
    if service.journal.configured_mode() != mode:
        service.journal.say("configured mode", mode.value, "configuration")
        service.journal.say("mode", mode.value, "configuration")


def explained(decision: Explained, seen: Seen) -> dict[str, Any]:
    """A decision as it is journalled: its candidates with the names of what they are about."""
    from foreshade.adapters.app.explain import decision_to_json  # noqa: PLC0415  keeps the start short

    said = decision_to_json(decision)
    hosts, vms = seen.inventory.hosts, seen.inventory.vms
    for candidate in said["candidates"]:
        for key in ("what", "reason", "verdict"):
            candidate[key] = named(candidate[key], seen.inventory)
        for key, facts in (("vm", vms), ("host", hosts), ("source", hosts)):
            slot = candidate[key]
            candidate[f"{key}_name"] = facts[slot].name if 0 <= slot < len(facts) else ""
    return said


def _say(record: TickRecord) -> None:
    if record.idle:
        log.info("tick %d: %s", record.tick, record.idle)
        return
    counts = ", ".join(
        f"{count} {kind}" for kind, count in (record.choices[0].actions.items() if record.choices else ())
    )
    refused = sum(record.refused.values())
    text = f"tick {record.tick} {record.mode} {record.by}: {counts or 'nothing to do'}"
    if refused:
        rules = ", ".join(
            f"{rule} {count}" if len(record.refused) > 1 else rule for rule, count in record.refused.items()
        )
        text += f"; the guard refused {refused} ({rules})"
    if record.why:
        text += f"; {record.why}"
    log.info(
        text,
        extra={
            "tick": record.tick,
            "mode": record.mode,
            "by": record.by,
            "plans": record.plans,
            "refused": record.refused,
            "agreement": record.agreement,
        },
    )
