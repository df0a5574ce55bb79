"""The detectors beside a world: labels, p-values and widening in the state, slot by slot."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from foreshade import _core as core
from foreshade._core import AnomalyLabel
from foreshade.envs.anomaly.watch import AnomalyWatch, WatchConfig
from foreshade.envs.errors import InputError
from foreshade.envs.model.state import HostState, VmState
from foreshade.envs.packers import WindowKnobs
from foreshade.envs.run_metrics import RunMetrics
from foreshade.envs.simulated import SimulatedWorld
from tests.tiny_world import scenario, workload

TICK_S = 300.0
ON, RUNNING = HostState.ON, VmState.RUNNING


class Shown:
    """A cluster of two hosts and three VMs whose telemetry the test writes; fakes ``ClusterState``."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.time_s = 0.0
        self.vms = SimpleNamespace(
            state=np.full(3, RUNNING, np.uint8),
            birth=np.zeros(3, np.uint32),
            age_s=np.zeros(3, np.float32),
            flavour=np.tile(np.array([4000, 8192, 100, 1000, 0], np.float32), (3, 1)),
            usage=np.zeros((3, 5), np.float32),
            demand=np.zeros((3, 5), np.float32),
        )
        self.hosts = SimpleNamespace(
            state=np.full(2, ON, np.uint8),
            n_vms=np.array([2, 1], np.int32),
            age_s=np.zeros(2, np.float32),
            usage=np.zeros((2, 5), np.float32),
            allocated=np.tile(np.array([8000, 16384, 200, 2000, 0], np.float32), (2, 1)),
            contention=np.zeros(2, np.float32),
        )

    def show_anomalies(self, vm: Any, vm_p: Any, vm_widen: Any, host: Any) -> None:
        """What the watch writes."""
        self.vms.anomaly, self.vms.anomaly_p, self.vms.widen = vm, vm_p, vm_widen
        self.hosts.anomaly = host

    def tick(self, watch: AnomalyWatch, n: int = 1, cpu: dict[int, float] | None = None) -> Any:
        """Let ticks pass with ordinary load, VMs of ``cpu`` wanting that many MHz more."""
        for _ in range(n):
            self.time_s += TICK_S
            level = np.array([800, 2048, 20, 200, 0], np.float32)
            self.vms.usage = (level * self.rng.normal(1, 0.05, (3, 5))).astype(np.float32)
            for vm, more in (cpu or {}).items():
                self.vms.usage[vm, 0] += more
            self.vms.demand = self.vms.usage.copy()
            self.hosts.usage = np.stack([self.vms.usage[:2].sum(axis=0), self.vms.usage[2]])
            alarms = watch.update(self)  # type: ignore[arg-type]
        return alarms


def watched(**config: Any) -> tuple[Shown, AnomalyWatch]:
    """A cluster after 400 ordinary ticks, and its watch."""
    shown, watch = Shown(), AnomalyWatch(3, 2, TICK_S, WatchConfig(**config))
    shown.tick(watch, 400)
    assert shown.vms.anomaly.tolist() == [0, 0, 0]
    return shown, watch


def test_a_surge_is_labelled_and_widens_at_its_first_sample() -> None:
    shown, watch = watched()
    alarms = shown.tick(watch, cpu={1: 2000.0})
    assert shown.vms.anomaly.tolist() == [AnomalyLabel.NORMAL, AnomalyLabel.SURGE, AnomalyLabel.NORMAL]
    assert alarms.vms.tolist() == [False, True, False]
    assert shown.vms.anomaly_p[1] < 1e-3 < shown.vms.anomaly_p[0]
    assert shown.vms.widen[[0, 2]].tolist() == [1.0, 1.0]
    assert (
        3.0 < shown.vms.widen[1] <= 8.0
    )  # fifty times the usual 40 MHz, in the view where it stands out most
    assert shown.vms.anomaly.dtype == np.uint8
    assert shown.vms.widen.dtype == np.float32


def test_a_drop_is_labelled_and_widens_nothing() -> None:
    shown, watch = watched()
    shown.tick(watch, cpu={0: -700.0})
    assert shown.vms.anomaly[0] == AnomalyLabel.DROP
    assert shown.vms.widen[0] == 1.0


def test_memory_is_watched_beside_cpu() -> None:
    shown, watch = watched()
    shown.time_s += TICK_S
    shown.vms.usage[2, 1] = shown.vms.demand[2, 1] = 8000.0
    watch.update(shown)  # type: ignore[arg-type]
    assert shown.vms.anomaly.tolist() == [0, 0, AnomalyLabel.SURGE]
    assert shown.vms.widen[2] > 1.0


