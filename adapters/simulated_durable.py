"""A simulated cluster that outlives its controller: what happened to it is a file, and the simulator replays it.

The native simulator is deterministic, so its state is its scenario, its seed and everything that was done to it. Each
step of an order is appended to ``world.jsonl`` *before* it is played, which is the moment at which the call has
"reached the hypervisor": a controller that is killed before finds the world untouched, one that is killed after finds
the step done. A torn last line is a call that did not arrive.

As on a real hypervisor an order is several steps, and stopping between two leaves something half done:

| kind | steps |
|---|---|
| spawn, shadow, microvm | ``define`` (the name is taken, nothing runs), ``start`` |
| migrate | ``prepare`` (an incoming VM waits on the destination), ``move`` |
| reshape | one step for each resource that changes |
| despawn | ``drain`` (no more traffic), ``stop`` |
| place, shift, power, rent | one |
"""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from foreshade._core import ClusterState
from foreshade.envs.errors import ActionError, InputError, WorldError
from foreshade.envs.inventory import HostFacts, Inventory, VmFacts
from foreshade.envs.model.action import (
    Action,
    ActionKind,
    Allocation,
    Outcome,
    Plan,
    PowerTarget,
    despawn,
    five,
    migrate,
    reshape,
    shift,
)
from foreshade.envs.model.state import HostState, VmState
from foreshade.envs.order import Order, Result, Standing
from foreshade.envs.simulated import SimulatedWorld
from foreshade.envs.site import Site, site_of

_NOWHERE = -1
_MAKES = frozenset({ActionKind.SPAWN, ActionKind.SHADOW, ActionKind.MICROVM})
_SAME = 1e-4  # relative: allocations are float32 in the simulator


@dataclass(frozen=True, slots=True)
class _Step:
    """One call that a hypervisor would get."""

    name: str
    action: Action | None = None  # what the simulator plays; None = it only shows in what is remembered here


@dataclass(slots=True)
class _Memory:
    """What the simulator does not hold: names, and what is half done. Made again by every replay."""

    made: dict[str, tuple[int, int]] = field(default_factory=dict)  # slot and birth of VMs that orders made
    done: dict[str, int] = field(default_factory=dict)  # steps done of each order, by its key
    defined: set[str] = field(default_factory=set)  # names taken by VMs that were never started
    incoming: dict[str, str] = field(default_factory=dict)  # VM to the host on which a copy of it waits
    rack_off: set[int] = field(default_factory=set)
    proven: set[int] = field(default_factory=set)  # hosts that were seen coming back


class WorldClock:
    """The simulated time of a world."""

    def __init__(self, world: DurableSimulatedWorld) -> None:
        self._world = world

    def now_s(self) -> float:
        """Start of the scenario plus what has been played."""
        return self._world.start_s + self._world.tick * self._world.tick_s


