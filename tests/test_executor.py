"""The executor on a simulated cluster whose calls fail, hang or are refused."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from foreshade.adapters.control_service import ControlService
from foreshade.adapters.executor import ExecutorKnobs, PlanExecutor
from foreshade.adapters.simulated_durable.world import DurableSimulatedWorld
from foreshade.adapters.store.journal import StoreJournal
from foreshade.adapters.store.lease import Lease
from foreshade.adapters.store.store import Store
from foreshade.agents.guard import Seen
from foreshade.agents.plan import ActionState, Mode, PlannedAction, PlanRecord, PlanState
from foreshade.envs.errors import FenceError, InputError, JournalError, PlanError, WorldError
from foreshade.envs.model.action import (
    Action,
    Plan,
    PowerTarget,
    despawn,
    five,
    migrate,
    power,
    reshape,
    shift,
    spawn,
)
from foreshade.envs.order import Order, Standing
from tests.control_worlds import durable, journal

SMALL = five([500.0, 500.0, 0.0, 0.0, 0.0])


class Cluster:
    """A cluster with an executor; calls of ``failing`` steps end with an error, so many times."""

    def __init__(
        self, folder: Path, failing: dict[str, str] | None = None, times: int = 1_000, **knobs: Any
    ) -> None:
        self.calls: list[tuple[str, str]] = []  # key and step
        self.pauses: list[float] = []
        self.fence: Callable[[], None] = lambda: None
        left = dict.fromkeys(failing or {}, times)

        def before(order: Order, step: str) -> str:
            self.calls.append((order.key, step))
            if left.get(step, 0) > 0:
                left[step] -= 1
                return (failing or {})[step]
            return ""

        self.world: DurableSimulatedWorld = durable(folder, before)
        self.kept: StoreJournal = journal(folder)
        self.world.advance()
        self.executor = PlanExecutor(
            self.world,
            self.kept,
            ExecutorKnobs(**knobs),
            sleep=self.pauses.append,
            fence=self.check,
        )

    def check(self) -> None:
        self.fence()

    def look(self) -> Seen:
        return Seen(self.world.observe().copy(), self.world.inventory(), self.world.clock.now_s())

    def approved(self, *actions: Action) -> PlanRecord:
        name = self.kept.new_id()
        orders = [self.world.order(action, f"{name}-{i}") for i, action in enumerate(actions)]
        plan = PlanRecord(name, 0, 0.0, Mode.AUTO, "test", tuple(PlannedAction(order) for order in orders))
        self.kept.add(plan)
        self.kept.step_plan(plan.to(PlanState.APPROVED, by="test"), plan.state, 0.0)
        return self.kept.plan(name)

    def run(self, *actions: Action, ticks: int = 3) -> PlanRecord:
        plan = self.approved(*actions)
        self.executor.carry_out(plan, self.look)
        for _ in range(ticks):
            self.world.advance()
            self.executor.settle(self.look)
        return self.kept.plan(plan.id)


def states(plan: PlanRecord) -> list[ActionState]:
    return [action.state for action in plan.actions]


def test_success_is_what_the_world_shows_afterwards(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    plan = cluster.approved(migrate(0, 3))
    begun = cluster.executor.carry_out(plan, cluster.look)
    assert states(begun) == [ActionState.ONGOING]  # the call returned, and the VM is still being copied
    cluster.world.advance()
    assert cluster.executor.settle(cluster.look) == {"succeeded": 1}
    assert cluster.kept.plan(plan.id).state is PlanState.SUCCEEDED
    assert cluster.world.observe().vms.host[0] == 3


def test_a_busy_world_is_asked_again_with_growing_pauses(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, {"move": "busy: a job runs"}, times=2, attempts=3, backoff_s=2.0)
    plan = cluster.run(migrate(0, 3))
    assert states(plan) == [ActionState.SUCCEEDED]
    assert len(cluster.pauses) == 2
    assert cluster.pauses[1] > cluster.pauses[0] >= 2.0
    assert [step for _, step in cluster.calls] == ["prepare", "move", "move", "move"]


def test_what_fails_half_way_is_taken_back_with_its_reason(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, {"start": "no image"})
    plan = cluster.run(spawn(0, 2, SMALL))
    assert states(plan) == [ActionState.COMPENSATED]
    assert plan.actions[0].reason == "no image"
    assert plan.state is PlanState.FAILED
    assert cluster.world.standing(plan.actions[0].order) is Standing.UNTOUCHED
    assert cluster.executor.strikes() == {"test": 1}


def test_what_can_neither_be_done_nor_taken_back_is_given_to_a_person(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, {"start": "no image", "undefine": "no permission"})
    plan = cluster.run(spawn(0, 2, SMALL))
    assert states(plan) == [ActionState.ABANDONED]
    assert plan.actions[0].reason == "no image; taking it back: no permission: it needs a person"


def test_an_action_waits_for_the_one_it_needs_and_falls_with_it(tmp_path: Path) -> None:
    emptied = Cluster(tmp_path / "a").run(migrate(0, 2), migrate(4, 3), power(0, PowerTarget.OFF), ticks=4)
    assert states(emptied) == [ActionState.SUCCEEDED] * 3
    stuck = Cluster(tmp_path / "b", {"move": "no route"}).run(migrate(0, 2), power(0, PowerTarget.OFF))
    assert states(stuck) == [ActionState.COMPENSATED, ActionState.SUPERSEDED]
    assert stuck.actions[1].reason == "needs action p1-0, which was compensated"


def test_no_more_run_at_once_on_a_host_than_allowed(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, at_once=8, at_once_per_host=1)
    begun = cluster.executor.carry_out(
        cluster.approved(migrate(0, 3), migrate(4, 2), migrate(1, 2)), cluster.look
    )
    assert states(begun) == [ActionState.ONGOING, ActionState.PENDING, ActionState.ONGOING]
    for _ in range(3):
        cluster.world.advance()
        cluster.executor.settle(cluster.look)
    assert states(cluster.kept.plan(begun.id)) == [ActionState.SUCCEEDED] * 3


def test_limits_hold_across_plans(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, at_once=1)
    first = cluster.executor.carry_out(cluster.approved(migrate(0, 3)), cluster.look)
    second = cluster.executor.carry_out(cluster.approved(migrate(1, 2)), cluster.look)
    assert (states(first), states(second)) == ([ActionState.ONGOING], [ActionState.PENDING])
    for _ in range(3):
        cluster.world.advance()
        cluster.executor.settle(cluster.look)
    assert states(cluster.kept.plan(second.id)) == [ActionState.SUCCEEDED]


def test_a_pause_stops_a_plan_between_its_waves_and_a_resume_goes_on(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, at_once=1)
    plan = cluster.executor.carry_out(cluster.approved(migrate(0, 3), migrate(1, 2)), cluster.look)
    service = ControlService(cluster.kept._store, "cluster")
    service.pause("ann", "incident")
    for _ in range(2):
        cluster.world.advance()
        cluster.executor.settle(cluster.look)
    assert states(cluster.kept.plan(plan.id)) == [ActionState.SUCCEEDED, ActionState.PENDING]
    service.resume("ann")
    for _ in range(2):
        cluster.executor.settle(cluster.look)
        cluster.world.advance()
    assert states(cluster.kept.plan(plan.id)) == [ActionState.SUCCEEDED, ActionState.SUCCEEDED]


def test_a_vm_that_vanished_between_plan_and_act_is_superseded(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    made = cluster.run(spawn(0, 2, SMALL)).actions[0].order.vm
    slot = cluster.world.inventory().vm_slot[made]
    plan = cluster.approved(migrate(slot, 3), shift(1, 0.5))
    cluster.world.execute(Plan(0, [despawn(slot)]))
    cluster.world.advance()
    done = cluster.executor.carry_out(plan, cluster.look)
    assert states(done) == [ActionState.SUPERSEDED, ActionState.SUCCEEDED]
    assert done.actions[0].reason == f"VM {made} is gone"


def test_nothing_is_called_once_another_has_the_lease(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)

    def lost() -> None:
        raise FenceError("another has it")

    cluster.fence = lost
    with pytest.raises(FenceError):
        cluster.executor.carry_out(cluster.approved(migrate(0, 3)), cluster.look)
    assert cluster.calls == []
    assert cluster.world.observe().vms.destination[0] == -1


def test_a_journal_that_cannot_be_written_touches_nothing(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    plan = cluster.approved(migrate(0, 3))
    with cluster.kept._store.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA query_only=ON")  # as a read-only file system has it
        connection.commit()
    with pytest.raises(JournalError, match=r"cannot be written: attempt to write a readonly database"):
        cluster.executor.carry_out(plan, cluster.look)
    assert cluster.calls == []


def test_a_full_disk_under_the_world_fails_the_action_and_not_the_controller(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    plan = cluster.approved(migrate(0, 3))
    cluster.world._log.close()
    done = cluster.executor.carry_out(plan, cluster.look)
    assert states(done) == [ActionState.FAILED]
    assert "the world is closed" in done.actions[0].reason


@pytest.mark.parametrize("off_s", [-300.0, 86_400.0])  # ahead: by a controller whose clock was set back since
def test_what_is_not_done_by_its_deadline_is_taken_back(tmp_path: Path, off_s: float) -> None:
    cluster = Cluster(tmp_path, {"memory": "hangs", "restore": ""}, deadline_s=100.0)
    plan = cluster.approved(reshape(0, five([5_000.0, 4_000.0, 0.0, 0.0, 0.0])))
    order = plan.actions[0].order
    begun = plan.to(PlanState.ONGOING)
    cluster.kept.step_plan(begun, plan.state, 0.0)
    begun_s = cluster.world.clock.now_s() + off_s
    intent = replace(plan.actions[0].to(ActionState.ONGOING), begun_s=begun_s)
    cluster.kept.step_action(plan.id, intent, 0.0)
    cluster.world.carry_out(order, 1.0)  # half done; then the controller died for longer than the deadline
    assert cluster.executor.settle(cluster.look) == {"compensated": 1}
    assert cluster.kept.plan(plan.id).actions[0].reason == "not done after 100 s"
    assert cluster.world.standing(order) is Standing.UNTOUCHED


def test_a_world_that_does_not_answer_leaves_the_action_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster(tmp_path)
    plan = cluster.approved(migrate(0, 3))
    cluster.executor.carry_out(plan, cluster.look)

    def silent(_order: Order) -> Standing:
        raise WorldError("host0003 does not answer")

    with monkeypatch.context() as away:
        away.setattr(cluster.world, "standing", silent)
        assert cluster.executor.settle(cluster.look) == {"unknown": 1}
    assert states(cluster.kept.plan(plan.id)) == [ActionState.ONGOING]
    cluster.world.advance()
    assert cluster.executor.settle(cluster.look) == {"succeeded": 1}


def test_cancelling_an_ongoing_plan_ends_what_was_not_begun(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, at_once_per_host=1)
    plan = cluster.executor.carry_out(cluster.approved(migrate(0, 3), migrate(4, 3)), cluster.look)
    service = ControlService(cluster.kept._store, "cluster")
    assert not service.cancel(plan.id, "ann", dry_run=True).done
    assert states(cluster.kept.plan(plan.id)) == [ActionState.ONGOING, ActionState.PENDING]
    service.cancel(plan.id, "ann", "not tonight")
    for _ in range(2):
        cluster.world.advance()
        cluster.executor.settle(cluster.look)
    ended = cluster.kept.plan(plan.id)
    assert states(ended) == [ActionState.SUCCEEDED, ActionState.CANCELLED]
    assert ended.actions[1].reason == "by ann: not tonight"
    assert ended.state is PlanState.CANCELLED


def test_two_steps_of_one_plan_at_once_let_one_through(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    plan = cluster.approved(migrate(0, 3))
    cluster.kept.step_plan(plan.to(PlanState.CANCELLED), plan.state, 0.0)
    with pytest.raises(PlanError, match="plan p1 is cancelled: expected approved before ongoing"):
        cluster.kept.step_plan(plan.to(PlanState.ONGOING), plan.state, 0.0)


def test_a_lease_is_one_holders_until_it_expires_or_its_process_is_dead(tmp_path: Path) -> None:
    store, now = Store(tmp_path / "c.db", power_safe=False), [1_000.0]
    first = Lease(
        store, "c", length_s=10, holder="elsewhere:1:1", wall_s=lambda: now[0], steady_s=lambda: now[0]
    )
    second = Lease(
        store, "c", length_s=10, holder="elsewhere:2:2", wall_s=lambda: now[0], steady_s=lambda: now[0]
    )
    assert first.acquire()
    assert not second.acquire()
    first.fence()
    now[0] += 9
    first.renew()
    now[0] += 9
    assert not second.acquire()
    now[0] += 2
    with pytest.raises(FenceError, match="expired"):
        first.fence()
    assert second.acquire()
    assert second.epoch == first.epoch + 1
    with pytest.raises(FenceError, match="another controller"):
        first.renew()
    dead = Lease(store, "d", holder=f"{socket.gethostname()}:1999999999:5", wall_s=lambda: now[0])
    assert dead.acquire()
    assert Lease(store, "d", wall_s=lambda: now[0]).acquire()


def test_a_store_that_is_none_or_of_another_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected the store of a controller, found none"):
        Store(tmp_path / "none.db", create=False)
    with pytest.raises(InputError, match="expected a path or a database URL"):
        Store("nonsense://x")
    (tmp_path / "file.db").write_text("this is no database, but long enough to look at" * 40)
    with pytest.raises(JournalError, match="file is not a database"):
        Store(tmp_path / "file.db")