def test_a_shift_becomes_normal_only_after_it_has_lasted_the_configured_time() -> None:
    shown, watch = watched(accept_s=100 * TICK_S)
    for k in range(100):
        shown.tick(watch, cpu={1: 2000.0})
        assert shown.vms.anomaly[1] == AnomalyLabel.SURGE, k
        assert shown.vms.widen[1] > 1.0, k
    labels = []
    for _ in range(100):
        shown.tick(watch, cpu={1: 2000.0})
        labels.append(int(shown.vms.anomaly[1]))
    assert np.mean(np.array(labels[30:]) == AnomalyLabel.NORMAL) > 0.95
    assert shown.vms.widen[1] == 1.0


@pytest.mark.parametrize("absent_between", [True, False])
def test_a_slot_that_another_vm_takes_begins_anew(absent_between: bool) -> None:
    shown, watch = watched(joint_vms=True)
    if absent_between:
        shown.vms.state[1] = VmState.ABSENT
        shown.tick(watch)
        shown.vms.state[1] = RUNNING
    else:
        shown.vms.birth[1] = 7
    for _ in range(90):  # far above what its predecessor used
        shown.tick(watch, cpu={1: 2000.0})
        assert shown.vms.anomaly[1] == AnomalyLabel.NORMAL
        assert (shown.vms.anomaly_p[1], shown.vms.widen[1]) == (1.0, 1.0)


def test_a_vm_that_does_not_run_is_normal_and_keeps_its_past() -> None:
    shown, watch = watched()
    shown.vms.state[1] = VmState.PAUSED
    for _ in range(20):
        shown.tick(watch, cpu={1: -700.0})
        assert shown.vms.anomaly[1] == AnomalyLabel.NORMAL
    shown.vms.state[1] = RUNNING
    shown.tick(watch)
    assert shown.vms.anomaly[1] == AnomalyLabel.NORMAL
    shown.tick(watch, cpu={1: 2000.0})
    assert shown.vms.anomaly[1] == AnomalyLabel.SURGE


def test_a_running_vm_without_fresh_samples_is_missing_after_three() -> None:
    shown, watch = watched()
    shown.vms.age_s[0] = 2 * TICK_S
    shown.tick(watch, 2)
    assert shown.vms.anomaly[0] == AnomalyLabel.NORMAL
    shown.tick(watch)
    assert shown.vms.anomaly.tolist() == [AnomalyLabel.MISSING, 0, 0]
    assert shown.vms.widen[0] == 1.0


def test_a_repeated_look_changes_nothing_and_raises_no_second_alarm() -> None:
    shown, watch = watched()
    shown.tick(watch, cpu={1: 2000.0})
    p = shown.vms.anomaly_p.copy()
    again = watch.update(shown)  # type: ignore[arg-type]
    assert not again.vms.any()
    np.testing.assert_array_equal(shown.vms.anomaly_p, p)
    assert shown.vms.anomaly[1] == AnomalyLabel.SURGE


def test_a_host_is_judged_by_all_its_metrics_and_only_while_it_holds_vms() -> None:
    shown, watch = watched()
    shown.hosts.contention[1] = 0.9
    alarms = shown.tick(watch, 3)
    assert shown.hosts.anomaly.tolist() == [AnomalyLabel.NORMAL, AnomalyLabel.SURGE]
    shown.hosts.state[1] = HostState.FAILED
    alarms = shown.tick(watch)
    assert shown.hosts.anomaly.tolist() == [0, 0]
    assert not alarms.hosts.any()


def test_an_empty_host_is_no_drop() -> None:
    shown, watch = watched()
    shown.hosts.n_vms[1] = 0
    shown.hosts.allocated[1] = 0.0
    for _ in range(30):
        shown.tick(watch)
        assert shown.hosts.anomaly[1] == AnomalyLabel.NORMAL


def test_ticks_of_another_length_keep_the_times() -> None:
    config = WatchConfig()
    minute = config.of_series(60.0)
    assert minute.episode.accept_steps == 1440
    assert minute.slow_steps == 5000
    assert config.of_machines(TICK_S).episode.clear_steps == 12


def test_another_size_and_impossible_times_are_one_line() -> None:
    with pytest.raises(InputError, match="expected 2 VMs and 2 hosts, got 3 and 2"):
        AnomalyWatch(2, 2, TICK_S).update(Shown())  # type: ignore[arg-type]
    with pytest.raises(InputError, match="accept_s: expected above 0, got 0"):
        WatchConfig(accept_s=0.0)
    with pytest.raises(InputError, match="tick_s: expected above 0"):
        AnomalyWatch(1, 1, 0.0)


