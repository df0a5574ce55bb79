"""The numbers of a description, on traces small enough to know them."""

import json

import numpy as np
import pytest

from foreshade.envs.workloads.describe import describe, render
from foreshade.envs.workloads.trace import Trace, VmTable


def trace(cpu, *, memory=None, arrival=None, departure=None, series=True, **more):
    cpu = np.asarray(cpu, np.float32)
    n = cpu.shape[1]
    names = tuple(f"vm{k}" for k in range(n))
    measured = {"cpu": cpu} | ({} if memory is None else {"memory": np.asarray(memory, np.float32)})
    return Trace(
        name="t",
        source="test",
        start_epoch_s=1704067200,
        step_s=300,
        vms=VmTable(
            name=names,
            cores=np.full(n, 2, np.float32),
            cpu_mhz=np.full(n, 100, np.float32),
            memory_mib=np.full(n, np.nan, np.float32),
            gpus=np.zeros(n, np.float32),
            arrival_s=np.zeros(n) if arrival is None else np.asarray(arrival, np.float64),
            departure_s=np.full(n, np.inf) if departure is None else np.asarray(departure, np.float64),
            application=("one",) * n,
        ),
        series=measured if series else {},
        n_slots=0 if series else len(cpu),
        **more,
    )


def test_moments_shares_and_sums():
    d = describe(trace([[0, 40], [10, 40], [20, 40], [30, np.nan]]))
    cpu = d["series"]["cpu"]
    assert cpu["unit"] == "MHz"
    assert cpu["mean"] == pytest.approx(180 / 7)
    assert (cpu["p50"], cpu["max"]) == (30, 40)
    assert cpu["zero_share"] == pytest.approx(1 / 7)
    assert cpu["missing_share"] == pytest.approx(1 / 8)
    assert cpu["cv"] == pytest.approx((np.std([0, 10, 20, 30]) / 15 + 0) / 2)
    assert cpu["peak_to_mean"] == pytest.approx(60 / ((40 + 50 + 60 + 30) / 4))
    assert cpu["provisioned_used"] == pytest.approx(180 / 700)
    assert d["applications"] == 1
    assert d["start"] == "2024-01-01T00:00:00+00:00"
    assert d["requested"]["cores"]["mean"] == 2
    assert d["requested"]["memory_mib"] is None


def test_autocorrelation_finds_the_day():
    slots = np.arange(288 * 4)
    daily = 50 + 40 * np.sin(2 * np.pi * slots / 288)
    d = describe(trace(np.stack([daily, np.full(len(slots), 7.0)], axis=1)))
    lags = d["series"]["cpu"]["autocorrelation"]
    assert lags["1day"]["vm"] == pytest.approx(1.0)  # the constant VM has none and does not count
    assert lags["1day"]["sum"] == pytest.approx(1.0)
    assert lags["5min"]["vm"] == pytest.approx(np.cos(2 * np.pi / 288), abs=2e-3)
    assert lags["1h"]["vm"] == pytest.approx(np.cos(2 * np.pi / 24), abs=5e-3)
    assert "1week" not in lags  # four days do not hold two weeks
    assert d["series"]["cpu"]["pair_correlation"] is None


def test_noise_has_no_autocorrelation_and_no_pairs():
    noise = np.random.default_rng(0).random((4000, 20)) * 100
    cpu = describe(trace(noise))["series"]["cpu"]
    assert abs(cpu["autocorrelation"]["5min"]["vm"]) < 0.02
    assert abs(cpu["pair_correlation"]) < 0.01


def test_pairs_of_opposed_vms_are_opposed():
    wave = np.sin(np.arange(200))
    assert describe(trace(np.stack([5 + wave, 5 - wave], axis=1)))["series"]["cpu"]["pair_correlation"] == (
        pytest.approx(-1)
    )
    four = np.stack([5 + wave, 5 - wave, 5 + wave, 5 + wave], axis=1)
    # of six pairs three are +1 and three are -1
    assert describe(trace(four))["series"]["cpu"]["pair_correlation"] == pytest.approx(0, abs=1e-6)


def test_lives_and_rates():
    d = describe(trace(np.ones((24, 3)), arrival=[0, 1800, 3600], departure=[3600, 7200, np.inf]))
    assert d["arrivals_per_hour"] == 1
    assert d["departures_per_hour"] == 1
    assert d["lifetime_h"]["mean"] == pytest.approx(1.25)
    assert d["ended_vms"] == 2
    assert d["series"]["cpu"]["missing_share"] == 0


def test_a_trace_of_requests_and_an_empty_series_are_described_too():
    d = describe(trace(np.ones((24, 3)), series=False, departure=[300, 600, 900], defects={"x": 2}))
    assert d["series"] == {}
    assert d["slots"] == 24
    empty = describe(trace(np.ones((3, 1)), memory=np.full((3, 1), np.nan)))
    assert empty["series"]["memory"] == {"unit": "MiB", "missing_share": 1.0}
    for description in (d, empty):
        json.dumps(description, allow_nan=False)
        assert "VMs" in render(description)


def test_the_text_shows_defects_and_notes():
    text = render(
        describe(trace(np.random.default_rng(0).random((600, 5)), defects={"gap_slots": 1234}, notes=("so",)))
    )
    assert "gap_slots" in text
    assert "1,234" in text
    assert "note: so" in text
    assert "5 VMs, 1 applications" in text
    assert max(map(len, text.splitlines())) < 120
