"""PlanetLab days: order, sizes and percents as the benchmark deals them."""

import tarfile
from pathlib import Path

import numpy as np
import pytest

from foreshade.envs.errors import WorkloadError
from foreshade.envs.workloads.planetlab import read_planetlab, read_planetlab_percent, vm_type


def write_day(root: Path, day: str, percents: dict[str, int]) -> Path:
    folder = root / day
    folder.mkdir(parents=True)
    for name, percent in percents.items():
        lines = [percent] * 287 + [100]
        (folder / name).write_text("".join(f"{value}\n" for value in lines))
    return folder


def test_vms_are_ordered_by_upper_cased_name_and_typed_by_quarter(tmp_path):
    # upper-casing puts '_' after the letters; plain sorting would put it before the small ones
    write_day(tmp_path, "20110303", {"a_x": 10, "ab": 20, "B": 30, "c": 40, "d": 50})
    trace = read_planetlab(f"{tmp_path}/20110303")
    assert trace.vms.name == ("ab", "a_x", "B", "c", "d")
    assert trace.vms.cpu_mhz.tolist() == [2500, 2500, 2000, 2000, 1000]
    assert trace.vms.memory_mib.tolist() == [870, 870, 1740, 1740, 1740]
    assert trace.series["cpu"][0].tolist() == [500, 250, 600, 800, 500]
    assert trace.series["cpu"][287].tolist() == [2500, 2500, 2000, 2000, 1000]
    assert trace.series["cpu"].shape == (288, 5)
    assert trace.start_epoch_s == 1299110400  # 2011-03-03T00:00Z
    assert np.isinf(trace.vms.departure_s).all()


def test_quarters_are_rounded_up():
    assert vm_type(1052)[262:264] == [0, 1]
    assert vm_type(10) == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3]


def test_raw_percents_are_available(tmp_path):
    write_day(tmp_path, "20110303", {"b": 7, "a": 3})
    names, percent = read_planetlab_percent(f"planetlab:{tmp_path}/20110303")
    assert names == ("a", "b")
    assert percent.dtype == np.uint8
    assert percent[:, [0, 287]].tolist() == [[3, 100], [7, 100]]


@pytest.mark.parametrize("packed", [False, True])
def test_days_are_laid_end_to_end(packed, tmp_path):
    root = tmp_path / "days"
    write_day(root, "20110303", {"a": 10, "b": 20})
    write_day(root, "20110306", {"a": 30})
    if packed:
        with tarfile.open(tmp_path / "days.tar.gz", "w:gz") as archive:
            for day in ("20110306", "20110303"):
                archive.add(root / day, day)
        root = tmp_path / "days.tar.gz"
    trace = read_planetlab(str(root))
    assert trace.vms.name == ("20110303/a", "20110303/b", "20110306/a")
    assert trace.vms.arrival_s.tolist() == [0, 0, 86400]
    assert trace.vms.departure_s.tolist() == [86400, 86400, np.inf]
    assert np.isnan(trace.series["cpu"][288:, :2]).all()
    assert np.isnan(trace.series["cpu"][:288, 2]).all()
    assert trace.series["cpu"][288, 2] == 750
    for one in (read_planetlab(f"{root}/20110306"), read_planetlab(str(root), day="20110306")):
        assert one.vms.name == ("a",)
    with pytest.raises(WorkloadError, match=r"expected one day, found 20110303, 20110306; add /DAY"):
        read_planetlab_percent(str(root))


@pytest.mark.parametrize(
    ("line", "shown"), [("-3", "'-3'"), ("101", "'101'"), ("12.5", "'12.5'"), ("NaN", "'NaN'")]
)
def test_a_line_that_is_no_percent_is_named(line, shown, tmp_path):
    folder = write_day(tmp_path, "20110303", {"a": 10})
    (folder / "a").write_text("10\n" * 4 + line + "\n" + "10\n" * 283)
    with pytest.raises(WorkloadError, match=rf"20110303/a: line 5: expected an integer .* got {shown}"):
        read_planetlab(str(folder))


def test_a_short_file_is_named(tmp_path):
    folder = write_day(tmp_path, "20110303", {"a": 10})
    (folder / "a").write_text("10\n" * 287)
    with pytest.raises(WorkloadError, match=r"20110303/a: expected 288 lines, found 287"):
        read_planetlab(str(folder))


def test_a_folder_without_days_says_what_was_looked_for(tmp_path):
    (tmp_path / "readme").write_text("hello")
    with pytest.raises(WorkloadError, match="expected day folders such as 20110303"):
        read_planetlab(str(tmp_path))
    write_day(tmp_path, "20110303", {"a": 1})
    with pytest.raises(WorkloadError, match="expected a day folder '20110304', found none"):
        read_planetlab(str(tmp_path), day="20110304")
