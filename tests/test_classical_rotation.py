"""Slow models take turns within a budget."""

import numpy as np
import pytest

from foreshade.envs.errors import InputError
from foreshade.envs.forecast.classical.rotation import Rotation, RotationConfig

CONFIG = RotationConfig(budget_cpu_s=3.5, first_cost_s=1.0, n_steps=10)


class Bench:
    """A clock that only fits move, and paths that say which series and step they are."""

    def __init__(self, cost_s=1.0):
        self.now = 0.0
        self.cost_s = cost_s

    def clock(self):
        return self.now

    def path(self, series):
        self.now += self.cost_s
        return np.tile((100 * series + np.arange(1, 11))[:, None], (1, 7)).astype(np.float32)


def test_no_fit_is_started_that_would_leave_the_budget():
    bench = Bench()
    rotation = Rotation(20, config=CONFIG, cpu_clock=bench.clock)
    report = rotation.turn(0, np.ones(20), bench.path)
    assert report.fitted == (0, 1, 2)
    assert report.cpu_s == 3
    assert report.oldest_ticks == -1


def test_the_cost_is_learned():
    bench = Bench(cost_s=0.1)
    rotation = Rotation(60, config=CONFIG, cpu_clock=bench.clock)
    assert len(rotation.turn(0, np.ones(60), bench.path).fitted) in {34, 35}
    assert rotation.expected_cost_s == pytest.approx(0.1)
    slow = Bench(cost_s=9.0)
    assert len(Rotation(5, config=CONFIG, cpu_clock=slow.clock).turn(0, np.ones(5), slow.path).fitted) == 1


def test_aggregates_come_first_and_then_what_matters_most():
    rotation = Rotation(5, aggregates=[4], config=CONFIG, cpu_clock=Bench().clock)
    assert rotation.order(0, np.array([1.0, 9, 3, 2, 0])).tolist() == [4, 1, 2, 3, 0]


def test_every_series_has_its_turn_even_a_worthless_one():
    bench = Bench()
    rotation = Rotation(12, config=CONFIG, cpu_clock=bench.clock)
    value = np.full(12, 10.0)
    value[7] = 0
    seen = set()
    for tick in range(100):
        report = rotation.turn(tick, value, bench.path)
        assert report.cpu_s <= CONFIG.budget_cpu_s
        seen |= set(report.fitted)
    assert seen == set(range(12))
    times = np.full(12, -1)
    for tick in range(100, 200):
        for series in rotation.turn(tick, value, bench.path).fitted:
            times[series] = tick
    assert (times[:7] > 190).all()
    assert times[7] > 100  # the floor brings it round again


def test_a_path_is_read_further_along_as_it_ages_and_not_past_its_end():
    bench = Bench()
    rotation = Rotation(6, config=CONFIG, cpu_clock=bench.clock)
    rotation.turn(5, np.ones(6), bench.path)
    now, later = rotation.read(5, (1, 10)), rotation.read(8, (1, 10))
    assert now[2, :, 0].tolist() == [201, 210]
    assert later[2, 0, 0] == 204
    assert np.isnan(later[2, 1]).all()
    assert np.isnan(now[3]).all()


def test_a_path_of_the_wrong_length_and_a_bad_value_are_refused():
    rotation = Rotation(2, config=CONFIG)
    with pytest.raises(InputError, match=r"path of series 0: expected \(10, 7\), got \(9, 7\)"):
        rotation.turn(0, np.ones(2), lambda series: np.zeros((9, 7), np.float32))
    with pytest.raises(InputError, match="value: expected 2 numbers"):
        rotation.order(0, np.array([1.0, -1]))
    with pytest.raises(InputError, match="expected aggregates within 2 series"):
        Rotation(2, aggregates=[2])
