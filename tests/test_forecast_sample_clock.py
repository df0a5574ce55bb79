"""Samples of unequal clocks on one grid: what counts, what is counted and dropped."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshade.envs.errors import ForecastError
from foreshade.envs.forecast.sample_clock import SampleClock

NAN = np.nan


def clock(n_series=2, **more):
    return SampleClock(n_series, 1000, step_s=100, lag_s=20, **more)


def test_samples_land_in_the_interval_they_were_measured_in():
    grid = clock()
    grid.add([0, 1, 0], [1000, 1099.9, 1100], [1, 2, 3])
    np.testing.assert_array_equal(grid.close(1120), [[1], [2]])
    np.testing.assert_array_equal(grid.close(1219), np.zeros((2, 0)))
    np.testing.assert_array_equal(grid.close(1220), [[3], [NAN]])
    assert not any(grid.counts.values())


def test_of_one_interval_the_newest_sample_stays_and_of_equal_times_the_last_that_came():
    grid = clock(3)
    grid.add([0, 0, 1, 1], [1050, 1040, 1030, 1030], [5, 4, 7, 8])
    grid.add([0, 1, 2], [1045, 1030, 1000], [6, 9, 1])
    np.testing.assert_array_equal(grid.close(1120), [[5], [9], [1]])
    assert grid.counts["duplicate"] == 4


def test_out_of_order_is_taken_while_open_and_late_is_dropped_and_counted():
    grid = clock(1)
    grid.add([0], [1101], [2])
    grid.add([0], [1001], [1])  # the interval before has ended, and waits for its lag
    np.testing.assert_array_equal(grid.close(1120), [[1]])
    grid.add([0], [1099], [9])
    assert grid.counts["late"] == 1
    np.testing.assert_array_equal(grid.close(1220), [[2]])
    assert grid.next_tick == 2


def test_a_pause_is_a_gap_and_the_far_future_is_refused():
    grid = clock(1)
    grid.add([0, 0], [1000, 9000], [1, 2])
    assert grid.counts["early"] == 1
    np.testing.assert_array_equal(grid.close(1520), [[1, NAN, NAN, NAN, NAN]])
    grid.add([0], [1500], [3])
    np.testing.assert_array_equal(grid.close(1620), [[3]])


def test_negative_load_and_what_is_no_number_are_missing():
    grid = clock(1)
    grid.add([0, 0, 0], [1000, 1001, 1002], [-0.5, NAN, np.inf])
    np.testing.assert_array_equal(grid.close(1120), [[NAN]])
    assert (grid.counts["negative"], grid.counts["not_finite"]) == (1, 2)


def test_what_does_not_fit_is_refused_and_nothing_taken():
    grid = clock(1)
    with pytest.raises(ForecastError, match="series below 1, got 0 to 1"):
        grid.add([0, 1], [1000, 1000], [1, 1])
    with pytest.raises(ForecastError, match="as many series, times and values"):
        grid.add([0], [1000, 1001], [1])
    assert np.isnan(grid.close(1120)).all()
    with pytest.raises(ForecastError, match="step_s above 0"):
        SampleClock(1, 0, step_s=0)


def test_series_come_and_go_with_what_they_hold():
    grid = clock(2)
    grid.add([0, 1], [1000, 1000], [1, 2])
    grid.add_series(1)
    grid.remove_series([0])
    np.testing.assert_array_equal(grid.close(1120), [[2], [NAN]])
    with pytest.raises(ForecastError, match="to remove"):
        grid.remove_series([2])


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(950, 1600), st.integers(0, 9)), max_size=40), st.data()
)
def test_the_order_of_arrival_changes_nothing_while_the_interval_is_open(samples, data):
    unique = list({(s, t): (s, t, v) for s, t, v in samples}.values())
    shuffled = data.draw(st.permutations(unique))
    grids = []
    for order in (unique, shuffled):
        grid = clock(3, ahead=9)
        for s, t, v in order:
            grid.add([s], [t], [v])
        grids.append((grid.close(1720), dict(grid.counts)))
    np.testing.assert_array_equal(grids[0][0], grids[1][0])
    assert grids[0][1] == grids[1][1]
