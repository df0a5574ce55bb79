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
