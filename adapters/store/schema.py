"""Tables of the store, for SQLite and PostgreSQL alike.

Times are Unix seconds. ``events`` is append-only: plans and actions hold what the events, replayed in order, come
to. JSON columns hold what nobody searches by.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

SCHEMA_VERSION = 3
#: The oldest schema whose program can work with this one: steps so far only add.
LEAST_SCHEMA = 1

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
#: SQLite counts up only an INTEGER primary key; PostgreSQL's should be able to hold more.
_Serial = BigInteger().with_variant(Integer, "sqlite")

serial = Table(
    "serial",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", BigInteger, nullable=False),
)

plans = Table(
    "plans",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("number", BigInteger, nullable=False, index=True),  # in order of creation
    Column("tick", BigInteger, nullable=False),
    Column("created_s", Float(53), nullable=False, index=True),
    Column("mode", String(16), nullable=False),
    Column("by", String(16), nullable=False),
    Column("state", String(16), nullable=False, index=True),
    Column("reason", Text, nullable=False, default=""),
    Column("approved_by", String(128), nullable=False, default=""),
    Column("gain_usd", Float(53), nullable=False, default=0.0),
    Column("explanation", LargeBinary),  # zlib of JSON, per decision
)

actions = Table(
    "actions",
    metadata,
    Column("key", String(80), primary_key=True),
    Column("plan_id", String(64), ForeignKey("plans.id"), nullable=False, index=True),
    Column("position", Integer, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("vm", String(255), nullable=False, default="", index=True),
    Column("source", String(255), nullable=False, default=""),
    Column("host", String(255), nullable=False, default=""),
    Column("state", String(16), nullable=False),
    Column("reason", Text, nullable=False, default=""),
    Column("begun_s", Float(53), nullable=False, default=0.0, index=True),
    Column("ended_s", Float(53), nullable=False, default=0.0),
    Column("attempts", Integer, nullable=False, default=0),
    Column("order", JSON, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("time_s", Float(53), nullable=False),
    Column("kind", String(24), nullable=False, index=True),  # plan, action, tick, control, note
    Column("plan_id", String(64), nullable=False, default="", index=True),
    Column("action_key", String(80), nullable=False, default=""),
    Column("before", String(16), nullable=False, default=""),
    Column("after", String(16), nullable=False, default=""),
    Column("by", String(128), nullable=False, default=""),
    Column("reason", Text, nullable=False, default=""),
    Column("data", JSON),
    sqlite_autoincrement=True,
)

ticks = Table(
    "ticks",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("tick", BigInteger, nullable=False),
    Column("time_s", Float(53), nullable=False, index=True),
    Column("mode", String(16), nullable=False),
    Column("by", String(16), nullable=False, default=""),
    Column("idle", Text, nullable=False, default=""),
    Column("agreement", Float(53), nullable=False),
    Column("data", JSON, nullable=False),
    sqlite_autoincrement=True,
)

controls = Table(
    "controls",
    metadata,
    Column("name", String(32), primary_key=True),  # mode, pause, drain
    Column("value", JSON, nullable=False),
    Column("at_s", Float(53), nullable=False),
    Column("by", String(128), nullable=False, default=""),
)

leases = Table(
    "leases",
    metadata,
    Column("cluster", String(128), primary_key=True),
    Column("holder", String(255), nullable=False),
    Column("epoch", BigInteger, nullable=False),  # one more with every new holder: the fencing token
    Column("expires_s", Float(53), nullable=False),  # of the wall clock
    Column("released", Boolean, nullable=False, default=False),
)

snapshots = Table(
    "snapshots",
    metadata,
    Column("cluster", String(128), primary_key=True),  # the newest alone
    Column("tick", BigInteger, nullable=False),
    Column("time_s", Float(53), nullable=False),
    Column("data", LargeBinary, nullable=False),
)

Index("ix_events_plan_id_id", events.c.plan_id, events.c.id)
