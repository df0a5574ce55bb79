"""The life of a shadow as a state machine: all rules in the one table below.

A shadow is a warm clone of a production VM, its primary, on another host at 5 to 10 % of the primary's allocation.
It is a clone that takes traffic, not a replica in lock-step: what the primary holds in memory it does not have.

- A **standing** shadow lives as long as its primary: it is created with it, replays the share of its load that
  ``fidelity`` says, and moves to hosts with room. It is never suspended.
- A **predictive** shadow is created when demand to come would not fit, and suspended or released once its primary
  has room again.

            CREATED          WARMED           RAISE             RAISE, LOWER
    CREATING ──────► WARMING ──────► READY ─────────► SERVING ◄───────────┐
                                    │ ▲ │ ▲ ◄───────── │      └───────────┘
                         MOVE       │ │ │ │   RETURN
                    MOVING ◄────────┘ │ │ └──────── SUSPENDED   (predictive alone)
                       └──────────────┘ └─────────────►
    any of them: FAILED → LOST;  PRIMARY_GONE → ENDING;  all but SERVING: RELEASE → ENDING ── RELEASED ──► ENDED

An event is either decided (``RAISE``, ``MOVE``, …), and then ``actions`` says what to do to the world, or reported
(``CREATED``, ``MOVED``, …). ``Shadow.on`` returns the next value; an event that no row allows raises and, as values
are frozen, changes nothing. Nothing here does I/O or reads a clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto

from foreshade.envs.errors import ActionError, InputError
from foreshade.envs.model.action import (
    Action,
    Allocation,
    despawn,
    five,
    migrate,
    reshape,
    resume,
    shadow,
    shift,
    suspend,
)

LEAST_SHARE, MOST_SHARE = 0.05, 0.10


class Kind(Enum):
    """Why a shadow is there."""

    STANDING = auto()  # as long as its primary
    PREDICTIVE = auto()  # as long as demand to come does not fit


class State(Enum):
    """What a shadow is doing."""

    CREATING = auto()  # ordered; boots from the image of its primary
    WARMING = auto()  # runs and replays load; its KPIs are not yet those of its primary
    READY = auto()  # could take traffic, takes none
    SERVING = auto()  # takes the traffic of its step
    MOVING = auto()  # migrates to another host
    SUSPENDED = auto()  # keeps its memory on the host, no CPU
    ENDING = auto()  # shuts down
    ENDED = auto()  # gone as intended
    LOST = auto()  # gone with its host, or never came up


class Event(Enum):
    """What can happen to a shadow."""

    CREATED = auto()  # reported: it runs
    WARMED = auto()  # reported: its KPIs agree with its primary's (``foreshade.agents.shadow.kpi``)
    RAISE = auto()  # decided: one step more of the traffic
    LOWER = auto()  # decided: one step less, but not none
    RETURN = auto()  # decided: all traffic back to the primary
    MOVE = auto()  # decided: to another host
    MOVED = auto()  # reported
    STAYED = auto()  # reported: the migration failed, it runs where it was
    SUSPEND = auto()  # decided
    RESUME = auto()  # decided
    RELEASE = auto()  # decided: it is not wanted any more
    RELEASED = auto()  # reported: it is gone
    FAILED = auto()  # reported: it or its host is gone
    PRIMARY_GONE = auto()  # reported: there is nothing left to shadow


@dataclass(frozen=True, slots=True)
class Rule:
    """Where an event leads."""

    to: State
    step: str = "keep"  # what becomes of the traffic: keep, up, down, none
    kind: Kind | None = None  # None = both


_S, _E = State, Event
_LIVE = (_S.CREATING, _S.WARMING, _S.READY, _S.SERVING, _S.MOVING, _S.SUSPENDED)

#: Every transition there is.
RULES: Mapping[tuple[State, Event], Rule] = {
    (_S.CREATING, _E.CREATED): Rule(_S.WARMING),
    (_S.WARMING, _E.WARMED): Rule(_S.READY),
    (_S.READY, _E.RAISE): Rule(_S.SERVING, "up"),
    (_S.SERVING, _E.RAISE): Rule(_S.SERVING, "up"),
    (_S.SERVING, _E.LOWER): Rule(_S.SERVING, "down"),
    (_S.SERVING, _E.RETURN): Rule(_S.READY, "none"),
    (_S.READY, _E.MOVE): Rule(_S.MOVING),
    (_S.MOVING, _E.MOVED): Rule(_S.READY),
    (_S.MOVING, _E.STAYED): Rule(_S.READY),
    (_S.READY, _E.SUSPEND): Rule(_S.SUSPENDED, kind=Kind.PREDICTIVE),
    # What was suspended has missed what its primary did since: it warms again.
    (_S.SUSPENDED, _E.RESUME): Rule(_S.WARMING, kind=Kind.PREDICTIVE),
    # Released while it serves, its part of the traffic would go dark: RETURN comes first.
    **{(state, _E.RELEASE): Rule(_S.ENDING) for state in _LIVE if state is not _S.SERVING},
    **{(state, _E.PRIMARY_GONE): Rule(_S.ENDING, "none") for state in _LIVE},
    **{(state, _E.FAILED): Rule(_S.LOST, "none") for state in _LIVE},
    (_S.ENDING, _E.RELEASED): Rule(_S.ENDED),
    (_S.ENDING, _E.FAILED): Rule(_S.ENDED),  # it was to go anyway
}


@dataclass(frozen=True, slots=True)
class Shadow:
    """A shadow at one instant.

    Raises:
        InputError: at construction, a share outside 5 to 10 %, a fidelity outside 0 to 1, or steps that do not rise.

    """

    kind: Kind
    primary: int  # VM
    host: int
    vm: int = -1  # the clone, once it is created
    share: float = 0.10  # of its primary's allocation while it takes no traffic
    fidelity: float = 0.05  # share of its primary's load that it replays; at most what it is given by default
    steps: tuple[float, ...] = (0.10, 0.25, 0.50)  # of the two VMs' traffic; the last is an even split
    state: State = State.CREATING
    step: int = 0  # 0 = no traffic, k = steps[k - 1]

    def __post_init__(self) -> None:
        if not LEAST_SHARE <= self.share <= MOST_SHARE:
            raise InputError(
                f"shadow of vm {self.primary}: expected a share of {LEAST_SHARE} to {MOST_SHARE}, "
                f"found {self.share}"
            )
        if not 0.0 <= self.fidelity <= 1.0:
            raise InputError(
                f"shadow of vm {self.primary}: expected a fidelity of 0 to 1, found {self.fidelity}"
            )
        rising = all(a < b for a, b in zip(self.steps, self.steps[1:], strict=False))
        if not self.steps or not rising or not (self.steps[0] > 0.0 and self.steps[-1] <= 1.0):
            raise InputError(
                f"shadow of vm {self.primary}: expected steps that rise within 0 to 1, found {self.steps}"
            )

    @property
    def traffic(self) -> float:
        """Its share of the traffic that it and its primary have together."""
        return self.steps[self.step - 1] if self.step else 0.0

    @property
    def allowed(self) -> frozenset[Event]:
        """The events that may happen now."""
        return frozenset(event for event in Event if self._rule(event) is not None)

    def on(self, event: Event, *, vm: int | None = None, host: int | None = None) -> Shadow:
        """The shadow after ``event``.

        Args:
            event: what happened or was decided.
            vm: the clone, with ``CREATED``.
            host: with ``MOVED``.

        Raises:
            ActionError: no rule allows it here, or it comes without what it needs; nothing has changed.

        """
        rule = self._rule(event)
        if rule is None:
            may = ", ".join(sorted(e.name for e in self.allowed)) or "nothing: it is over"
            raise ActionError(
                f"shadow of vm {self.primary}: expected {may}, found {event.name} "
                f"while {self.state.name} at step {self.step} of {len(self.steps)}"
            )
        for said, name, owner in ((vm, "vm", Event.CREATED), (host, "host", Event.MOVED)):
            if (said is None) == (event is owner) or (said is not None and said < 0):
                wanted = f"a {name}" if event is owner else f"no {name}"
                raise ActionError(
                    f"shadow of vm {self.primary}: expected {wanted} with {event.name}, found {said}"
                )
        return replace(
            self,
            state=rule.to,
            step=self._next_step(rule),
            vm=self.vm if vm is None else vm,
            host=self.host if host is None else host,
        )

    def _rule(self, event: Event) -> Rule | None:
        """The row that applies, if one does: of this kind, and with a step to go where it takes one."""
        rule = RULES.get((self.state, event))
        if rule is None or rule.kind not in {None, self.kind}:
            return None
        if rule.step == "up" and self.step == len(self.steps):
            return None
        if rule.step == "down" and self.step == 1:
            return None
        return rule

    def _next_step(self, rule: Rule) -> int:
        return {"keep": self.step, "up": self.step + 1, "down": self.step - 1, "none": 0}[rule.step]


def create(said: Shadow, reason: str = "") -> Action:
    """The action that a shadow begins with."""
    return shadow(said.primary, said.host, said.share, said.fidelity, reason)


def actions(
    before: Shadow,
    event: Event,
    allocation: Allocation,
    *,
    weight: float = 1.0,
    to_host: int = -1,
    reason: str = "",
) -> Sequence[Action]:
    """What a decided event asks of the world, in order; nothing for a reported one.

    Args:
        before: the shadow as it is.
        event: that is about to be given to ``before.on``, and is checked as there.
        allocation: the primary's.
        weight: traffic weight that the two have together: the primary's where the shadow has none.
        to_host: with ``MOVE``.
        reason: that the actions carry.

    Raises:
        ActionError: the event is not allowed.

    """
    if event in {Event.CREATED, Event.MOVED}:
        return ()
    after = before.on(event)
    if event is Event.SUSPEND:
        return (suspend(before.vm, reason),)
    if event is Event.RESUME:
        return (resume(before.vm, reason),)
    if event is Event.MOVE:
        return (migrate(before.vm, to_host, reason),)
    if event is Event.RELEASE:
        return (despawn(before.vm, reason),) if before.vm >= 0 else ()
    if event not in {Event.RAISE, Event.LOWER, Event.RETURN}:
        return ()
    ours = shift(before.vm, weight * after.traffic, reason)
    primary = shift(before.primary, weight * (1.0 - after.traffic), reason)
    size = reshape(before.vm, _size(after, allocation), reason)
    # Room first, then traffic; and the other way on the way back: nothing is asked of a VM that is too small.
    return (size, ours, primary) if event is Event.RAISE else (primary, ours, size)


def _size(said: Shadow, allocation: Allocation) -> Allocation:
    """Its allocation at its step: as heavily used as its primary then is; GPUs cannot be plugged while it runs."""
    share = max(said.share, min(1.0, said.traffic / max(1.0 - said.traffic, 1e-9)))
    *plugged, gpus = allocation
    return five([*(share * amount for amount in plugged), said.share * gpus])
