from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshade.envs.errors import WorkloadError
from foreshade.envs.workloads.generator import PRESETS, GeneratorConfig, build, generate
from foreshade.envs.workloads.generator_catalogue import TYPES
from foreshade.envs.workloads.generator_laws import add_pulse, ornstein_uhlenbeck, saturate, weekend
from foreshade.envs.workloads.workload import Workload

F64 = npt.NDArray[np.float64]
DAY = 288


@pytest.fixture(scope="module")
def fortnight() -> Workload:
    return generate("enterprise", vms="600", days="14", seed="1")


def shares(workload: Workload) -> F64:
    """CPU demand of the applications that stay, relative to what their members have."""
    vms = workload.vms
    stays = (vms.arrival_tick == 0) & (vms.departure_tick == workload.n_ticks)
    rows = np.unique(vms.app[stays])
    provided = np.zeros(len(workload.apps))
    np.add.at(provided, vms.app, vms.flavour[:, 0])
    used: F64 = workload.demand[:, workload.apps.series[rows], 0] / provided[rows]
    return used


def lag(x: F64, ticks: int) -> F64:
    a, b = x[:-ticks] - x[:-ticks].mean(axis=0), x[ticks:] - x[ticks:].mean(axis=0)
    out: F64 = (a * b).sum(axis=0) / np.sqrt((a * a).sum(axis=0) * (b * b).sum(axis=0))
    return out


def test_the_same_seed_gives_the_same_bytes() -> None:
    one, two = generate("enterprise", vms="60", seed="5"), generate("enterprise", vms="60", seed="5")
    other = generate("enterprise", vms="60", seed="6")
    assert one.demand.tobytes() == two.demand.tobytes()
    assert one.gpu.tobytes() == two.gpu.tobytes()
    assert one.vms.name == two.vms.name
    assert one.demand.tobytes() != other.demand.tobytes()


def test_a_larger_cluster_keeps_the_applications_of_the_smaller_one() -> None:
    small, large = generate("surge", vms="60"), generate("surge", vms="200")
    kept = len(small.apps) - 1  # the last one was cut to the number of VMs asked for
    assert small.apps.name[:kept] == large.apps.name[:kept]
    np.testing.assert_array_equal(small.demand[:, :kept], large.demand[:, :kept])


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_has_the_vms_asked_for_at_any_time(name: str) -> None:
    workload = generate(name, vms="200", days="3")
    alive = [
        int(((workload.vms.arrival_tick <= t) & (workload.vms.departure_tick > t)).sum())
        for t in range(0, workload.n_ticks, 12)
    ]
    assert workload.n_ticks == 3 * DAY
    assert min(alive) >= 180
    assert max(alive) <= 220


def test_options_are_read_from_text() -> None:
    workload = generate("flat", vms="10", days="0.5", tick_s="60", start="2024-06-01T12:00:00")
    assert workload.n_ticks == 720
    assert workload.tick_s == 60
    assert workload.start_epoch_s == 1_717_243_200
    assert len(workload.vms) == 10
    assert workload.source == "generated:flat?days=0.5&start=2024-06-01T12:00:00&tick_s=60&vms=10"


def test_a_single_vm_is_a_workload() -> None:
    workload = generate("flat", vms="1", short="0.9", days="0.001")
    assert len(workload.vms) == 1
    assert workload.n_ticks == 1


def test_scale_multiplies_the_load_and_not_the_provision() -> None:
    one, half = generate("flat", vms="50"), generate("flat", vms="50", scale="0.5")
    np.testing.assert_array_equal(one.vms.flavour, half.vms.flavour)
    np.testing.assert_allclose(half.demand[0, :, [0, 2, 3]], one.demand[0, :, [0, 2, 3]] / 2, rtol=1e-5)
    assert (half.demand[0, :, 1] < one.demand[0, :, 1]).all()


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("nothing", {}, "unknown workload 'nothing', known: enterprise, surge, flat, daily, batch"),
        ("flat", {"speed": "1"}, "unknown option 'speed', known: vms, days, seed"),
        ("flat", {"vms": "many"}, "vms must be a whole number, got 'many'"),
        ("flat", {"days": "x"}, "days must be a number, got 'x'"),
        ("flat", {"days": "nan"}, "days must be in 0.001..400, got nan"),
        ("flat", {"vms": "0"}, "vms must be in 1..1e+06, got 0"),
        ("flat", {"start": "monday"}, "start must be an ISO date such as 2024-01-01, got 'monday'"),
        ("surge", {"announced": "0.8", "heralded": "0.3"}, "announced + heralded must be at most 1, got 1.1"),
        ("surge", {"daily": "0.8", "random": "0.3"}, "daily + random must be at most 1, got 1.1"),
    ],
)
def test_what_cannot_be_used_is_told_in_one_line(name: str, options: dict[str, str], said: str) -> None:
    with pytest.raises(WorkloadError) as caught:
        generate(name, **options)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_type_in_the_mix_is_refused() -> None:
    with pytest.raises(WorkloadError, match="mix wants weights of web, database"):
        GeneratorConfig(mix={"mainframe": 1.0})