class DurableSimulatedWorld:
    """``SimulatedWorld`` as a ``ControlledWorld``."""

    def __init__(
        self,
        simulated: SimulatedWorld,
        log: Path,
        seed: int = 0,
        *,
        before_step: Callable[[Order, str], str] = lambda _order, _step: "",
    ) -> None:
        """Replay what happened so far, or begin with every VM of the first tick placed.

        Args:
            simulated: freshly made, with the same scenario and workload as when the log was begun.
            log: file; made where there is none.
            seed: of failures.
            before_step: fault injection: told of each step before it is done; what it returns is the error with
                which the call ends there, "" = none. It may also hang, or kill the process.

        Raises:
            InputError: the log is of another scenario, workload or seed, or cannot be read.

        """
        self._world, self._seed, self._before_step = simulated, seed, before_step
        self._path = log
        self._lock = threading.RLock()
        self._memory = _Memory()
        self.tick = 0
        self.start_s = float(simulated.workload.start_epoch_s)
        self.torn_lines = 0
        self.cost_usd: Mapping[str, float] = {}
        simulated.reset(seed)
        self._state = simulated.observe()
        self.clock = WorldClock(self)
        self._fd = -1
        entries = list(self._read())
        head = {
            "scenario": simulated.scenario.name,
            "variant": simulated.scenario.variant,
            "workload": simulated.workload.source,
            "vms": len(simulated.workload.vms),
            "seed": seed,
        }
        log.parent.mkdir(parents=True, exist_ok=True)
        if entries:
            if entries[0] != head:
                raise InputError(f"{log}: expected the log of {head}, found one of {entries[0]}")
            self._fd = os.open(log, os.O_WRONLY | os.O_APPEND)
            for entry in entries[1:]:
                self._replay(entry)
        else:
            self._fd = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC, 0o640)
            self._append(head)
            self._enter({"schedule": True})
        self._state = simulated.observe()

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

    @property
    def synced(self) -> bool:
        """A simulator knows itself from the start."""
        return True

    def observe(self) -> ClusterState:
        """The cluster now; the same object each time."""
        with self._lock:
            self._state = self._world.observe()
            return self._state

    def execute(self, plan: Plan) -> Sequence[Outcome]:
        """Start actions as they are, without journal; they are replayed all the same."""
        with self._lock:
            outcomes = [self._enter({"execute": _packed(action)}) for action in plan.actions]
            self._state = self._world.observe()
        return outcomes

    def advance(self) -> Mapping[str, float]:
        """Play one tick; what nobody placed is placed by the scenario's own rule, as a cloud's scheduler would."""
        with self._lock:
            self._enter({"advance": True})
            self._state = self._world.observe()
            return self.cost_usd

    # -- ControlledWorld -----------------------------------------------------------------------------------------

    def site(self) -> Site:
        """The site of the scenario."""
        return site_of(self._world, self._seed)

    def inventory(self) -> Inventory:
        """Names of all slots; a simulated host always comes back when it is switched on."""
        with self._lock:
            hosts, vms = self._state.hosts, self._state.vms
            facts = tuple(
                HostFacts(
                    self._host_name(h), f"rack{hosts.rack[h]}", f"zone{hosts.zone[h]}", power_on_proven=True
                )
                for h in range(len(hosts.state))
            )
            names = self._names()
            apps = self._world.workload.apps.name
            owners, states = vms.app.tolist(), vms.state.tolist()
            guests = tuple(
                VmFacts(names[v], apps[owners[v]])
                if states[v] != VmState.ABSENT and owners[v] >= 0
                else _FREE
                for v in range(len(states))
            )
            n_racks = int(hosts.rack.max()) + 1
            n_zones = int(hosts.zone.max()) + 1
            return Inventory(
                facts,
                guests,
                apps,
                tuple(f"rack{r}" for r in range(n_racks)),
                tuple(f"zone{z}" for z in range(n_zones)),
            )

    def troubles(self) -> Sequence[str]:
        """Hosts that failed."""
        with self._lock:
            failed = np.flatnonzero(self._state.hosts.state == HostState.FAILED)
            return [f"host {self._host_name(int(h))} has failed: expected on" for h in failed]

    def close(self) -> None:
        """Close the log."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    # -- DurableWorld --------------------------------------------------------------------------------------------

    def order(self, action: Action, key: str) -> Order:
        """The action in durable names."""
        with self._lock:
            vms, hosts = self._state.vms, self._state.hosts
            names = self._names()
            kind = action.kind
            host = self._named(action.host, len(hosts.state), "host", self._host_name)
            rack = self._named(action.rack, int(hosts.rack.max()) + 1, "rack", lambda r: f"rack{r}")
            app = self._named(
                action.app,
                len(self._world.workload.apps),
                "application",
                self._world.workload.apps.name.__getitem__,
            )
            vm = self._named(action.vm, len(vms.state), "VM", names.__getitem__)
            if action.vm >= 0 and vms.state[action.vm] == VmState.ABSENT:
                raise ActionError(f"{kind.name.lower()}: expected a VM in slot {action.vm}, found none")
            stands = int(vms.host[action.vm]) if action.vm >= 0 else _NOWHERE
            primary, before = "", 0.0
            was: Allocation | None = five(vms.allocation[action.vm].tolist()) if action.vm >= 0 else None
            if kind is ActionKind.SHADOW:
                vm, primary = f"{vm}.shadow.{key}", vm
            elif kind is ActionKind.MICROVM:
                vm = f"{app}.micro.{key}"
            elif kind is ActionKind.SPAWN and action.vm < 0:
                vm = f"{app}.{key}"
            elif kind in (ActionKind.SHIFT, ActionKind.DESPAWN):
                before = float(vms.weight[action.vm])
            elif kind is ActionKind.POWER and action.host >= 0:
                before = _power_of(HostState(hosts.state[action.host]))
            return Order(
                key,
                kind,
                vm,
                primary,
                host,
                self._host_name(stands) if stands >= 0 else "",
                app,
                rack,
                action.value,
                action.value2,
                action.allocation,
                before,
                was if kind is ActionKind.RESHAPE else None,
                action.reason,
            )

    def carry_out(self, order: Order, timeout_s: float) -> Result:  # noqa: ARG002 - a simulator never hangs
        """Do the steps that are not done yet."""
        with self._lock:
            try:
                if self._memory.done.get(order.key, 0) == 0 and self._shown(order) is Standing.DONE:
                    return Result(Standing.DONE)
                steps = self._steps(order)
                for step in steps[self._memory.done.get(order.key, 0) :]:
                    if error := self._before_step(order, step.name):
                        return Result(self.standing(order), error, again=error.startswith("busy"))
                    outcome = self._enter(
                        {
                            "order": order.key,
                            "step": step.name,
                            "vm": order.vm,
                            "host": order.host,
                            "rack": order.rack,
                            "play": _packed(step.action) if step.action else None,
                        }
                    )
                    if not outcome.accepted:
                        self._state = self._world.observe()
                        return Result(self.standing(order), outcome.error)
                self._state = self._world.observe()
                return Result(self.standing(order))
            except ActionError as error:
                return Result(Standing.UNTOUCHED, str(error))

    def standing(self, order: Order) -> Standing:
        """How far it is, by the simulator's state and by what is half done."""
        with self._lock:
            return self._shown(order)

    def compensate(self, order: Order, timeout_s: float) -> Result:  # noqa: ARG002 - a simulator never hangs
        """Undo the steps that were done; what the simulator has begun by itself goes on."""
        with self._lock:
            for step in self._back(order):
                if error := self._before_step(order, step.name):
                    return Result(self.standing(order), error)
                outcome = self._enter(
                    {
                        "undo": order.key,
                        "step": step.name,
                        "vm": order.vm,
                        "play": _packed(step.action) if step.action else None,
                    }
                )
                if not outcome.accepted:
                    break
            self._state = self._world.observe()
            return Result(self._shown(order))

    # -- steps ---------------------------------------------------------------------------------------------------

    def _steps(self, order: Order) -> list[_Step]:
        """The calls that make up an order; ActionError where it names what is gone."""
        action = self._action(order)
        kind = order.kind
        if kind in _MAKES and (kind is not ActionKind.SPAWN or order.app):
            return [_Step("define"), _Step("start", action)]
        if kind is ActionKind.MIGRATE:
            return [_Step("prepare"), _Step("move", action)]
        if kind is ActionKind.DESPAWN:
            running = self._state.vms.state[action.vm] in (VmState.RUNNING, VmState.MIGRATING)
            drain = shift(action.vm, 0.0) if running else None
            return [_Step("drain", drain), _Step("stop", action)]
        if kind is ActionKind.RESHAPE and action.allocation is not None:
            start = order.allocation_before or action.allocation
            now, steps = list(start), []
            for r, name in enumerate(("cpu", "memory", "disk", "network", "gpu")):
                if start[r] != action.allocation[r]:
                    now[r] = action.allocation[r]
                    steps.append(_Step(name, reshape(action.vm, five(now))))
            return steps
        return [_Step("do", action)]

    def _back(self, order: Order) -> list[_Step]:
        """The calls that bring back what stood before a half-done order."""
        memory, slot = self._memory, self._slot(order.vm)
        if order.vm in memory.defined:
            return [_Step("undefine")]
        if order.kind is ActionKind.MIGRATE and memory.incoming.get(order.vm) == order.host:
            return [_Step("forget")]
        if order.kind is ActionKind.DESPAWN and slot >= 0 and memory.done.get(order.key, 0) == 1:
            return [_Step("undrain", shift(slot, order.before))]
        if order.kind is ActionKind.RESHAPE and slot >= 0 and order.allocation_before is not None:
            return [_Step("restore", reshape(slot, order.allocation_before))]
        if order.kind in _MAKES and order.vm in memory.made and slot >= 0:
            return [_Step("remove", despawn(slot))]
        return []

    def _action(self, order: Order) -> Action:
        """The order in slots of the present state."""
        host = self._find(order.host, self._host_slots(), "host")
        rack = int(order.rack.removeprefix("rack")) if order.rack else -1
        app = self._find(
            order.app, {name: a for a, name in enumerate(self._world.workload.apps.name)}, "application"
        )
        made = order.kind in _MAKES and not (order.kind is ActionKind.SPAWN and not order.app)
        name = order.primary if order.kind is ActionKind.SHADOW else "" if made else order.vm
        vm = self._slot(name) if name else -1
        if name and vm < 0:
            raise ActionError(f"{order.kind.name.lower()} {name}: expected a VM of that name, found none")
        if order.kind is ActionKind.MIGRATE:
            return migrate(vm, host, order.reason)
        return Action(
            order.kind, vm, host, app, rack, order.value, order.value2, order.allocation, order.reason
        )

    def _shown(self, order: Order) -> Standing:
        memory, vms, hosts = self._memory, self._state.vms, self._state.hosts
        slot, kind = self._slot(order.vm), order.kind
        begun = memory.done.get(order.key, 0)
        if kind in _MAKES:
            if order.vm in memory.defined:
                return Standing.HALF_DONE
            if order.vm in memory.made and slot < 0:
                return Standing.DONE  # it came, and has left since
            if slot < 0:
                return Standing.UNTOUCHED
            state = VmState(vms.state[slot])
            if state is VmState.BOOTING:
                return Standing.UNDER_WAY
            if state is VmState.FAILED:
                return Standing.HALF_DONE if order.vm in memory.made else Standing.UNTOUCHED
            there = int(vms.host[slot]) == self._host_slots().get(order.host, -2)
            return Standing.DONE if order.vm in memory.made or there else Standing.UNTOUCHED
        if kind is ActionKind.DESPAWN:
            if slot < 0:
                return Standing.DONE
            if vms.state[slot] == VmState.STOPPING:
                return Standing.UNDER_WAY
            return Standing.HALF_DONE if begun == 1 else Standing.UNTOUCHED
        if kind is ActionKind.MIGRATE:
            target = self._host_slots().get(order.host, -2)
            if slot >= 0 and vms.host[slot] == target and vms.destination[slot] < 0:
                return Standing.DONE
            if slot >= 0 and vms.destination[slot] == target:
                return Standing.UNDER_WAY
            return Standing.HALF_DONE if memory.incoming.get(order.vm) == order.host else Standing.UNTOUCHED
        if kind is ActionKind.RESHAPE and order.allocation is not None:
            if slot < 0:
                return Standing.UNTOUCHED
            now = vms.allocation[slot]
            if np.allclose(now, order.allocation, rtol=_SAME):
                return Standing.DONE
            return Standing.HALF_DONE if begun else Standing.UNTOUCHED
        if kind is ActionKind.SHIFT:
            same = slot >= 0 and bool(np.isclose(vms.weight[slot], order.value, rtol=_SAME))
            return Standing.DONE if same or begun else Standing.UNTOUCHED
        if kind is ActionKind.POWER and order.rack:
            off = int(order.rack.removeprefix("rack")) in memory.rack_off
            return Standing.DONE if off == (order.value != PowerTarget.ON) else Standing.UNTOUCHED
        if order.host and kind in (ActionKind.POWER, ActionKind.RENT):
            state_of = HostState(hosts.state[self._host_slots()[order.host]])
            return _power_standing(kind, order.value, state_of)
        return Standing.DONE if begun else Standing.UNTOUCHED

    # -- the log -------------------------------------------------------------------------------------------------

    def _read(self) -> Iterator[dict[str, Any]]:
        if not self._path.exists():
            return
        text = self._path.read_bytes()
        whole, newline, torn = text.rpartition(b"\n")
        if torn:
            self.torn_lines = 1
            with self._path.open("r+b") as file:
                file.truncate(len(whole) + len(newline))
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                yield json.loads(line)
            except ValueError as error:
                raise InputError(
                    f"{self._path}:{number}: expected a line of JSON, found {line[:40]!r}"
                ) from error

    def _append(self, entry: Mapping[str, Any]) -> None:
        if self._fd < 0:
            raise WorldError(f"{self._path}: the world is closed")
        line = (json.dumps(entry, separators=(",", ":")) + "\n").encode()
        size = os.fstat(self._fd).st_size
        try:
            if os.write(self._fd, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            os.ftruncate(self._fd, size)  # half a line is a call that did not arrive
            raise WorldError(f"{self._path}: cannot be written: {error.strerror}") from error

    def _enter(self, entry: dict[str, Any]) -> Outcome:
        """Write down, then play."""
        self._append(entry)
        return self._replay(entry)

    def _replay(self, entry: Mapping[str, Any]) -> Outcome:
        if "advance" in entry:
            self._world.schedule()
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
            return outcome
        memory.done[entry["order"]] = memory.done.get(entry["order"], 0) + 1
        if step == "define":
            memory.defined.add(vm)
        elif step == "start":
            memory.defined.discard(vm)
            birth = int(self._world.observe().vms.birth[outcome.vm])
            memory.made[vm] = (outcome.vm, birth)
        elif step == "prepare":
            memory.incoming[vm] = entry["host"]
        elif step == "move":
            memory.incoming.pop(vm, None)
        if entry["rack"] and entry["play"]:
            off = entry["play"][5] != PowerTarget.ON
            rack = int(entry["rack"].removeprefix("rack"))
            (memory.rack_off.add if off else memory.rack_off.discard)(rack)
        return outcome

    def _play(self, packed: Sequence[Any]) -> Outcome:
        kind, vm, host, app, rack, value, value2, allocation = packed
        action = Action(
            ActionKind(kind),
            vm,
            host,
            app,
            rack,
            value,
            value2,
            None if allocation is None else five(allocation),
        )
        return self._world.execute(Plan(self.tick, [action]))[0]

    # -- names ---------------------------------------------------------------------------------------------------

    def _host_name(self, slot: int) -> str:
        return f"host{slot:04d}"

    def _host_slots(self) -> Mapping[str, int]:
        return {self._host_name(h): h for h in range(len(self._state.hosts.state))}

    def _names(self) -> list[str]:
        """Of every slot; a VM that an ``execute`` made is called by its slot and birth."""
        own = self._world.workload.vms.name
        births = self._state.vms.birth.tolist()
        names = [
            own[slot] if birth == 0 and slot < len(own) else f"vm{slot}.{birth}"
            for slot, birth in enumerate(births)
        ]
        for name, (slot, birth) in self._memory.made.items():
            if births[slot] == birth:
                names[slot] = name
        return names

    def _slot(self, name: str) -> int:
        """Of a VM that is there now; -1 = it is not."""
        states, births = self._state.vms.state, self._state.vms.birth
        if name in self._memory.made:
            slot, birth = self._memory.made[name]
            return slot if births[slot] == birth and states[slot] != VmState.ABSENT else -1
        slot = self._own_slots().get(name, -1)
        if slot >= 0 and births[slot] == 0 and states[slot] != VmState.ABSENT:
            return slot
        return -1

    def _own_slots(self) -> Mapping[str, int]:
        if not hasattr(self, "_own"):
            self._own = {name: slot for slot, name in enumerate(self._world.workload.vms.name)}
        return self._own

    @staticmethod
    def _named(number: int, count: int, what: str, name: Callable[[int], str]) -> str:
        if number < 0:
            return ""
        if number >= count:
            raise ActionError(f"expected a {what} below {count}, found {number}")
        return name(number)

    @staticmethod
    def _find(name: str, slots: Mapping[str, int], what: str) -> int:
        if not name:
            return -1
        if name not in slots:
            raise ActionError(f"expected a {what} {name}, found none")
        return slots[name]


_FREE = VmFacts()


def _packed(action: Action) -> list[Any]:
    numbers = (action.vm, action.host, action.app, action.rack, action.value, action.value2)
    return [int(action.kind), *numbers, action.allocation]


def _power_of(state: HostState) -> float:
    if state in (HostState.OFF, HostState.SHUTTING_DOWN):
        return float(PowerTarget.OFF)
    return float(PowerTarget.SLEEP if state is HostState.ASLEEP else PowerTarget.ON)


def _power_standing(kind: ActionKind, value: float, state: HostState) -> Standing:
    if kind is ActionKind.RENT:
        ends, way = ({HostState.ON}, {HostState.RENTING}) if value else ({HostState.UNRENTED}, set())
    elif value == PowerTarget.ON:
        ends, way = {HostState.ON}, {HostState.BOOTING, HostState.WAKING}
    elif value == PowerTarget.OFF:
        ends, way = {HostState.OFF}, {HostState.SHUTTING_DOWN}
    else:
        ends, way = {HostState.ASLEEP}, {HostState.SHUTTING_DOWN}
    return Standing.DONE if state in ends else Standing.UNDER_WAY if state in way else Standing.UNTOUCHED
