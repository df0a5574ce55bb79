"""A controller that is about to die: carries one order out on the testbed and kills itself at a chosen moment.

    python -m tests.live.crash_child FOLDER ORDER_JSON DIE_AT

``DIE_AT`` is the n-th write of the journal (just before it), or ``+SECONDS`` into the call.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

from foreshade.adapters.executor import ExecutorKnobs, PlanExecutor
from foreshade.adapters.libvirt_world.world import LibvirtWorld
from foreshade.adapters.store.journal import StoreJournal, order_from_json
from foreshade.adapters.store.store import Store
from foreshade.agents.guard import Seen
from foreshade.agents.plan import ActionState, Mode, PlannedAction, PlanRecord, PlanState
from tests.live.testbed import Testbed


def journal(folder: Path) -> StoreJournal:
    """Of a test's folder."""
    return StoreJournal(Store(folder / "control.db"), wall_s=time.time)


def executor(world: LibvirtWorld, kept: StoreJournal) -> PlanExecutor:
    """As the daemon puts it together, less patient."""
    knobs = ExecutorKnobs(call_timeout_s=60.0, deadline_s=90.0, attempts=1)
    return PlanExecutor(world, kept, knobs, sleep=time.sleep)


def look(world: LibvirtWorld) -> Seen:
    """The testbed now."""
    return Seen(world.observe().copy(), world.inventory(), world.clock.now_s())


def die() -> None:
    """As if the power of the controller's machine had gone."""
    os.kill(os.getpid(), signal.SIGKILL)


class DyingJournal(StoreJournal):
    """Dies right before a write."""

    die_at = 0
    mid_call_s = -1.0
    _writes = 0

    def step_plan(self, plan: PlanRecord, before: PlanState, at_s: float) -> None:
        self._count()
        super().step_plan(plan, before, at_s)

    def step_action(self, plan_id: str, action: PlannedAction, at_s: float) -> None:
        self._count()
        super().step_action(plan_id, action, at_s)
        if action.state is ActionState.ONGOING and self.mid_call_s >= 0.0:
            threading.Timer(self.mid_call_s, die).start()

    def _count(self) -> None:
        self._writes += 1
        if self._writes == self.die_at:
            die()


def main(folder: Path, said: str, die_at: str) -> None:
    """Approve a plan of one order, and carry it out as far as it comes."""
    world = Testbed(3).world(power=True, rented=True)
    order = order_from_json(json.loads(said))
    kept = DyingJournal(Store(folder / "control.db"), wall_s=time.time)
    seen = look(world)
    plan = PlanRecord(kept.new_id(), seen.state.tick, time.time(), Mode.AUTO, "test", (PlannedAction(order),))
    kept.add(plan)
    approved = plan.to(PlanState.APPROVED, by="test")
    kept.step_plan(approved, plan.state, time.time())
    if die_at.startswith("+"):
        kept.mid_call_s = float(die_at)
    else:
        kept.die_at = kept._writes + int(die_at)
    one = executor(world, kept)
    one.carry_out(kept.plan(plan.id), lambda: look(world))
    for _ in range(60):
        if not kept.open_plans():
            return
        one.settle(lambda: look(world))
        time.sleep(0.5)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
