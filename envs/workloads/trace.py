"""What was measured: per-VM series as a trace publishes them, gaps and all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from foreshade.envs.errors import WorkloadError

FloatArray = npt.NDArray[np.float32]

#: The measured series, with the unit each is stored in.
SERIES_UNITS: Mapping[str, str] = {
    "cpu": "MHz",
    "memory": "MiB",
    "disk_read": "MiB/s",
    "disk_write": "MiB/s",
    "net_rx": "Mbit/s",
    "net_tx": "Mbit/s",
    "gpu": "GPUs",
}

#: Above any machine in any of these units, and far below where float32 ends: more is a damaged cell.
MOST_MEASURED = 1e12

#: Slots of a clock beyond which a time stamp must be wrong: 160 years at 300 s, six months at 1 s.
MOST_SLOTS = 2**24

#: Where a trace counts cores and gives no clock, one core is taken as this many MHz.
REFERENCE_CORE_MHZ = 2500.0

#: Share of a request that is demanded where nothing was measured. CPU: above the mean and below the 95th
#: percentile of what VMs use of their request in the sets that measure it (``docs/workloads.md``,
#: Statistics); memory and GPUs are held from start to end, so the whole request.
UNMEASURED_SHARE: Mapping[str, float] = {"cpu": 0.3, "memory": 1.0, "gpu": 1.0}


@dataclass(frozen=True, slots=True)
class VmTable:
    """One row per VM, in the order of the trace's series columns."""

    name: tuple[str, ...]
    cores: FloatArray  # (n_vms,) vCPUs; NaN where the trace does not say
    cpu_mhz: FloatArray  # (n_vms,) MHz provisioned
    memory_mib: FloatArray  # (n_vms,) MiB provisioned; NaN where the trace does not say
    gpus: FloatArray  # (n_vms,) GPUs requested, fractions allowed
    arrival_s: npt.NDArray[np.float64]  # (n_vms,) s after the trace's start
    departure_s: npt.NDArray[np.float64]  # (n_vms,) s after the trace's start, inf = stays
    application: tuple[str, ...]  # what the VMs serve together; the VM's own name where unknown

    def __len__(self) -> int:
        """Number of VMs."""
        return len(self.name)


@dataclass(frozen=True, slots=True)
class Trace:
    """Measured series of many VMs on one regular clock.

    ``series`` maps a name of ``SERIES_UNITS`` to ``(n_ticks, n_vms) float32`` in that unit; NaN = not
    measured (a gap, or outside the VM's life). A series that the source does not have is absent.
    ``defects`` counts what was met and mended while reading, by kind (``gap_slots``, ``duplicate_slots``,
    ``zero_capacity_vms``, …); nothing is mended without a count. A source of requests alone has no series:
    then ``n_slots`` gives the length of the clock and ``assumed`` the share of each request that is demanded.
    """

    name: str
    source: str  # where a person finds it: path or archive member
    start_epoch_s: int  # Unix time of slot 0; 0 where the source has no calendar
    step_s: int
    vms: VmTable
    series: Mapping[str, FloatArray]
    defects: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()  # e.g. "header says ms, the unit is s"
    n_slots: int = 0  # slots on the clock where there is no series to count them
    assumed: Mapping[str, float] = field(default_factory=lambda: dict(UNMEASURED_SHARE))

    def __post_init__(self) -> None:
        n_vms = len(self.vms)
        if self.step_s <= 0:
            raise WorkloadError(f"{self.source}: step must be positive, got {self.step_s} s")
        if n_vms == 0:
            raise WorkloadError(f"{self.source}: expected at least one VM, found none")
        for key, values in self.series.items():
            if key not in SERIES_UNITS:
                raise WorkloadError(f"{self.source}: unknown series {key!r}")
            if values.ndim != 2 or values.shape[1] != n_vms:
                raise WorkloadError(
                    f"{self.source}: series {key} has shape {values.shape}, expected (n_ticks, {n_vms})"
                )
        if len({v.shape[0] for v in self.series.values()}) > 1:
            raise WorkloadError(f"{self.source}: the series have different lengths")
        if self.n_ticks <= 0:
            raise WorkloadError(f"{self.source}: expected at least one slot on the clock, found none")
        if self.n_ticks > MOST_SLOTS:
            raise WorkloadError(
                f"{self.source}: expected at most {MOST_SLOTS:,} slots of {self.step_s} s, found "
                f"{self.n_ticks:,}: look for a wrong time stamp"
            )
        for key in ("cores", "cpu_mhz", "memory_mib", "gpus"):
            sizes = getattr(self.vms, key)  # NaN where the trace does not say
            wrong = np.flatnonzero((sizes < 0) | (sizes > MOST_MEASURED))
            if wrong.size:
                vm = int(wrong[0])
                raise WorkloadError(
                    f"{self.source}: {key} of VM {self.vms.name[vm]!r}: expected 0 to {MOST_MEASURED:g}, got "
                    f"{sizes[vm]:g}"
                )
        for key, values in self.series.items():
            self._check_measured(key, values)

    def _check_measured(self, key: str, values: FloatArray) -> None:
        # NaN is a gap: fmin and fmax pass over it, and make no copy of what may be gigabytes
        low, high = np.fmin.reduce(values, axis=None), np.fmax.reduce(values, axis=None)
        if low < 0 or high > MOST_MEASURED:
            slot, vm = (int(k) for k in np.argwhere((values < 0) | (values > MOST_MEASURED))[0])
            raise WorkloadError(
                f"{self.source}: {key} of VM {self.vms.name[vm]!r} in slot {slot}: expected 0 to "
                f"{MOST_MEASURED:g} {SERIES_UNITS[key]}, got {values[slot, vm]:g}"
            )

    @property
    def n_ticks(self) -> int:
        """Number of slots on the clock."""
        return next((int(v.shape[0]) for v in self.series.values()), self.n_slots)
