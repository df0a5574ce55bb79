"""What stands between a decision and the world: each rule admits an order, or refuses it with a reason.

Nothing here does I/O or reads a clock. Rules look at the order, at the snapshot it was decided on, and at what was
done before; budgets count what was already admitted. An order that another one needs is refused with it: a host is
emptied and switched off whole, or left alone.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated

import numpy as np
from pydantic import Field, field_validator, model_validator

from foreshade._core import ClusterState
from foreshade.agents.plan import ActionState, Mode, PlannedAction
from foreshade.envs.affinity_labels import broken
from foreshade.envs.elapsed import elapsed_s
from foreshade.envs.inventory import Inventory
from foreshade.envs.knobs import Knobs
from foreshade.envs.model.action import ActionKind, PowerTarget
from foreshade.envs.model.state import HostState
from foreshade.envs.order import Order

_MOVES = frozenset({ActionKind.MIGRATE})
_MADE = frozenset({ActionKind.SPAWN, ActionKind.SHADOW, ActionKind.MICROVM})
_READY = frozenset({HostState.ON, HostState.OFF, HostState.ASLEEP, HostState.UNRENTED})
_DARK = frozenset({HostState.OFF, HostState.ASLEEP, HostState.SHUTTING_DOWN})
_RANK = {Mode.OBSERVE: 0, Mode.ADVISE: 1, Mode.AUTO: 2}


class Window(Knobs):
    """A time in which nothing is begun, or hosts are in the hands of people; Unix seconds."""

    start_s: float
    end_s: float
    hosts: frozenset[str] = frozenset()  # empty = the whole cluster
    freeze: bool = True  # False = maintenance: nothing arrives on these hosts, leaving them is welcome
    reason: str = ""

    @model_validator(mode="after")
    def _ends(self) -> Window:
        if not self.end_s >= self.start_s:
            raise ValueError(f"expected end_s after start_s {self.start_s:g}, found {self.end_s:g}")
        return self


class GuardKnobs(Knobs):
    """Limits on what the controller may begin."""

    #: Orders admitted in one tick; half a rack's worth, so that a wrong plan is a small one.
    actions_per_tick: Annotated[int, Field(ge=1)] = 40
    #: Migrations admitted in one tick, and to one destination: a link carries two at a time, and a tick is 5 min.
    migrations_per_tick: Annotated[int, Field(ge=0)] = 24
    migrations_per_destination: Annotated[int, Field(ge=1)] = 8
    #: Hosts switched in one tick.
    power_per_tick: Annotated[int, Field(ge=0)] = 2
    #: Least time between two moves of one VM; doubles with every further move within a day.
    vm_cooldown_s: Annotated[float, Field(ge=0)] = 1800.0
    most_cooldown_s: Annotated[float, Field(ge=0)] = 21600.0
    #: Time for which a host that has just been filled up by moves takes no more.
    destination_cooldown_s: Annotated[float, Field(ge=0)] = 0.0
    #: Samples older than this never justify taking capacity away.
    stale_after_s: Annotated[float, Field(gt=0)] = 900.0
    #: Largest share of our own hosts that may be dark at once.
    most_dark: Annotated[float, Field(ge=0, le=1)] = 0.5
    #: Whether only a host whose power-on has been proven is ever switched off.
    proven_power_only: bool = True
    #: Share of hosts neither on nor dark on purpose at which everything halts.
    unready_halt: Annotated[float, Field(gt=0, le=1)] = 0.34
    #: How long advice stands that still could be carried out: shorter, and nobody could approve it in time.
    advice_s: Annotated[float, Field(ge=0)] = 1800.0
    #: Level by kind of action, which only lowers the mode: observe, advise or auto.
    levels: Mapping[str, Mode] = Field(default_factory=dict)
    #: Freeze and maintenance windows known beforehand.
    windows: tuple[Window, ...] = ()

    @field_validator("levels")
    @classmethod
    def _known(cls, levels: Mapping[str, Mode]) -> Mapping[str, Mode]:
        kinds = [kind.name.lower() for kind in ActionKind if kind is not ActionKind.WAIT]
        for kind in levels:
            if kind not in kinds:
                raise ValueError(f"expected kinds of action of {', '.join(kinds)}, found {kind!r}")
        return levels

    def level(self, kind: ActionKind, mode: Mode) -> Mode:
        """How far an action of this kind may go by itself."""
        own = self.levels.get(kind.name.lower(), Mode.AUTO)
        return min(own, mode, key=_RANK.__getitem__)


@dataclass(frozen=True, slots=True)
class Seen:
    """A cluster at one instant: what decisions are made on and checked against."""

    state: ClusterState
    inventory: Inventory
    now_s: float  # Unix time
    draining: frozenset[str] = frozenset()
    windows: tuple[Window, ...] = ()
    calendar_s: float | None = None  # Unix time of windows, where the machine's clock was set; None = now_s

    @property
    def places(self) -> dict[str, str]:
        """Host by VM, where it is going or stands."""
        vms, hosts = self.state.vms, self.inventory.hosts
        at = np.where(vms.destination >= 0, vms.destination, vms.host).tolist()
        return {name: hosts[at[v]].name for name, v in self.inventory.vm_slot.items() if at[v] >= 0}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the guard says to one order."""

    order: Order
    level: Mode  # how far it may go
    rule: str = ""  # that refused it; "" = none did
    reason: str = ""

    @property
    def refused(self) -> bool:
        """Whether a rule was against it."""
        return bool(self.rule)


