"""What is done with local models that fail, explode or have nothing to fit."""

import numpy as np
import pytest

from foreshade.envs.errors import InputError, MissingExtraError
from foreshade.envs.forecast.classical.bounds import bounded, limits, without_gaps
from foreshade.envs.forecast.classical.local_model import LocalModel


class Scripted:
    """A library that gives, or throws, what it is told; it keeps what it was given."""

    name = "scripted"
    shortest = 5
    longest = 50

    def __init__(self, answer):
        self.answer = answer
        self.calls = []

    def quantiles(self, samples, n_steps, regressors, start_tick):
        self.calls.append((samples, regressors, start_tick))
        if isinstance(self.answer, Exception):
            raise self.answer
        return np.tile(self.answer, (n_steps, 1)).astype(float)


RAMP = np.arange(10, 30, dtype=np.float32)[None]  # range 19: bounds 0.5 and 38.5


def test_an_exploding_interval_is_held_within_half_the_range_seen():
    model = LocalModel(Scripted([-1e9, 5, 10, 20, 30, 35, 1e9]))
    answer = model.predict(RAMP, (1, 12))
    assert answer[0, 0].tolist() == [0.5, 5, 10, 20, 30, 35, 38.5]
    assert model.report.cut == 1
    assert model.report.failed == 0


def test_bounds_do_not_go_below_zero_unless_the_series_did():
    assert limits(np.array([1.0, 9.0])) == (0.0, 13.0)
    assert limits(np.array([-1.0, 9.0])) == (-6.0, 14.0)
    held, cut = bounded(np.array([[4.0] * 7]), np.array([4.0, 4.0]))
    assert held.tolist() == [[4.0] * 7]
    assert not cut


@pytest.mark.parametrize("answer", [ValueError("singular"), [np.nan] * 7, [1.0] * 6])
def test_a_library_that_fails_gives_the_last_day_and_is_counted(answer):
    model = LocalModel(Scripted(answer))
    result = model.predict(np.concatenate([RAMP, RAMP + 1]), (1,))
    assert model.report.failed == 2
    assert result[0, 0, 3] == pytest.approx(np.median(RAMP))
    assert (np.diff(result[0, 0]) > 0).all()


def test_a_missing_library_is_no_failure_of_a_series():
    with pytest.raises(MissingExtraError):
        LocalModel(Scripted(MissingExtraError("install it"))).predict(RAMP, (1,))


def test_constant_short_and_empty_series_never_reach_the_library():
    library = Scripted([9.0] * 7)
    model = LocalModel(library)
    context = np.full((3, 20), np.nan, np.float32)
    context[0] = 4
    context[1, -3:] = [1, 2, 3]
    answer = model.predict(context, (1, 3))
    assert library.calls == []
    assert answer[0].tolist() == [[4.0] * 7] * 2
    assert answer[1, 0, 3] == 2
    assert (answer[2] == 0).all()
    assert model.report.too_short == 1


def test_a_library_is_given_the_newest_samples_without_gaps_and_its_clock():
    library = Scripted([50.0] * 7)
    context = np.arange(80, dtype=np.float32)[None].copy()
    context[0, 40:45] = np.nan
    context[0, -1] = np.nan
    regressors = np.arange(83, dtype=np.float32)[:, None]
    LocalModel(library).predict(context, (1, 3), start_tick=7, regressors=regressors)
    samples, given, start = library.calls[0]
    assert samples.tolist() == [*range(30, 79), 78]
    assert given[:, 0].tolist() == list(range(30, 83))
    assert start == 37


def test_gaps_are_bridged_by_lines():
    assert without_gaps(np.array([np.nan, 2, np.nan, 4, np.nan])).tolist() == [2, 2, 3, 4, 4]


def test_a_horizon_below_one_is_refused():
    with pytest.raises(InputError, match="horizon: expected 1 or more, got 0"):
        LocalModel(Scripted([1.0] * 7)).predict(RAMP, (0,))
