"""The history: what is kept, merged, averaged and let go, and the host database that is a view of it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foreshade.adapters.store.history import History
from foreshade.adapters.store.host_database import host_database
from foreshade.envs.errors import JournalError
from foreshade.envs.model.action import shadow
from foreshade.envs.site import SiteWindow
from foreshade.envs.snapshot import Snapshot
from tests.control_worlds import durable

HOUR, DAY = 3_600, 86_400


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    world = durable(tmp_path)
    world.advance()
    world.carry_out(world.order(shadow(0, 3, 0.1), "s"), 1.0)
    world.advance()
    return Snapshot.of(world.observe(), world.inventory(), world.site(), 0.0)


def at(snapshot: Snapshot, unix_s: float, cpu: float) -> Snapshot:
    """The same at another time, with another usage of VM 0."""
    usage = snapshot.vms["usage"].copy()
    usage[0, 0] = cpu
    return replace(snapshot, unix_s=unix_s, vms={**snapshot.vms, "usage": usage})


def kept(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "vms").iterdir())


def filled(folder: Path, snapshot: Snapshot, times: Sequence[float]) -> History:
    history = History(folder, raw_days=1, hourly_days=3)
    for number, time_s in enumerate(times):
        history.add(at(snapshot, time_s, 100.0 + number))
    return history


def test_a_snapshot_survives_its_bytes(snapshot: Snapshot) -> None:
    window = SiteWindow(0.0, 600.0, (1, 2), "new memory")
    site = replace(snapshot.site, windows=(window,), app_kinds=("web",) * 8)
    again = Snapshot.from_bytes(replace(snapshot, site=site).to_bytes())
    assert again.site.windows == (window,)
    assert again.site.app_kinds == site.app_kinds
    assert again.inventory == snapshot.inventory
    assert all((again.vms[name] == column).all() for name, column in snapshot.vms.items())
    assert all((again.hosts[name] == column).all() for name, column in snapshot.hosts.items())
    assert (again.site.power_w == snapshot.site.power_w).all()
    assert again.site.capabilities == snapshot.site.capabilities
    assert (again.site.economy.electricity_usd_kwh == snapshot.site.economy.electricity_usd_kwh).all()


def test_a_full_hour_becomes_one_file_and_no_sample_is_lost_or_doubled(
    tmp_path: Path, snapshot: Snapshot
) -> None:
    times = [t * 300.0 for t in range(14)]
    history = filled(tmp_path / "h", snapshot, times)
    assert kept(tmp_path / "h") == [
        "hour-000000000000.parquet",
        "raw-000000003600.parquet",
        "raw-000000003900.parquet",
    ]
    series = history.series("vms", "vm0", ["cpu_mhz"])
    assert series["time_s"].to_list() == times
    assert series["cpu_mhz"].to_list() == [100.0 + n for n in range(14)]
    assert history.series("vms", "vm0", ["cpu_mhz"], since_s=600, until_s=900)["time_s"].to_list() == [
        600.0,
        900.0,
    ]


def test_what_a_crash_left_beside_a_merged_hour_is_read_once(tmp_path: Path, snapshot: Snapshot) -> None:
    history = filled(tmp_path / "h", snapshot, [0.0, 300.0])
    left = (tmp_path / "h" / "vms" / "raw-000000000000.parquet").read_bytes()
    history.add(at(snapshot, 3_600.0, 1.0))
    (tmp_path / "h" / "vms" / "raw-000000000000.parquet").write_bytes(left)
    assert history.series("vms", "vm0", ["cpu_mhz"])["time_s"].to_list() == [0.0, 300.0, 3_600.0]


def test_old_days_become_means_with_their_peaks_and_then_go(tmp_path: Path, snapshot: Snapshot) -> None:
    history = filled(tmp_path / "h", snapshot, [0.0, 300.0, HOUR, 3 * DAY])
    series = history.series("vms", "vm0", ["cpu_mhz"])
    assert series["time_s"].to_list() == [0.0, HOUR, 3 * DAY]
    assert series["cpu_mhz"].to_list() == [100.5, 102.0, 103.0]
    assert series["cpu_mhz_peak"].to_list() == [101.0, 102.0, 103.0]
    assert [name for name in kept(tmp_path / "h") if name.startswith("mean")] == ["mean-000000000000.parquet"]
    history.add(at(snapshot, 5 * DAY, 7.0))
    assert history.series("vms", "vm0", ["cpu_mhz"], until_s=2 * DAY).is_empty()


def test_a_vm_without_a_sample_is_not_written_as_idle(tmp_path: Path, snapshot: Snapshot) -> None:
    ages = snapshot.vms["age_s"].copy()
    ages[0] = np.inf
    history = History(tmp_path / "h", raw_days=1, hourly_days=3)
    history.add(replace(snapshot, vms={**snapshot.vms, "age_s": ages}))
    assert history.series("vms", "vm0", ["cpu_mhz"]).is_empty()
    assert not history.series("vms", "vm1", ["cpu_mhz"]).is_empty()


def test_who_reads_while_hours_are_merged_misses_nothing(tmp_path: Path, snapshot: Snapshot) -> None:
    history = History(tmp_path / "h", raw_days=100, hourly_days=100)
    added = 0

    def add() -> None:
        nonlocal added
        for number in range(80):
            history.add(at(snapshot, number * HOUR / 2, 100.0))
            added = number + 1

    with ThreadPoolExecutor(1) as beside:
        adding = beside.submit(add)
        while not adding.done():
            least = added
            assert len(history.series("vms", "vm0", ["cpu_mhz"])) >= least
        adding.result()
    assert len(history.series("vms", "vm0", ["cpu_mhz"])) == 80


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path, snapshot: Snapshot) -> None:
    (tmp_path / "h").write_text("a file")
    with pytest.raises(JournalError, match="cannot be written"):
        History(tmp_path / "h", raw_days=1, hourly_days=3).add(snapshot)


def test_a_file_that_cannot_be_read_is_said_in_one_line(tmp_path: Path, snapshot: Snapshot) -> None:
    history = filled(tmp_path / "h", snapshot, [0.0, 300.0])
    torn = tmp_path / "h" / "hosts" / "raw-000000000300.parquet"
    torn.write_bytes(torn.read_bytes()[:-100])
    with pytest.raises(JournalError, match=r"^history .*/hosts: cannot be read: [^\n]+$"):
        history.latest("hosts", 0.0)


def test_the_host_database_shows_capacity_utilisation_and_shadows(tmp_path: Path, snapshot: Snapshot) -> None:
    history = filled(tmp_path / "h", snapshot, [0.0])
    rows = {row.name: row for row in host_database(snapshot, history)}
    assert rows["host0003"].shadows == {"vm0.shadow.s": "vm0"}
    usage, capacity = snapshot.hosts["usage"][0, 0], snapshot.hosts["capacity"][0, 0]
    assert rows["host0000"].mean_cpu == pytest.approx(usage / capacity)
    assert rows["host0000"].vms == 2
    assert rows["host0000"].allocated_memory_mib == snapshot.hosts["allocated"][0, 1]
