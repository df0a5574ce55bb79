"""What nobody's acting is reckoned from, kept over a restart and a change of leaders: one baseline per cluster."""

from __future__ import annotations

import json
import zlib

from sqlalchemy import select, update

from foreshade.adapters.store.store import Store
from foreshade.adapters.store.surface_tables import baselines
from foreshade.agents.counterfactual import Baseline
from foreshade.envs.errors import JournalError


def write_baseline(store: Store, cluster: str, baseline: Baseline, at_s: float) -> None:
    """Keep it instead of the one before; JournalError where the store cannot be written."""
    said = json.dumps({"homes": dict(baseline.homes), "on": sorted(baseline.on)})
    values = {"at_s": at_s, "data": zlib.compress(said.encode(), 6)}
    with store.writing() as connection:
        done = connection.execute(update(baselines).where(baselines.c.cluster == cluster).values(values))
        if done.rowcount == 0:
            connection.execute(baselines.insert().values(cluster=cluster, **values))


def read_baseline(store: Store, cluster: str) -> Baseline | None:
    """The one that is kept; None = there is none yet.

    Raises:
        JournalError: the store cannot be read, or holds something else there.

    """
    query = select(baselines.c.data).where(baselines.c.cluster == cluster)
    with store.reading() as connection:
        data = connection.execute(query).scalar_one_or_none()
    if data is None:
        return None
    try:
        said = json.loads(zlib.decompress(data))
        return Baseline({str(vm): str(host) for vm, host in said["homes"].items()}, frozenset(said["on"]))
    except (zlib.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise JournalError(f"store {store.name}: baseline of {cluster}: cannot be read: {error!r}") from error
