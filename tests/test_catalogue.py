"""The catalogue: complete, sourced, strict, and right where a figure can be checked."""

from __future__ import annotations

import gzip
import os
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from foreshade.envs import catalogue
from foreshade.envs.catalogue.entry import Sourced
from foreshade.envs.catalogue.servers import CURVE_POINTS, Server
from foreshade.envs.errors import ScenarioError, WorkloadError

#: Fields that name or date an entry and so need no source.
LABELS = {"title", "available", "sources", "as_of"}


def everything() -> dict[str, Sourced]:
    tables = {
        "server": catalogue.servers(),
        "hypervisor": catalogue.hypervisors(),
        "tariff": catalogue.tariffs(),
        "grid": catalogue.grids(),
        "rental": catalogue.rentals(),
        "sla": catalogue.slas(),
    }
    entries: dict[str, Sourced] = {f"{k}:{n}": e for k, table in tables.items() for n, e in table.items()}
    return {**entries, "site": catalogue.site()}


@pytest.mark.parametrize("name", everything())
def test_every_figure_names_its_source_or_says_declared(name: str) -> None:
    entry = everything()[name]
    unsourced = [f for f in type(entry).model_fields if f not in LABELS and not entry.source(f)]
    # A tariff without periods has nothing to say about them.
    assert [f for f in unsourced if getattr(entry, f) != ()] == []


@pytest.mark.parametrize("name", everything())
def test_a_source_speaks_of_fields_that_exist(name: str) -> None:
    entry = everything()[name]
    spoken = {part.strip() for names in entry.sources for part in names.split(",")}
    assert spoken <= set(type(entry).model_fields)


@pytest.mark.parametrize("name", catalogue.servers())
def test_curves_have_eleven_points_and_rise(name: str) -> None:
    curve = catalogue.server(name).power_w
    assert len(curve) == CURVE_POINTS
    assert all(a <= b for a, b in pairwise(curve))


def test_the_benchmark_hosts_have_the_published_curves_and_capacities() -> None:
    g4, g5 = catalogue.server("hp-ml110-g4"), catalogue.server("hp-ml110-g5")
    assert g4.power_w == (86, 89.4, 92.6, 96, 99.5, 102, 106, 108, 112, 114, 117)
    assert g5.power_w == (93.7, 97, 101, 105, 110, 116, 121, 125, 129, 133, 135)
    assert (g4.cpu_mhz, g4.memory_mib) == (3720, 4096)
    assert (g5.cpu_mhz, g5.memory_mib) == (5320, 4096)


def test_five_servers_of_the_last_five_years_quote_a_specpower_result_by_id() -> None:
    recent = [
        s
        for s in catalogue.servers().values()
        if s.available >= "2021" and "power_ssj2008-20" in s.source("power_w")
    ]
    assert len(recent) >= 5


def test_the_published_overall_score_of_the_r7725_follows_from_its_curve() -> None:
    # 35,920 ssj_ops/W = operations over all levels (5.5 times those at full load) over the sum of watts; the
    # operations at full load differ from the calibrated maximum by less than 1 %.
    curve = catalogue.server("dell-r7725").power_w
    assert 5.5 * 40_017_802 / sum(curve) == pytest.approx(35_920, rel=0.01)


PAGE = (Path(__file__).parent.parent / "docs" / "catalogue.md").read_text(encoding="utf-8")


def test_the_page_lists_every_entry_with_its_source() -> None:
    names = [name.partition(":")[2] for name in everything() if ":" in name]
    assert [name for name in names if f"| `{name}` |" not in PAGE] == []
    # Text of what a table shows; the page leaves out the sources of labels such as a rental's vCPUs.
    shown = [s.source("power_w") for s in catalogue.servers().values()]
    shown += [text for h in catalogue.hypervisors().values() for text in h.sources.values()]
    shown += list(catalogue.site().sources.values())
    assert [text for text in shown if text not in PAGE] == []


@pytest.mark.parametrize("name", catalogue.servers())
def test_the_page_shows_the_curve_that_is_used(name: str) -> None:
    assert f"| `{name}` | {' | '.join(f'{w:g}' for w in catalogue.server(name).power_w)} |" in PAGE


