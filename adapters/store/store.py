"""The store itself: one engine, its transactions, and errors of one line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from foreshade.envs.errors import InputError, JournalError
from foreshade.envs.extras import require

require("sqlalchemy", "control", "the store")

from sqlalchemy import (  # noqa: E402
    Connection,
    Engine,
    Table,
    create_engine,
    event,
    literal_column,
    select,
    update,
)
from sqlalchemy.engine import make_url  # noqa: E402
from sqlalchemy.exc import ArgumentError, IntegrityError, SQLAlchemyError  # noqa: E402

from foreshade.adapters.store.schema import serial  # noqa: E402
from foreshade.adapters.store.upgrade import check, prepare  # noqa: E402

_BUSY_MS = 10_000  # how long a writer waits for another: longer than any of our transactions


class Store:
    """A database of one cluster; safe to use from several threads and processes.

    A file path is SQLite in write-ahead mode, so that readers never wait for the controller and what was committed
    survives a loss of power; any other URL is SQLAlchemy's, as ``postgresql+psycopg://…``.
    """

    def __init__(
        self, where: str | Path, *, create: bool = True, power_safe: bool = True, idle_s: float = 2.0
    ) -> None:
        """Open it, and make its tables where they are missing.

        Args:
            where: path or URL.
            create: whether to make what is missing.
            idle_s: how long PostgreSQL lets a transaction of ours stand still before it ends it; one takes
                milliseconds.
            power_safe: whether a commit waits for the disk; without, only a crash of the process is survived.

        Raises:
            InputError: the URL is none, there is no such store and ``create`` is False, or its schema is of
                another version.
            JournalError: it cannot be opened or written.

        """
        self.url = _url(where)
        path = self.url.removeprefix("sqlite:///") if self.url.startswith("sqlite:///") else None
        if path is not None and not create and not Path(path).exists():
            raise InputError(
                f"{path}: expected the store of a controller, found none; start foreshade control first"
            )
        self.name = make_url(self.url).render_as_string(hide_password=True) if path is None else path
        try:
            self.engine = _engine(self.url, power_safe=power_safe, idle_s=idle_s)
        except (ArgumentError, ImportError) as error:
            raise InputError(f"store {where}: expected a path or a database URL: {error}") from error
        with self.writing() as connection:
            if create:
                prepare(connection, self.name)
            else:
                check(connection, self.name)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that is on disk when the block ends, or did not happen.

        Raises:
            JournalError: it cannot be written: full, read-only, out of reach, locked for too long.

        """
        try:
            with self.engine.connect() as connection:
                connection.info["writes"] = True
                with connection.begin():
                    yield connection
        except IntegrityError:
            raise
        except SQLAlchemyError as error:
            raise JournalError(f"store {self.name}: cannot be written: {_cause(error)}") from error

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A consistent view.

        Raises:
            JournalError: it cannot be read.

        """
        try:
            with self.engine.connect() as connection:
                connection.info["writes"] = False
                yield connection
        except SQLAlchemyError as error:
            raise JournalError(f"store {self.name}: cannot be read: {_cause(error)}") from error

    def next(self, name: str, connection: Connection) -> int:
        """The next number of a series, from 1; numbers are never given twice."""
        done = connection.execute(
            update(serial).where(serial.c.name == name).values(value=serial.c.value + 1)
        )
        if done.rowcount == 0:
            connection.execute(serial.insert().values(name=name, value=1))
        value = connection.execute(select(serial.c.value).where(serial.c.name == name)).scalar_one()
        return int(value)

    def close(self) -> None:
        """Let go of all connections."""
        self.engine.dispose()


def insert_rows(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows of the same columns.

    On PostgreSQL not by the driver's ``executemany``: psycopg would send it as a pipeline, and a process that is
    frozen within one keeps its locks for ever, as the server counts it as busy and not as idle in its transaction.
    Where something is to be returned, SQLAlchemy sends one statement for many rows instead.
    """
    if connection.dialect.name == "sqlite":
        connection.execute(table.insert(), list(rows))
    else:
        connection.execute(table.insert().returning(literal_column("1")), list(rows)).close()


def _url(where: str | Path) -> str:
    text = str(where)
    return text if "://" in text else f"sqlite:///{Path(text).absolute()}"


def _engine(url: str, *, power_safe: bool, idle_s: float) -> Engine:
    if not url.startswith("sqlite"):
        return create_engine(
            url, pool_pre_ping=True, pool_timeout=_BUSY_MS / 1000.0, connect_args=_patience(url, idle_s)
        )
    engine = create_engine(url, connect_args={"timeout": _BUSY_MS / 1000.0})

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver's own would begin no transaction before a SELECT
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute(f"PRAGMA synchronous={'FULL' if power_safe else 'OFF'}")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A transaction that reads first and then writes would fail where another wrote in between.
        connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.info.get("writes") else "BEGIN")

    return engine


def _patience(url: str, idle_s: float) -> dict[str, Any]:
    """No wait for a server, a statement or a lock may be longer than a tick can bear.

    A process that is frozen within a transaction would keep its locks, the lease's among them, from whoever takes
    over: the server ends a session that is idle in a transaction.
    """
    if not url.startswith("postgresql"):
        return {}
    limits = {
        "statement_timeout": _BUSY_MS,
        "lock_timeout": _BUSY_MS,
        "idle_in_transaction_session_timeout": round(idle_s * 1000.0),
    }
    options = " ".join(f"-c {name}={value}" for name, value in limits.items())
    return {"connect_timeout": 5, "options": options}


def _cause(error: SQLAlchemyError) -> str:
    return " ".join(str(getattr(error, "orig", None) or error).split())