@dataclass(slots=True)
class _Tally:
    """What was admitted so far in this tick."""

    orders: int = 0
    moves: int = 0
    moves_to: Counter[str] = field(default_factory=Counter)
    switched: int = 0
    going_dark: int = 0

    def count(self, order: Order) -> None:
        self.orders += 1
        if order.kind in _MOVES:
            self.moves += 1
            self.moves_to[order.host] += 1
        if order.kind is ActionKind.POWER:
            self.switched += 1
            self.going_dark += bool(order.host) and order.value != PowerTarget.ON


class Guard:
    """The rules with their limits."""

    def __init__(self, knobs: GuardKnobs) -> None:
        self.knobs = knobs

    def halted(self, seen: Seen) -> str:
        """Why nothing at all may be begun; "" = nothing is against it."""
        states = seen.state.hosts.state
        unready = sum(HostState(s) not in _READY for s in states.tolist())
        if len(states) and unready / len(states) >= self.knobs.unready_halt:
            return f"{unready} of {len(states)} hosts are not ready, expected less than {self.knobs.unready_halt:.0%}"
        for window in self._windows(seen):
            if window.freeze and not window.hosts:
                return f"frozen until {window.end_s:.0f}: {window.reason or 'a freeze window'}"
        return ""

    def review(
        self,
        orders: Sequence[Order],
        seen: Seen,
        mode: Mode,
        recent: Sequence[PlannedAction] = (),
        busy: Mapping[str, str] | None = None,
    ) -> tuple[Verdict, ...]:
        """A verdict on each order, in their order.

        Args:
            orders: of this tick.
            seen: the cluster that they were decided on.
            mode: of the controller.
            recent: actions begun before, for cooldowns; the oldest first.
            busy: names of VMs and hosts that belong to an open plan, with its id.

        """
        tally = _Tally()
        halted = self.halted(seen)
        moved = _moves(recent)
        verdicts: dict[str, Verdict] = {}
        for unit in units(orders):
            said = []
            trial = _Tally(tally.orders, tally.moves, tally.moves_to.copy(), tally.switched, tally.going_dark)
            for order in unit:
                rule, reason = (
                    ("halt", halted) if halted else self._against(order, seen, trial, moved, busy or {})
                )
                asked = _leaves_draining(order, seen) and mode is not Mode.OBSERVE
                level = (
                    Mode.AUTO if asked else self.knobs.level(order.kind, mode)
                )  # a drain is approved as asked
                said.append(Verdict(order, level, rule, reason))
                trial.count(order)
            against = next((verdict for verdict in said if verdict.refused), None)
            if against is None:
                tally = trial
                lowest = min((verdict.level for verdict in said), key=_RANK.__getitem__)
                said = [Verdict(verdict.order, lowest) for verdict in said]
            else:
                because = (
                    f"goes with {against.order.kind.name.lower()} {_what(against.order)}: {against.reason}"
                )
                said = [v if v.refused else Verdict(v.order, v.level, against.rule, because) for v in said]
            verdicts.update((verdict.order.key, verdict) for verdict in said)
        return tuple(_placed([verdicts[order.key] for order in orders], seen))

    def _against(
        self,
        order: Order,
        seen: Seen,
        tally: _Tally,
        moved: Mapping[str, Sequence[float]],
        busy: Mapping[str, str],
    ) -> tuple[str, str]:
        """The first rule that is against an order, and why; two empty strings = none."""
        for rule, reason in (
            ("protected", _protected(order, seen.inventory)),
            ("busy", _busy(order, busy)),
            ("window", self._window(order, seen)),
            ("drain", _drained(order, seen)),
            ("stale", self._stale(order, seen)),
            ("cooldown", self._cooldown(order, seen, moved)),
            ("power", self._power(order, seen, tally)),
            ("budget", self._budget(order, tally)),
        ):
            if reason:
                return rule, reason
        return "", ""

    def _windows(self, seen: Seen) -> Iterator[Window]:
        now_s = seen.now_s if seen.calendar_s is None else seen.calendar_s
        for window in (*self.knobs.windows, *seen.windows):
            if window.start_s <= now_s < window.end_s:
                yield window

    def _window(self, order: Order, seen: Seen) -> str:
        for window in self._windows(seen):
            touched = {order.host, order.source} if window.freeze else {order.host}
            named = touched & window.hosts
            if named and not (not window.freeze and order.kind is ActionKind.POWER):
                kind = "frozen" if window.freeze else "in maintenance"
                return f"host {min(named)} is {kind} until {window.end_s:.0f}: {window.reason or 'a window'}"
        return ""

    def _stale(self, order: Order, seen: Seen) -> str:
        if not takes_capacity(order, seen):
            return ""
        vm, host = seen.inventory.vm_slot.get(order.vm, -1), seen.inventory.host_slot.get(order.host, -1)
        for what, name, age in (
            ("VM", order.vm, seen.state.vms.age_s[vm] if vm >= 0 else 0.0),
            ("host", order.host, seen.state.hosts.age_s[host] if host >= 0 else 0.0),
        ):
            if not age <= self.knobs.stale_after_s:  # NaN is stale
                most = self.knobs.stale_after_s
                return f"the newest sample of {what} {name} is {age:.0f} s old, expected at most {most:g} s"
        return ""

    def _cooldown(self, order: Order, seen: Seen, moved: Mapping[str, Sequence[float]]) -> str:
        if order.kind not in _MOVES or _leaves_draining(order, seen):
            return ""
        times = moved.get(order.vm, ())
        if times:
            rest = min(self.knobs.vm_cooldown_s * 2.0 ** (len(times) - 1), self.knobs.most_cooldown_s)
            since = min(elapsed_s(time_s, seen.now_s) for time_s in times)
            if since < rest:
                return f"VM {order.vm} moved {since:.0f} s ago, rests {rest:.0f} s after {len(times)} moves in a day"
        times = moved.get(f"host {order.host}", ())
        since = min((elapsed_s(time_s, seen.now_s) for time_s in times), default=math.inf)
        if since < self.knobs.destination_cooldown_s:
            return f"host {order.host} took a VM {since:.0f} s ago, rests {self.knobs.destination_cooldown_s:g} s"
        return ""

    def _power(self, order: Order, seen: Seen, tally: _Tally) -> str:
        if order.kind is not ActionKind.POWER or not order.host or order.value == PowerTarget.ON:
            return ""
        slot = seen.inventory.host_slot.get(order.host, -1)
        if self.knobs.proven_power_only and (slot < 0 or not seen.inventory.hosts[slot].power_on_proven):
            return f"host {order.host} was never seen coming back by power management"
        own = seen.state.hosts.price_usd_h == 0.0
        dark = int(np.isin(seen.state.hosts.state[own], [int(s) for s in _DARK]).sum()) + tally.going_dark
        if own.sum() and (dark + 1) / own.sum() > self.knobs.most_dark:
            return f"{dark} of {int(own.sum())} hosts are dark, expected at most {self.knobs.most_dark:.0%}"
        return ""

    def _budget(self, order: Order, tally: _Tally) -> str:
        knobs = self.knobs
        if tally.orders >= knobs.actions_per_tick:
            return f"{tally.orders} actions this tick, expected at most {knobs.actions_per_tick}"
        if order.kind in _MOVES:
            if tally.moves >= knobs.migrations_per_tick:
                return f"{tally.moves} migrations this tick, expected at most {knobs.migrations_per_tick}"
            if tally.moves_to[order.host] >= knobs.migrations_per_destination:
                return (
                    f"{tally.moves_to[order.host]} migrations to {order.host} this tick, "
                    f"expected at most {knobs.migrations_per_destination}"
                )
        if order.kind is ActionKind.POWER and tally.switched >= knobs.power_per_tick:
            return f"{tally.switched} hosts switched this tick, expected at most {knobs.power_per_tick}"
        return ""


