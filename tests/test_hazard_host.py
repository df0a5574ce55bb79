"""Health signals and the hazard of a host."""

import math

import numpy as np
import pytest

from foreshade.envs.errors import ForeshadeError, InputError
from foreshade.envs.hazard.health import STATED_WEIGHTS, HealthReading, HealthSource, Signal, SignalWeight
from foreshade.envs.hazard.host import (
    HazardPart,
    HostHazardConfig,
    as_columns,
    host_hazards,
    show_hazards,
    unmeasured_disk,
)
from foreshade.envs.simulated import SimulatedWorld
from tests.tiny_world import scenario, workload

CONFIG = HostHazardConfig(base_per_h=1e-5, base_confidence=0.2)
WEIGHT = {Signal.FAN: SignalWeight(1e-3, 1.0, 0.4, "test")}


def test_hazards_of_disks_and_signals_add():
    disks = {"h1": [HazardPart("disk A", 3e-5, 0.9), HazardPart("disk B", 1e-5, 0.9)]}
    (found,) = host_hazards(["h1"], [HealthReading("h1", Signal.FAN, 1.0)], disks, CONFIG, WEIGHT)
    fan = 1e-3 * (1 - math.exp(-1))
    assert found.per_h == pytest.approx(1e-5 + 4e-5 + fan)
    assert found.confidence == pytest.approx((1e-5 * 0.2 + 4e-5 * 0.9 + fan * 0.4) / found.per_h)
    assert found.main_cause is not None
    assert found.main_cause.cause == "FAN"
    assert found.probability(720) == pytest.approx(1 - math.exp(-found.per_h * 720))


def test_a_host_of_which_nothing_is_known_has_the_base_rate_and_little_confidence():
    (found,) = host_hazards(["h2"], [HealthReading("h1", Signal.FAN, 4.0)], {}, CONFIG, WEIGHT)
    assert found.per_h == 1e-5
    assert found.confidence == pytest.approx(0.2)


def test_old_bad_news_keeps_its_rate_and_loses_its_confidence():
    def part(age_s):
        (found,) = host_hazards(["h"], [HealthReading("h", Signal.FAN, 1, age_s)], {}, CONFIG, WEIGHT)
        return found.parts[-1]

    assert part(0.0).per_h == part(CONFIG.half_life_s).per_h
    assert part(CONFIG.half_life_s).confidence == pytest.approx(part(0.0).confidence / 2)


def test_the_freshest_of_two_readings_counts_in_either_order():
    readings = [HealthReading("h", Signal.FAN, 3, 600.0), HealthReading("h", Signal.FAN, 0, 5.0)]
    for order in (readings, readings[::-1]):
        (found,) = host_hazards(["h"], order, {}, CONFIG, WEIGHT)
        assert found.parts[-1].per_h == 0


def test_a_temperature_below_its_limit_adds_nothing():
    (found,) = host_hazards(["h"], [HealthReading("h", Signal.TEMPERATURE, -12.0)], {}, CONFIG)
    assert found.per_h == CONFIG.base_per_h


def test_every_signal_has_a_stated_weight_that_rises_and_saturates_and_is_not_trusted_much():
    assert set(STATED_WEIGHTS) == set(Signal)
    for weight in STATED_WEIGHTS.values():
        rates = [weight.per_h(v * weight.scale) for v in (0, 0.5, 1, 5, 1000)]
        assert rates[0] == 0
        assert (np.diff(rates) > 0).all()
        assert rates[-1] <= weight.full_per_h
        assert weight.confidence <= 0.3


def test_impossible_readings_and_rates_are_refused():
    with pytest.raises(InputError, match=r"health of h: FAN: expected a finite value of at least 0, got -1"):
        HealthReading("h", Signal.FAN, -1)
    with pytest.raises(InputError, match="expected a finite value"):
        HealthReading("h", Signal.TEMPERATURE, math.nan)
    with pytest.raises(InputError, match=r"disk_share: expected 0 to 1, got 2"):
        HostHazardConfig(disk_share=2)


def test_an_array_that_carries_on_halves_what_its_disks_add():
    whole = unmeasured_disk("A", HostHazardConfig())
    half = unmeasured_disk("A", HostHazardConfig(disk_share=0.5))
    assert half.per_h == whole.per_h / 2


def test_any_object_that_reads_is_a_source_and_columns_keep_the_order_of_hosts():
    class Sensors:
        def read(self, now_s):
            return [HealthReading("b", Signal.POWER_SUPPLY, 1.0)]

    source: HealthSource = Sensors()
    hazards = host_hazards(["a", "b"], source.read(0.0), {}, CONFIG)
    per_h, confidence = as_columns(hazards)
    assert per_h.dtype == confidence.dtype == np.float32
    assert per_h[1] > per_h[0]


class Bmc:
    """A source that counts how often it is read, and can be out of reach."""

    def __init__(self, readings, out_of_reach=False):
        self.readings, self.out_of_reach, self.reads = readings, out_of_reach, 0

    def read(self, now_s):
        self.reads += 1
        if self.out_of_reach:
            raise ForeshadeError("bmc-7: no answer within 2 s")
        return self.readings


def test_sources_fill_the_hazard_columns_of_a_state():
    state = SimulatedWorld(scenario(2), workload([1_000.0])).observe()
    fans = Bmc([HealthReading("b", Signal.FAN, 2.0)])
    disks = {"a": [HazardPart("disk A", 3e-5, 0.9)]}
    hazards = show_hazards(state, ["a", "b"], [fans, Bmc([])], 0.0, disks, CONFIG, WEIGHT)
    assert fans.reads == 1
    np.testing.assert_allclose(state.hosts.hazard_per_h, [4e-5, hazards[1].per_h], rtol=1e-6)
    assert hazards[1].per_h == pytest.approx(1e-5 + 1e-3 * (1 - math.exp(-2)))
    np.testing.assert_allclose(
        state.hosts.hazard_confidence, [hazard.confidence for hazard in hazards], rtol=1e-6
    )


def test_a_source_out_of_reach_leaves_the_columns_as_they_were():
    state = SimulatedWorld(scenario(1), workload([1_000.0])).observe()
    show_hazards(state, ["a"], [], 0.0, config=CONFIG)
    before = state.hosts.hazard_per_h.copy()
    with pytest.raises(ForeshadeError, match="no answer"):
        show_hazards(state, ["a"], [Bmc([], out_of_reach=True)], 0.0)
    np.testing.assert_array_equal(state.hosts.hazard_per_h, before)
    with pytest.raises(InputError, match="expected 1 host names, got 2"):
        show_hazards(state, ["a", "b"], [], 0.0)
    with pytest.raises(ValueError, match=r"hosts\.hazard_confidence 0: expected a share, got 1\.5"):
        state.show_hazards(np.zeros(1, np.float32), np.full(1, 1.5, np.float32))
