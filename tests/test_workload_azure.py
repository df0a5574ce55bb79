"""Azure V1 and V2: table and chunks joined, buckets, sampling, absent chunks."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from foreshade.envs.errors import WorkloadError
from foreshade.envs.workloads.azure import bucket, read_azure


def vm(name: str, created: int, deleted: int, cores: str = "2", gib: str = "4") -> str:
    return f"{name},sub,dep-{name[0]},{created},{deleted},99.5,10.25,80.5,Delay-insensitive,{cores},{gib}"


def reading(time: int, name: str, average: float) -> str:
    return f"{time},{name},0.5,99.0,{average}"


def write(root: Path, table: list[str], chunks: dict[str, list[str]]) -> Path:
    (root / "trace").mkdir(parents=True)
    (root / "trace" / "vmtable.csv.gz").write_bytes(gzip.compress("\n".join(table).encode() + b"\n"))
    for name, rows in chunks.items():
        path = root / "trace" / f"vm_cpu_readings-file-{name}.csv"
        path.write_text("\n".join(rows) + "\n")
    return root


def test_table_and_chunks_are_joined(tmp_path):
    table = [vm("a1", 0, 1200), vm("a2", 300, 900, ">24", ">64"), vm("b", 0, 1200)]
    first = [reading(0, "a1", 10.0), reading(300, "a2", 50.0), reading(300, "stranger", 1.0)]
    second = [reading(600, "a2", 25.0), reading(600, "a1", 20.0), reading(900, "a1", 40.0)]
    trace = read_azure(str(write(tmp_path / "x", table, {"1-of-125": first, "3-of-125": second})))
    assert trace.vms.name == ("a1", "a2")
    assert trace.vms.application == ("dep-a", "dep-a")
    assert trace.vms.cores.tolist() == [2, 32]
    assert trace.vms.memory_mib.tolist() == [4096, 131072]
    assert trace.vms.arrival_s.tolist() == [0, 300]
    assert trace.vms.departure_s.tolist() == [np.inf, 900]
    np.testing.assert_array_equal(
        trace.series["cpu"], [[500, np.nan], [np.nan, 40000], [1000, 20000], [2000, np.nan]]
    )
    assert trace.defects == {"absent_chunks": 123, "dropped_vms_without_readings": 1, "gap_slots": 1}


def test_the_reading_may_be_the_maximum(tmp_path):
    root = write(tmp_path / "x", [vm("a", 0, 600)], {"1-of-1": [reading(0, "a", 10.0)]})
    assert read_azure(str(root), reading="max").series["cpu"].tolist() == [[99 / 100 * 5000]]
    with pytest.raises(WorkloadError, match="reading: expected min, max or avg, got 'median'"):
        read_azure(str(root), reading="median")


def test_a_sample_is_drawn_by_seed_and_days_bound_the_readings(tmp_path):
    table = [vm(f"v{k}", 0, 86400 * 2) for k in range(20)]
    rows = [reading(time, f"v{k}", float(k)) for time in (0, 300, 86400) for k in range(20)]
    root = str(write(tmp_path / "x", table, {"1-of-1": rows}))
    some = read_azure(root, vms=5, seed=3, days=1)
    assert some.n_ticks == 2
    assert len(some.vms) == 5
    assert some.vms.name == read_azure(root, vms=5, seed=3).vms.name
    assert some.vms.name != read_azure(root, vms=5, seed=4).vms.name
    np.testing.assert_allclose(some.series["cpu"][0], [50 * int(name[1:]) for name in some.vms.name])
    with pytest.raises(WorkloadError, match="vms=21: the trace has 20 VMs"):
        read_azure(root, vms=21)


def test_cells_outside_a_percentage_and_repeated_vms_are_counted(tmp_path):
    table = [vm("a", 0, 900), vm("a", 0, 600), vm("b", 300, 300)]
    rows = [reading(0, "a", -1.0), reading(300, "a", 5.0), reading(600, "a", 101.0), reading(600, "a", 7.0)]
    trace = read_azure(str(write(tmp_path / "x", table, {"1-of-1": rows})))
    assert trace.defects == {
        "cells_outside_0_100": 2,
        "dropped_zero_life_vms": 1,
        "duplicate_vms": 1,
        "gap_slots": 1,
    }


def test_what_is_missing_or_malformed_is_named(tmp_path):
    rows = [reading(0, "a", 1.0)]
    with pytest.raises(WorkloadError, match=r"expected vm_cpu_readings-file-\*-of-\*\.csv, found none"):
        read_azure(str(write(tmp_path / "no-readings", [vm("a", 0, 300)], {})))
    root = write(tmp_path / "no-table", [vm("a", 0, 300)], {"1-of-1": rows})
    (root / "trace/vmtable.csv.gz").unlink()
    with pytest.raises(WorkloadError, match=r"expected one vmtable\.csv or vmtable\.csv\.gz, found 0"):
        read_azure(str(root))
    with pytest.raises(
        WorkloadError, match=r"file-1-of-1\.csv: line 2: timestamp: expected a number, got 'noon'"
    ):
        read_azure(str(write(tmp_path / "bad", [vm("a", 0, 300)], {"1-of-1": [*rows, "noon,a,1,2,3"]})))
    with pytest.raises(WorkloadError, match=r"vmtable\.csv\): line 1: expected 11 fields, found 3"):
        read_azure(str(write(tmp_path / "short", ["a,0,300"], {"1-of-1": rows})))
    with pytest.raises(WorkloadError, match=r"line 1: vmcreated: expected a number of at least 0, got -300"):
        read_azure(str(write(tmp_path / "early", [vm("a", -300, 300)], {"1-of-1": rows})))


def test_buckets_stand_for_their_upper_end_or_the_next_power_of_two():
    assert [bucket(text, "x") for text in ("2", "8", "24", ">24", ">64", "1.75")] == [2, 8, 24, 32, 128, 1.75]
    for text in ("many", "", ">0", "-2", "nan", "inf"):
        with pytest.raises(WorkloadError, match=f"expected a size such as 4 or >24, got '{text}'"):
            bucket(text, "x")
