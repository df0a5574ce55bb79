"""Bitbrains and Materna files: units, clock, duplicates, gaps and what is refused."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from foreshade.envs.errors import WorkloadError
from foreshade.envs.workloads.gwa import read_gwa

BITBRAINS = (
    "Timestamp [ms];\tCPU cores;\tCPU capacity provisioned [MHZ];\tCPU usage [MHZ];\tCPU usage [%];\t"
    "Memory capacity provisioned [KB];\tMemory usage [KB];\tDisk read throughput [KB/s];\t"
    "Disk write throughput [KB/s];\tNetwork received throughput [KB/s];\t"
    "Network transmitted throughput [KB/s]"
)
MATERNA = (
    '"Timestamp";"CPU cores";"CPU capacity provisioned [MHZ]";"CPU usage [MHZ]";"CPU usage [%]";'
    '"Memory capacity provisioned [KB]";"Memory usage [KB]";"Memory usage [%]";'
    '"Disk read throughput [KB/s]";"Disk write throughput [KB/s]";"Disk size [GB]";'
    '"Network received throughput [KB/s]";"Network transmitted throughput [KB/s]"'
)
T0 = 1376314846


def row(time: int, cpu: float, *, cores: int = 2, mhz: float = 5200.0, kb: float = 2097152.0) -> str:
    cells = (time, cores, mhz, cpu, cpu / 52, kb, 1024.0, 512.0, 256.0, 1000.0, 2000.0)
    return ";\t".join(map(str, cells))


def write(path: Path, rows: list[str], header: str = BITBRAINS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_units_sizes_and_clock(tmp_path):
    write(tmp_path / "fastStorage/2013-8/1.csv", [row(T0 + 300 * k, 10.0 * k) for k in range(4)])
    write(tmp_path / "fastStorage/2013-8/10.csv", [row(T0 + 300 * k, 7.0) for k in range(4)])
    write(tmp_path / "fastStorage/2013-8/2.csv", [row(T0 + 300 * k, 5.0, mhz=0.0, kb=0.0) for k in range(4)])
    trace = read_gwa(str(tmp_path))
    assert trace.vms.name == ("1", "2", "10")  # by number, not by letter
    assert trace.series["cpu"].tolist() == [[0, 5, 7], [10, 5, 7], [20, 5, 7], [30, 5, 7]]
    assert trace.vms.cores.tolist() == [2, 2, 2]
    assert trace.vms.cpu_mhz.tolist() == [5200, 0, 5200]
    assert trace.vms.memory_mib.tolist() == [2048, 0, 2048]
    assert (trace.series["memory"] == 1.0).all()
    assert (trace.series["disk_read"] == 0.5).all()
    assert (trace.series["disk_write"] == 0.25).all()
    np.testing.assert_allclose(trace.series["net_rx"], 1000 * 1024 * 8 / 1e6, rtol=1e-6)
    np.testing.assert_allclose(trace.series["net_tx"], 2000 * 1024 * 8 / 1e6, rtol=1e-6)
    assert trace.step_s == 300
    assert abs(trace.start_epoch_s - T0) <= 300
    assert trace.defects == {"zero_capacity_vms": 1, "zero_memory_vms": 1}
    assert trace.notes == ("header says ms, the unit is s",)


def test_a_wobble_of_a_second_is_neither_gap_nor_duplicate(tmp_path):
    wobble = [0, 1, -1, 1, 0, -1] * 20
    # the first sample lies on a multiple of 300 s, where a naive clock would cut
    start = T0 - T0 % 300
    write(tmp_path / "1.csv", [row(start + 300 * k + wobble[k], float(k)) for k in range(120)])
    trace = read_gwa(str(tmp_path))
    assert trace.series["cpu"][:, 0].tolist() == [float(k) for k in range(120)]
    assert trace.defects == {}


def test_of_two_rows_in_a_slot_the_last_is_kept_and_counted(tmp_path):
    rows = [row(T0, 1.0), row(T0 + 300, 2.0), row(T0 + 300, 3.0), row(T0 + 600, 4.0)]
    trace = read_gwa(str(write(tmp_path / "1.csv", rows)))
    assert trace.series["cpu"][:, 0].tolist() == [1, 3, 4]
    assert trace.defects == {"duplicate_slots": 1}


def test_rows_out_of_order_are_sorted_and_counted(tmp_path):
    rows = [row(T0 + 300, 2.0), row(T0, 1.0), row(T0 + 600, 3.0)]
    trace = read_gwa(str(write(tmp_path / "1.csv", rows)))
    assert trace.series["cpu"][:, 0].tolist() == [1, 2, 3]
    assert trace.defects == {"out_of_order_rows": 1}


def test_gaps_and_negative_cells_become_nan_and_are_counted(tmp_path):
    rows = [row(T0, 1.0), row(T0 + 900, -4.0), row(T0 + 1200, 5.0)]
    trace = read_gwa(str(write(tmp_path / "1.csv", rows)))
    np.testing.assert_array_equal(trace.series["cpu"][:, 0], [1, np.nan, np.nan, np.nan, 5])
    np.testing.assert_array_equal(trace.series["memory"][:, 0], [1, np.nan, np.nan, 1, 1])
    assert trace.defects == {"gap_slots": 2, "negative_cells": 1}
    assert np.isinf(trace.vms.departure_s).all()


def test_a_log_that_starts_late_or_ends_early_is_an_arrival_or_departure(tmp_path):
    write(tmp_path / "1.csv", [row(T0 + 300 * k, 1.0) for k in range(100)])
    write(tmp_path / "2.csv", [row(T0 + 300 * k, 1.0) for k in range(20, 60)])
    write(tmp_path / "3.csv", [row(T0 + 300 * k, 1.0) for k in range(3, 95)])
    trace = read_gwa(str(tmp_path))
    assert trace.vms.arrival_s.tolist() == [0, 20 * 300, 0]
    assert trace.vms.departure_s.tolist() == [np.inf, 60 * 300, np.inf]
    assert trace.defects == {"gap_slots": 3 + 5}  # only what lies within a life is a gap


def test_the_months_of_a_vm_are_joined_and_sizes_are_the_largest(tmp_path):
    archive = tmp_path / "rnd.zip"
    with zipfile.ZipFile(archive, "w") as out:
        out.writestr("rnd/2013-8/7.csv", f"{BITBRAINS}\n{row(T0 + 600, 3.0, cores=4, mhz=10400.0)}\n")
        out.writestr("rnd/2013-7/7.csv", f"{BITBRAINS}\n{row(T0, 1.0)}\n{row(T0 + 300, 2.0)}\n")
    trace = read_gwa(str(archive))
    assert trace.vms.name == ("7",)
    assert trace.series["cpu"][:, 0].tolist() == [1, 2, 3]
    assert trace.vms.cores.tolist() == [4]
    assert trace.vms.cpu_mhz.tolist() == [10400]


def test_populations_in_other_folders_stay_apart(tmp_path):
    write(tmp_path / "fastStorage/2013-8/1.csv", [row(T0, 1.0)])
    write(tmp_path / "rnd/2013-8/1.csv", [row(T0, 2.0)])
    assert read_gwa(str(tmp_path)).vms.name == ("fastStorage/1", "rnd/1")


def test_materna_dialect_is_understood(tmp_path):
    def german(time: str, cpu: str) -> str:
        cells = (time, "4", "9600", cpu, "1,74", "8388608", "1048576", "12,5", "512", "0", "80,5", "125", "0")
        return ";".join(f'"{cell}"' for cell in cells)

    rows = [german("04.11.2015 20:23:39", "90"), german("04.11.2015 20:28:39", "166,5")]
    write(tmp_path / "Materna-Trace-1/01.csv", rows, MATERNA)
    trace = read_gwa(str(tmp_path), name="materna")
    assert trace.name == "materna"
    assert trace.series["cpu"][:, 0].tolist() == [90, 166.5]
    assert trace.series["memory"][:, 0].tolist() == [1024, 1024]  # KB, not the column in percent
    assert trace.series["disk_read"][:, 0].tolist() == [0.5, 0.5]
    assert trace.vms.memory_mib.tolist() == [8192]
    assert 0 <= 1446668619 - trace.start_epoch_s < 300  # 2015-11-04T20:23:39Z
    assert trace.notes == ("time stamps without a zone are read as UTC",)


def test_true_milliseconds_are_understood_too(tmp_path):
    rows = [row((T0 + 300 * k) * 1000, float(k)) for k in range(3)]
    trace = read_gwa(str(write(tmp_path / "1.csv", rows)))
    assert trace.series["cpu"][:, 0].tolist() == [0, 1, 2]
    assert trace.notes == ()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "Memory usage [KB]",
            "Memory usage [MB]",
            r"1\.csv: column 'memory usage': expected the unit \[KB\]",
        ),
        ("CPU usage [MHZ]", "Load", r"1\.csv: column 'cpu usage': expected the unit \[MHZ\], found \[%\]"),
        ("CPU cores", "Cores", r"1\.csv: missing column 'cpu cores'; the file has"),
        ("Timestamp [ms]", "When", r"1\.csv: missing column 'Timestamp'"),
    ],
)
def test_a_missing_column_or_wrong_unit_is_named(old, new, expected, tmp_path):
    assert old in BITBRAINS
    write(tmp_path / "1.csv", [row(T0, 1.0)], BITBRAINS.replace(old, new))
    with pytest.raises(WorkloadError, match=expected):
        read_gwa(str(tmp_path))


def test_a_cell_that_is_no_number_is_named_by_line_and_column(tmp_path):
    write(tmp_path / "1.csv", [row(T0, 1.0), row(T0 + 300, 2.0).replace("2.0;", "two;", 1)])
    with pytest.raises(
        WorkloadError, match=r"1\.csv: line 3: CPU usage \[MHZ\]: expected a number, got 'two'"
    ):
        read_gwa(str(tmp_path))


def test_a_line_that_was_cut_off_is_no_time_stamp_of_its_own(tmp_path):
    write(tmp_path / "1.csv", [row(T0, 1.0), row(T0 + 300, 2.0), row(T0 + 600, 3.0)[:10]])
    with pytest.raises(WorkloadError, match=r"1\.csv: line 4: expected 11 fields, found 1"):
        read_gwa(str(tmp_path))


def test_a_damaged_time_stamp_is_refused_before_it_fills_the_memory(tmp_path):
    write(tmp_path / "1.csv", [row(T0, 1.0), row(90_000_000_000, 2.0)])
    for number in range(2, 6):
        write(tmp_path / f"{number}.csv", [row(T0, 1.0)])
    with pytest.raises(WorkloadError, match=r"5 VMs x .* slots do not fit into memory: .*wrong time stamp"):
        read_gwa(str(tmp_path))


def test_a_file_without_rows_is_counted_and_a_folder_of_them_refused(tmp_path):
    write(tmp_path / "1.csv", [])
    with pytest.raises(WorkloadError, match="expected csv files, one per VM, found none with rows"):
        read_gwa(str(tmp_path))
    write(tmp_path / "2.csv", [row(T0, 1.0)])
    assert read_gwa(str(tmp_path)).defects == {"empty_files": 1}
