"""From a trace with gaps and holes to complete demand tables; every mend is counted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshade.envs.errors import WorkloadError
from foreshade.envs.workloads.clock import clock_phase, floor_slot, resample, resampled_length
from foreshade.envs.workloads.from_trace import to_workload
from foreshade.envs.workloads.selection import select
from foreshade.envs.workloads.trace import Trace, VmTable

NAN = np.nan


def trace(series, *, mhz=1000.0, mib=1024.0, arrival=0.0, departure=np.inf, step_s=300, gpus=0.0, **more):
    n = next(np.asarray(v).shape[1] for v in series.values())
    names = tuple("abcdefgh"[:n])

    def column(value, dtype):
        return np.broadcast_to(np.asarray(value, dtype), (n,)).copy()

    return Trace(
        name="t",
        source="test",
        start_epoch_s=1000,
        step_s=step_s,
        vms=VmTable(
            name=names,
            cores=column(1, np.float32),
            cpu_mhz=column(mhz, np.float32),
            memory_mib=column(mib, np.float32),
            gpus=column(gpus, np.float32),
            arrival_s=column(arrival, np.float64),
            departure_s=column(departure, np.float64),
            application=names,
        ),
        series={key: np.asarray(values, np.float32) for key, values in series.items()},
        **more,
    )


def test_gaps_take_the_last_observation_and_leading_ones_the_first():
    cpu = [[NAN, 5], [1, NAN], [NAN, NAN], [NAN, 7], [2, NAN]]
    workload = to_workload(trace({"cpu": cpu}))
    assert workload.demand[:, :, 0].tolist() == [[1, 5], [1, 5], [1, 5], [1, 7], [2, 7]]
    assert workload.defects["filled_slots"] == 6
    assert workload.demand.flags.c_contiguous
    assert workload.demand.dtype == np.float32


def test_outside_its_life_a_vm_wants_nothing_and_is_not_filled():
    cpu = [[NAN, 5], [3, 5], [NAN, 5], [NAN, 5]]
    workload = to_workload(trace({"cpu": cpu}, arrival=[300, 0], departure=[900, np.inf]))
    assert workload.vms.arrival_tick.tolist() == [1, 0]
    assert workload.vms.departure_tick.tolist() == [3, 4]
    assert workload.demand[:, 0, 0].tolist() == [0, 3, 3, 0]
    assert workload.demand[:, 0, 1].tolist() == [0, 1024, 1024, 0]
    assert workload.defects["filled_slots"] == 1


def test_every_vm_is_an_application_of_its_own():
    workload = to_workload(trace({"cpu": [[1, 2, 3]]}), memory_floor=0.25, offloadable=0.125)
    assert workload.vms.app.tolist() == workload.apps.series.tolist() == [0, 1, 2]
    assert workload.apps.members.tolist() == [1, 1, 1]
    assert workload.apps.memory_floor.tolist() == [0.25] * 3
    assert workload.apps.offloadable.tolist() == [0.125] * 3
    assert workload.vms.credit.tolist() == [1, 1, 1]


def test_the_two_directions_are_added_and_one_missing_is_no_gap():
    series = {
        "cpu": [[1], [1], [1]],
        "disk_read": [[1], [NAN], [NAN]],
        "disk_write": [[2], [3], [NAN]],
        "net_rx": [[10], [20], [30]],
        "net_tx": [[1], [1], [1]],
    }
    workload = to_workload(trace(series))
    assert workload.demand[:, 0, 2].tolist() == [3, 3, 3]
    assert workload.demand[:, 0, 3].tolist() == [11, 21, 31]
    assert workload.defects["filled_slots"] == 1
    assert workload.vms.flavour.tolist() == [[1000, 1024, 25, 100, 0]]


def test_what_was_never_measured_is_a_share_of_the_request():
    series = {"cpu": [[NAN, 4], [NAN, 4]]}
    workload = to_workload(trace(series, mhz=[2000, 1000], assumed={"cpu": 0.5, "memory": 0.25}))
    assert workload.demand[0].tolist() == [[1000, 256, 0, 0], [4, 256, 0, 0]]
    assert workload.defects == {
        "unmeasured_cpu_vms": 1,
        "unmeasured_memory_vms": 2,
        "unmeasured_disk_vms": 2,
        "unmeasured_net_vms": 2,
        "derived_disk_vms": 2,
        "derived_net_vms": 2,
    }


def test_a_missing_size_is_the_next_step_above_the_demand():
    series = {"cpu": [[4000, 0, 5001]], "memory": [[100, 0, 1500]]}
    workload = to_workload(trace(series, mhz=0, mib=NAN))
    assert workload.vms.flavour[:, 0].tolist() == [5000, 2500, 10000]
    assert workload.vms.flavour[:, 1].tolist() == [512, 512, 2048]
    assert workload.defects["derived_cpu_vms"] == 3
    assert workload.defects["derived_memory_vms"] == 3


def test_a_derived_size_passes_over_one_spike_in_a_thousand():
    cpu = np.full((2001, 1), 2000.0)
    cpu[7] = 90000.0
    workload = to_workload(trace({"cpu": cpu}, mhz=0))
    assert workload.vms.flavour[0, 0] == 2500
    assert workload.demand[7, 0, 0] == 2500
    assert workload.defects["clipped_cpu_slots"] == 1


def test_demand_above_the_size_is_clipped_and_counted():
    workload = to_workload(trace({"cpu": [[999], [1001]], "memory": [[2000], [1]]}))
    assert workload.demand[:, 0, :2].tolist() == [[999, 1024], [1000, 1]]
    assert workload.defects["clipped_cpu_slots"] == 1
    assert workload.defects["clipped_memory_slots"] == 1


def test_gpu_columns_exist_only_for_vms_with_gpus():
    series = {"cpu": [[1, 1, 1], [1, 1, 1]], "gpu": [[NAN, 0.5, NAN], [NAN, NAN, NAN]]}
    workload = to_workload(trace(series, gpus=[0, 1, 2], departure=[np.inf, np.inf, 300]))
    assert workload.gpu_series.tolist() == [1, 2]
    assert workload.gpu.tolist() == [[0.5, 2], [0.5, 0]]


def test_a_coarser_tick_averages_and_moves_lives():
    cpu = [[NAN], [3], [NAN], [5], [NAN], [NAN]]
    workload = to_workload(trace({"cpu": cpu}, arrival=300, departure=1200), tick_s=600)
    assert workload.demand[:, 0, 0].tolist() == [3, 5, 0]
    assert (workload.vms.arrival_tick[0], workload.vms.departure_tick[0]) == (0, 2)


def test_vms_that_never_live_on_the_clock_are_counted_not_lost_silently():
    workload = to_workload(trace({"cpu": [[1, NAN]]}, arrival=[0, 900]))
    assert workload.vms.name == ("a",)
    assert workload.defects["dropped_vms_outside_clock"] == 1
    with pytest.raises(WorkloadError, match="expected a VM that lives on the clock"):
        to_workload(trace({"cpu": [[1]]}, arrival=900))


@pytest.mark.parametrize(("option", "value"), [("tick_s", 0), ("memory_floor", 1.5), ("offloadable", -0.1)])
def test_arguments_out_of_range_are_refused(option, value):
    with pytest.raises(WorkloadError, match=option.removesuffix("_s")):
        to_workload(trace({"cpu": [[1]]}), **{option: value})


@given(
    st.integers(1, 40),
    st.integers(1, 3),
    st.sampled_from([57, 60, 300, 420]),
    st.sampled_from([60, 300, 900, 1000]),
    st.integers(0, 2**32 - 1),
)
def test_any_trace_gives_finite_demand_within_the_sizes(n_ticks, n_vms, step_s, tick_s, seed):
    rng = np.random.default_rng(seed)
    series = {}
    for key in ("cpu", "memory", "disk_read", "net_rx", "net_tx"):
        if rng.random() < 0.8:
            values = rng.random((n_ticks, n_vms)) * rng.choice([1, 1e4])
            values[rng.random(values.shape) < rng.random()] = NAN
            series[key] = values
    series = series or {"cpu": np.full((n_ticks, n_vms), NAN)}
    arrival = np.floor(rng.random(n_vms) * n_ticks) * step_s * (rng.random(n_vms) < 0.5)
    arrival[0] = 0
    departure = np.where(rng.random(n_vms) < 0.5, np.inf, arrival + (1 + rng.random(n_vms)) * step_s)
    workload = to_workload(
        trace(
            series,
            mhz=rng.choice([0, NAN, 500.0], n_vms),
            mib=rng.choice([0, NAN, 500.0], n_vms),
            arrival=arrival,
            departure=departure,
            step_s=step_s,
        ),
        tick_s=tick_s,
    )
    assert workload.n_ticks == resampled_length(n_ticks, step_s, tick_s)
    assert (workload.vms.flavour[:, :4] > 0).all()
    assert (workload.demand <= workload.vms.flavour[None, :, :4]).all()
    assert (workload.vms.arrival_tick < workload.vms.departure_tick).all()
    assert (workload.vms.departure_tick <= workload.n_ticks).all()


def test_a_finer_clock_repeats_and_a_coarser_one_means():
    values = np.array([[1], [NAN], [3], [5]], np.float32)
    assert resample(values, 300, 150)[:, 0].tolist()[::2] == pytest.approx([1, NAN, 3, 5], nan_ok=True)
    np.testing.assert_array_equal(resample(values, 300, 600), [[1], [4]])
    np.testing.assert_array_equal(resample(values, 300, 900), [[2], [5]])
    assert resample(values, 300, 300) is values


def test_the_phase_keeps_samples_away_from_the_boundaries():
    rng = np.random.default_rng(0)
    for centre in (0, 7, 150, 299):
        times = 300 * np.arange(1000) + centre + rng.integers(-3, 4, 1000) + 300
        phase = clock_phase(times, 300)
        assert (np.diff(floor_slot(times, phase, 300)) == 1).all()


def test_a_window_moves_lives_and_drops_and_counts_who_is_not_in_it():
    cpu = np.arange(24, dtype=np.float32).reshape(6, 4)
    whole = trace(
        {"cpu": cpu},
        arrival=[0, 900, 1500, 0],
        departure=[600, np.inf, np.inf, 1200],
        defects={"gap_slots": 2},
    )
    part = select(whole, from_s=600, length_s=600)
    assert part.vms.name == ("b", "d")
    assert part.series["cpu"].tolist() == [[9, 11], [13, 15]]
    assert part.vms.arrival_s.tolist() == [300, 0]
    assert part.vms.departure_s.tolist() == [np.inf, np.inf]  # departing with the window is staying
    assert part.start_epoch_s == 1600
    assert part.defects == {"gap_slots": 2, "dropped_vms_outside_window": 2}
    with pytest.raises(WorkloadError, match=r"the trace is 0\.0208 days long; nothing lies at 0\.0208 days"):
        select(whole, from_s=1800)


def test_a_sample_is_seeded_and_keeps_the_order():
    whole = trace({"cpu": np.arange(8, dtype=np.float32)[None]})
    picks = {select(whole, vms=3, seed=seed).vms.name for seed in range(20)}
    assert len(picks) > 5
    assert all(list(names) == sorted(names) and len(set(names)) == 3 for names in picks)
    assert select(whole, vms=3, seed=1).vms.name == select(whole, vms=3, seed=1).vms.name
    with pytest.raises(WorkloadError, match="vms=9: expected 1 to 8"):
        select(whole, vms=9)
