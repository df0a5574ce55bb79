"""What was measured, tick by tick, as Parquet files that any tool reads while they are written.

    history/vms/raw-<time>.parquet      one tick, as it was seen
    history/vms/hour-<time>.parquet     the ticks of a full hour, sorted by VM
    history/vms/mean-<day>.parquet      a day of means and peaks by the hour, once its hours are too old to keep
    history/hosts/…                     likewise
    history/apps/…                      what each application wanted in all, as forecasts learn it

A file is written under another name and renamed, so that a crash leaves no half file; one that was merged and not yet
deleted is recognised by its time and read once. Retention deletes files, and never rewrites a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from foreshade.envs.errors import JournalError
from foreshade.envs.model.state import HostState, VmKind, VmState
from foreshade.envs.snapshot import Snapshot

Kind = Literal["vms", "hosts", "apps"]
RESOURCES = ("cpu_mhz", "memory_mib", "disk_mib_s", "network_mbit_s", "gpus")
_HOUR_S, _DAY_S = 3600, 86_400
_READS = 5  # that may find a file gone, which the controller merges once an hour
_KEYS = ("name", "time_s")


class History:
    """The history of one cluster, in a folder; written by the controller alone, read by anybody."""

    def __init__(self, folder: Path, *, raw_days: float, hourly_days: float) -> None:
        self._folder, self._raw_s, self._hourly_s = folder, raw_days * _DAY_S, hourly_days * _DAY_S

    def add(self, snapshot: Snapshot) -> None:
        """Keep one tick, merge hours that are full, and let go of what is too old.

        Raises:
            JournalError: the folder cannot be written.

        """
        self._add({"vms": _vms(snapshot), "hosts": _hosts(snapshot)}, snapshot.unix_s)

    def add_loads(self, unix_s: float, apps: Sequence[str], loads: npt.NDArray[np.float32]) -> None:
        """Keep one tick of applications' loads, (n_apps, 4) in the first four ``RESOURCES``; NaN = not seen.

        Raises:
            JournalError: the folder cannot be written.

        """
        seen = np.flatnonzero(np.isfinite(loads).any(axis=1))
        frame = pl.DataFrame(
            {
                "name": [apps[app] for app in seen.tolist()],
                "time_s": np.full(len(seen), unix_s, np.float64),
                **{column: loads[seen, r] for r, column in enumerate(RESOURCES[:4])},
            },
            schema_overrides={"name": pl.String},
        )
        self._add({"apps": frame}, unix_s)

    # Every question raises JournalError where the files cannot be read.

    def loads(
        self, apps: Sequence[str], until_s: float, step_s: float, n_ticks: int
    ) -> npt.NDArray[np.float32]:
        """(n_apps, 4, n) what was kept, tick by tick up to ``until_s``; NaN = not seen; n is as far as it reaches."""
        since_s = until_s - (n_ticks + 0.5) * step_s
        frame = self._read(
            "apps", pl.col("name").is_in(list(apps)), RESOURCES[:4], since_s, until_s + 0.5 * step_s
        )
        out = np.full((len(apps), 4, n_ticks), np.nan, np.float32)
        if frame.is_empty():
            return out[:, :, :0]
        place = n_ticks - 1 - np.rint((until_s - frame["time_s"].to_numpy()) / step_s).astype(np.int64)
        number = {app: i for i, app in enumerate(apps)}
        rows = np.array([number[name] for name in frame["name"].to_list()])
        fits = (place >= 0) & (place < n_ticks)
        values = frame.select(RESOURCES[:4]).to_numpy().astype(np.float32)
        out[rows[fits], :, place[fits]] = values[fits]
        return out[:, :, int(place[fits].min(initial=n_ticks)) :]

    def _add(self, frames: Mapping[Kind, pl.DataFrame], unix_s: float) -> None:
        try:
            for kind, frame in frames.items():
                folder = self._folder / kind
                folder.mkdir(parents=True, exist_ok=True)
                _write(frame, folder / f"raw-{int(unix_s):012d}.parquet")
                self._merge(folder, unix_s)
        except OSError as error:
            raise JournalError(f"history {self._folder}: cannot be written: {error.strerror}") from error

    def series(
        self,
        kind: Kind,
        name: str,
        columns: Sequence[str],
        since_s: float = 0.0,
        until_s: float = float("inf"),
    ) -> pl.DataFrame:
        """One VM's or host's samples, the oldest first: ``time_s`` and the columns.

        Where only means by the hour are left, they stand at the hour's begin; of a column there is ``<column>_peak``
        too, equal to the column where every sample is left.
        """
        wanted = pl.col("name") == name
        return self._read(kind, wanted, columns, since_s, until_s).sort("time_s").drop("name")

    def latest(self, kind: Kind, since_s: float) -> pl.DataFrame:
        """Mean and peak of each VM's or host's CPU and memory since a time: the utilisation of the host database."""
        frame = self._read(kind, pl.lit(value=True), RESOURCES[:2], since_s, float("inf"))
        return (
            frame.group_by("name")
            .agg(
                *(pl.col(column).mean() for column in RESOURCES[:2]),
                *(pl.col(f"{column}_peak").max() for column in RESOURCES[:2]),
            )
            .sort("name")
        )

    def _read(
        self, kind: Kind, wanted: pl.Expr, columns: Sequence[str], since_s: float, until_s: float
    ) -> pl.DataFrame:
        for _ in range(_READS):
            try:
                return self._read_once(kind, wanted, columns, since_s, until_s)
            except FileNotFoundError:  # merged since it was listed: what it was merged into is there
                continue
            except (OSError, pl.exceptions.PolarsError) as error:
                said = str(error).partition("\n")[0]
                raise JournalError(f"history {self._folder / kind}: cannot be read: {said}") from error
        raise JournalError(f"history {self._folder / kind}: cannot be read: its files go while they are read")

    def _read_once(
        self, kind: Kind, wanted: pl.Expr, columns: Sequence[str], since_s: float, until_s: float
    ) -> pl.DataFrame:
        folder = self._folder / kind
        parts = []
        for path in _current(folder):
            begin = _time(path)
            length = (
                _DAY_S if path.name.startswith("mean") else _HOUR_S if path.name.startswith("hour") else 0
            )
            if begin > until_s or begin + length < since_s:
                continue
            averaged = path.name.startswith("mean")
            frame = (
                pl.scan_parquet(path)
                .filter(wanted & pl.col("time_s").is_between(since_s, until_s))
                .select(
                    *_KEYS,
                    *columns,
                    *(pl.col(f"{c}_peak" if averaged else c).alias(f"{c}_peak") for c in columns),
                )
            )
            parts.append(frame)
        if not parts:
            schema = {"name": pl.String, "time_s": pl.Float64}
            schema |= dict.fromkeys((*columns, *(f"{column}_peak" for column in columns)), pl.Float32)
            return pl.DataFrame(schema=schema)
        return pl.concat(parts).collect()

    def _merge(self, folder: Path, now_s: float) -> None:
        """Hours that are over become one file, days that are too old one of means, and the oldest go."""
        hours: dict[int, list[Path]] = {}
        for path in folder.glob("raw-*.parquet"):
            hours.setdefault(_time(path) // _HOUR_S, []).append(path)
        for hour, paths in hours.items():
            if hour < int(now_s) // _HOUR_S:
                merged = folder / f"hour-{hour * _HOUR_S:012d}.parquet"
                if not merged.exists():
                    whole = pl.concat([pl.read_parquet(path) for path in sorted(paths)], how="vertical")
                    _write(whole.sort(*_KEYS), merged)
                for path in paths:
                    path.unlink()
        days: dict[int, list[Path]] = {}
        for path in folder.glob("hour-*.parquet"):
            days.setdefault(_time(path) // _DAY_S, []).append(path)
        for day, paths in days.items():
            if (day + 1) * _DAY_S < now_s - self._raw_s:
                mean = folder / f"mean-{day * _DAY_S:012d}.parquet"
                if not mean.exists():
                    _write(_means(pl.concat([pl.read_parquet(path) for path in sorted(paths)])), mean)
                for path in paths:
                    path.unlink()
        for path in folder.glob("mean-*.parquet"):
            if _time(path) + _DAY_S < now_s - self._hourly_s:
                path.unlink()


def _vms(snapshot: Snapshot) -> pl.DataFrame:
    """VMs that have a sample; one that has none is not written as idle."""
    vms = snapshot.vms
    there = np.flatnonzero((vms["state"] != VmState.ABSENT) & (vms["host"] >= 0) & np.isfinite(vms["age_s"]))
    hosts = [host.name for host in snapshot.inventory.hosts]
    return pl.DataFrame(
        {
            "name": [snapshot.names[slot] for slot in there.tolist()],
            "time_s": np.full(len(there), snapshot.unix_s, np.float64),
            **{column: vms["usage"][there, r] for r, column in enumerate(RESOURCES)},
            **{f"demand_{column}": vms["demand"][there, r] for r, column in enumerate(RESOURCES[:4])},
            "contention": vms["contention"][there],
            "weight": vms["weight"][there],
            "age_s": vms["age_s"][there],
            "host": [hosts[host] for host in vms["host"][there].tolist()],
            "kind": [VmKind(code).name.lower() for code in vms["kind"][there].tolist()],
        }
    )


def _hosts(snapshot: Snapshot) -> pl.DataFrame:
    """Hosts that have a sample, and those that are off, which need none."""
    hosts = snapshot.hosts
    known = np.flatnonzero(np.isfinite(hosts["age_s"]) | (hosts["state"] == HostState.OFF))
    return pl.DataFrame(
        {
            "name": [snapshot.inventory.hosts[slot].name for slot in known.tolist()],
            "time_s": np.full(len(known), snapshot.unix_s, np.float64),
            **{column: hosts["usage"][known, r] for r, column in enumerate(RESOURCES)},
            **{f"allocated_{column}": hosts["allocated"][known, r] for r, column in enumerate(RESOURCES)},
            "contention": hosts["contention"][known],
            "power_w": hosts["power_w"][known],
            "age_s": hosts["age_s"][known],
            "state": [HostState(code).name.lower() for code in hosts["state"][known].tolist()],
        }
    )


def _means(frame: pl.DataFrame) -> pl.DataFrame:
    """Mean and peak by the hour of every number; of words the last."""
    hour = (pl.col("time_s") // _HOUR_S * _HOUR_S).alias("time_s")
    numbers = [c for c, kind in frame.schema.items() if kind.is_numeric() and c != "time_s"]
    words = [c for c, kind in frame.schema.items() if not kind.is_numeric() and c != "name"]
    return (
        frame.sort("time_s")
        .group_by("name", hour)
        .agg(
            *(pl.col(c).mean() for c in numbers),
            *(pl.col(c).max().alias(f"{c}_peak") for c in numbers),
            *(pl.col(c).last() for c in words),
        )
        .sort(*_KEYS)
    )


def _current(folder: Path) -> list[Path]:
    """Files to read, none twice: what was merged counts, what it was merged from does not.

    Listed in the order in which samples go from one to the next, so that none is missed that is merged meanwhile.
    """
    raw, hourly, daily = (sorted(folder.glob(f"{kind}-*.parquet")) for kind in ("raw", "hour", "mean"))
    hours = {_time(path) // _HOUR_S for path in hourly}
    days = {_time(path) // _DAY_S for path in daily}
    return [
        *daily,
        *(path for path in hourly if _time(path) // _DAY_S not in days),
        *(path for path in raw if _time(path) // _HOUR_S not in hours),
    ]


def _time(path: Path) -> int:
    return int(path.stem.partition("-")[2])


def _write(frame: pl.DataFrame, path: Path) -> None:
    unfinished = path.with_suffix(".tmp")
    try:
        frame.write_parquet(unfinished, compression="zstd", compression_level=1, row_group_size=20_000)
        unfinished.replace(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        unfinished.unlink(missing_ok=True)
        raise OSError(getattr(error, "errno", None), str(error)) from error
