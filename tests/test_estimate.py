"""Means and their intervals."""

import math
from dataclasses import astuple

import numpy as np
import pytest

from foreshade.training.estimate import Estimate


def test_values_of_a_group_count_as_one():
    said = [1.0, 2.0, 4.0, 9.0]
    alone = Estimate.of(said)
    assert astuple(Estimate.clustered(said, range(4))) == pytest.approx(astuple(alone))
    thrice, groups = np.repeat(said, 3).tolist(), np.repeat(range(4), 3).tolist()
    clustered = Estimate.clustered(thrice, groups)
    assert (clustered.mean, clustered.half_width) == pytest.approx((alone.mean, alone.half_width))
    assert clustered.half_width > Estimate.of(thrice).half_width
    assert math.isnan(Estimate.clustered([1.0, 2.0], [7, 7]).half_width)


def test_what_strata_differ_by_is_no_chance():
    values, groups, strata = [1.0, 2.0, 3.0, 11.0, 12.0, 13.0], range(6), [0, 0, 0, 1, 1, 1]
    within = Estimate.clustered(values, groups, strata)
    # By hand: 3/2 (1 + 0 + 1) of each of the two, so sqrt(6) / 6 times t(4) = 2.7764
    assert (within.mean, within.half_width) == (7.0, pytest.approx(1.13347, abs=1e-4))
    plain = Estimate.clustered(values, groups)
    assert plain.half_width > 4.0 * within.half_width
    assert Estimate.clustered(values, [0, 1, 2, 3, 3, 3], strata) == Estimate.clustered(
        values, [0, 1, 2, 3, 3, 3]
    )


def test_far_values_do_not_move_a_trimmed_mean():
    values = [float(v) for v in range(1, 21)]
    far = [*values[:-1], 1e6]
    assert Estimate.trimmed(values, 0.05) == Estimate.trimmed(far, 0.05)
    assert Estimate.trimmed(values, 0.05).mean == 10.5
    assert Estimate.trimmed(values, 0.0) == Estimate.of(values)
    assert Estimate.trimmed(values[:1], 0.05).n == 1
    # By hand: of 2 to 19, drawn in to them, s = 5.7537; 5.7537 / (0.9 sqrt(20)) times t(17) = 2.1098
    assert Estimate.trimmed(values, 0.05).half_width == pytest.approx(3.0160, abs=1e-3)