def test_power_is_linear_between_points_and_adds_the_gpus() -> None:
    g4 = catalogue.server("hp-ml110-g4")
    assert [g4.power_at(u) for u in (-1.0, 0.0, 0.05, 0.1, 1.0, 2.0)] == pytest.approx(
        [86, 86, 87.7, 89.4, 117, 117]
    )
    gpu = catalogue.server("hpe-ml350-gen11-8xl4")
    assert gpu.power_at(0, 0.0) == pytest.approx(232 + 8 * 16)
    assert gpu.power_at(0, 0.5) == pytest.approx(232 + 8 * (16 + 72) / 2)


def test_booting_draws_the_peak_unless_the_entry_says_otherwise() -> None:
    assert catalogue.server("dell-r740").boot_w == 432


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"power_w": (86.0, 80.0, *[90.0] * 9)}, "expected power_w to rise"),
        ({"power_w": (86.0,) * 10}, "at least 11"),
        ({"power_w": (86.0,) * 12}, "at most 11"),
        ({"cores": 0}, "greater than 0"),
        ({"cores": 2.0}, "valid integer"),
        ({"memory_mib": -1.0}, "greater than 0"),
        ({"mhz": float("inf")}, "finite"),
        ({"mhz": "1860"}, "valid number"),
        ({"gpus": 2}, "gpu_idle_w"),
        ({"sleep_w": 90.0}, "sleep_w < idle"),
        ({"colour": "black"}, "Extra inputs"),
    ],
)
def test_a_server_that_cannot_exist_is_refused(change: dict[str, object], said: str) -> None:
    good = catalogue.server("hp-ml110-g4").model_dump()
    with pytest.raises(ValidationError, match=said):
        Server.model_validate({**good, **change})


def test_entries_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        catalogue.server("hp-ml110-g4").cores = 4  # type: ignore[misc]


@pytest.mark.parametrize(
    ("find", "known"),
    [
        (catalogue.server, "dell-r7725"),
        (catalogue.hypervisor, "kvm-tcg"),
        (catalogue.tariff, "kr-industrial-tou"),
        (catalogue.grid, "erco"),
        (catalogue.rental, "aws-m6i-metal"),
        (catalogue.sla, "aws-compute-instance"),
    ],
)
def test_an_unknown_name_is_answered_with_what_is_known(find: object, known: str) -> None:
    assert callable(find)
    with pytest.raises(
        ScenarioError, match=rf"unknown [\w ]+ 'nonesuch', expected one of .*{known}"
    ) as caught:
        find("nonesuch")
    assert "\n" not in str(caught.value)


def test_emulation_boots_as_measured_and_cannot_unplug_cpus() -> None:
    tcg = catalogue.hypervisor("kvm-tcg")
    assert 0.47 <= tcg.boot_s.restored <= 0.64
    assert 0.007 <= tcg.boot_s.spare <= 0.017
    assert 2.35 <= tcg.boot_s.cold <= 5.3
    assert 1.84 <= tcg.boot_s.microvm <= 3.6
    assert tcg.hot_plug.cpu_up
    assert not tcg.hot_plug.cpu_down


def test_the_emulated_profile_reproduces_the_measured_migration_time() -> None:
    # 103 MiB at 1024 MiB/s took 0.65-0.77 s from request to end.
    move = catalogue.hypervisor("kvm-tcg").migration
    assert 0.65 <= move.setup_s + 103 * 8.388608 / move.bandwidth_mbit + move.resume_s <= 0.77


@pytest.mark.parametrize(
    ("when", "krw"),
    [
        ("2024-01-02T03:00", 63.1),  # winter, Tuesday: light
        ("2024-01-02T09:59", 109.2),
        ("2024-01-02T10:00", 166.7),
        ("2024-01-02T12:00", 109.2),
        ("2024-01-02T19:59", 166.7),
        ("2024-01-02T22:00", 166.7),
        ("2024-01-02T23:00", 63.1),
        ("2024-01-06T10:00", 109.2),  # Saturday: peak counts as mid
        ("2024-01-07T10:00", 63.1),  # Sunday: light
        ("2024-07-02T13:00", 191.1),  # summer
        ("2024-07-02T12:30", 109.0),
        ("2024-07-06T13:00", 109.0),
        ("2024-07-07T13:00", 56.1),
        ("2024-04-02T14:00", 109.3),  # spring
        ("2024-04-02T18:00", 78.6),
        ("2024-04-02T23:30", 56.1),
    ],
)
def test_the_time_of_use_tariff_follows_the_published_table(when: str, krw: float) -> None:
    price = catalogue.tariff("kr-industrial-tou").price(datetime.fromisoformat(when))
    assert price == pytest.approx(krw / 1144, abs=5e-5)


