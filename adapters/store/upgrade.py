"""Brings a store to the schema of this version, step by step, and says whether one can be worked with.

A store says two numbers: ``schema``, and ``schema least``, the oldest schema whose program can still work with it.
Steps that only add leave the second as it is, so that controllers of two versions run side by side while they are
replaced one after the other; a newer store is opened as long as its second number allows.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, select, text, update

from foreshade.adapters.store import surface_tables  # noqa: F401  its tables are of the same metadata
from foreshade.adapters.store.schema import LEAST_SCHEMA, SCHEMA_VERSION, metadata, serial
from foreshade.envs.errors import InputError
from foreshade.envs.extras import require

if TYPE_CHECKING:
    from alembic.config import Config

_LOCK = 0x666F7265  # one controller at a time changes the schema
_SCHEMA, _LEAST = "schema", "schema least"


def prepare(connection: Connection, name: str) -> None:
    """Make the tables of a new store, or bring an older one up; in the transaction of ``connection``.

    Raises:
        InputError: the store is of a newer schema that this version cannot work with.

    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    found = schema_of(connection)
    if found is None:
        metadata.create_all(connection)
        connection.execute(
            serial.insert(),
            [{"name": _SCHEMA, "value": SCHEMA_VERSION}, {"name": _LEAST, "value": LEAST_SCHEMA}],
        )
        return
    if found < SCHEMA_VERSION:
        _migrate(connection, found)
    check(connection, name)


def check(connection: Connection, name: str) -> None:
    """Refuse a store that this version cannot work with.

    Raises:
        InputError: it is older, or too new.

    """
    found = schema_of(connection)
    least = connection.execute(select(serial.c.value).where(serial.c.name == _LEAST)).scalar_one_or_none()
    if found is None or found < SCHEMA_VERSION:
        raise InputError(
            f"store {name}: expected schema {SCHEMA_VERSION}, found {found or 'none'}: "
            "starting foreshade control brings it up"
        )
    if found > SCHEMA_VERSION and (least is None or least > SCHEMA_VERSION):
        raise InputError(
            f"store {name}: expected schema {SCHEMA_VERSION}, found {found}, which needs a newer foreshade"
        )


def schema_of(connection: Connection) -> int | None:
    """The schema of a store; None = it has no tables yet."""
    if not inspect(connection).has_table(serial.name):
        return None
    said = connection.execute(select(serial.c.value).where(serial.c.name == _SCHEMA)).scalar_one_or_none()
    return None if said is None else int(said)


def alembic_config(connection: Connection) -> Config:
    """Alembic on our steps and on a connection of ours."""
    config: Config = require("alembic.config", "control", "the upgrade of a store").Config()
    config.set_main_option("script_location", str(files("foreshade.adapters.store") / "migrations"))
    config.attributes["connection"] = connection
    return config


def _migrate(connection: Connection, found: int) -> None:
    command = require("alembic.command", "control", "the upgrade of a store")
    config = alembic_config(connection)
    command.stamp(config, f"{found:04d}", purge=True)  # the number that the store says is the one that counts
    command.upgrade(config, f"{SCHEMA_VERSION:04d}")
    connection.execute(update(serial).where(serial.c.name == _SCHEMA).values(value=SCHEMA_VERSION))
    done = connection.execute(update(serial).where(serial.c.name == _LEAST).values(value=LEAST_SCHEMA))
    if done.rowcount == 0:
        connection.execute(serial.insert().values(name=_LEAST, value=LEAST_SCHEMA))
