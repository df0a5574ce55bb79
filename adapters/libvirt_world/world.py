"""``LibvirtWorld``: many libvirt hosts as one world that can be observed, acted on, and found again after a crash."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence

from foreshade._core import ClusterState
from foreshade.adapters.clouds import Cloud
from foreshade.adapters.libvirt_world.at_work import AtWork
from foreshade.adapters.libvirt_world.cluster import Cluster
from foreshade.adapters.libvirt_world.connection import Retries
from foreshade.adapters.libvirt_world.description import Description
from foreshade.adapters.libvirt_world.facts import inventory_of, troubles_of
from foreshade.adapters.libvirt_world.guest_template import read_template
from foreshade.adapters.libvirt_world.hands import Abilities, Carrier, Deadline, Hands, failed
from foreshade.adapters.libvirt_world.host_watch import HostWatch
from foreshade.adapters.libvirt_world.library import library, said
from foreshade.adapters.libvirt_world.migration import Migration
from foreshade.adapters.libvirt_world.naming import Naming
from foreshade.adapters.libvirt_world.outside import Outside
from foreshade.adapters.libvirt_world.powering import Powering
from foreshade.adapters.libvirt_world.removal import Removal
from foreshade.adapters.libvirt_world.renting import Renting
from foreshade.adapters.libvirt_world.reshaping import Reshaping
from foreshade.adapters.libvirt_world.settings import LibvirtSettings
from foreshade.adapters.libvirt_world.shifting import Shifting
from foreshade.adapters.libvirt_world.site import MOST_TICKS, HostSize, site_of_live
from foreshade.adapters.libvirt_world.slots import Slots
from foreshade.adapters.libvirt_world.snapshot import Sighting, View, fill, sightings
from foreshade.adapters.libvirt_world.spawning import Spawning
from foreshade.adapters.libvirt_world.telemetry import LEAST_S, LastReadings
from foreshade.adapters.libvirt_world.upkeep import Upkeep
from foreshade.adapters.libvirt_world.wall_clock import WallClock
from foreshade.adapters.metrics import Metrics
from foreshade.adapters.power import Power, PowerReading, Proofs
from foreshade.adapters.traffic import Traffic
from foreshade.envs.affinity_labels import contradiction
from foreshade.envs.errors import ActionError, ForeshadeError, WorldError
from foreshade.envs.inventory import Inventory
from foreshade.envs.model.action import Action, ActionKind, Outcome, Plan
from foreshade.envs.model.state import HostState
from foreshade.envs.order import Order, Result, Standing
from foreshade.envs.scenarios.schema import Scenario
from foreshade.envs.site import Site

_CANNOT_MIGRATE = frozenset({"TEST", "VBOX", "BHYVE"})  # of libvirt's drivers
_SLOWEST = 2  # samples that the start takes, so that there are rates


class LibvirtWorld:
    """A ``ControlledWorld`` of real hosts. Nothing is touched but by orders on VMs that carry our metadata."""

    def __init__(
        self,
        settings: LibvirtSettings,
        *,
        traffic: Traffic | None = None,
        powers: Mapping[str, Power] | None = None,
        rack_powers: Mapping[str, Power] | None = None,
        clouds: Mapping[str, Cloud] | None = None,
        host_metrics: Mapping[str, Metrics] | None = None,
        vm_metrics: Mapping[str, Metrics] | None = None,
        retries: Retries | None = None,
    ) -> None:
        """Begin to connect to every host; nothing waits for those that are away.

        Args:
            settings: hosts, templates, limits.
            traffic: the load balancer; None = weights are noted, and nobody is told.
            powers: management controllers of hosts, by name.
            rack_powers: of racks, by name.
            clouds: of rented hosts, by name.
            host_metrics: what a monitoring system measures of hosts, by field of ``HostReadings``.
            vm_metrics: likewise of VMs, by field of ``VmReadings``.
            retries: of connections.

        Raises:
            MissingExtraError: libvirt-python is not installed.
            InputError: a URI is none, a template or the file of proofs cannot be read.

        """
        for template in settings.templates.values():
            for path in (template.domain, template.microvm):
                if path is not None:
                    read_template(path)
        self.settings = settings
        self.clock = WallClock()
        self._cluster = Cluster(settings, retries)
        self._order = tuple(host.name for host in settings.ordered_hosts)
        self._slots = Slots()
        self._slots.update((), settings.apps)
        self._state = ClusterState()
        self._description = Description(settings)
        self._sightings: dict[str, Sighting] = {}
        self._clouds = dict(clouds or {})
        self._at_work = AtWork()
        self._last = LastReadings()
        self._outside = Outside(host_metrics or {}, vm_metrics or {}, settings.timeouts.stale)
        self._epoch_s = time.monotonic()
        self._tick = 0
        self._next_tick_s = self._epoch_s + settings.tick_s
        self._wake = threading.Event()
        self._view: View | None = None
        self._synced = False
        self._lock = threading.RLock()
        self._hands = Hands(
            settings,
            self._cluster,
            self.clock.now_s,
            self._size,
            traffic,
            dict(powers or {}),
            dict(rack_powers or {}),
            Proofs(settings.proofs),
        )
        spawning = Spawning(self._hands)
        self.migration = Migration(self._hands)
        self._powering = Powering(self._hands)
        self._renting = Renting(self._hands, self._clouds)
        self._watch = HostWatch(
            self._cluster,
            self._order,
            self._hands.powers,
            self._hands.rack_powers,
            frozenset(self._clouds),
            self._renting.lease,
            self._hands.proofs,
            self.clock.now_s,
        )
        self.upkeep = Upkeep(self._hands, self._at_work, self.carry_out)
        self._carriers: dict[ActionKind, Carrier] = {
            ActionKind.SPAWN: spawning,
            ActionKind.SHADOW: spawning,
            ActionKind.MICROVM: spawning,
            ActionKind.DESPAWN: Removal(self._hands),
            ActionKind.RESHAPE: Reshaping(self._hands),
            ActionKind.MIGRATE: self.migration,
            ActionKind.SHIFT: Shifting(self._hands),
            ActionKind.POWER: self._powering,
            ActionKind.RENT: self._renting,
        }

    # -- World --

    @property
    def capabilities(self) -> frozenset[ActionKind]:
        """What the settings allow and what there is can do; what was found impossible everywhere is gone."""
        allowed = {ActionKind[kind.upper()] for kind in self.settings.actions}
        templates = self.settings.templates.values()
        able = {
            ActionKind.SPAWN: bool(templates),
            ActionKind.DESPAWN: True,
            ActionKind.RESHAPE: True,
            ActionKind.MIGRATE: len(self._order) > 1
            and not self._hands.abilities.all_lack(list(self._cluster.hosts), "migrate"),
            ActionKind.SHADOW: bool(templates) and len(self._order) > 1,
            ActionKind.MICROVM: any(template.microvm is not None for template in templates),
            ActionKind.SHIFT: True,
            ActionKind.POWER: bool(self._hands.powers),
            ActionKind.RENT: bool(self._clouds),
        }
        return frozenset({ActionKind.WAIT} | {kind for kind in allowed if able[kind]})

    @property
    def tick_s(self) -> float:
        """Length of a control interval in seconds."""
        return self.settings.tick_s

    @property
    def done(self) -> bool:
        """Never: life goes on."""
        return False

    @property
    def synced(self) -> bool:
        """Whether every host that answers has been sampled twice, so that there are rates; asks until it is so."""
        if not self._synced:
            try:
                self.observe()
            except WorldError:
                return False
            hosts = self._cluster.hosts.values()
            self._synced = all(host.meter.rated for host in hosts if host.connection.connected)
        return self._synced

    def observe(self) -> ClusterState:
        """Sample every host at once, within the sample timeout, and show what is known now.

        Raises:
            WorldError: no host has ever answered.

        """
        with self._lock:
            first = all(host.meter.last is None for host in self._cluster.hosts.values())
            if first:
                self._cluster.connect(self.settings.timeouts.connect)
                for _ in range(_SLOWEST - 1):
                    self._cluster.sample(self.settings.timeouts.sample)
                    time.sleep(max(2.0 * LEAST_S, min(1.0, self.tick_s)))
            self._watch.rented()
            self._watch.ask()
            self._outside.ask()
            self._cluster.sample(self.settings.timeouts.sample)
            if all(host.meter.last is None for host in self._cluster.hosts.values()):
                raise WorldError(
                    f"expected one host at least to answer, found none: {'; '.join(self.troubles())}"
                )
            self._watch.hear()
            self._outside.hear()
            self._describe()
            self._show()
            self.upkeep.look_after(self._sightings.values())
            return self._state

    def execute(self, plan: Plan) -> Sequence[Outcome]:
        """Carry the actions out one after the other, each within a tick's length."""
        outcomes = []
        for number, action in enumerate(plan.actions):
            if action.kind is ActionKind.WAIT:
                outcomes.append(Outcome(True))
                continue
            try:
                order = self.order(action, f"{plan.tick}-{number}-{int(self.clock.now_s())}")
            except ActionError as error:
                outcomes.append(Outcome(False, said(error)))
                continue
            result = self.carry_out(order, min(self.tick_s, 300.0))
            accepted = not result.error and result.standing in (Standing.DONE, Standing.UNDER_WAY)
            self.observe()
            slot = self.inventory().vm_slot.get(order.vm, -1) if order.vm else -1
            outcomes.append(Outcome(accepted, "" if accepted else result.error or result.standing, slot))
        return outcomes

    def advance(self) -> Mapping[str, float]:
        """Wait until the interval is over; returns the electricity and hire of it, in USD.

        Where it is over already, the next begins now: a slow tick is not made up for by several at once.
        """
        wait = self._next_tick_s - time.monotonic()
        if wait > 0.0:
            self._wake.wait(wait)
        now = time.monotonic()
        late = now - self._next_tick_s
        self._next_tick_s = (now if late > self.tick_s else self._next_tick_s) + self.tick_s
        self._tick += 1
        return self._cost()

    # -- ControlledWorld --

    def site(self) -> Site:
        """Prices, power curves and capabilities of this generation."""
        with self._lock:
            if not self._description.known:
                self.observe()
            apps, scenario = tuple(self._slots.apps), self._description.scenario
            return site_of_live(self.settings, scenario, apps, self.capabilities, self._slots.n)

    def scenario(self) -> Scenario:
        """The cluster as a scenario, so that it can be played forward in the simulator."""
        with self._lock:
            return self._description.scenario

    def inventory(self) -> Inventory:
        """Facts by slot of the state last observed."""
        with self._lock:
            generation = self._description.generation + self._slots.generation
            return inventory_of(self._shown(), self._slots, self._powering.proven, generation)

    def troubles(self) -> Sequence[str]:
        """What is wrong with hosts, VMs, balancer and monitoring, and what was found impossible."""
        found = list(troubles_of(self._cluster, self._sightings))
        # It is also asked why nothing could be observed: then there is no inventory.
        labels = "" if self._view is None else contradiction(self.inventory().vms)
        found = [*found, *filter(None, [labels, self.upkeep.trouble, self.clock.trouble])]
        return [*found, *self._outside.troubles, *self._hands.abilities]

    def close(self) -> None:
        """Disconnect; everything goes on as it is."""
        self._wake.set()
        self._outside.close()
        self._cluster.close()

    # -- DurableWorld --

    def order(self, action: Action, key: str) -> Order:
        """The action in durable names, from the state last observed."""
        with self._lock:
            inventory = self.inventory()
            naming = Naming(self.settings, self._state, inventory, self._sightings, self._watch.views)
            return naming.order(action, key)

    def carry_out(self, order: Order, timeout_s: float) -> Result:
        """Do it; what the world shows afterwards is the result."""
        with self._at_work.on(order):
            return self._guarded(
                order, lambda: self._carriers[order.kind].carry_out(order, Deadline(timeout_s))
            )

    def standing(self, order: Order) -> Standing:
        """How far it is now."""
        if order.kind is ActionKind.WAIT:
            return Standing.DONE
        libvirt = library()
        try:
            return self._carriers[order.kind].standing(order)
        except ActionError:
            return (
                Standing.UNTOUCHED
            )  # what it acts on is gone, foreign or protected: nothing of it can be seen
        except libvirt.libvirtError as error:
            raise WorldError(f"{order.kind.name.lower()} {order.vm or order.host}: {said(error)}") from error

    def compensate(self, order: Order, timeout_s: float) -> Result:
        """Bring back what stood before."""
        return self._guarded(order, lambda: self._carriers[order.kind].compensate(order, Deadline(timeout_s)))

    # -- beyond the port --

    @property
    def cluster(self) -> Cluster:
        """The hosts themselves."""
        return self._cluster

    @property
    def abilities(self) -> Abilities:
        """What was found to be impossible."""
        return self._hands.abilities

    @property
    def rack_readings(self) -> Mapping[str, PowerReading]:
        """What racks draw and how warm they are, by name, as told last."""
        return dict(self._watch.rack_power)

    @property
    def host_readings(self) -> Mapping[str, PowerReading]:
        """Likewise of hosts."""
        return dict(self._watch.power)

    # --

    def _guarded(self, order: Order, act: Callable[[], Result]) -> Result:
        """A result, whatever the world does."""
        libvirt = library()
        if order.kind is ActionKind.WAIT:
            return Result(Standing.DONE)
        try:
            return act()
        except (ForeshadeError, libvirt.libvirtError) as error:
            try:
                standing = self.standing(order)
            except WorldError:
                standing = Standing.HALF_DONE  # nobody can say: it is asked again once the world answers
            return failed(standing, error)

    def _size(self, host: str) -> HostSize:
        size = self._description.size(host)
        if size is None:
            self.observe()  # an order from before a restart may come before the first tick
            size = self._description.size(host)
        if size is None:
            raise WorldError(f"host {host}: expected its size, found it never sampled")
        return size

    def _shown(self) -> View:
        if self._view is None:
            self.observe()
        if self._view is None:
            raise WorldError("expected a cluster that was observed, found none")
        return self._view

    def _describe(self) -> None:
        """Take in what hosts turned out to be."""
        nodes = {}
        for name, live in self._cluster.hosts.items():
            last = live.meter.last
            if last is None:
                continue
            nodes[name] = last.node
            if last.driver in _CANNOT_MIGRATE:
                why = f"libvirt's driver {last.driver} has no migration"
                self._hands.abilities.learn(name, "migrate", why)
        ended = self._tick >= MOST_TICKS - 1
        if self._description.update(nodes, ended=ended) and ended:
            self._tick, self._epoch_s = 0, time.monotonic()

    def _show(self) -> None:
        now = time.monotonic()
        self._watch.update(now)
        seen = sightings(self._cluster, self._watch.off)
        self._hands.lost.clear()
        for sight in seen.values():
            if sight.lost and sight.record is not None:
                self._hands.lost[sight.name] = sight.record
        self._slots.update(seen, (sight.record.app for sight in seen.values() if sight.record is not None))
        self._sightings = seen
        self._view = View(
            self._cluster,
            self._description.scenario,
            self._order,
            self._description.sizes,
            self._watch.views,
            seen,
            self._outside,
            self._last,
            self._at_work.busy,
            self._at_work.destinations,
        )
        self._last.keep(seen)
        fill(self._state, self._view, self._slots, now, now - self._epoch_s, self._tick, self.clock.now_s())

    def _cost(self) -> dict[str, float]:
        """Electricity and hire of one interval, by the state last shown."""
        if not self._description.known:
            return {}
        hours = self.tick_s / 3600.0
        now = self._description.scenario.start
        price = self.settings.prices
        watts = float(self._state.hosts.power_w.sum())
        hired = self._state.hosts.state != HostState.UNRENTED
        return {
            "electricity": watts / 1000.0 * hours * price.pue * price.usd_per_kwh(now),
            "hire": float(self._state.hosts.price_usd_h[hired].sum()) * hours,
        }
