"""Who may act on a cluster: a lease in the store, with an epoch that only grows.

A holder renews before it expires and asks ``fence`` before every call; the epoch is one more with every new holder,
so that a late call of an old one can be told apart. A lease of a process that is seen to be dead on this machine is
free at once; any other is waited for.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, func, select, update
from sqlalchemy.exc import IntegrityError

from foreshade.adapters.store.schema import leases
from foreshade.adapters.store.store import Store
from foreshade.envs.errors import FenceError, JournalError


@dataclass(frozen=True, slots=True)
class LeaseRow:
    """The lease as it stands in the store."""

    holder: str
    epoch: int
    expires_s: float
    released: bool


def read_lease(store: Store, cluster: str) -> LeaseRow | None:
    """The lease; None = nobody ever had it."""
    with store.reading() as connection:
        row = connection.execute(select(leases).where(leases.c.cluster == cluster)).one_or_none()
    return None if row is None else LeaseRow(row.holder, row.epoch, row.expires_s, bool(row.released))


class Lease:
    """The lease of one cluster, as one process wants it."""

    def __init__(
        self,
        store: Store,
        cluster: str,
        *,
        length_s: float = 30.0,
        holder: str | None = None,
        wall_s: Callable[[], float] = time.time,
        steady_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._steady_s = steady_s  # of our own deadline: a clock that is set back must not lengthen it
        self._store, self._cluster, self._length_s, self._wall_s = store, cluster, length_s, wall_s
        self.holder = holder or this_process()
        self.epoch = 0  # 0 = not held
        self._until_s = 0.0
        self._seen: tuple[int, float] | None = (
            None  # epoch and expiry of another's lease, when we looked last
        )
        self._looked_s = self._free_s = 0.0  # steady times: of that look, and at which that lease ends
        self.waited_for = False  # taken from a holder that fell silent: a call of its may still be on its way

    def acquire(self) -> bool:
        """Take it where it is free, expired, or its holder is dead; whether it is ours now."""
        begun = self._steady_s()
        row = read_lease(self._store, self._cluster)
        try:
            with self._store.writing() as connection:
                now_s = self._now_s(connection)
                ours = {"holder": self.holder, "expires_s": now_s + self._length_s, "released": False}
                if row is None:
                    connection.execute(leases.insert().values(cluster=self._cluster, epoch=1, **ours))
                    epoch = 1
                elif (
                    row.holder == self.holder
                    or row.released
                    or self._expired(row, now_s)
                    or _dead(row.holder)
                ):
                    epoch = row.epoch + 1
                    done = connection.execute(
                        update(leases)
                        .where(leases.c.cluster == self._cluster, leases.c.epoch == row.epoch)
                        .values(epoch=epoch, **ours)
                    )
                    if done.rowcount != 1:
                        return False
                else:
                    return False
        except IntegrityError:  # another made the first row in between
            return False
        self.epoch, self._until_s = epoch, begun + self._length_s
        self.waited_for = row is not None and not row.released and not _dead(row.holder)
        return True

    def _expired(self, row: LeaseRow, now_s: float) -> bool:
        """Whether what is left of another's lease has passed, by the steady clock from when we first saw it as it is.

        A clock that is set forward ends no lease that we see renewed: what changed since we looked last was written
        since. One that is set back keeps us waiting for one length at most.
        """
        steady_s, written = self._steady_s(), (row.epoch, row.expires_s)
        if written != self._seen:
            left_s = min(row.expires_s - now_s, self._length_s)
            if self._seen is not None:
                left_s = max(left_s, self._looked_s + self._length_s - steady_s)
            self._seen, self._free_s = written, steady_s + left_s
        self._looked_s = steady_s
        return steady_s >= self._free_s

    def renew(self) -> None:
        """Keep it for another length.

        Raises:
            FenceError: another has it.
            JournalError: the store cannot be written; the lease holds until it expires.

        """
        begun = self._steady_s()
        with self._store.writing() as connection:
            now_s = self._now_s(connection)
            done = connection.execute(
                update(leases)
                .where(
                    leases.c.cluster == self._cluster,
                    leases.c.epoch == self.epoch,
                    leases.c.holder == self.holder,
                )
                .values(expires_s=now_s + self._length_s)
            )
        if done.rowcount != 1:
            self.epoch = 0
            raise FenceError(f"cluster {self._cluster}: expected the lease, found it with another controller")
        self._until_s = begun + self._length_s

    def fence(self) -> None:
        """Raise FenceError unless the lease is certainly ours: by the clock, and by the store."""
        if self.epoch == 0 or self._steady_s() >= self._until_s:
            raise FenceError(f"cluster {self._cluster}: expected a lease in force, found it expired")
        try:
            row = read_lease(self._store, self._cluster)
        except JournalError as error:
            raise FenceError(f"cluster {self._cluster}: the lease cannot be checked: {error}") from error
        if row is None or row.epoch != self.epoch:
            raise FenceError(f"cluster {self._cluster}: expected lease epoch {self.epoch}, found another's")

    def fence_in(self, connection: Connection) -> None:
        """Likewise within a transaction, that no takeover can come between: what is written is under the lease."""
        query = select(leases.c.epoch).where(leases.c.cluster == self._cluster).with_for_update(read=True)
        found = connection.execute(query).scalar_one_or_none()
        if self.epoch == 0 or found != self.epoch:
            raise FenceError(f"cluster {self._cluster}: expected lease epoch {self.epoch}, found {found}")

    def _now_s(self, connection: Connection) -> float:
        """By the database's clock where it has one: machines with clocks apart agree on who waits how long."""
        if connection.dialect.name != "postgresql":
            return self._wall_s()
        return float(connection.execute(select(func.extract("epoch", func.clock_timestamp()))).scalar_one())

    def release(self) -> None:
        """Give it back, so that the next one need not wait."""
        if self.epoch == 0:
            return
        with self._store.writing() as connection:
            connection.execute(
                update(leases)
                .where(leases.c.cluster == self._cluster, leases.c.epoch == self.epoch)
                .values(released=True)
            )
        self.epoch = 0


def this_process() -> str:
    """Machine, process and when it began: no other process ever has the same."""
    return f"{socket.gethostname()}:{os.getpid()}:{_began(os.getpid())}"


def _dead(holder: str) -> bool:
    """Whether a holder is a process of this machine that is gone."""
    machine, _, rest = holder.partition(":")
    pid, _, began = rest.partition(":")
    if machine != socket.gethostname() or not pid.isdigit() or not began:
        return False
    return _began(int(pid)) != began


def _began(pid: int) -> str:
    """Start of a process in clock ticks since the machine's boot; "" = there is none."""
    try:
        said = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return ""
    return said.rpartition(")")[2].split()[19]