def test_a_flat_tariff_is_the_same_at_every_hour() -> None:
    flat = catalogue.tariff("us-tx-industrial")
    assert {
        flat.price(datetime(2024, 1, day, hour, tzinfo=UTC)) for day in range(1, 8) for hour in range(24)
    } == {0.066}


def test_californias_sun_shows_in_its_carbon_intensity() -> None:
    ciso = catalogue.grid("ciso")
    noon, night = (ciso.intensity(datetime(2022, 6, 1, hour, tzinfo=UTC)) for hour in (12, 22))
    assert noon < 0.6 * night


@pytest.mark.parametrize(
    ("availability", "credit"), [(1.0, 0.0), (0.995, 0.0), (0.9949, 0.1), (0.98, 0.3), (0.5, 1.0)]
)
def test_credits_step_up_as_availability_falls(availability: float, credit: float) -> None:
    assert catalogue.sla("aws-compute-instance").credit(availability) == credit


def test_a_rental_stands_for_a_known_server() -> None:
    assert {r.server for r in catalogue.rentals().values()} <= set(catalogue.servers())


@pytest.mark.parametrize("zipped", [False, True])
def test_a_carbon_csv_is_read_with_its_gaps(tmp_path: Path, zipped: bool) -> None:
    text = "timestamp,WND,avg_CI\n2022-01-01 00:00:00+00:00,1,222.5\n2022-01-01 01:00:00+00:00,1,\n"
    path = tmp_path / ("c.csv.gz" if zipped else "c.csv")
    path.write_bytes(gzip.compress(text.encode()) if zipped else text.encode())
    times, values = catalogue.read_carbon_csv(path)
    assert times.astype("datetime64[h]").astype(str).tolist() == ["2022-01-01T00", "2022-01-01T01"]
    np.testing.assert_array_equal(values, [222.5, np.nan])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("timestamp,WND\n", "c.csv:1: expected columns timestamp, avg_CI, found no avg_CI"),
        ("timestamp,avg_CI\n", "expected at least one hour"),
        ("timestamp,avg_CI\n2022-01-01 00:00:00+00:00,1\nnonsense,1\n", r"c.csv:3: .*nonsense"),
        ("timestamp,avg_CI\n2022-01-01 00:00:00+00:00,-1\n", "c.csv:2: expected avg_CI >= 0, found -1"),
        ("timestamp,avg_CI\n2022-01-01 00:00:00+00:00,x\n", "c.csv:2: .*'x'"),
    ],
)
def test_a_bad_carbon_csv_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "c.csv"
    path.write_text(text)
    with pytest.raises(WorkloadError, match=said):
        catalogue.read_carbon_csv(path)


def test_a_missing_carbon_csv_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match="expected a readable csv"):
        catalogue.read_carbon_csv(tmp_path / "none.csv.gz")


@pytest.mark.realdata
@pytest.mark.parametrize("name", catalogue.grids())
def test_hourly_means_are_those_of_the_public_year(name: str) -> None:
    if "FORESHADE_DATA" not in os.environ:
        pytest.skip("FORESHADE_DATA names no folder of public traces")
    carbon_folder = Path(os.environ["FORESHADE_DATA"]) / "carbon"
    grid = catalogue.grid(name)
    times, values = catalogue.read_carbon_csv(carbon_folder / f"{name}-2022-hourly.csv.gz")
    hour = (times.astype("datetime64[h]").astype(int) + grid.utc_offset_h) % 24
    means = [np.nanmean(values[hour == h]) for h in range(24)]
    np.testing.assert_allclose(grid.g_per_kwh, means, atol=0.051)
