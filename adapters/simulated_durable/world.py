"""``SimulatedWorld`` as a ``ControlledWorld``: durable names, orders in steps, and a log to be replayed from."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foreshade._core import ClusterState
from foreshade.adapters.simulated_durable.head import check_head, head_of
from foreshade.adapters.simulated_durable.labels import labels_of
from foreshade.adapters.simulated_durable.log import WorldLog
from foreshade.adapters.simulated_durable.names import Memory, Names, host_name, rack_name
from foreshade.adapters.simulated_durable.steps import Sight, Step, back_of, standing_of, steps_of
from foreshade.envs.errors import ActionError, WorldError
from foreshade.envs.inventory import HostFacts, Inventory, VmFacts
from foreshade.envs.model.action import Action, ActionKind, Allocation, Outcome, Plan, PowerTarget, five
from foreshade.envs.model.state import HostState, VmState
from foreshade.envs.order import Order, Result, Standing
from foreshade.envs.simulated import SimulatedWorld
from foreshade.envs.site import Site, site_of

_FREE = VmFacts()
#: Told of each step before it is done; what it returns is the error with which the call ends there, "" = none.
#: It may also hang, or kill the process: fault injection.
BeforeStep = Callable[[Order, str], str]


class WorldClock:
    """The simulated time of a world."""

    def __init__(self, world: DurableSimulatedWorld) -> None:
        self._world = world

    def now_s(self) -> float:
        """Start of the workload plus what has been played."""
        return self._world.start_s + self._world.tick * self._world.tick_s

    def calendar_s(self) -> float:
        """The same: nobody sets it."""
        return self.now_s()


class DurableSimulatedWorld:
    """A simulated cluster in a file; see the package."""

    def __init__(
        self,
        simulated: SimulatedWorld,
        log: Path,
        seed: int = 0,
        *,
        before_step: BeforeStep = lambda _order, _step: "",
    ) -> None:
        """Replay what happened so far, or begin with every VM of the first tick placed.

        Args:
            simulated: freshly made, with the same scenario and workload as when the log was begun.
            log: file; made where there is none.
            seed: of failures.
            before_step: fault injection.

        Raises:
            InputError: the log is of another scenario, workload or seed, or cannot be read.

        """
        self._world, self._seed, self._before_step = simulated, seed, before_step
        self._log = WorldLog(log)
        self._lock = threading.RLock()
        self._memory = Memory()
        self.tick = 0
        self.start_s = float(simulated.workload.start_epoch_s)
        self.cost_usd: Mapping[str, float] = {}  # of the last interval
        self.clock = WorldClock(self)
        simulated.reset(seed)
        self._state = simulated.observe()
        hosts = self._state.hosts
        self._names = Names(simulated.workload, len(hosts.state), int(hosts.rack.max()) + 1)
        self._labels = labels_of(simulated)
        head = head_of(simulated, seed)
        entries = self._log.read()
        first = next(entries, None)
        if first is not None:
            check_head(log, first, head)
        for entry in entries:
            self._replay(entry)
        self._log.open()
        if first is None:
            self._log.append(head)
            self._enter({"schedule": True})
        self._look()

    @property
    def torn_lines(self) -> int:
        """Calls that had not arrived when the controller died."""
        return self._log.torn_lines

    # -- World ---------------------------------------------------------------------------------------------------

    @property
    def capabilities(self) -> frozenset[ActionKind]:
        """What the scenario allows."""
        return self._world.capabilities

    @property
    def tick_s(self) -> float:
        """Length of a control interval in simulated seconds."""
        return self._world.tick_s

    @property
    def done(self) -> bool:
        """Whether the last tick has been played."""
        return self._world.done

    def observe(self) -> ClusterState:
        """The cluster now; the same object each time."""
        with self._lock:
            return self._look()

    def execute(self, plan: Plan) -> Sequence[Outcome]:
        """Start actions as they are, without a journal; they are replayed all the same."""
        with self._lock:
            outcomes = [self._enter({"execute": _packed(action)}) for action in plan.actions]
            self._look()
        return outcomes

    def advance(self) -> Mapping[str, float]:
        """Play one tick; what nobody placed is placed by the scenario's own rule, as a cloud's scheduler would."""
        with self._lock:
            self._enter({"advance": True})
            self._look()
            return self.cost_usd

    # -- ControlledWorld -----------------------------------------------------------------------------------------

    @property
    def synced(self) -> bool:
        """Whether a tick was played: before the first there are names, and no sample."""
        return self.tick > 0

    def site(self) -> Site:
        """The site of the scenario."""
        return site_of(self._world, self._seed)

    def inventory(self) -> Inventory:
        """Names of all slots; a simulated host always comes back when it is switched on."""
        with self._lock:
            hosts, vms = self._state.hosts, self._state.vms
            racks, zones = hosts.rack.tolist(), hosts.zone.tolist()
            facts = tuple(
                HostFacts(name, rack_name(racks[h]), f"zone{zones[h]}", power_on_proven=True)
                for h, name in enumerate(self._names.hosts)
            )
            apps, owners, states = self._names.apps, vms.app.tolist(), vms.state.tolist()
            guests = tuple(
                self._facts(name, apps[owners[v]])
                if states[v] != VmState.ABSENT and owners[v] >= 0
                else _FREE
                for v, name in enumerate(self._vm_names())
            )
            zone_names = tuple(f"zone{z}" for z in range(max(zones) + 1))
            return Inventory(facts, guests, apps, self._names.racks, zone_names)

    def _facts(self, name: str, app: str) -> VmFacts:
        together, apart = self._labels.get(name, (frozenset(), frozenset()))
        return VmFacts(name, app, together=together, apart=apart)

    def troubles(self) -> Sequence[str]:
        """Hosts that failed."""
        with self._lock:
            failed = np.flatnonzero(self._state.hosts.state == HostState.FAILED)
            return [f"host {host_name(int(h))}: expected on, found failed" for h in failed]

    def close(self) -> None:
        """Close the log."""
        self._log.close()

    # -- DurableWorld --------------------------------------------------------------------------------------------

    def order(self, action: Action, key: str) -> Order:
        """The action in durable names."""
        with self._lock:
            vms, hosts, kind = self._state.vms, self._state.hosts, action.kind
            names = self._names
            vm = _named(action.vm, self._vm_names(), "VM")
            if action.vm >= 0 and vms.state[action.vm] == VmState.ABSENT:
                raise ActionError(f"{kind.name.lower()}: expected a VM in slot {action.vm}, found none")
            host, app = (
                _named(action.host, names.hosts, "host"),
                _named(action.app, names.apps, "application"),
            )
            stands = int(vms.host[action.vm]) if action.vm >= 0 else -1
            primary, before = "", 0.0
            was: Allocation | None = None
            if kind is ActionKind.SHADOW:
                vm, primary = f"{vm}.shadow.{key}", vm
            elif kind is ActionKind.MICROVM:
                vm = f"{app}.micro.{key}"
            elif kind is ActionKind.SPAWN and action.vm < 0:
                vm = f"{app}.{key}"
            elif kind in (ActionKind.SHIFT, ActionKind.DESPAWN):
                before = float(vms.weight[action.vm])
            elif kind is ActionKind.RESHAPE:
                was = five(vms.allocation[action.vm].tolist())
            elif kind is ActionKind.POWER and action.host >= 0:
                before = _power_of(HostState(hosts.state[action.host]))
            return Order(
                key,
                kind,
                vm,
                primary,
                host,
                names.hosts[stands] if stands >= 0 else "",
                app,
                _named(action.rack, names.racks, "rack"),
                action.value,
                action.value2,
                action.allocation,
                before,
                was,
                action.reason,
            )

    def carry_out(self, order: Order, timeout_s: float) -> Result:  # noqa: ARG002 - a simulator never hangs
        """Do the steps that are not done yet."""
        with self._lock:
            shown = standing_of(order, self._sight())
            begun = self._memory.done.get(order.key, 0)
            if shown is Standing.DONE or (begun and shown is Standing.UNDER_WAY):
                return Result(shown)
            try:
                error = self._do(order, steps_of(order, self._sight())[begun:], "order")
            except ActionError as gone:
                error = str(gone)
            self._look()
            return Result(self.standing(order), error, again=error.startswith("busy"))

    def standing(self, order: Order) -> Standing:
        """How far it is, by the simulator's state and by what is half done."""
        with self._lock:
            return standing_of(order, self._sight())

    def compensate(self, order: Order, timeout_s: float) -> Result:  # noqa: ARG002 - a simulator never hangs
        """Undo the steps that were done; what the simulator has begun by itself goes on."""
        with self._lock:
            error = self._do(order, back_of(order, self._sight()), "undo")
            self._look()
            return Result(self.standing(order), error)

    # -- the log -------------------------------------------------------------------------------------------------

    def _look(self) -> ClusterState:
        self._state = self._world.observe()
        self._called: list[str] | None = None
        return self._state

    def _vm_names(self) -> list[str]:
        """Of every slot of the state last observed."""
        if self._called is None:
            self._called = self._names.vms(self._state, self._memory)
        return self._called

    def _sight(self) -> Sight:
        return Sight(self._state, self._memory, self._names)

    def _do(self, order: Order, steps: Sequence[Step], how: str) -> str:
        """Steps one after the other until one fails; why it did, "" = none."""
        for step in steps:
            if error := self._before_step(order, step.name):
                return error
            entry = {
                how: order.key,
                "step": step.name,
                "vm": order.vm,
                "host": order.host,
                "rack": order.rack,
            }
            try:
                outcome = self._enter({**entry, "play": _packed(step.action) if step.action else None})
            except WorldError as error:
                return str(error)
            if not outcome.accepted:
                return outcome.error
        return ""

    def _enter(self, entry: dict[str, Any]) -> Outcome:
        """Write down, then play."""
        self._log.append(entry)
        return self._replay(entry)

    def _replay(self, entry: Mapping[str, Any]) -> Outcome:
        if "advance" in entry:
            self.cost_usd = self._world.advance()
            self.tick += 1
            return Outcome(True)
        if "schedule" in entry:
            self._world.schedule()
            return Outcome(True)
        if "execute" in entry:
            return self._play(entry["execute"])
        return self._step(entry)

    def _step(self, entry: Mapping[str, Any]) -> Outcome:
        memory, vm, step = self._memory, entry["vm"], entry["step"]
        outcome = self._play(entry["play"]) if entry["play"] else Outcome(True)
        if not outcome.accepted:
            return outcome
        if "undo" in entry:
            memory.defined.discard(vm)
            memory.incoming.pop(vm, None)
            memory.done.pop(entry["undo"], None)
            return outcome
        memory.done[entry["order"]] = memory.done.get(entry["order"], 0) + 1
        if step == "define":
            memory.defined.add(vm)
        elif step == "start":
            memory.defined.discard(vm)
            memory.made[vm] = (outcome.vm, int(self._world.observe().vms.birth[outcome.vm]))
        elif step == "prepare":
            memory.incoming[vm] = entry["host"]
        elif step == "move":
            memory.incoming.pop(vm, None)
        elif entry["rack"]:
            on = entry["play"][5] == PowerTarget.ON
            (memory.racks_off.discard if on else memory.racks_off.add)(entry["rack"])
        return outcome

    def _play(self, packed: Sequence[Any]) -> Outcome:
        kind, vm, host, app, rack, value, value2, allocation = packed
        amounts = None if allocation is None else five(allocation)
        action = Action(ActionKind(kind), vm, host, app, rack, value, value2, amounts)
        return self._world.execute(Plan(self.tick, [action]))[0]


def _named(number: int, names: Sequence[str], what: str) -> str:
    if number < 0:
        return ""
    if number >= len(names):
        raise ActionError(f"expected a {what} below {len(names)}, found {number}")
    return names[number]


def _packed(action: Action) -> list[Any]:
    numbers = (action.vm, action.host, action.app, action.rack, action.value, action.value2)
    return [int(action.kind), *numbers, action.allocation]


def _power_of(state: HostState) -> float:
    if state in (HostState.OFF, HostState.SHUTTING_DOWN):
        return float(PowerTarget.OFF)
    return float(PowerTarget.SLEEP if state is HostState.ASLEEP else PowerTarget.ON)
