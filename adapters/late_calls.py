"""Calls of a former leader that arrive after it lost the lease: watched for, found, mended and counted.

A fence can be asked before a call and not during it: a leader that is frozen between the two lets the call through
when it wakes. The next leader has by then settled the order by what the world showed. So it keeps an eye on what it
gave up: what shows after all is either as good as done (the world is observed as it is) or brought back.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from foreshade.agents.plan import PlannedAction
from foreshade.envs.errors import WorldError
from foreshade.envs.order import DurableWorld, Standing

log = logging.getLogger(__name__)
LATE = "late"


#: Why an action was given up that may still arrive; what is watched is found again by it after a change of leaders.
NOTHING_SHOWN = "the world shows nothing of it"


class Notes(Protocol):
    """Where it is written down, and found again."""

    def given_up(self, since_s: float, reason: str) -> Sequence[tuple[str, PlannedAction]]:
        """Abandoned actions with their plans, ended since, for that reason, of which no late call is noted yet."""
        ...

    def note(self, kind: str, plan_id: str, action_key: str, reason: str) -> None:
        """Add an event; JournalError where it cannot be written."""
        ...


@dataclass(frozen=True, slots=True)
class _Given:
    plan_id: str
    action: PlannedAction
    standing: Standing  # when it was given up
    until_s: float


class LateCalls:
    """What is watched, for how long, and what was found."""

    def __init__(
        self,
        world: DurableWorld,
        notes: Notes,
        *,
        now_s: Callable[[], float],
        fence: Callable[[], None],
        watch_s: float,
        call_timeout_s: float,
    ) -> None:
        self._world, self._notes = world, notes
        self._now_s, self._fence = now_s, fence
        self._watch_s, self._call_timeout_s = watch_s, call_timeout_s
        self._given: dict[str, _Given] = {}
        self._recalled = False

    def watch(self, plan_id: str, action: PlannedAction, standing: Standing) -> None:
        """Keep an eye on an action that another process began and we gave up."""
        self._given[action.order.key] = _Given(plan_id, action, standing, self._now_s() + self._watch_s)

    def recall(self) -> None:
        """Once: what leaders before this one gave up, as they may not have been there to see it arrive."""
        if self._recalled:
            return
        now_s = self._now_s()
        for plan_id, action in self._notes.given_up(now_s - self._watch_s, NOTHING_SHOWN):
            until_s = action.ended_s + self._watch_s
            self._given.setdefault(action.order.key, _Given(plan_id, action, Standing.UNTOUCHED, until_s))
        self._recalled = True

    def check(self) -> Mapping[str, int]:
        """Look at each once more; returns how many arrived late."""
        found: Counter[str] = Counter()
        for key, given in tuple(self._given.items()):
            try:
                standing = self._world.standing(given.action.order)
            except WorldError:
                continue
            if standing is Standing.UNDER_WAY:
                continue  # it arrives: how it ends is seen later
            if standing is not given.standing:
                found[LATE] += 1
                self._mend(given, standing)
            elif self._now_s() < given.until_s:
                continue
            del self._given[key]
        return found

    def _mend(self, given: _Given, standing: Standing) -> None:
        order = given.action.order
        what = "it took effect after it was given up"
        if standing is Standing.HALF_DONE:
            self._fence()
            result = self._world.compensate(order, self._call_timeout_s)
            what = f"it began after it was given up and was taken back: {result.error or result.standing}"
        log.warning("late call %s: %s", order.key, what, extra={"action": order.key, "outcome": LATE})
        self._notes.note(LATE, given.plan_id, order.key, what)
