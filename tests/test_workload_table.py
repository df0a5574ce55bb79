"""Our own table: strict on the way in, lossless on the way out and back."""

import resource

import numpy as np
import polars as pl
import pytest

from foreshade.envs.errors import WorkloadError
from foreshade.envs.workloads.table import read_table, write_table
from foreshade.envs.workloads.trace import Trace, VmTable

NAN = np.nan


def table(tmp_path, text, name="t.csv"):
    (tmp_path / name).write_text(text)
    return str(tmp_path / name)


def test_a_minimal_table(tmp_path):
    trace = read_table(
        table(
            tmp_path,
            "time,vm,cpu_mhz\n600,web,100\n1200,web,300\n600,db,50\n900,db,\n1200,db,70\n1500,db,1\n",
        )
    )
    assert trace.step_s == 300
    assert trace.start_epoch_s == 600
    assert trace.vms.name == ("web", "db")
    np.testing.assert_array_equal(trace.series["cpu"], [[100, 50], [NAN, NAN], [300, 70], [NAN, 1]])
    assert trace.vms.arrival_s.tolist() == [0, 0]
    assert trace.vms.departure_s.tolist() == [900, np.inf]
    assert trace.vms.cpu_mhz.tolist() == [0, 0]
    assert trace.vms.application == ("web", "db")
    assert trace.defects == {"gap_slots": 2}


def test_all_columns_and_iso_times(tmp_path):
    trace = read_table(
        table(
            tmp_path,
            "time,vm,cpu_pct,memory_mib,disk_read_mib_s,disk_write_mib_s,net_rx_mbit_s,net_tx_mbit_s,gpu,"
            "cpu_capacity_mhz,vcpus,memory_capacity_mib,gpus,application\n"
            "2024-01-01T00:00:00Z,a,50,512,1,2,3,4,0.5,6000,2,1024,1,shop\n"
            "2024-01-01T01:01:00+01:00,a,25,,,,,,,6000,2,1024,1,shop\n"
            "2024-01-01 00:02:00,b,100,1,1,1,1,1,0,,4,,,\n",
        )
    )
    assert (trace.start_epoch_s, trace.step_s, trace.n_ticks) == (1704067200, 60, 3)
    np.testing.assert_array_equal(trace.series["cpu"], [[3000, NAN], [1500, NAN], [NAN, 10000]])
    np.testing.assert_array_equal(trace.series["net_tx"], [[4, NAN], [NAN, NAN], [NAN, 1]])
    np.testing.assert_array_equal(trace.series["gpu"], [[0.5, NAN], [NAN, NAN], [NAN, 0]])
    assert trace.vms.cores.tolist() == [2, 4]
    np.testing.assert_array_equal(trace.vms.memory_mib, [1024, NAN])
    assert trace.vms.application == ("shop", "b")
    assert trace.vms.arrival_s.tolist() == [0, 120]


def test_cores_are_scaled_by_the_vm_clock(tmp_path):
    text = "time,vm,cpu_cores,vcpus,cpu_capacity_mhz\n0,a,1.5,2,6000\n0,b,1.5,,\n"
    assert read_table(table(tmp_path, text)).series["cpu"].tolist() == [[4500, 3750]]


def test_rows_within_a_given_step_are_averaged(tmp_path):
    path = table(tmp_path, "time,vm,cpu_mhz\n0,a,10\n61,a,30\n150,a,\n300,a,5\n")
    trace = read_table(path, step=300)
    assert trace.series["cpu"].tolist() == [[20], [5]]
    with pytest.raises(WorkloadError, match="share no step above 1 s; give step=SECONDS"):
        read_table(path)


