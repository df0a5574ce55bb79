"""Leader and standby: on SQLite by hand, and on a real PostgreSQL with processes that are killed and frozen."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

pytest.importorskip("sqlalchemy", reason="sqlalchemy IS MISSING: the store is not tested")

from benchmarks import standby
from foreshade.adapters.audit.chain import Act
from foreshade.adapters.audit.log import AuditLog
from foreshade.adapters.executor import ExecutorKnobs, PlanExecutor
from foreshade.adapters.store.audit import StoreAudit
from foreshade.adapters.store.journal import StoreJournal
from foreshade.adapters.store.lease import Lease
from foreshade.adapters.store.store import Store
from foreshade.adapters.store.tokens import StoreTokens
from foreshade.agents.plan import ActionState, Mode, PlannedAction, PlanRecord, PlanState
from foreshade.envs.errors import FenceError, JournalError
from foreshade.envs.model.action import ActionKind
from foreshade.envs.order import Order, Result, Standing
from tests.api_surface import served
from tests.postgres import Postgres, server_programs

needs_postgres = pytest.mark.skipif(
    server_programs() is None,
    reason="PostgreSQL IS MISSING (apt-get install postgresql): the standby is not tested on it",
)


@pytest.fixture
def store(tmp_path):
    found = Store(tmp_path / "control.db")
    yield found
    found.close()


class Clocks:
    """A wall clock and a steady one, moved by hand."""

    def __init__(self):
        self.at = 1000.0

    def __call__(self):
        return self.at


def lease(store, holder, clock):
    return Lease(store, "c", length_s=10.0, holder=f"{holder}:elsewhere", wall_s=clock, steady_s=clock)


def test_a_standby_waits_for_the_lease_and_the_old_leader_is_fenced(store):
    clock = Clocks()
    old, new = lease(store, "a", clock), lease(store, "b", clock)
    assert old.acquire()
    assert not old.waited_for
    clock.at += 9.9
    assert not new.acquire()
    old.fence()
    clock.at += 0.2
    with pytest.raises(FenceError, match="expired"):
        old.fence()
    assert new.acquire()
    assert (new.epoch, new.waited_for) == (2, True)
    with pytest.raises(FenceError, match="another"):
        old.renew()
    new.release()
    third = lease(store, "c", clock)
    assert third.acquire()
    assert not third.waited_for, "it was given back: nothing is on its way"


def test_what_a_former_leader_writes_is_refused_in_its_transaction(store):
    clock = Clocks()
    old, new = lease(store, "a", clock), lease(store, "b", clock)
    old.acquire()
    kept = StoreJournal(store, wall_s=clock, fence=old.fence_in)
    plan = PlanRecord(
        "p1", 0, 0.0, Mode.AUTO, "rules", (PlannedAction(Order("p1-0", ActionKind.MIGRATE, vm="v")),)
    )
    kept.add(plan)
    clock.at += 11.0
    assert new.acquire()
    with pytest.raises(FenceError):
        kept.step_plan(plan.to(PlanState.APPROVED), PlanState.RECOMMENDED, 0.0)
    people = StoreJournal(store, wall_s=clock)
    people.step_plan(plan.to(PlanState.APPROVED), PlanState.RECOMMENDED, 0.0)
    assert people.plan("p1").state is PlanState.APPROVED


class LateWorld:
    """Shows an order as it is told to."""

    def __init__(self):
        self.standings = {}
        self.compensated = []
        self.clock = self

    def now_s(self):
        return 0.0

    def standing(self, order):
        return self.standings.get(order.key, Standing.UNTOUCHED)

    def compensate(self, order, timeout_s):
        self.compensated.append((order.key, timeout_s))
        return Result(Standing.UNTOUCHED)


@pytest.mark.parametrize(("shows", "mended"), [(Standing.DONE, 0), (Standing.HALF_DONE, 1)])
def test_a_call_that_arrives_after_it_was_given_up_is_found_mended_and_counted_once(store, shows, mended):
    clock, world = Clocks(), LateWorld()
    kept = StoreJournal(store, wall_s=clock)
    begun = PlannedAction(Order("p1-0", ActionKind.MIGRATE, vm="v"))
    plan = PlanRecord("p1", 0, 0.0, Mode.AUTO, "rules", (begun,)).to(PlanState.APPROVED).to(PlanState.ONGOING)
    kept.add(plan.with_action(begun.to(ActionState.ONGOING)))
    executor = PlanExecutor(world, kept, ExecutorKnobs(call_timeout_s=7.0), sleep=lambda _s: None)
    assert executor.settle(lambda: None) == {"abandoned": 1}
    assert executor.settle(lambda: None) == {}
    world.standings["p1-0"] = shows
    assert executor.settle(lambda: None) == {"late": 1}
    assert executor.settle(lambda: None) == {}
    assert world.compensated == [("p1-0", 7.0)] * mended
    assert [row["action_key"] for row in kept.events(0, 100) if row["kind"] == "late"] == ["p1-0"]
    third = PlanExecutor(world, kept, ExecutorKnobs(call_timeout_s=7.0), sleep=lambda _s: None)
    assert third.settle(lambda: None) == {}, "it is counted once"


def test_a_third_leader_sees_what_the_second_was_not_there_to_see(store):
    clock, world = Clocks(), LateWorld()
    kept = StoreJournal(store, wall_s=clock)
    begun = PlannedAction(Order("p1-0", ActionKind.MIGRATE, vm="v"))
    plan = PlanRecord("p1", 0, 0.0, Mode.AUTO, "rules", (begun,)).to(PlanState.APPROVED).to(PlanState.ONGOING)
    kept.add(plan.with_action(begun.to(ActionState.ONGOING)))
    second = PlanExecutor(world, kept, ExecutorKnobs(), sleep=lambda _s: None)
    assert second.settle(lambda: None) == {"abandoned": 1}
    world.standings["p1-0"] = Standing.DONE
    third = PlanExecutor(world, kept, ExecutorKnobs(), sleep=lambda _s: None)
    assert third.settle(lambda: None) == {"late": 1}


@needs_postgres
def test_on_postgresql_one_leads_acts_and_hands_over(capsys):
    found = standby.measure(kills=2, freezes=2, seed=1)
    assert (found["kills"], found["freezes"]) == (2, 2)
    assert found["doubled"] == found["lost"] == found["unjournalled"] == found["late_missed"] == 0
    assert found["given_up_and_done_uncounted"] == 0
    assert found["leaders"] >= 5
    assert found["effects"] > 20


@needs_postgres
def test_on_postgresql_the_store_keeps_what_the_surface_writes_and_says_when_it_is_gone():
    with Postgres() as postgres:
        store = Store(postgres.url)
        logs = [AuditLog(StoreAudit(store)) for _ in range(2)]
        for number in range(6):
            logs[number % 2].append(standby_act(number))
        assert logs[0].verify().entries == 6
        assert StoreTokens(store).all() == []
        postgres.stop()
        with pytest.raises(JournalError, match="store postgresql"):
            logs[0].append(standby_act(7))
        postgres.start()
        logs[0].append(standby_act(8))
        assert logs[1].verify().entries == 7
        store.close()


@needs_postgres
def test_a_postgresql_that_is_slow_holds_up_who_asks_it_and_nobody_else(tmp_path):
    psycopg = pytest.importorskip("psycopg", reason="psycopg IS MISSING: PostgreSQL is not asked")
    with Postgres() as postgres, served(tmp_path, store=Store(postgres.url)) as one:
        assert one.ask("GET", "/v1/plans").status_code == 200
        with (
            ThreadPoolExecutor(4) as pool,
            psycopg.connect(postgres.conninfo) as other,
        ):
            other.execute("LOCK TABLE plans IN ACCESS EXCLUSIVE MODE")
            held_up = [pool.submit(one.ask, "GET", path) for path in ("/v1/plans", "/v1/status", "/metrics")]
            end = time.monotonic() + 8.0  # the store's own patience ends after ten
            while postgres.ask("SELECT count(*) FROM pg_locks WHERE NOT granted") < len(held_up):
                assert time.monotonic() < end
                time.sleep(0.02)
            for path in ("/v1/hosts", "/v1/vms?limit=3", "/v1/heatmap", "/healthz"):
                assert one.ask("GET", path).status_code == 200
            assert not any(request.done() for request in held_up)
            other.rollback()
            assert [request.result().status_code for request in held_up] == [200, 200, 200]


def standby_act(number):
    from datetime import UTC, datetime  # noqa: PLC0415

    return Act(datetime.now(UTC), "kim", "admin", "mode.set", str(number))