@settings(max_examples=15, deadline=None)
@given(
    name=st.sampled_from(sorted(PRESETS)),
    seed=st.integers(0, 2**32),
    vms=st.integers(1, 80),
    days=st.floats(0.01, 2.0),
    scale=st.floats(0.0, 20.0),
    tick_s=st.sampled_from([60, 300, 900]),
    life_days=st.sampled_from([0.0, 0.1, 1.0, 20.0]),
)
def test_demand_stays_within_its_bounds(
    name: str, seed: int, vms: int, days: float, scale: float, tick_s: int, life_days: float
) -> None:
    config = replace(
        PRESETS[name], seed=seed, vms=vms, days=days, scale=scale, tick_s=tick_s, life_days=life_days
    )
    workload = build(config)
    rows, apps, demand = workload.vms, workload.apps, workload.demand
    assert demand.shape[0] == config.n_ticks
    assert demand.flags["C_CONTIGUOUS"]
    assert demand.dtype == np.float32
    assert np.isfinite(demand).all()
    assert (demand >= 0).all()
    assert (rows.arrival_tick >= 0).all()
    assert (rows.arrival_tick < rows.departure_tick).all()
    assert (rows.departure_tick <= workload.n_ticks).all()
    np.testing.assert_array_equal(np.bincount(rows.app, minlength=len(apps)), apps.members)
    assert len(set(rows.name)) == len(rows)
    assert len(set(apps.name)) == len(apps)
    assert ((apps.memory_floor >= 0) & (apps.memory_floor <= 1)).all()
    assert (np.diff(workload.gpu_series) > 0).all()
    # What is provided at each tick to whoever uses a series bounds what is wanted: nothing outside a life.
    provided = np.zeros((workload.n_ticks, workload.n_series, 5))
    for row, app in enumerate(rows.app):
        life = slice(rows.arrival_tick[row], rows.departure_tick[row])
        provided[life, apps.series[app]] += rows.flavour[row]
    most = provided[:, :, :4] * np.array([config.limit, 0.95, config.limit, config.limit])
    assert (demand <= most * (1 + 1e-5)).all()
    assert (workload.gpu >= 0).all()
    assert (workload.gpu <= provided[:, workload.gpu_series, 4] * (1 + 1e-5)).all()


def test_flat_demand_never_changes() -> None:
    workload = generate("flat", vms="40")
    np.testing.assert_array_equal(
        workload.demand, np.broadcast_to(workload.demand[:1], workload.demand.shape)
    )


def test_series_that_short_lived_vms_share_have_one_user_at_a_time() -> None:
    workload = generate("enterprise", vms="300", short="0.3")
    single = [row for row, name in enumerate(workload.apps.name) if name.startswith("short-")]
    users = np.zeros((workload.n_ticks, workload.n_series), dtype=int)
    for row in np.flatnonzero(np.isin(workload.vms.app, single)):
        life = slice(workload.vms.arrival_tick[row], workload.vms.departure_tick[row])
        users[life, workload.apps.series[workload.vms.app[row]]] += 1
    assert len(single) > users.max(axis=0).sum()
    assert users.max() == 1


def test_enterprise_utilisation_is_that_of_over_provisioned_vms(fortnight: Workload) -> None:
    mean = shares(fortnight).mean(axis=0)
    assert 0.04 < np.median(mean) < 0.10
    assert 0.05 < mean.mean() < 0.20
    assert np.percentile(mean, 90) / np.percentile(mean, 10) > 8  # VMs differ by orders of magnitude


def test_enterprise_autocorrelation_falls_with_the_lag(fortnight: Workload) -> None:
    x = shares(fortnight)
    five_minutes, hour, day = (float(np.median(lag(x, ticks))) for ticks in (1, 12, DAY))
    assert 0.62 < five_minutes < 0.78
    assert 0.25 < hour < 0.45
    assert 0.05 < day < hour


