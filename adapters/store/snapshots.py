"""The newest snapshot of a cluster, kept for whoever asks in another process."""

from __future__ import annotations

from sqlalchemy import select, update

from foreshade.adapters.store.schema import snapshots
from foreshade.adapters.store.store import Store
from foreshade.envs.snapshot import Snapshot


def write_snapshot(store: Store, cluster: str, snapshot: Snapshot) -> None:
    """Keep it instead of the one before; JournalError where the store cannot be written."""
    values = {"tick": snapshot.tick, "time_s": snapshot.unix_s, "data": snapshot.to_bytes()}
    with store.writing() as connection:
        done = connection.execute(update(snapshots).where(snapshots.c.cluster == cluster).values(values))
        if done.rowcount == 0:
            connection.execute(snapshots.insert().values(cluster=cluster, **values))


def newest_tick(store: Store, cluster: str) -> tuple[int, float] | None:
    """Tick and time of the one that is kept, without reading it."""
    with store.reading() as connection:
        row = connection.execute(
            select(snapshots.c.tick, snapshots.c.time_s).where(snapshots.c.cluster == cluster)
        ).first()
    return None if row is None else (int(row.tick), float(row.time_s))


def read_snapshot(store: Store, cluster: str) -> Snapshot | None:
    """The one that is kept; None = there is none yet."""
    with store.reading() as connection:
        data = connection.execute(
            select(snapshots.c.data).where(snapshots.c.cluster == cluster)
        ).scalar_one_or_none()
    return Snapshot.from_bytes(data) if data is not None else None
