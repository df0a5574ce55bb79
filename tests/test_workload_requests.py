"""Huawei and Alibaba GPU: requests with arrivals and departures, and no usage."""

import gzip
import io
import tarfile

import pytest

from foreshade.envs.errors import WorkloadError
from foreshade.envs.workloads.alibaba_gpu import read_alibaba_gpu, read_nodes
from foreshade.envs.workloads.from_trace import to_workload
from foreshade.envs.workloads.huawei import read_huawei

HUAWEI = "vmid,cpu,mem,at,lt\n0,4,16,0.0,600.0\n1,1,2,450.0,10.0\n2,4,16,300.0,1200.0\n3,1,1,900.0,0.0\n"
PODS = (
    "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,"
    "scheduled_time\n"
    "p0,12000,16384,1,460,,LS,Running,0,1500,300\n"
    "p1,8000,30517,0,0,,BE,Pending,600,1200,\n"
    "p2,16000,0,8,1000,V100M16|V100M32,BE,Failed,900,1800,900\n"
)
NODES = "sn,cpu_milli,memory_mib,gpu,model\nn0,64000,262144,2,P100\nn1,32000,131072,0,\n"


def test_huawei_requests_become_lives_with_a_share_of_the_request(tmp_path):
    path = tmp_path / "h.csv.gz"
    path.write_bytes(gzip.compress(HUAWEI.encode()))
    trace = read_huawei(str(path), usage_cpu=0.5)
    assert trace.vms.name == ("0", "1", "2")
    assert trace.vms.cpu_mhz.tolist() == [10000, 2500, 10000]
    assert trace.vms.memory_mib.tolist() == [16384, 2048, 16384]
    assert trace.vms.departure_s.tolist() == [600, 460, 1500]
    assert trace.n_ticks == 5
    assert trace.defects == {"dropped_zero_life_vms": 1}
    workload = to_workload(trace)
    # two distinct requests, hence two constant series for three VMs
    assert workload.demand.shape == (5, 2, 4)
    assert workload.demand[:, workload.apps.series[0]].tolist() == [[5000, 16384, 0, 0]] * 5
    assert workload.demand[:, workload.apps.series[1]].tolist() == [[1250, 2048, 0, 0]] * 5
    assert workload.apps.series[0] == workload.apps.series[2]
    assert workload.vms.arrival_tick.tolist() == [0, 1, 1]
    assert workload.vms.departure_tick.tolist() == [2, 2, 5]
    assert workload.defects["lives_raised_to_one_tick"] == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            HUAWEI.replace("mem", "ram"),
            r"missing column 'mem'; the file has 'vmid', 'cpu', 'ram', 'at', 'lt'",
        ),
        (HUAWEI.replace("450.0", "soon"), r"h\.csv: line 3: at: expected a number, got 'soon'"),
        (HUAWEI.replace("2,4,16", "2,-4,16"), r"h\.csv: line 4: cpu: expected .* at least 0, got -4"),
        (HUAWEI.replace("1,1,2,", "1,1,,"), r"h\.csv: line 3: mem: expected .*, got an empty cell"),
        (
            HUAWEI.replace("2,4,16", "2,1e300,16"),
            r"h\.csv: line 4: cpu: expected .* at most 1e\+12, got 1e\+300",
        ),
        (
            HUAWEI.replace("1200.0", "1e11"),
            r"h\.csv: expected at most 16,777,216 slots of 300 s, found 333,333,335",
        ),
        (HUAWEI.replace("1,1,2,", "1,1,2,5,"), r"h\.csv: line 3: expected 5 fields, found 6"),
        ("", r"h\.csv: expected delimited text, found an empty file"),
    ],
)
def test_a_bad_huawei_table_is_named(text, expected, tmp_path):
    (tmp_path / "h.csv").write_text(text)
    with pytest.raises(WorkloadError, match=expected) as error:
        read_huawei(str(tmp_path / "h.csv"))
    assert "\n" not in str(error.value)


def test_a_share_above_one_is_refused(tmp_path):
    (tmp_path / "h.csv").write_text(HUAWEI)
    with pytest.raises(WorkloadError, match="usage_memory: expected a share above 0 and up to 1, got 2"):
        read_huawei(str(tmp_path / "h.csv"), usage_memory=2)


def alibaba(path, pods=PODS, nodes=NODES):
    with tarfile.open(path, "w:gz") as archive:
        for name, text in (("openb_pod_list_default.csv", pods), ("openb_node_list_all_node.csv", nodes)):
            info = tarfile.TarInfo(f"cluster-trace-gpu-v2023/csv/{name}")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return str(path)


def test_pods_run_as_long_as_they_ran_from_when_they_were_created(tmp_path):
    trace = read_alibaba_gpu(alibaba(tmp_path / "x.tar.gz"))
    assert trace.vms.name == ("p0", "p1", "p2")
    assert trace.vms.arrival_s.tolist() == [0, 600, 900]
    assert trace.vms.departure_s.tolist() == [1200, 1200, 1800]
    assert trace.vms.gpus.tolist() == pytest.approx([0.46, 0, 8])
    assert trace.vms.cpu_mhz.tolist() == [30000, 20000, 40000]
    assert trace.defects == {"never_scheduled_vms": 1, "zero_memory_vms": 1}
    workload = to_workload(trace)
    series = workload.apps.series
    assert workload.gpu_series.tolist() == sorted(series[[0, 2]].tolist())
    column = workload.gpu_series.tolist().index(series[2])
    assert workload.gpu[:, column].tolist() == [8.0] * 6
    assert workload.vms.flavour[2].tolist() == [40000, 512, 25, 100, 8]
    assert workload.defects["derived_memory_vms"] == 1
    assert workload.demand[0, series[0]].tolist() == pytest.approx([9000, 16384, 0, 0])


def test_the_fleet_is_read(tmp_path):
    nodes = read_nodes(alibaba(tmp_path / "x.tar.gz"))
    assert nodes.name == ("n0", "n1")
    assert nodes.cores.tolist() == [64, 32]
    assert nodes.memory_mib.tolist() == [262144, 131072]
    assert nodes.gpus.tolist() == [2, 0]
    assert nodes.gpu_model == ("P100", "")


def test_a_list_without_times_is_refused(tmp_path):
    short = "name,cpu_milli,memory_mib,num_gpu,gpu_milli\np0,12000,16384,1,460\n"
    with pytest.raises(WorkloadError, match=r"openb_pod_list_default\.csv.*missing column 'creation_time'"):
        read_alibaba_gpu(alibaba(tmp_path / "x.tar.gz", pods=short))
    with pytest.raises(WorkloadError, match=r"expected openb_pod_list_cpu100\.csv, found no such file"):
        read_alibaba_gpu(str(tmp_path / "x.tar.gz"), pods="cpu100")
