"""The detectors beside a world: what is strange of its VMs and hosts, shown in ``ClusterState``.

```
vms.demand (cpu), vms.usage (memory) ──► AnomalyDetector, two series a VM ──┐
usage of four resources / flavour    ──► JointAnomalyDetector, a VM each ───┼─► vms.anomaly, anomaly_p, widen
usage / allocated, contention        ──► JointAnomalyDetector, a host each ─┴─► hosts.anomaly
```
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foreshade._core import AnomalyLabel, ClusterState
from foreshade.envs.anomaly.detector import (
    AnomalyDetector,
    AnomalyReport,
    DetectorConfig,
    EpisodeConfig,
    JointAnomalyDetector,
    JointConfig,
    surge_widening,
)
from foreshade.envs.errors import InputError
from foreshade.envs.model.state import HostState, Resource, VmState

Bools = npt.NDArray[np.bool_]
F64 = npt.NDArray[np.float64]
U8 = npt.NDArray[np.uint8]

#: Resources whose use is compared; GPUs are whole devices, whose use says little beside the CPU's.
_DENSE = [Resource.CPU, Resource.MEMORY, Resource.DISK, Resource.NETWORK]


@dataclass(frozen=True, slots=True)
class WatchConfig:
    """Memory of the detectors in seconds: they count samples, and a world has ticks of any length."""

    vm_memory_s: float = 300_000.0  # 3.5 days: the reference that was best on NAB's development part
    machine_memory_s: float = 14 * 86_400.0  # of the joint detectors
    alarm_p: float = 1e-3  # stricter than the benchmarks': thousands of series are watched, every tick
    accept_s: float = 86_400.0  # an anomaly that has lasted so long is the new normal
    refractory_s: float = 30_000.0  # no second alarm of a VM or host before, unless far stranger
    machine_calm_s: float = 3_600.0  # of calm that end a joint anomaly
    joint_vms: bool = False  # also judge a VM's resources together: labels then last thrice as long

    def __post_init__(self) -> None:
        for name in ("vm_memory_s", "machine_memory_s", "accept_s", "refractory_s", "machine_calm_s"):
            if not getattr(self, name) > 0:
                raise InputError(f"anomaly watch: {name}: expected above 0, got {getattr(self, name)}")

    def of_series(self, tick_s: float) -> DetectorConfig:
        """For single series that are sampled once a tick."""
        episode = EpisodeConfig(
            alarm_p=self.alarm_p,
            refractory_steps=_ticks(self.refractory_s, tick_s),
            accept_steps=_ticks(self.accept_s, tick_s),
        )
        return DetectorConfig(slow_steps=max(2.0, self.vm_memory_s / tick_s), episode=episode)

    def of_machines(self, tick_s: float) -> JointConfig:
        """For VMs and hosts whose metrics are sampled once a tick."""
        calm = JointConfig().episode.clear_p
        episode = EpisodeConfig(
            alarm_p=self.alarm_p,
            clear_p=calm,
            clear_steps=_ticks(self.machine_calm_s, tick_s),
            refractory_steps=_ticks(self.refractory_s, tick_s),
            accept_steps=_ticks(self.accept_s, tick_s),
        )
        refit = _ticks(JointConfig().refit_steps * 60.0, tick_s)
        memory = max(2.0, self.machine_memory_s / tick_s)
        return JointConfig(slow_steps=memory, refit_steps=refit, episode=episode)


@dataclass(frozen=True, slots=True)
class WatchAlarms:
    """What this sample raised, refractory period respected."""

    vms: Bools  # (n_vms,)
    hosts: Bools  # (n_hosts,)


class AnomalyWatch:
    """Looks at a world once a tick and fills ``vms.anomaly``, ``anomaly_p``, ``widen`` and ``hosts.anomaly``.

    A VM is judged while it runs or migrates: booting, paused and waiting VMs have no load to be strange, and
    a slot begins anew with every VM that takes it. A sample older than a tick counts as absent.
    """

    def __init__(self, n_vms: int, n_hosts: int, tick_s: float, config: WatchConfig = WatchConfig()) -> None:
        if not tick_s > 0:
            raise InputError(f"anomaly watch: tick_s: expected above 0, got {tick_s}")
        self._tick_s = tick_s
        self._n_vms, self._n_hosts = n_vms, n_hosts
        machines = config.of_machines(tick_s)
        self._series = AnomalyDetector(2 * n_vms, config.of_series(tick_s))  # CPU of all VMs, then memory
        self._joint = JointAnomalyDetector(n_vms, len(_DENSE), machines) if config.joint_vms else None
        self._hosts = JointAnomalyDetector(n_hosts, len(_DENSE) + 1, machines)
        self._birth = np.zeros(n_vms, np.uint32)
        self._seen = np.zeros(n_vms, np.bool_)

    def update(self, state: ClusterState) -> WatchAlarms:
        """Take in what ``state`` shows and write the verdicts into it; a repeated time changes nothing.

        Raises:
            InputError: the state has another size than the watch.

        """
        if (len(state.vms.state), len(state.hosts.state)) != (self._n_vms, self._n_hosts):
            raise InputError(
                f"anomaly watch: expected {self._n_vms} VMs and {self._n_hosts} hosts, "
                f"got {len(state.vms.state)} and {len(state.hosts.state)}"
            )
        self._forget_the_gone(state)
        reports, running = self._judge_vms(state)
        label, p = _strangest(reports)
        widen = np.maximum(*(surge_widening(report) for report in reports[:2]))
        host, host_on = self._judge_hosts(state)
        state.show_anomalies(
            np.where(running, label, AnomalyLabel.NORMAL).astype(np.uint8),
            np.where(running, p, 1.0).astype(np.float32),
            np.where(running, widen, 1.0).astype(np.float32),
            np.where(host_on, host.label, AnomalyLabel.NORMAL).astype(np.uint8),
        )
        return WatchAlarms(np.logical_or.reduce([report.alarm for report in reports]), host.alarm)

    def _forget_the_gone(self, state: ClusterState) -> None:
        vms = state.vms
        changed = (vms.birth != self._birth) | (vms.state == VmState.ABSENT)
        for vm in np.flatnonzero(self._seen & changed).tolist():
            self._series.forget(vm)
            self._series.forget(self._n_vms + vm)
            if self._joint is not None:
                self._joint.forget(vm)
            self._seen[vm] = False
        self._birth[:] = vms.birth

    def _judge_vms(self, state: ClusterState) -> tuple[list[AnomalyReport], Bools]:
        """Reports of CPU, of memory and of all together, (n_vms,) each; which VMs they are about."""
        vms = state.vms
        running = (vms.state == VmState.RUNNING) | (vms.state == VmState.MIGRATING)
        self._seen |= running
        fresh = running & (vms.age_s < self._tick_s)
        due_s = np.where(running, state.time_s, np.nan)  # NaN: no sample is due
        wants = vms.usage[:, _DENSE].astype(np.float64)
        wants[:, Resource.CPU] = vms.demand[:, Resource.CPU]  # contention is the host's affair
        wants[~fresh] = np.nan
        both = self._series.observe(np.tile(due_s, 2), wants[:, :2].T.ravel())
        reports = [_part(both, slice(self._n_vms)), _part(both, slice(self._n_vms, None))]
        if self._joint is not None:
            share = wants / np.maximum(vms.flavour[:, _DENSE], 1e-6)
            reports.append(self._joint.observe(due_s, share))
        return reports, running

    def _judge_hosts(self, state: ClusterState) -> tuple[AnomalyReport, Bools]:
        """What its VMs use of what they may use: placing VMs moves a host's load, but hardly that share."""
        hosts = state.hosts
        busy = (hosts.state == HostState.ON) & (hosts.n_vms > 0)
        share = hosts.usage[:, _DENSE] / np.maximum(hosts.allocated[:, _DENSE], 1e-6)
        metrics = np.column_stack([share, hosts.contention]).astype(np.float64)
        metrics[~(hosts.age_s < self._tick_s)] = np.nan
        return self._hosts.observe(np.where(busy, state.time_s, np.nan), metrics), busy