def units(orders: Sequence[Order]) -> list[tuple[Order, ...]]:
    """Orders that only make sense together, in the order of their first: a drain and its power-off."""
    dark = {o.host for o in orders if o.kind is ActionKind.POWER and o.host and o.value != PowerTarget.ON}
    dark |= {o.host for o in orders if o.kind is ActionKind.RENT and o.value == 0.0}
    grouped: dict[str, list[Order]] = {}
    for order in orders:
        together = ""
        if order.kind in (ActionKind.POWER, ActionKind.RENT) and order.host in dark:
            together = order.host
        elif order.kind is ActionKind.MIGRATE and order.source in dark:
            together = order.source
        grouped.setdefault(f"host {together}" if together else order.key, []).append(order)
    return [tuple(unit) for unit in grouped.values()]


def takes_capacity(order: Order, seen: Seen) -> bool:
    """Whether an order leaves a VM or the cluster with less than before."""
    if order.kind is ActionKind.DESPAWN:
        return True
    if order.kind is ActionKind.RESHAPE and order.allocation is not None:
        slot = seen.inventory.vm_slot.get(order.vm, -1)
        now = seen.state.vms.allocation[slot] if slot >= 0 else np.zeros(5)
        return bool((np.asarray(order.allocation) < now * (1 - 1e-6)).any())
    if order.kind is ActionKind.POWER:
        return order.value != PowerTarget.ON
    return order.kind is ActionKind.RENT and order.value == 0.0


