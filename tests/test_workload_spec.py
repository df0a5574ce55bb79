"""One line names a workload; what it cannot name is said in one line."""

import sys
import types
from pathlib import Path

import numpy as np
import pytest

from foreshade.envs.errors import WorkloadError
from foreshade.envs.workloads.spec import KINDS, Spec, load_trace, load_workload

TABLE = "time,vm,cpu_mhz,cpu_capacity_mhz\n" + "".join(
    f"{300 * slot},{vm},{slot * 10 + number},1000\n"
    for slot in range(576)
    for number, vm in enumerate("abcd")
)


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(TABLE)
    return path


def test_a_spec_is_taken_apart():
    spec = Spec.parse("bitbrains:/some/where.tar.xz?vms=10&days=7.5")
    assert spec == Spec("bitbrains", "/some/where.tar.xz", {"vms": "10", "days": "7.5"})
    assert Spec.parse("planetlab") == Spec("planetlab", "", {})


def test_options_cut_the_trace(table):
    trace = load_trace(f"table:{table}?from_day=1&days=0.5&vms=2&seed=1")
    assert trace.n_ticks == 144
    assert trace.start_epoch_s == 86400
    assert len(trace.vms) == 2
    assert trace.series["cpu"][0].astype(int).tolist() == [2880 + "abcd".index(n) for n in trace.vms.name]


def test_ticks_count_control_intervals(table):
    assert load_trace(f"table:{table}?ticks=10").n_ticks == 10
    workload = load_workload(f"table:{table}?ticks=10", tick_s=600)
    assert workload.n_ticks == 10
    assert workload.demand[:2, 0, 0].tolist() == [5, 25]


def test_keywords_win_over_the_spec(table):
    workload = load_workload(f"table:{table}?vms=4&ticks=50", vms=1, offloadable=0.25, days=None)
    assert len(workload.vms) == 1
    assert workload.n_ticks == 50
    assert workload.apps.offloadable.tolist() == [0.25]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("planetlabs:x", "unknown kind 'planetlabs'; known are planetlab, bitbrains, materna, azure, huawei"),
        ("table:x?vm=3", "unknown option 'vm'; table knows days, from_day, .*step"),
        ("bitbrains:x?step=3", "unknown option 'step'"),
        ("table:x?vms", "expected key=value after '\\?', got 'vms'"),
        ("table:x?vms=3&vms=4", "option 'vms' is given twice"),
        ("table:x?vms=many", "vms: expected a whole number, got 'many'"),
        ("table:x?days=long", "days: expected a number, got 'long'"),
        ("table:x?vms=0", "vms: expected a number above 0, got 0"),
        ("table:x?days=-1", "expected from_day of at least 0 and days above 0"),
        ("table:/no/where.csv", "/no/where.csv: no such file or folder"),
        ("table", "table: no path: give table:PATH; see docs/workloads.md"),
    ],
)
@pytest.mark.parametrize("load", [load_trace, load_workload])
def test_a_bad_spec_is_named(load, spec, expected):
    with pytest.raises(WorkloadError, match=expected) as error:
        load(spec)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "table"])
def test_without_a_path_the_publisher_is_named(kind, tmp_path, monkeypatch):
    monkeypatch.delenv("FORESHADE_DATA", raising=False)
    with pytest.raises(WorkloadError, match=rf"{kind}: no path, and FORESHADE_DATA is not set: .*https://"):
        load_trace(kind)
    monkeypatch.setenv("FORESHADE_DATA", str(tmp_path))
    with pytest.raises(WorkloadError, match=rf"{kind}: FORESHADE_DATA={tmp_path} has no .*https://"):
        load_trace(kind)


def test_without_a_path_the_data_folder_is_looked_in(tmp_path, monkeypatch):
    folder = tmp_path / "google_vms"
    folder.mkdir()
    share = np.full((3, 288), 2500, np.uint16)
    np.savez(folder / "g.npz", cpu_pct_x100=share, mem_pct_x100=share, name=np.array(["a_1", "a_2", "b_1"]))
    monkeypatch.setenv("FORESHADE_DATA", str(tmp_path))
    assert load_trace("google?cores=4").series["cpu"][0].tolist() == [2500, 2500, 2500]


def test_azure_samples_while_reading(tmp_path):
    (tmp_path / "vmtable.csv").write_text("".join(f"v{k},s,d,0,172800,9,9,9,Unknown,2,4\n" for k in range(9)))
    (tmp_path / "vm_cpu_readings-file-1-of-2.csv").write_text(
        "".join(f"{time},v{k},1,3,2\n" for time in range(0, 172800, 300) for k in range(9))
    )
    trace = load_trace(f"azure:{tmp_path}?vms=4&seed=2&from_day=0.5&days=1&reading=max")
    assert (len(trace.vms), trace.n_ticks) == (4, 288)
    assert (trace.series["cpu"] == np.float32(150)).all()
    assert trace.defects == {"absent_chunks": 1}


def test_generated_workloads_are_asked_of_the_generator(monkeypatch, table):
    """The generator is another module's; only the way it is asked is tested."""
    asked = {}
    made = load_workload(f"table:{table}?ticks=1")

    def generate(name, **options):
        asked[name] = options
        return made

    module = types.ModuleType("foreshade.envs.workloads.generator")
    module.generate = generate
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert load_workload("generated:office?vms=50&noise=low", seed=7) is made
    assert load_workload("generated:web", tick_s=60) is made
    assert asked == {"office": {"vms": "50", "noise": "low", "seed": "7"}, "web": {"tick_s": "60"}}
    with pytest.raises(WorkloadError, match="a generated workload has no trace"):
        load_trace("generated:office")


def test_the_documentation_names_every_kind_and_option():
    text = (Path(__file__).parents[1] / "docs" / "workloads.md").read_text()
    for name, kind in KINDS.items():
        assert f"`{name}" in text
        assert kind.published.split()[0] in text or name == "table"
        for option in kind.options:
            assert f"`{option}`" in text
