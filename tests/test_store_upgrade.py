"""A store of the first released schema opens, migrates and verifies; two versions run side by side."""

import sqlite3
import time
from pathlib import Path

import pytest

pytest.importorskip("alembic", reason="alembic IS MISSING: the upgrade of a store is not tested")

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text

from foreshade.adapters.store import upgrade
from foreshade.adapters.store.journal import StoreJournal
from foreshade.adapters.store.lease import Lease
from foreshade.adapters.store.schema import SCHEMA_VERSION, metadata
from foreshade.adapters.store.store import Store
from foreshade.agents.plan import Mode, PlannedAction, PlanRecord, PlanState
from foreshade.envs.errors import FenceError, InputError
from foreshade.envs.model.action import ActionKind
from foreshade.envs.order import Order
from tests.postgres import Postgres, server_programs

FIRST = Path(__file__).parent / "fixtures" / "store_v1.sql"


@pytest.fixture
def first(tmp_path):
    """A database as the first released schema wrote it: twelve ticks of a small cluster in mode auto."""
    path = tmp_path / "control.db"
    connection = sqlite3.connect(path)
    connection.executescript(FIRST.read_text(encoding="utf-8"))
    connection.close()
    return path


def differences(store):
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        found = compare_metadata(context, metadata)
    return [d for d in found if "alembic_version" not in repr(d)]


def test_the_first_schema_is_brought_up_and_what_it_held_is_there(first):
    before = sqlite3.connect(first)
    counts = {
        t: before.execute(f"SELECT count(*) FROM {t}").fetchone()
        for t in ("plans", "actions", "events", "ticks")
    }
    before.close()
    store = Store(first)
    assert differences(store) == []
    kept = StoreJournal(store, wall_s=lambda: 0.0)
    with store.reading() as connection:
        for table, count in counts.items():
            assert connection.execute(text(f"SELECT count(*) FROM {table}")).one() == count
        assert upgrade.schema_of(connection) == SCHEMA_VERSION
    plans = kept.plans(100)
    assert len(plans) == counts["plans"][0] > 0
    assert {plan.state for plan in plans} <= set(PlanState)
    kept.say("pause", {"paused": True, "reason": "after the upgrade"}, "kim")
    assert kept.controls().paused
    store.close()
    Store(first).close()  # once more: nothing to do


def test_an_older_store_is_not_touched_by_who_only_looks(first):
    with pytest.raises(InputError, match=f"expected schema {SCHEMA_VERSION}, found 1"):
        Store(first, create=False)
    connection = sqlite3.connect(first)
    assert connection.execute("SELECT value FROM serial WHERE name = 'schema'").fetchone() == (1,)
    connection.close()


def test_a_new_store_and_a_migrated_one_are_alike(tmp_path, first):
    new, old = Store(tmp_path / "new.db"), Store(first)
    assert differences(new) == differences(old) == []
    new.close()
    old.close()


@pytest.mark.parametrize(("least", "opens"), [(SCHEMA_VERSION, True), (SCHEMA_VERSION + 1, False)])
def test_a_newer_store_opens_as_long_as_it_says_that_it_may(tmp_path, least, opens):
    store = Store(tmp_path / "control.db")
    with store.writing() as connection:
        connection.execute(text(f"UPDATE serial SET value = {SCHEMA_VERSION + 1} WHERE name = 'schema'"))
        connection.execute(text(f"UPDATE serial SET value = {least} WHERE name = 'schema least'"))
    store.close()
    if opens:
        Store(tmp_path / "control.db").close()
    else:
        with pytest.raises(InputError, match="needs a newer foreshade"):
            Store(tmp_path / "control.db")


def act_under_lease(store, lease, clock):
    """What a controller of any version does in a tick: renew, journal a plan, step it."""
    lease.renew()
    kept = StoreJournal(store, wall_s=clock, fence=lease.fence_in)
    plan_id = kept.new_id()
    order = Order(f"{plan_id}-0", ActionKind.MIGRATE, vm="v", host="b", source="a")
    plan = PlanRecord(plan_id, 0, clock(), Mode.AUTO, "rules", (PlannedAction(order),))
    kept.add(plan)
    kept.step_plan(plan.to(PlanState.APPROVED), PlanState.RECOMMENDED, clock())
    return plan_id


@pytest.mark.parametrize("schema", range(1, SCHEMA_VERSION))
@pytest.mark.skipif(server_programs() is None, reason="PostgreSQL IS MISSING (apt-get install postgresql)")
def test_a_leader_on_an_older_schema_acts_while_a_standby_brings_the_store_up_and_then_hands_over(schema):
    with Postgres() as postgres:
        engine = create_engine(postgres.url)
        with engine.begin() as connection:
            command.upgrade(upgrade.alembic_config(connection), f"{schema:04d}")
            connection.execute(text(f"INSERT INTO serial (name, value) VALUES ('schema', {schema})"))
        older = Store.__new__(
            Store
        )  # as a program of that schema has it open: it has looked, and changes nothing
        older.url, older.name, older.engine = postgres.url, "older", engine
        leader = Lease(older, "c", length_s=3600.0, holder="old:elsewhere")
        assert leader.acquire()
        first = act_under_lease(older, leader, time.time)

        newer = Store(postgres.url)
        assert differences(newer) == []
        second = act_under_lease(older, leader, time.time)
        leader.fence()
        standby = Lease(newer, "c", length_s=3600.0, holder="new:elsewhere")
        assert not standby.acquire()
        leader.release()
        assert standby.acquire()
        assert not standby.waited_for
        third = act_under_lease(newer, standby, time.time)
        with pytest.raises(FenceError):
            act_under_lease(older, leader, time.time)
        plans = StoreJournal(newer, wall_s=time.time).plans(10)
        assert {plan.id for plan in plans} == {first, second, third}
        engine.dispose()
        newer.close()


@pytest.mark.skipif(server_programs() is None, reason="PostgreSQL IS MISSING (apt-get install postgresql)")
def test_postgresql_goes_the_same_way():
    with Postgres() as postgres:
        engine = create_engine(postgres.url)
        with engine.begin() as connection:
            command.upgrade(upgrade.alembic_config(connection), "0001")
            connection.execute(text("INSERT INTO serial (name, value) VALUES ('schema', 1)"))
        engine.dispose()
        store = Store(postgres.url)
        assert differences(store) == []
        store.close()