def surging(*, anomalies: bool) -> SimulatedWorld:
    """A simulated VM whose load trebles in the last five of 300 ticks, beside a calm one."""
    short = workload([1_000.0, 500.0])
    demand = np.repeat(short.demand[:1], 300, axis=0)
    demand[:, :, 0] *= np.random.default_rng(3).normal(1, 0.05, (300, 2))
    demand[-5:, 0, 0] *= 3
    stays = replace(short.vms, departure_tick=np.full(2, 300, np.int32))
    long = replace(short, demand=demand, gpu=np.zeros((300, 0), np.float32), vms=stays)
    return SimulatedWorld(scenario(1), long, anomalies=anomalies)


def test_a_simulated_world_shows_anomalies_only_where_they_are_switched_on() -> None:
    seen: dict[bool, tuple[int, float, float, float, RunMetrics]] = {}
    for on in (True, False):
        world = surging(anomalies=on)
        while not world.done:
            world.observe()
            world.advance()
        vms = world.observe().vms
        seen[on] = (vms.anomaly[0], vms.widen[0], vms.anomaly_p[0], vms.anomaly[1], world.metrics())
    assert seen[True][0] == AnomalyLabel.SURGE
    assert seen[True][1] > 1.0
    assert seen[True][3] == AnomalyLabel.NORMAL
    assert seen[False][:4] == (AnomalyLabel.NORMAL, 1.0, 1.0, AnomalyLabel.NORMAL)
    assert seen[True][4].counts["vm_alarms"] >= 1
    assert "vm_alarms" not in seen[False][4].counts
    assert seen[True][4].cost_usd == seen[False][4].cost_usd


def test_a_world_that_is_reset_has_seen_nothing() -> None:
    world = surging(anomalies=True)
    while not world.done:
        world.observe()
        world.advance()
    world.observe()
    world.reset(0)
    assert (world.observe().vms.anomaly == AnomalyLabel.NORMAL).all()
    assert world.metrics().counts["vm_alarms"] == 0


def test_the_state_takes_no_verdict_out_of_range() -> None:
    state = SimulatedWorld(scenario(1), workload([1_000.0])).observe()
    n = len(state.vms.state)
    label, p, widen = np.zeros(n, np.uint8), np.ones(n, np.float32), np.ones(n, np.float32)
    host = np.zeros(1, np.uint8)
    bad = widen.copy()
    bad[0] = 0.5
    with pytest.raises(ValueError, match=r"vms\.widen 0: expected a finite factor of at least 1, got 0.5"):
        state.show_anomalies(np.full(n, 2, np.uint8), p, bad, host)
    assert not state.vms.anomaly.any()
    with pytest.raises(ValueError, match=r"vms\.anomaly 0: expected an anomaly label, got 9"):
        state.show_anomalies(np.full(n, 9, np.uint8), p, widen, host)
    with pytest.raises(ValueError, match=r"hosts\.anomaly: expected 1 values, got 2"):
        state.show_anomalies(label, p, widen, np.zeros(2, np.uint8))


def test_widening_multiplies_the_sigma_of_the_demand_window() -> None:
    world = SimulatedWorld(scenario(1), workload([1_000.0, 500.0]))
    world.observe()
    world.advance()
    state = world.observe()
    n = len(state.vms.state)
    plain, widened = (WindowKnobs().window(n, TICK_S) for _ in range(2))
    plain.update(state)
    expected = plain.variance.copy()
    widen = np.ones(n, np.float32)
    widen[1] = 3.0
    state.show_anomalies(np.zeros(n, np.uint8), np.ones(n, np.float32), widen, np.zeros(1, np.uint8))
    widened.update(state)
    assert expected[1, 0] > 0
    np.testing.assert_allclose(widened.variance, expected * (widen**2)[:, None], rtol=1e-6)
    np.testing.assert_array_equal(widened.mean, plain.mean)


def test_a_copy_keeps_the_verdicts() -> None:
    state = SimulatedWorld(scenario(1), workload([1_000.0])).observe()
    n = len(state.vms.state)
    state.show_anomalies(
        np.full(n, 1, np.uint8),
        np.full(n, 0.25, np.float32),
        np.full(n, 2.0, np.float32),
        np.ones(1, np.uint8),
    )
    copy: core.ClusterState = state.copy()
    assert (copy.vms.anomaly == 1).all()
    assert (copy.vms.anomaly_p == 0.25).all()
    assert (copy.vms.widen == 2.0).all()
    assert (copy.hosts.anomaly == 1).all()