HEAD = "time,vm,cpu_mhz,memory_mib\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("time,vm,cpu_mhz,mem\n0,a,1,1\n", "unknown column 'mem'; known are time, vm, cpu_mhz"),
        ("time,cpu_mhz\n0,1\n", "missing column 'vm'; the file has 'time', 'cpu_mhz'"),
        ("vm,cpu_mhz\na,1\n", "missing column 'time'"),
        ("time,vm,application\n0,a,b\n", "missing column: expected one of cpu_mhz, cpu_cores, cpu_pct"),
        ("time,vm,cpu_mhz,cpu_pct\n0,a,1,1\n", "expected one of .*, found cpu_mhz and cpu_pct"),
        ("time,vm,cpu_mhz,cpu_mhz\n0,a,1,1\n", "column 'cpu_mhz' occurs 2 times"),
        ("time,vm,cpu_pct\n0,a,1\n", "missing column 'cpu_capacity_mhz' or 'vcpus'"),
        (HEAD + "0,a,1,1\n300,a,x,1\n", "line 3: cpu_mhz: expected a number, got 'x'"),
        (HEAD + "0,a,1,1\n300,a,-2,1\n", r"line 3: cpu_mhz: expected 0 to 1e\+12, got -2.0"),
        (HEAD + "0,a,1,inf\n", r"line 2: memory_mib: expected 0 to 1e\+12, got inf"),
        (HEAD + "0,a,1e300,1\n", r"line 2: cpu_mhz: expected 0 to 1e\+12, got 1e\+300"),
        ("time,vm,cpu_pct,vcpus\n0,a,250,1\n", "line 2: cpu_pct: expected 0 to 100, got 250.0"),
        (HEAD + "0,a,1,1\nnoon,a,1,1\n", "line 3: time: expected whole seconds .* or ISO 8601, got 'noon'"),
        (HEAD + "0,a,1,1\n,a,1,1\n", "line 3: time: expected a time, got an empty cell"),
        (HEAD + "0,a,1,1\n300,,1,1\n", "line 3: vm: expected a name, got an empty cell"),
        (HEAD + "1704067200000,a,1,1\n", "line 2: time: expected seconds since the epoch, not milliseconds"),
        (HEAD + "0,a,1,1\n300,a,1,1\n0,a,2,2\n", "line 4: time: expected one row for each VM and slot"),
        (HEAD + "0,a,1,1,9\n", "line 2: expected 4 fields, found 5"),
        (HEAD + '0,"a,b",1,1\n300,"a,b",2', "line 3: expected 4 fields, found 3"),
        (HEAD + "0,a,1,1\n300,a,2,1\n6", "line 4: expected 4 fields, found 1"),
        (
            "time,vm,cpu_mhz,arrival_s,departure_s\n0,a,1,0,600\n300,b,1,900,300\n",
            "departure_s of VM 'b': expected after its arrival at 900 s, got 300",
        ),
        (
            "time,vm,cpu_mhz,vcpus\n0,a,1,2\n300,a,1,4\n",
            "vcpus: expected one value for VM 'a', found 2 and 4",
        ),
        ("time,vm,cpu_mhz,application\n0,a,1,x\n300,a,1,y\n", "application: expected one for VM 'a'"),
        (HEAD, "expected at least one row, found none"),
        ("", "expected a table with a header, found an empty file"),
        ("#foreshade {oops\n" + HEAD, "line 1: expected #foreshade {json}"),
        ("#foreshade 7\n" + HEAD, "line 1: expected #foreshade {json}, got 7"),
        ('#foreshade {"step": 3}\n' + HEAD, "line 1: unknown key 'step'; known are name, source"),
        ('#foreshade {"step_s": 0}\n' + HEAD, "line 1: step_s: expected int above 0, got 0"),
        ('#foreshade {"name": 3}\n' + HEAD, "line 1: name: expected str, got 3"),
    ],
)
def test_a_bad_table_is_named(text, expected, tmp_path):
    with pytest.raises(WorkloadError, match=expected) as error:
        read_table(table(tmp_path, text))
    assert "t.csv" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_table_is_named_in_a_short_line(tmp_path):
    (tmp_path / "t.parquet").write_bytes(bytes(range(200, 256)) * 40)
    with pytest.raises(
        WorkloadError, match=r"t\.parquet: expected a Parquet file by its name, found bytes c8c9"
    ):
        read_table(str(tmp_path / "t.parquet"))
    (tmp_path / "t.csv").write_bytes(bytes(range(128, 256)) * 40)
    with pytest.raises(WorkloadError, match=r"t\.csv: missing column 'time'; the file has '") as error:
        read_table(str(tmp_path / "t.csv"))
    assert len(str(error.value)) < 300 + len(str(tmp_path))


def test_lines_are_counted_from_the_top_of_a_file_with_a_mark(tmp_path):
    text = '#foreshade {"step_s": 300, "n_ticks": 2}\n' + HEAD + "0,a,1,1\n300,a,x,1\n"
    with pytest.raises(WorkloadError, match="line 4: cpu_mhz: expected a number, got 'x'"):
        read_table(table(tmp_path, text))
    text = '#foreshade {"step_s": 300, "n_ticks": 1}\n' + HEAD + "0,a,1,1\n300,a,1,1\n"
    with pytest.raises(WorkloadError, match="a row lies outside the 1 slots that the table declares"):
        read_table(table(tmp_path, text))


