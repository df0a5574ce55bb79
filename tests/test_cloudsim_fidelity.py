"""The native CloudSim against the rows that CloudSim 3.0.3 itself printed, to the last printed digit."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from foreshade.envs.cloudsim import CloudSimWorld, simulate
from foreshade.envs.model.state import VmState
from foreshade.envs.workloads.planetlab import PercentDay, read_percent_days

pytestmark = pytest.mark.realdata

DATA = os.environ.get("FORESHADE_DATA")
FOLDER = Path(DATA or ".") / "planetlab"
FIGURES = (
    "energy_kwh",
    "migrations",
    "slav_pct",
    "pdm_pct",
    "slatah_pct",
    "overall_sla_pct",
    "avg_sla_pct",
    "host_shutdowns",
)


def reference_rows() -> list[dict[str, str]]:
    if DATA is None:
        return []
    with (FOLDER / "cloudsim303.csv").open() as file:  # a folder without it is an error, not a skip
        return list(csv.DictReader(file))


ROWS = reference_rows()


@pytest.fixture(scope="module")
def days() -> dict[str, PercentDay]:
    if DATA is None:
        pytest.skip("FORESHADE_DATA is not set: NOTHING was compared with CloudSim's own figures")
    return read_percent_days(str(FOLDER / "planetlab-dev-days.tar.gz"))


def test_reference_is_complete(days):
    assert len(ROWS) == 29
    assert {row["day"] for row in ROWS} <= set(days)


@pytest.mark.parametrize(
    "row", ROWS or [{}], ids=lambda row: "-".join(list(row.values())[:3]) or "reference-rows"
)
def test_figures_equal_cloudsims_own(days, row):
    day = days[row["day"]]
    assert len(day.names) == int(row["vms"])
    got = simulate(day.percent, day.names, row["policy"], row["variant"], int(row["hosts"]))
    printed = {
        "energy_kwh": f"{got.energy_kwh:.2f}",
        "migrations": str(got.migrations),
        "slav_pct": f"{100 * got.slav:.5f}",
        "pdm_pct": f"{100 * got.pdm:.2f}",
        "slatah_pct": f"{100 * got.slatah:.2f}",
        "overall_sla_pct": f"{100 * got.overall_sla:.2f}",
        "avg_sla_pct": f"{100 * got.average_sla:.2f}",
        "host_shutdowns": str(got.host_shutdowns),
    }
    assert printed == {figure: row[figure] for figure in FIGURES}


def test_npa_draws_full_power_all_day(days):
    day = days["20110303"]
    assert f"{simulate(day.percent, day.names, 'npa').energy_kwh:.2f}" == "2410.80"


def test_zero_request_vms_are_deleted_in_stock_only(days):
    day = days["20110303"]
    removed = {}
    for variant in ("stock", "keepzero"):
        world = CloudSimWorld(day.percent, day.names, variant=variant)
        by_hour = []
        while not world.done:
            world.advance()
            by_hour.append(int((world.observe().vms.state == VmState.ABSENT).sum()))
        removed[variant] = (by_hour[9], by_hour[-1])  # at 3,300.1 s and at the end
    assert removed == {"stock": (294, 532), "keepzero": (0, 0)}
