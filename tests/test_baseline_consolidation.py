"""Overload rules on series whose answers are known, and what consolidation does about them."""

from __future__ import annotations

import numpy as np
import pytest

from foreshade.agents.baselines.overload import (
    Detector,
    InterquartileRange,
    LocalRegression,
    MedianAbsoluteDeviation,
    StaticThreshold,
)
from foreshade.agents.baselines.registry import make_agent
from tests.tiny_world import Stage, workload

RISE = 0.5 + 0.04 * np.arange(10.0)  # a straight line: 0.50 … 0.86, next 0.90
SPIKE = np.where(np.arange(10) == 6, 2.0, 0.5)  # one outlier in a flat line


def assess(detector: Detector, series: np.ndarray) -> tuple[float, float]:
    level, limit = detector.assess(series[:, None])
    return float(level[0]), float(limit[0])


def test_static_threshold_compares_the_last_sample() -> None:
    assert assess(StaticThreshold(0.8), RISE) == pytest.approx((0.86, 0.8))


def test_interquartile_range_lowers_the_limit_where_load_varies() -> None:
    series = np.arange(1.0, 10.0) / 10.0  # quartiles 0.3 and 0.7
    assert assess(InterquartileRange(1.5), series) == pytest.approx((0.9, 1.0 - 1.5 * 0.4))


def test_median_absolute_deviation_is_untouched_by_one_outlier() -> None:
    series = np.array([0.1, 0.2, 0.3, 0.4, 9.0])  # median 0.3, deviations 0.2, 0.1, 0, 0.1, 8.7
    assert assess(MedianAbsoluteDeviation(2.5), series) == pytest.approx((9.0, 1.0 - 2.5 * 0.1))


@pytest.mark.parametrize("robust", [False, True])
def test_local_regression_continues_a_straight_line(robust: bool) -> None:
    assert assess(LocalRegression(1.2, robust=robust), RISE) == pytest.approx((0.90, 1 / 1.2))


def test_local_regression_weighs_samples_by_tricube() -> None:
    series = np.array([0.9, 0.1, 0.4, 0.3, 0.8, 0.2, 0.5, 0.7, 0.6, 0.65])
    x = np.arange(10.0)
    weights = (1.0 - ((9.0 - x) / 9.0) ** 3) ** 3
    slope, intercept = np.polyfit(x, series, 1, w=np.sqrt(weights))
    assert assess(LocalRegression(1.0), series)[0] == pytest.approx(intercept + slope * 10.0)


def test_robust_regression_gives_less_weight_to_an_outlier() -> None:
    plain = assess(LocalRegression(1.2), SPIKE)[0]
    robust = assess(LocalRegression(1.2, robust=True), SPIKE)[0]
    assert abs(robust - 0.5) < abs(plain - 0.5) / 3.0, (plain, robust)


def test_overloaded_host_gives_away_its_smallest_vm_to_the_host_where_power_grows_least() -> None:
    # Host 0: 8,500 of 9,800 MHz; without VM 1 (least memory in use) it is at 0.66. Host 2 is empty: it would
    # cost its idle power, so VM 1 goes to host 1.
    load = workload([4_000, 2_000, 2_500, 3_000], memory=[4_000, 1_000, 3_000, 2_000])
    stage = Stage(make_agent("thr-mmt-0.8"), 3, load, on=[0, 0, 0, 1])
    assert stage.ask() == [("migrate", 1, 1), ("off", -1, 2)]


def test_relief_takes_vms_until_the_host_is_no_longer_overloaded() -> None:
    load = workload([3_800, 600, 600, 3_800, 2_000], memory=[4_000, 500, 1_000, 5_000, 2_000])
    stage = Stage(make_agent("thr-mmt-0.8"), 2, load, on=[0, 0, 0, 0, 1])  # 8,880 MHz, then 8,260, 7,640
    assert stage.ask() == [("migrate", 1, 1), ("migrate", 2, 1)]


def test_no_target_is_loaded_beyond_the_limit_and_a_sleeping_host_is_woken() -> None:
    load = workload([4_500, 4_500, 7_000], memory=[2_000, 1_000, 1_000])
    stage = Stage(make_agent("thr-mmt-0.8"), 3, load, on=[0, 0, 1], off=[2])
    assert stage.ask() == [("on", -1, 2)]
    assert ("migrate", 1, 2) in stage.wait(3)


def test_memory_overload_counts_where_memory_is_promised_twice() -> None:
    load = workload([100, 100, 3_000], memory=[30_000, 31_000, 1_000], allocation=[32_000, 32_000, 2_000])
    overcommit = {"cpu": 4, "memory": 1.1}
    stage = Stage(make_agent("thr-mmt-0.8"), 2, load, on=[0, 0, 1], overcommit=overcommit)
    assert stage.ask()[0] == ("migrate", 0, 1)


def test_least_utilised_host_is_emptied_and_then_switched_off() -> None:
    load = workload([3_000, 500, 400], memory=500)
    stage = Stage(make_agent("thr-mmt-0.8"), 2, load, on=[0, 1, 1])
    assert stage.ask() == [("migrate", 1, 0), ("migrate", 2, 0)]
    assert stage.ask() == [("off", -1, 1)]


def test_host_is_not_drained_by_half() -> None:
    load = workload([3_000, 500, 400], allocation=[40_000, 20_000, 20_000])  # only one of the two would fit
    assert Stage(make_agent("thr-mmt-0.8"), 2, load, on=[0, 1, 1]).wait(4) == []


def test_without_migration_nothing_is_moved() -> None:
    load = workload([3_000, 500, 400], memory=500)
    stage = Stage(make_agent("thr-mmt-0.8"), 2, load, on=[0, 1, 1], actions=("power",))
    assert stage.wait(4) == []


def test_regression_acts_before_a_rising_load_arrives() -> None:
    rise = [3_000 + 250 * tick for tick in range(20)]
    load = workload([rise, 500, 5_000], memory=[4_000, 1_000, 2_000])
    early = Stage(make_agent("lr-mmt-1.2"), 2, load, on=[0, 0, 1])
    late = Stage(make_agent("thr-mmt-0.8333333"), 2, load, on=[0, 0, 1])
    when = {}
    for name, stage in (("lr", early), ("thr", late)):
        when[name] = next(tick for tick in range(40) if ("migrate", 1, 1) in stage.ask())
    assert when["lr"] < when["thr"]