def measured() -> Trace:
    rng = np.random.default_rng(1)
    cpu = rng.random((6, 3), np.float32) * 5000
    cpu[4:, 1] = NAN
    cpu[0, 2] = NAN
    cpu[5, :] = NAN  # nothing was seen in the last slot, which must not shorten the clock
    gpu = np.full((6, 3), NAN, np.float32)
    gpu[2, 2] = 1 / 3
    return Trace(
        name="mine",
        source="somewhere",
        start_epoch_s=1704067260,
        step_s=300,
        vms=VmTable(
            name=("web, first", 'db "main"', "späte"),
            cores=np.array([2, NAN, 1], np.float32),
            cpu_mhz=np.array([5200.1, 0, 2500], np.float32),
            memory_mib=np.array([NAN, 1024, 0], np.float32),
            gpus=np.array([0, 0, 0.46], np.float32),
            arrival_s=np.array([0.0, 0.0, 123.456]),
            departure_s=np.array([np.inf, 1234.5, np.inf]),
            application=("shop", "shop", "späte"),
        ),
        series={"cpu": cpu, "gpu": gpu},
        defects={"gap_slots": 7},
        notes=("a note, with a comma",),
        assumed={"cpu": 0.25},
    )


def requested() -> Trace:
    return Trace(
        name="asked",
        source="there",
        start_epoch_s=0,
        step_s=300,
        vms=VmTable(
            name=("a", "b"),
            cores=np.array([2, 4], np.float32),
            cpu_mhz=np.array([5000, 10000], np.float32),
            memory_mib=np.array([1024, 2048], np.float32),
            gpus=np.zeros(2, np.float32),
            arrival_s=np.array([2.5, 3017.0]),
            departure_s=np.array([7.25, np.inf]),
            application=("a", "b"),
        ),
        series={},
        n_slots=50,
    )


@pytest.mark.parametrize("make", [measured, requested])
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
def test_writing_and_reading_back_loses_nothing(make, suffix, tmp_path):
    trace = make()
    path = tmp_path / f"t{suffix}"
    write_table(trace, path)
    back = read_table(str(path))
    assert back.series.keys() == trace.series.keys()
    for key, values in trace.series.items():
        np.testing.assert_array_equal(back.series[key], values)
        assert back.series[key].dtype == np.float32
    for field in ("cores", "cpu_mhz", "memory_mib", "gpus", "arrival_s", "departure_s"):
        np.testing.assert_array_equal(getattr(back.vms, field), getattr(trace.vms, field))
    for field in ("name", "application"):
        assert getattr(back.vms, field) == getattr(trace.vms, field)
    for field in ("name", "source", "start_epoch_s", "step_s", "n_ticks", "defects", "notes", "assumed"):
        assert getattr(back, field) == getattr(trace, field)


def test_parquet_with_other_types_is_refused(tmp_path):
    pl.DataFrame({"time": [0], "vm": ["a"], "cpu_mhz": ["many"]}).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(WorkloadError, match=r"t\.parquet: cpu_mhz: expected numbers, found String"):
        read_table(str(tmp_path / "t.parquet"))
    (tmp_path / "u.parquet").write_bytes((tmp_path / "t.parquet").read_bytes()[:-20])
    with pytest.raises(WorkloadError, match=r"u\.parquet: expected a complete Parquet file"):
        read_table(str(tmp_path / "u.parquet"))


def test_a_table_cannot_be_written_anywhere_or_as_anything(tmp_path):
    with pytest.raises(WorkloadError, match=r"expected a name ending in \.csv, \.csv\.gz or \.parquet"):
        write_table(measured(), tmp_path / "t.json")
    with pytest.raises(WorkloadError, match="cannot be written: No such file or directory"):
        write_table(measured(), tmp_path / "nowhere" / "t.csv")


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
def test_a_table_is_written_whole_or_the_old_one_stays(suffix, tmp_path):
    rng = np.random.default_rng(0)
    vms = [f"vm-{rng.integers(1 << 60)}" for _ in range(400)]
    rows = "".join(f"0,{vm},{rng.random()}\n" for vm in vms)
    trace = read_table(table(tmp_path, "time,vm,cpu_mhz\n" + rows))
    target = tmp_path / f"out{suffix}"
    target.write_text("older")
    least, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, most))  # as a full disk does, in the middle
    try:
        with pytest.raises(WorkloadError, match=f"out{suffix}: cannot be written: .*File too large"):
            write_table(trace, target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (least, most))
    assert target.read_text() == "older"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["t.csv", target.name])
    write_table(trace, target)
    assert read_table(str(target)).vms.name == tuple(vms)