def test_the_sum_has_a_daily_cycle_and_a_weekend_dip() -> None:
    workload = generate("enterprise", vms="600", days="14", seed="2", short="0", life_days="0", crowds="0")
    batch = np.array([name.startswith("batch") for name in workload.apps.name])
    total = workload.demand[:, ~batch, 0].sum(axis=1).reshape(14, DAY)
    business = total[[0, 1, 2, 3, 4, 7, 8, 9, 10, 11]]
    afternoon, night = business[:, 12 * 12 : 16 * 12].mean(), business[:, 0 : 4 * 12].mean()
    assert 1.15 < afternoon / night < 3.0
    assert 0.6 < total[[5, 6, 12, 13]].mean() / business.mean() < 0.95


def test_the_weekend_belongs_to_the_cycle() -> None:
    for cycle, low, high in (("0", 0.999, 1.001), ("1", 0.5, 0.9)):
        total = generate("flat", vms="200", days="7", cycle=cycle).demand[:, :, 0].sum(axis=1)
        dip = total[5 * DAY : 7 * DAY].mean() / total[1 * DAY : 4 * DAY].mean()
        assert low < dip < high


def test_applications_of_one_group_move_together_and_others_do_not() -> None:
    config = replace(
        PRESETS["enterprise"], vms=400, days=4, seed=3, cycle=0, bursts=0, shifts=0, trend=0, short=0,
        life_days=0, crowds=2, mix={"web": 1.0},
    )  # fmt: skip
    x = np.log(shares(build(config)))
    correlation = np.corrcoef(x.T)
    group = np.arange(x.shape[1]) // config.group
    same = (group[:, None] == group[None, :]) & ~np.eye(len(group), dtype=bool)
    other = group[:, None] != group[None, :]
    assert np.median(correlation[same]) > 0.3
    assert abs(np.median(correlation[other])) < 0.1


