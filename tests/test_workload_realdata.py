"""Known facts of the public sets in FORESHADE_DATA; without the variable these tests do not run."""

import os
from pathlib import Path

import numpy as np
import pytest

from foreshade.envs.workloads.alibaba_gpu import read_nodes
from foreshade.envs.workloads.describe import describe
from foreshade.envs.workloads.planetlab import read_planetlab_percent
from foreshade.envs.workloads.spec import load_trace, load_workload

pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif(
        not os.environ.get("FORESHADE_DATA"),
        reason="FORESHADE_DATA IS NOT SET: the importers are not checked against the public sets",
    ),
]


def data(name: str) -> str:
    path = Path(os.environ["FORESHADE_DATA"]) / name
    assert path.exists(), f"FORESHADE_DATA is set, but {path} is missing"
    return str(path)


@pytest.fixture(scope="module")
def bitbrains():
    return load_trace(f"bitbrains:{data('bitbrains/fastStorage-dev.tar.xz')}")


def test_planetlab_days_have_their_published_numbers_of_vms():
    archive = data("planetlab/planetlab-dev-days.tar.gz")
    trace = load_trace(f"planetlab:{archive}")
    days = [name.partition("/")[0] for name in trace.vms.name]
    count = {day: days.count(day) for day in sorted(set(days))}
    assert count == {
        "20110303": 1052, "20110306": 898, "20110309": 1061, "20110322": 1516, "20110325": 1078
    }  # fmt: skip
    assert trace.n_ticks == 5 * 288


def test_planetlab_percents_are_the_integers_of_the_files():
    names, percent = read_planetlab_percent(f"{data('planetlab/planetlab-dev-days.tar.gz')}/20110303")
    assert len(names) == 1052
    assert percent.shape == (1052, 288)
    assert percent.max() <= 100
    assert list(names) == sorted(names, key=str.upper)
    # mean and deviation of this day as published: 12.31 %, 17.09 % (Beloglazov & Buyya 2012, table 2)
    per_vm = percent.astype(np.float64)
    assert per_vm.mean() == pytest.approx(12.31, abs=0.02)
    assert per_vm.std() == pytest.approx(17.09, abs=0.03)


def test_bitbrains_has_its_vms_and_its_month(bitbrains):
    assert len(bitbrains.vms) == 250
    assert bitbrains.n_ticks == 8640
    assert sorted(bitbrains.series) == ["cpu", "disk_read", "disk_write", "memory", "net_rx", "net_tx"]
    assert bitbrains.start_epoch_s // 86400 == 1376314846 // 86400
    assert bitbrains.defects["duplicate_slots"] > 0
    rows = 2_358_167 - 250  # lines less headers, counted with wc -l
    seen = int((~np.isnan(bitbrains.series["cpu"])).sum())
    assert seen + bitbrains.defects["duplicate_slots"] == rows


def test_bitbrains_becomes_a_complete_workload(bitbrains):
    cpu = describe(bitbrains)["series"]["cpu"]
    assert cpu["missing_share"] < 0.01
    assert cpu["autocorrelation"]["5min"]["vm"] > cpu["autocorrelation"]["1day"]["vm"]
    workload = load_workload(f"bitbrains:{data('bitbrains/fastStorage-dev.tar.xz')}", vms=100, days=7)
    assert workload.demand.shape == (2016, 100, 4)
    assert (workload.demand <= workload.vms.flavour[None, :, :4]).all()


def test_huawei_has_its_requests():
    trace = load_trace(f"huawei:{data('huawei_east_1/Huawei-East-1-lt.csv.gz')}")
    assert len(trace.vms) == 116_313
    assert trace.vms.departure_s.max() == 2_678_188
    assert 30 < trace.n_ticks * 300 / 86400 <= 31


def test_alibaba_has_its_pods_and_nodes():
    archive = data("alibaba_gpu/alibaba-gpu-v2023.tar.gz")
    trace = load_trace(f"alibaba-gpu:{archive}")
    assert len(trace.vms) + trace.defects["dropped_zero_life_vms"] == 8_152
    assert trace.defects["never_scheduled_vms"] == 897
    nodes = read_nodes(archive)
    assert len(nodes.name) == 1_523
    assert int((nodes.gpus > 0).sum()) == 1_213
    assert int(nodes.gpus.sum()) == 6_212


def test_the_packed_sets_have_their_shapes():
    google = load_trace(f"google:{data('google_vms/gcd_vms.npz')}")
    assert (len(google.vms), google.n_ticks) == (1200, 288)
    pods = load_trace(f"gpu-pods:{data('alibaba_gpu/pods.npz')}")
    assert (len(pods.vms), pods.n_ticks) == (207, 274)
    assert int(pods.vms.gpus.sum()) == 143
    assert pods.series["gpu"][~np.isnan(pods.series["gpu"])].max() <= 1


@pytest.mark.parametrize(
    "kind",
    ["planetlab?day=20110306", "bitbrains?vms=5&ticks=9", "huawei", "alibaba-gpu", "google", "gpu-pods"],
)
def test_every_set_is_found_by_its_kind_alone(kind):
    workload = load_workload(kind)
    assert len(workload.vms) > 0
