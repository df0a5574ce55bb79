"""The packed npz sets: shares of a reference size, and the 57 s clock."""

import numpy as np
import pytest

from foreshade.envs.errors import WorkloadError
from foreshade.envs.workloads.packed import read_google_vms, read_gpu_pods


def test_google_percents_become_shares_of_the_reference_size(tmp_path):
    path = tmp_path / "g.npz"
    np.savez(
        path,
        cpu_pct_x100=np.array([[1000, 2000, 3000], [10000, 0, 50]], np.uint16),
        mem_pct_x100=np.array([[2500, 2500, 2500], [21531, 0, 10000]], np.uint16),
        name=np.array(["vm_12_7", "vm_12_8"]),
    )
    trace = read_google_vms(str(path), cores=4, memory_mib=1024)
    np.testing.assert_allclose(trace.series["cpu"], [[1000, 10000], [2000, 0], [3000, 50]], rtol=1e-6)
    np.testing.assert_allclose(trace.series["memory"][:, 0], [256, 256, 256], rtol=1e-6)
    assert trace.vms.application == ("vm_12", "vm_12")
    assert trace.vms.cpu_mhz.tolist() == [10000, 10000]
    with pytest.raises(WorkloadError, match="cores: expected a number above 0, got -1"):
        read_google_vms(str(path), cores=-1)


def pods(path, **changes):
    n = 16  # 16 x 57 s = 912 s: 300 s hold samples 0-5, 6-10, 11-15, and none begins in the rest
    gpu = np.arange(n, dtype=np.float32)[None]
    memory = np.stack([np.full(n, 0.5, np.float32), np.full(n, 0.25, np.float32)])
    memory[1, :6] = np.nan
    memory[1, 6] = -1e-5
    arrays = {
        "t": 1662858720.0 + 57 * np.arange(n),
        "gpu_util_pct": gpu,
        "gpu_util_pct_pod": np.array(["b"]),
        "mem_util": memory,
        "mem_util_pod": np.array(["b", "a"]),
    }
    np.savez(path, **{**arrays, **changes})
    return str(path)


def test_pods_are_brought_to_300_s_by_the_mean(tmp_path):
    trace = read_gpu_pods(pods(tmp_path / "p.npz"), memory_mib=1000)
    assert trace.vms.name == ("a", "b")
    assert trace.n_ticks == 3
    gpu = [np.mean([k for k in range(16) if k * 57 // 300 == tick]) / 100 for tick in range(3)]
    np.testing.assert_allclose(trace.series["gpu"][:, 1], gpu, rtol=1e-6)
    np.testing.assert_allclose(trace.series["memory"][:, 1], [500, 500, 500])
    np.testing.assert_allclose(trace.series["memory"][:, 0], [np.nan, 200, 250])
    assert trace.vms.gpus.tolist() == [0, 1]
    assert trace.vms.arrival_s.tolist() == [300, 0]
    assert trace.start_epoch_s == 1662858720
    assert trace.defects["negative_cells"] == 1


def test_a_broken_pack_is_named(tmp_path):
    with pytest.raises(WorkloadError, match="gpu_util_pct: expected \\(1, 16\\), found \\(2, 16\\)"):
        read_gpu_pods(pods(tmp_path / "a.npz", gpu_util_pct=np.zeros((2, 16), np.float32)))
    with pytest.raises(WorkloadError, match="t: expected a regular clock in whole seconds"):
        read_gpu_pods(pods(tmp_path / "b.npz", t=np.arange(16.0) ** 2))
    with pytest.raises(WorkloadError, match=r"missing array 'cpu_pct_x100'; the file has t, gpu_util_pct"):
        read_google_vms(pods(tmp_path / "c.npz"))
    data = (tmp_path / "c.npz").read_bytes()
    (tmp_path / "d.npz").write_bytes(data[: len(data) // 2])
    with pytest.raises(WorkloadError, match=r"d\.npz: expected a complete npz file"):
        read_gpu_pods(str(tmp_path / "d.npz"))
    with pytest.raises(WorkloadError, match="expected an npz file, found a folder"):
        read_gpu_pods(str(tmp_path))