class LiveWatch:
    """A watch of a cluster whose slots may become more: then it begins anew. Called once a tick with its state."""

    def __init__(self, tick_s: float, config: WatchConfig = WatchConfig()) -> None:
        self._tick_s, self._config = tick_s, config
        self._size = (0, 0)
        self._watch: AnomalyWatch | None = None

    def __call__(self, state: ClusterState) -> None:
        """Write the verdicts of this tick into ``state``."""
        size = (len(state.vms.state), len(state.hosts.state))
        if self._watch is None or size != self._size:
            self._size, self._watch = size, AnomalyWatch(*size, self._tick_s, self._config)
        self._watch.update(state)


def _ticks(seconds: float, tick_s: float) -> int:
    return max(1, round(seconds / tick_s))


def _part(report: AnomalyReport, part: slice) -> AnomalyReport:
    return AnomalyReport(
        report.label[part], report.p[part], report.since_s[part], report.alarm[part], report.deviation[part]
    )


def _strangest(reports: list[AnomalyReport]) -> tuple[U8, F64]:
    """The label of the smallest p among those that are not normal, and one p-value for all (Bonferroni)."""
    labels, p = np.stack([r.label for r in reports]), np.stack([r.p for r in reports])
    open_p = np.where(labels == AnomalyLabel.NORMAL, 2.0, p)
    best = np.argmin(open_p, axis=0)
    label: U8 = np.take_along_axis(labels, best[None], axis=0)[0]
    return label, np.minimum(1.0, len(reports) * p.min(axis=0))
