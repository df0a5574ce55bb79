"""A workload as a trace: what each VM would have been measured to want, one series per VM."""

from __future__ import annotations

import numpy as np

from foreshade.envs.workloads.trace import REFERENCE_CORE_MHZ, Trace, VmTable
from foreshade.envs.workloads.workload import Workload


def to_trace(workload: Workload) -> Trace:
    """Split each application's demand over its members, as the world does with equal weights.

    Memory of a member is its share of the application's: with equal weights the floor does not matter.
    Disk and network have no direction in a workload: they become reads and received traffic.
    """
    app = workload.vms.app
    column = workload.apps.series[app]
    members = workload.apps.members[app].astype(np.float32)
    demand = workload.demand[:, column, :] / members[None, :, None]
    ticks = np.arange(workload.n_ticks)[:, None]
    alive = (ticks >= workload.vms.arrival_tick) & (ticks < workload.vms.departure_tick)
    demand = np.where(alive[:, :, None], demand, np.nan).astype(np.float32)
    series = {
        "cpu": demand[:, :, 0],
        "memory": demand[:, :, 1],
        "disk_read": demand[:, :, 2],
        "disk_write": np.where(alive, np.float32(0), np.float32(np.nan)),
        "net_rx": demand[:, :, 3],
        "net_tx": np.where(alive, np.float32(0), np.float32(np.nan)),
    }
    if workload.gpu_series.size:
        gpu = np.zeros((workload.n_ticks, workload.n_series), np.float32)
        gpu[:, workload.gpu_series] = workload.gpu
        series["gpu"] = np.where(alive, gpu[:, column] / members, np.nan).astype(np.float32)
    end = np.where(
        workload.vms.departure_tick >= workload.n_ticks,
        np.inf,
        workload.vms.departure_tick.astype(np.float64) * workload.tick_s,
    )
    flavour = workload.vms.flavour
    return Trace(
        name=workload.name,
        source=workload.source,
        start_epoch_s=workload.start_epoch_s,
        step_s=workload.tick_s,
        vms=VmTable(
            name=workload.vms.name,
            cores=flavour[:, 0] / np.float32(REFERENCE_CORE_MHZ),
            cpu_mhz=flavour[:, 0],
            memory_mib=flavour[:, 1],
            gpus=flavour[:, 4],
            arrival_s=workload.vms.arrival_tick.astype(np.float64) * workload.tick_s,
            departure_s=end,
            application=tuple(workload.apps.name[a] for a in app),
        ),
        series=series,
        defects=dict(workload.defects),
        notes=workload.notes,
    )