def _moves(recent: Sequence[PlannedAction]) -> Mapping[str, Sequence[float]]:
    """Times at which VMs moved and hosts took one, by name; what was never begun or came back does not count."""
    times: dict[str, list[float]] = {}
    for action in recent:
        if action.order.kind in _MOVES and action.state in (ActionState.SUCCEEDED, ActionState.ONGOING):
            times.setdefault(action.order.vm, []).append(action.begun_s)
            times.setdefault(f"host {action.order.host}", []).append(action.begun_s)
    return times


def _protected(order: Order, inventory: Inventory) -> str:
    for name in (order.vm, order.primary):
        slot = inventory.vm_slot.get(name, -1) if name else -1
        if slot < 0:
            continue
        facts = inventory.vms[slot]
        if not facts.managed:
            return f"VM {name} is foreign: it is seen and never touched"
        if facts.protected:
            return f"VM {name} is protected by its tags"
        if order.kind in facts.forbidden:
            return f"VM {name} opted out of {order.kind.name.lower()}"
    for name in {order.host, order.source} - {""}:
        slot = inventory.host_slot.get(name, -1)
        if slot >= 0 and inventory.hosts[slot].protected:
            return f"host {name} is protected"
    return ""


def _placed(verdicts: list[Verdict], seen: Seen) -> list[Verdict]:
    """The same, without what would break a label where all that was admitted stands in the end."""
    if not any(facts.together or facts.apart for facts in seen.inventory.vms):
        return verdicts
    while True:
        stands = seen.places
        comes = [(i, v.order) for i, v in enumerate(verdicts) if not v.refused and _is_placed(v.order)]
        stands.update((order.vm, order.host) for _, order in comes)
        against = {i: broken(seen.inventory, stands, order.vm) for i, order in comes}
        found = [i for i, why in against.items() if why]
        if not found:
            return verdicts
        last = verdicts[found[-1]].order  # what was admitted before it may stand without it
        unit = next(unit for unit in units([v.order for v in verdicts]) if last in unit)
        why = against[found[-1]]
        goes = f"goes with {last.kind.name.lower()} {_what(last)}: {why}"
        for i, verdict in enumerate(verdicts):
            if verdict.order in unit and not verdict.refused:
                reason = why if verdict.order is last else goes
                verdicts[i] = replace(verdict, rule="affinity", reason=reason)


def _is_placed(order: Order) -> bool:
    return order.kind in _MOVES or (order.kind is ActionKind.SPAWN and not order.app)


def _busy(order: Order, busy: Mapping[str, str]) -> str:
    for name in (order.vm, order.primary, order.host if order.kind is ActionKind.POWER else ""):
        if name and name in busy:
            return f"{name} belongs to plan {busy[name]}, which is not done"
    return ""


def _leaves_draining(order: Order, seen: Seen) -> bool:
    """Whether an order does what a person asked for with a drain."""
    return order.kind in _MOVES and order.source in seen.draining


def _drained(order: Order, seen: Seen) -> str:
    arrives = order.kind in _MOVES or order.kind in _MADE
    if arrives and order.host in seen.draining:
        return f"host {order.host} is being drained"
    return ""


def _what(order: Order) -> str:
    return order.vm or order.host or order.rack or order.app
