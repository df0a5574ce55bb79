"""Forecasts in the cluster state: what stands in a row, who shares it how, and that nothing looks ahead."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foreshade import _core as core
from foreshade.adapters.app.evaluate import make_tables
from foreshade.envs.errors import InputError
from foreshade.envs.forecast.cache import cache_folder
from foreshade.envs.forecast.distortion import Distortion
from foreshade.envs.forecast.forecaster import LEVELS, EngineConfig
from foreshade.envs.forecast.table import (
    forecast_source,
    opened,
    precompute,
    row_owners,
    table_bytes,
    table_files,
)
from foreshade.envs.simulated import SimulatedWorld
from foreshade.envs.workloads.of_scenario import Loaded
from tests import tiny_world
from tests.test_physics_observation import columns
from tests.worlds import (
    MICROVM,
    SHADOW,
    SHIFT,
    SPAWN,
    App,
    Native,
    Spec,
    data_centre,
    host,
    random_action,
    random_scenario,
    workload,
)

CONFIG = EngineConfig()
ONLINE = CONFIG.native


def table_of(work: Spec, *, quantiles: bool = True) -> core.ForecastTable:
    """The table of applications that are there all the time, one series each."""
    demand = work["demand"]
    n_ticks, n_series, _ = demand.shape
    moments = np.zeros((n_ticks + 1, 4, n_series, 4, 2), np.float32)
    rows = np.zeros((n_ticks + 1, n_series, 4, 4, 7), np.float32)
    forecaster = core.DemandForecaster(ONLINE, n_series)
    forecaster.own(np.arange(n_series, dtype=np.int32))
    for t in range(n_ticks):
        forecaster.observe(demand[t])
        forecaster.predict(moments[t + 1], rows[t + 1])
    return core.ForecastTable(moments, rows if quantiles else None, CONFIG.horizons, LEVELS)


def world_of(work: Spec, dc: Any, source: str) -> Native:
    """A world with the forecasts named."""
    made = {"none": None, "table": table_of(work), "online": ONLINE}[source]
    return Native(dc, work | {"forecast": made})


def steady(n_ticks: int = 12, **values: Any) -> tuple[Any, Spec]:
    """Two hosts; application 0 with two members, application 1 with one."""
    wave = np.linspace(1.0, 2.0, n_ticks)[:, None]
    apps = [
        App(np.array([[2_000.0, 1_000.0, 10.0, 20.0]]) * wave, floor=0.25),
        App([900.0, 512.0, 5.0, 5.0], floor=0.5),
    ]
    flavour = [4_000.0, 2_048.0, 100.0, 100.0, 0.0]
    hosts = [host(overcommit=[4.0, 2.0, 4.0, 4.0, 1.0]) for _ in range(2)]
    dc = data_centre(n_ticks, hosts, spare_slots=3)
    return dc, workload(n_ticks, apps, [(0, flavour), (0, flavour), (1, flavour)], **values)


def test_without_a_source_there_is_no_forecast() -> None:
    dc, work = steady()
    world = world_of(work, dc, "none")
    world.tick(3)
    shown = world.look().forecasts
    assert shown.moments.size == shown.quantiles.size == shown.horizons.size == 0
    assert (shown.series == -1).all()


@pytest.mark.parametrize("source", ["table", "online"])
def test_nothing_is_known_before_the_first_tick_and_all_is_shown_after_it(source: str) -> None:
    dc, work = steady()
    world = world_of(work, dc, source)
    before = world.look().forecasts
    assert before.moments.size == 0
    assert (before.series == -1).all()
    world.tick()
    after = world.look().forecasts
    assert after.moments.shape == (4, 2, 4, 2)
    assert after.quantiles.shape == (2, 4, 4, 7)
    assert after.horizons.tolist() == [1, 3, 12, 288]
    np.testing.assert_allclose(after.levels, LEVELS, rtol=1e-6)
    assert after.series.tolist() == [0, 0, 1, -1, -1, -1]


def test_the_table_shows_what_the_engine_says_after_the_ticks_played() -> None:
    dc, work = steady()
    world = world_of(work, dc, "table")
    forecaster = core.DemandForecaster(ONLINE, 2)
    forecaster.own(np.arange(2, dtype=np.int32))
    moments, quantiles = np.zeros((4, 2, 4, 2), np.float32), np.zeros((2, 4, 4, 7), np.float32)
    for t in range(12):
        forecaster.observe(work["demand"][t])
        forecaster.predict(moments, quantiles)
        world.tick()
        shown = world.look().forecasts
        np.testing.assert_array_equal(shown.moments, moments)
        np.testing.assert_array_equal(shown.quantiles, quantiles)


def test_online_on_demand_that_is_met_says_what_the_table_says() -> None:
    dc, work = steady()
    table, online = world_of(work, dc, "table"), world_of(work, dc, "online")
    for _ in range(12):
        table.tick()
        online.tick()
        np.testing.assert_allclose(
            online.look().forecasts.moments[..., 0], table.look().forecasts.moments[..., 0], rtol=1e-4
        )


@pytest.mark.parametrize("source", ["table", "online"])
def test_the_future_does_not_show_in_a_forecast(source: str) -> None:
    dc, work = random_scenario(5)
    changed = dict(work) | {"demand": work["demand"].copy()}
    changed["demand"][6:] *= 1.7
    known, unknown = world_of(work, dc, source), world_of(changed, dc, source)
    for k in range(8):
        seen, expected = columns(unknown.look()), columns(known.look())
        if k == 7:  # the changed tick was played
            assert not np.array_equal(seen["forecasts.moments"], expected["forecasts.moments"])
            break
        for name, column in expected.items():
            np.testing.assert_array_equal(seen[name], column, err_msg=f"tick {k} {name}")
        known.tick()
        unknown.tick()


@pytest.mark.parametrize("source", ["table", "online"])
def test_demand_that_a_cap_hides_does_not_show_in_a_forecast(source: str) -> None:
    flavour = [4_000.0, 4_096.0, 100.0, 100.0, 0.0]
    dc = data_centre(6, [host()])
    work = workload(6, [App([4_000, 4_096, 100, 100])], [(0, flavour)])
    plain, hidden = world_of(work, dc, source), world_of(work, dc, source)
    plain.tick()
    hidden.tick()
    hidden.sim.perturb_hidden_demand(3.0)
    for _ in range(4):
        plain.tick()
        hidden.tick()
        seen, expected = columns(hidden.look()), columns(plain.look())
        for name, column in expected.items():
            np.testing.assert_array_equal(seen[name], column, err_msg=name)
    assert hidden.sim.totals()["unmet"][0] > 0


def test_online_learns_what_is_used_where_a_cap_binds_and_the_table_what_is_asked_for() -> None:
    dc = data_centre(40, [host()])
    work = workload(40, [App([4_000, 512, 0, 0])], [(0, [1_000.0, 1_024.0, 0.0, 0.0, 0.0])])
    mean = {}
    for source in ("table", "online"):
        world = world_of(work, dc, source)
        world.tick(40)
        mean[source] = world.look().forecasts.moments[0, 0, 0, 0]
    assert mean["table"] == pytest.approx(4_000, rel=1e-3)
    assert mean["online"] == pytest.approx(1_000, rel=1e-3)


@pytest.mark.parametrize("source", ["table", "online"])
def test_a_row_is_shared_by_traffic_and_memory_also_by_what_each_needs_anyway(source: str) -> None:
    dc, work = steady()
    world = world_of(work, dc, source)
    world.tick()
    world.must(kind=SHIFT, vm=0, value=3.0)
    shown = world.look().forecasts
    np.testing.assert_allclose(shown.share, [0.75, 0.25, 1, 0, 0, 0])
    np.testing.assert_allclose(
        shown.memory_share[:3], [0.125 + 0.75 * 0.75, 0.125 + 0.75 * 0.25, 1.0], rtol=1e-6
    )
    world.tick()
    state = world.look()
    wanted = work["demand"][1, 0]
    np.testing.assert_allclose(state.vms.demand[:2, 0], state.forecasts.share[:2] * wanted[0], rtol=1e-5)
    np.testing.assert_allclose(
        state.vms.demand[:2, 1], state.forecasts.memory_share[:2] * wanted[1], rtol=1e-5
    )


@pytest.mark.parametrize("source", ["table", "online"])
def test_a_shadow_has_its_primarys_row_times_its_share(source: str) -> None:
    dc, work = steady()
    world = world_of(work, dc, source)
    world.tick()
    primary = int(world.look().vms.host[0])
    shadow = world.must(kind=SHADOW, vm=0, host=1 - primary, value=0.25, value2=0.5)
    world.tick()
    state = world.look()
    shown = state.forecasts
    assert shown.series[shadow] == shown.series[0] == 0
    assert shown.share[shadow] == pytest.approx(0.5 * 0.5)  # replays half of what its primary carries
    assert shown.memory_share[shadow] == pytest.approx(0.25 * 0.25 / 2)
    wanted = work["demand"][1, 0]
    assert state.vms.usage[shadow, 0] == pytest.approx(shown.share[shadow] * wanted[0], rel=1e-5)
    assert state.vms.usage[shadow, 1] == pytest.approx(shown.memory_share[shadow] * wanted[1], rel=1e-5)
    world.must(kind=SHIFT, vm=shadow, value=2.0)
    assert world.look().forecasts.share[shadow] == pytest.approx(2 / 4)


def test_a_member_that_does_not_serve_yet_has_the_share_that_it_will_carry() -> None:
    dc, work = steady(arrival=[0, 3, 0])
    world = world_of(work, dc, "table")
    world.tick(3)
    assert world.look().vms.state[1] == 1  # pending
    np.testing.assert_allclose(world.look().forecasts.share[:2], [1.0, 0.5])
    micro = world.must(kind=MICROVM, app=0, host=0, allocation=[2_000, 512, 10, 10, 0], value2=900.0)
    shown = world.look().forecasts
    assert shown.series[micro] == 0
    assert shown.share[micro] == pytest.approx(0.5 / 1.5)


def test_a_copy_of_the_state_keeps_its_forecast_when_the_world_is_gone() -> None:
    dc, work = steady()
    for source in ("table", "online"):
        world = world_of(work, dc, source)
        world.tick(2)
        state = world.look()
        copy, view, expected = state.copy(), state.forecasts.moments, state.forecasts.moments.copy()
        world.tick(3)
        assert not np.array_equal(world.look().forecasts.moments, expected)
        del world, state
        np.testing.assert_array_equal(copy.forecasts.moments, expected)
        np.testing.assert_array_equal(view, expected)
        with pytest.raises(ValueError, match="read-only"):
            view[0, 0, 0, 0] = 1.0


def test_the_environments_of_a_batch_show_one_table() -> None:
    dc, work = steady()
    plant = core.Plant(dc, **work, forecast=table_of(work, quantiles=False))
    batch = core.Batch(plant, 3, seed=0, threads=2)
    batch.start_at(2, 4)
    batch.advance(2)
    states = [core.ClusterState() for _ in range(3)]
    for i, state in enumerate(states):
        batch.env(i).prepare(state)
        batch.env(i).observe(state)
    first, second, later = (state.forecasts.moments for state in states)
    assert np.shares_memory(first, second)
    alone = world_of(work, dc, "table")
    alone.tick(6)
    np.testing.assert_array_equal(later, alone.look().forecasts.moments)
    assert states[0].forecasts.quantiles.size == 0


def test_a_batch_with_engines_inside_does_not_depend_on_its_threads() -> None:
    dc, work = random_scenario(7, failures=False)
    shown = []
    for threads in (1, 2):
        batch = core.Batch(core.Plant(dc, **work, forecast=ONLINE), 3, seed=5, threads=threads)
        batch.advance(9)
        state = core.ClusterState()
        batch.env(2).prepare(state)
        batch.env(2).observe(state)
        shown.append(columns(state))
    for name, column in shown[0].items():
        np.testing.assert_array_equal(shown[1][name], column, err_msg=name)


def test_reset_forgets_what_was_learnt() -> None:
    dc, work = steady()
    world = world_of(work, dc, "online")
    world.tick(2)
    first = columns(world.look())
    world.tick(5)
    world.sim.reset(1)
    assert world.look().forecasts.moments.size == 0
    world.tick(2)
    for name, column in columns(world.look()).items():
        np.testing.assert_array_equal(column, first[name], err_msg=name)


def test_an_episode_that_starts_within_the_trace_finds_the_forecasts_of_the_record_before() -> None:
    dc, work = steady()
    played, started = world_of(work, dc, "table"), world_of(work, dc, "table")
    played.tick(5)
    started.sim.reset(1, 5)
    np.testing.assert_array_equal(started.look().forecasts.moments, played.look().forecasts.moments)


@pytest.mark.parametrize("source", ["table", "online"])
@pytest.mark.parametrize("seed", range(3))
def test_forecasts_are_finite_ordered_and_complete_whatever_happens(source: str, seed: int) -> None:
    import random  # noqa: PLC0415

    dice = random.Random(seed)
    dc, work = random_scenario(seed)
    world = world_of(work, dc, source)
    for _ in range(16):
        state = world.look()
        shown = state.forecasts
        present = state.vms.state != 0
        if shown.moments.size:
            assert ((shown.series >= 0) == present).all()
        assert np.isfinite(shown.moments).all()
        assert (shown.moments >= 0).all()
        assert (np.diff(shown.quantiles, axis=-1) >= 0).all()
        assert ((shown.share >= 0) & (shown.share <= 1)).all()
        assert not shown.share[~present].any()
        for _ in range(4):
            world.do(**random_action(dice))
        world.tick()


def test_who_takes_over_a_row_does_not_inherit_its_past() -> None:
    forecaster = core.DemandForecaster(ONLINE, 3)
    out = np.zeros((4, 3, 4, 2), np.float32)
    forecaster.own(np.array([0, 1, -1], np.int32))
    for _ in range(30):
        forecaster.observe(np.array([[100, 10, 1, 1], [700, 10, 1, 1], [np.nan] * 4], np.float32))
    forecaster.own(np.array([0, 5, -1], np.int32))
    forecaster.predict(out)
    assert out[0, 0, 0, 0] == pytest.approx(100, rel=1e-3)
    np.testing.assert_array_equal(out[:, 1], out[:, 2])  # of both nothing is known but the others
    assert out[0, 1, 0, 0] == pytest.approx(100, rel=1e-3)
    forecaster.observe(np.array([[100, 10, 1, 1], [40, 10, 1, 1], [np.nan] * 4], np.float32))
    forecaster.predict(out)
    assert out[0, 1, 0, 0] < 90


def test_a_workload_vm_is_told_from_its_successor_in_the_same_series() -> None:
    load = tiny_world.workload([[300.0] * 10 + [0.0] * 50, 200.0], arrival=[0, 0], departure=[10, 60])
    owner = row_owners(load, 20)
    assert owner[:10, 0].tolist() == [0] * 10
    assert owner[10:, 0].tolist() == [-1] * 11
    assert owner[:, 1].tolist() == [1] * 21


def test_moments_are_those_of_the_straight_line_through_the_quantiles() -> None:
    rng = np.random.default_rng(0)
    quantiles = np.sort(rng.gamma(2, 500, (20, 7)).astype(np.float32), axis=1)
    level = np.array(LEVELS)
    u = (np.arange(200_000) + 0.5) / 200_000
    for row, (mean, sigma) in zip(quantiles, core.moments_of(quantiles), strict=True):
        low = max(0.0, row[0] - (row[1] - row[0]) / (level[1] - level[0]) * level[0])
        high = row[6] + (row[6] - row[5]) / (level[6] - level[5]) * (1 - level[6])
        drawn = np.interp(u, [0, *level, 1], [low, *row, high])
        assert mean == pytest.approx(drawn.mean(), rel=1e-4)
        assert sigma == pytest.approx(drawn.std(), rel=1e-3)
    constant = core.moments_of(np.full((1, 7), 123_456.0, np.float32))
    np.testing.assert_array_equal(constant, [[123_456.0, 0.0]])


def test_a_table_of_another_length_is_rejected() -> None:
    dc, work = steady()
    _, longer = steady(13)
    with pytest.raises(ValueError, match="12 ticks and the end, found 2 series and 13 ticks"):
        Native(dc, work | {"forecast": table_of(longer)})


def test_horizons_follow_the_tick() -> None:
    assert EngineConfig.of_tick(300).horizons == (1, 3, 12, 288)
    assert EngineConfig.of_tick(60).horizons == (5, 15, 60, 1440)
    assert EngineConfig.of_tick(900).horizons == (1, 4, 96)
    assert EngineConfig.of_tick(30).horizons == (10, 30, 120)


def test_a_table_never_looks_ahead_and_is_made_once(tmp_path: Path) -> None:
    wave = (500 + 300 * np.sin(np.arange(60) / 3)).tolist()
    changed = [*wave[:30], *[900.0] * 30]
    made = [precompute(tiny_world.workload([w, 200.0]), 60, tmp_path) for w in (wave, changed)]
    one, two = (np.load(files.moments) for files in made)
    np.testing.assert_array_equal(one[:31], two[:31])
    assert not np.array_equal(one[31:], two[31:])
    assert not one[0].any()
    file = made[0].moments.stat().st_ino
    assert precompute(tiny_world.workload([wave, 200.0]), 60, tmp_path).moments.stat().st_ino == file
    assert len(list(tmp_path.iterdir())) == 4


def test_a_table_is_named_by_demand_lives_length_and_configuration_but_not_by_threads(tmp_path: Path) -> None:
    load = tiny_world.workload([300.0, 200.0])
    plain = table_files(load, 60, tmp_path, CONFIG)
    assert plain == table_files(load, 60, tmp_path, EngineConfig(threads=2))
    assert plain != table_files(load, 50, tmp_path, CONFIG)
    assert plain != table_files(load, 60, tmp_path, EngineConfig(learning_rate=1.0))
    assert plain != table_files(tiny_world.workload([300.0, 201.0]), 60, tmp_path, CONFIG)
    assert plain != table_files(tiny_world.workload([300.0, 200.0], arrival=[3, 0]), 60, tmp_path, CONFIG)


def test_a_distorted_table_is_the_engines_times_its_factors_and_another_file(tmp_path: Path) -> None:
    load = tiny_world.workload([300.0, 200.0])
    worse = Distortion(bias=-0.5, noise=0.3, seed=4)
    plain, bent = (precompute(load, 20, tmp_path, distortion=d) for d in (Distortion(seed=4), worse))
    assert plain == table_files(load, 20, tmp_path, CONFIG)
    assert bent not in (plain, table_files(load, 20, tmp_path, CONFIG, Distortion(-0.5, 0.3, seed=5)))
    factors = worse.factors(20, 2)
    np.testing.assert_array_equal(factors, worse.factors(30, 2)[:21])
    moments, rows = (np.load(path) for path in (plain.moments, plain.quantiles))
    assert moments[1:].any()
    np.testing.assert_array_equal(np.load(bent.moments), moments * factors[:, None, :, None, None])
    np.testing.assert_array_equal(np.load(bent.quantiles), rows * factors[:, :, None, None, None])


def test_a_distortion_out_of_bounds_is_refused() -> None:
    with pytest.raises(InputError, match="forecast bias: expected -1 to 10, got -2"):
        Distortion(bias=-2.0)
    with pytest.raises(InputError, match="forecast noise: expected 0 to 3, got nan"):
        Distortion(noise=float("nan"))


def test_amounts_beyond_half_precision_are_kept(tmp_path: Path) -> None:
    load = tiny_world.workload([140_000.0])
    table = np.load(precompute(load, 20, tmp_path).moments)
    assert table[20, 0, 0, 0, 0] == pytest.approx(140_000.0, rel=1e-5)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="expected a folder that can be written"):
        precompute(tiny_world.workload([300.0]), 60, tmp_path / "file" / "below")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_tables_of_the_cache_that_are_longest_not_used_make_room(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FORESHADE_CACHE", str(tmp_path))
    folder = cache_folder()
    loads = [tiny_world.workload([megahertz]) for megahertz in (300.0, 200.0, 100.0, 400.0)]
    first, second, third = (table_files(load, 60, folder).moments for load in loads[:3])
    for age, load in enumerate(loads[:3]):
        precompute(load, 60, folder)
        for path in folder.iterdir():
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 100.0 - age))
    precompute(loads[0], 60, folder)  # it is there, and used again
    size = sum(path.stat().st_size for path in folder.iterdir())
    monkeypatch.setenv("FORESHADE_CACHE_GIB", str(size * 1.1 / 1024**3))
    fourth = precompute(loads[3], 60, folder).moments
    assert [path.exists() for path in (first, second, third, fourth)] == [True, False, True, True]
    precompute(loads[1], 60, tmp_path / "elsewhere")  # a folder of one's own is left alone
    monkeypatch.setenv("FORESHADE_CACHE_GIB", "much")
    with pytest.raises(InputError, match="FORESHADE_CACHE_GIB: expected GiB above 0, found 'much'"):
        precompute(loads[1], 60, folder)


def test_a_table_that_another_process_deletes_before_it_is_open_is_made_again(tmp_path: Path) -> None:
    load, config = tiny_world.workload([300.0]), EngineConfig.of_tick(300)
    files = table_files(load, 60, tmp_path)
    gone: list[Path] = []

    def make(times: int, victim: Path) -> None:
        precompute(load, 60, tmp_path)
        if len(gone) < times:
            victim.unlink()
            gone.append(victim)

    assert isinstance(opened(files, config, lambda: make(1, files.moments)), core.ForecastTable)
    assert gone == [files.moments]
    files.moments.unlink()
    with pytest.raises(InputError, match="others delete it: raise FORESHADE_CACHE_GIB"):
        opened(files, config, lambda: make(99, files.quantiles))


def test_a_cache_without_room_for_one_table_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("FORESHADE_CACHE", str(tmp_path))
    load = tiny_world.workload([300.0])
    size = table_bytes(load, 60)
    monkeypatch.setenv("FORESHADE_CACHE_GIB", str(size * 1.1 / 1024**3))
    forecast_source("table", load, 60)
    assert not caplog.records
    monkeypatch.setenv("FORESHADE_CACHE_GIB", str(size * 0.9 / 1024**3))
    assert isinstance(forecast_source("table", load, 60), core.ForecastTable)
    assert not caplog.records  # it is there
    forecast_source("table", tiny_world.workload([200.0]), 60)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "FORESHADE_CACHE_GIB: expected at least" in caplog.text


def test_tables_that_crowd_each_other_out_are_said_before_they_are_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FORESHADE_CACHE", str(tmp_path))
    said: list[str] = []
    loads = {seed: Loaded(tiny_world.workload([100.0 + seed]), f"by hand {seed}", True) for seed in range(3)}
    size = table_bytes(tiny_world.workload([100.0]), 60)
    for room in (2.5, 3.5):
        monkeypatch.setenv("FORESHADE_CACHE_GIB", str(size * room / 1024**3))
        make_tables(tiny_world.scenario(2), loads, lambda _done, _total: None, said.append)
    assert [line.partition(" ")[2].partition(" tables")[0] for line in said if "take" in line] == ["the 3"]
    assert "FORESHADE_CACHE_GIB leaves them" in said[0]


def test_a_simulated_world_makes_its_table_and_shows_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FORESHADE_CACHE", str(tmp_path))
    load = tiny_world.workload([300.0, 200.0])
    world = SimulatedWorld(tiny_world.scenario(2), load, forecast="table")
    world.advance()
    shown = world.observe().forecasts
    np.testing.assert_allclose(shown.moments[0, :, 0, 0], [300, 200], rtol=1e-3)
    assert {path.suffix for path in (tmp_path / "forecasts").iterdir()} == {".npy"}
    assert isinstance(forecast_source("table", load, 60), core.ForecastTable)
    assert forecast_source("none", load, 60) is None


def test_a_vm_that_is_spawned_has_the_row_of_its_application() -> None:
    dc, work = steady()
    world = world_of(work, dc, "online")
    world.tick(2)
    spawned = world.must(kind=SPAWN, app=0, host=0, allocation=[4_000, 2_048, 100, 100, 0])
    world.tick()
    shown = world.look().forecasts
    assert shown.series[spawned] == 0
    assert shown.share[spawned] == pytest.approx(1 / 3)