def test_most_vms_live_shortly_and_the_others_have_the_core_hours() -> None:
    workload = generate("enterprise", vms="500", days="7", seed="4")
    life = workload.vms.departure_tick - workload.vms.arrival_tick
    core_hours = workload.vms.flavour[:, 0] * life
    started = (workload.vms.arrival_tick > 0) & (workload.vms.arrival_tick < 6 * DAY)
    assert (life[started] < DAY).mean() > 0.85
    assert core_hours[life >= DAY].sum() / core_hours.sum() > 0.90
    by_hour = np.bincount(workload.vms.arrival_tick[started] % DAY // 12, minlength=24)
    assert by_hour[11:17].sum() > 1.4 * (by_hour[:3].sum() + by_hour[21:].sum())


def test_gpu_users_are_few_and_idle_half_the_time() -> None:
    workload = generate("enterprise", vms="2000", days="7", seed="5")
    users = workload.vms.flavour[:, 4] > 0
    assert 0.005 < users.sum() / 2000 < 0.06
    lively = workload.gpu[:, (workload.demand[:, workload.gpu_series, 0] > 0).all(axis=0)]
    assert 0.35 < (lively == 0).mean() < 0.6
    assert 0.4 < np.median(lag(lively.astype(np.float64), 1)) < 0.8


def test_disk_and_network_are_bursty_with_idle_runs(fortnight: Workload) -> None:
    vms = fortnight.vms
    stays = (vms.arrival_tick == 0) & (vms.departure_tick == fortnight.n_ticks)
    series = fortnight.apps.series[np.unique(vms.app[stays])]
    for resource in (2, 3):
        x = fortnight.demand[:, series, resource]
        assert np.median(x.std(axis=0) / x.mean(axis=0)) > 1.5
        assert 0.05 < (x == 0).mean() < 0.5


def test_memory_is_steadier_than_cpu_and_correlated_with_it(fortnight: Workload) -> None:
    vms = fortnight.vms
    stays = (vms.arrival_tick == 0) & (vms.departure_tick == fortnight.n_ticks)
    series = fortnight.apps.series[np.unique(vms.app[stays])]
    cpu, memory = (fortnight.demand[:, series, r].astype(np.float64) for r in (0, 1))
    assert np.median(memory.std(axis=0) / memory.mean(axis=0)) < 0.3 * np.median(
        cpu.std(axis=0) / cpu.mean(axis=0)
    )
    both = [np.corrcoef(cpu[:, i], memory[:, i])[0, 1] for i in range(cpu.shape[1])]
    assert 0.1 < np.median(both) < 0.7


def test_announcements_change_no_demand_and_name_what_comes() -> None:
    options = {"vms": "300", "days": "6", "seed": "6", "ramp": "5"}
    plain = generate("surge", **options)
    told = generate("surge", **options, announced="0.4", heralded="0.4")
    of = np.array([name.split("-")[0] for name in told.apps.name])
    assert {"announced", "heralded", "random"} <= set(of.tolist())
    np.testing.assert_array_equal(told.demand[:, :, :3], plain.demand[:, :, :3])
    louder = (told.demand[:, :, 3] > plain.demand[:, :, 3]).any(axis=0)
    np.testing.assert_array_equal(louder, of == "heralded")
    assert not plain.events
    row = {name: i for i, name in enumerate(told.apps.name)}
    for event in told.events:
        (name,) = event.series
        first, end = (int((at - told.start_epoch_s) / 300) for at in (event.start_s, event.end_s))
        cpu = told.demand[:, row[name], 0]
        calm = float(np.median(cpu))
        assert of[row[name]] == "announced"
        assert cpu[first : min(end, len(cpu) - 1) + 1].max() > 1.5 * calm
        assert event.low < event.factor < event.high


def test_daily_surges_return_at_their_hour_and_random_ones_do_not() -> None:
    workload = generate("surge", vms="600", days="8", seed="6")
    x = shares(workload)
    surge = np.array([name.split("-")[0] for name in workload.apps.name])
    a_day_later = {kind: float(np.median(lag(x[:, surge == kind], DAY))) for kind in ("daily", "random")}
    assert a_day_later["daily"] > 0.7
    assert a_day_later["random"] < 0.25
    height = {kind: x[:, surge == kind].max(axis=0) for kind in ("daily", "random", "calm")}
    assert np.median(height["daily"]) > 0.6
    assert np.median(height["random"]) > 0.6
    assert np.median(height["calm"]) < 0.5
    assert 0.25 < (surge == "daily").mean() < 0.55
    assert 0.15 < (surge == "random").mean() < 0.45


def test_batch_applications_are_on_at_night_or_in_jobs() -> None:
    workload = generate("batch", vms="400", days="5", seed="7", short="0", life_days="0")
    batch = np.array([name.startswith("batch") for name in workload.apps.name])
    total = workload.demand[:, batch, 0].sum(axis=1).reshape(5, DAY).mean(axis=0)
    assert total[: 4 * 12].mean() > 2 * total[10 * 12 : 18 * 12].mean()


def test_a_pulse_keeps_its_area_on_any_tick() -> None:
    for tick_s in (10.0, 60.0, 300.0):
        out = np.zeros(round(3600 / tick_s), dtype=np.float32)
        add_pulse(out, tick_s, 130.0, 45.0, 2.0)
        assert out.sum() * tick_s == pytest.approx(90.0, rel=1e-4)


def test_a_pulse_that_began_before_the_first_tick_is_cut() -> None:
    out = np.zeros(3, dtype=np.float32)
    add_pulse(out, 300.0, -600.0, 1050.0, 1.0)
    np.testing.assert_allclose(out, [1.0, 0.5, 0.0])


def test_noise_has_the_autocorrelation_of_its_time_constant() -> None:
    z = np.random.default_rng(0).standard_normal((40_000, 1), dtype=np.float32)
    ornstein_uhlenbeck(z, np.array([1800.0], dtype=np.float32), 300.0)
    assert z.std() == pytest.approx(1.0, abs=0.05)
    assert lag(z.astype(np.float64), 6)[0] == pytest.approx(np.exp(-1), abs=0.04)


def test_saturation_leaves_what_fits_and_bends_the_rest() -> None:
    out = saturate(np.array([0.2, 1.0, 1.1, 50.0], dtype=np.float32), 1.5)
    np.testing.assert_allclose(out, [0.2, 1.0, 1.0 + 0.5 * (1 - np.exp(-0.2)), 1.5], rtol=1e-5)


def test_saturday_and_sunday_are_the_weekend() -> None:
    monday = 1_704_067_200.0  # 1 January 2024
    noons = monday + (np.arange(7) + 0.5) * 86_400.0
    np.testing.assert_array_equal(weekend(noons), [0, 0, 0, 0, 0, 1, 1])


def test_the_types_have_sane_parameters() -> None:
    for kind in TYPES.values():
        assert 0 <= kind.memory_floor <= 1
        assert 0 <= kind.offloadable <= 1
        assert 0 < kind.disk_idle < 1
        assert 0 < kind.net_idle < 1


def test_the_documentation_names_every_option() -> None:
    text = (Path(__file__).parent.parent / "docs" / "generator.md").read_text(encoding="utf-8")
    table = text.split("## Options")[1].split("## Model")[0]
    for field in fields(GeneratorConfig):
        assert f"`{field.name}`" in table


def test_an_option_called_name_is_an_unknown_option() -> None:
    with pytest.raises(WorkloadError, match="unknown option 'name'"):
        generate("flat", name="x")
