"""How demand is estimated from what was seen: knobs of the native sliding window, with the reason of each."""

from __future__ import annotations

from dataclasses import dataclass

from foreshade import _core

Shares = tuple[float, float, float, float, float]


@dataclass(frozen=True, slots=True)
class WindowKnobs:
    """Shares are of the VM's allocation, in the order CPU, memory, disk, network, GPU."""

    ticks: int = 12  # long enough for a variance, short enough to follow a day's curve
    last: float = 0.0  # weight of the newest sample in the mean, beside the window's
    prior_ticks: float = 2.0  # samples that the prior counts for
    # What VMs want before any telemetry; the cluster's own use takes its place at the first sample.
    # Memory counts in full: a host that swaps costs more than all that a tighter first tick could save.
    prior_mean: Shares = (0.15, 1.0, 0.05, 0.05, 0.5)
    prior_sigma: Shares = (0.2, 0.05, 0.05, 0.05, 0.2)
    floor_sigma: Shares = (0.02, 0.01, 0.01, 0.01, 0.0)  # a quiet window does not promise quiet

    def native(self) -> _core.WindowKnobs:
        """The same knobs for the native window."""
        native = _core.WindowKnobs()
        native.ticks, native.last, native.prior_ticks = self.ticks, self.last, self.prior_ticks
        native.prior_mean = list(self.prior_mean)
        native.prior_sigma = list(self.prior_sigma)
        native.floor_sigma = list(self.floor_sigma)
        return native

    def window(self, n_vms: int, tick_s: float) -> _core.DemandWindow:
        """An empty window for so many VM slots."""
        return _core.DemandWindow(self.native(), n_vms, tick_s)
