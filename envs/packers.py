"""Knobs of the native packers, whose whole tick is a baseline or one candidate (docs/packers.md)."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace

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
    sigma_ticks: float = 0.0  # samples that the prior counts for in the variance; 0 = as many as in the mean
    forecast: float = 0.0  # weight of the state's forecast, where it has one, beside the window
    forecast_ticks: int = 12  # its horizon: the nearest that there is

    def native(self) -> _core.WindowKnobs:
        """The same knobs for the native window."""
        native = _core.WindowKnobs()
        native.ticks, native.last, native.prior_ticks = self.ticks, self.last, self.prior_ticks
        native.prior_mean = list(self.prior_mean)
        native.prior_sigma = list(self.prior_sigma)
        native.floor_sigma = list(self.floor_sigma)
        native.sigma_ticks = self.sigma_ticks
        native.forecast, native.forecast_ticks = self.forecast, self.forecast_ticks
        return native

    def window(self, n_vms: int, tick_s: float) -> _core.DemandWindow:
        """An empty window for so many VM slots."""
        return _core.DemandWindow(self.native(), n_vms, tick_s)


@dataclass(frozen=True, slots=True)
class PackerKnobs:
    """What a packer can be tuned by; the defaults of each agent are in its own file.

    Raises:
        ValueError: a knob is out of its range.

    """

    window: WindowKnobs = field(default_factory=WindowKnobs)
    horizon_ticks: int = 24  # over which a saving counts
    drain_ticks: int = 24  # over which a drain's saving counts; a host that is off may stay off for long
    margin_usd: float = 0.0  # least gain of a move
    boot_weight: float = 1.0  # share of a boot's price that a drain must earn
    move_weight: float = 1.0  # times what a migration is reckoned to cost
    drain_hosts: int = 10_000  # hosts emptied in a tick at most
    drain_trials: int = 10_000  # hosts looked at for it
    drain_misses: int = 10_000  # hosts in a row that come to nothing, after which no more are looked at
    near: int = 0  # hosts with room that a VM's places are sought among, the cheapest by and large; 0 = all
    reserve: float = 1.0  # room kept for arrivals, times the most that came in one tick of the last hours
    #: Room kept for the fullest host's failure, where hosts fail, times its memory; with `urgent` what a failure is
    #: reckoned to cost, times this, is weighed against the room.
    failover: float = 1.0
    grace_s: float = 600.0  # a host that has come up is left on so long
    hazard_per_h: float = 0.1  # failure hazard above which a host is emptied and shunned
    racks: bool = True  # whether a rack whose hosts are all off is switched off
    rack_credit: float = 0.0  # share of a rack's power that its hosts' drains are credited with
    wake_trials: int = 2  # hosts that are off whose opening is weighed in a tick
    layout: bool = False  # whether many hosts are emptied at once where far fewer would do
    acute_weight: float = 0.0  # as move_weight, off a host that is short of CPU now; 0 = none for that alone
    acute_uneven: float = 0.0  # how much more a VM's loss counts for each mean demand of it that it comes to
    whole_racks: bool = False  # whether racks that need not stand are emptied as a whole
    urgent: bool = False  # whether those whose waiting costs most come first where not all find room
    urgent_gpus: bool = False  # the same where some of those want GPUs
    kin: float = 0.0  # correlation of what the VMs of one application want
    # The n-sigma measure; without it cost alone decides.
    z: float | None = None
    target: float = 1.0
    relief: float = 1.0
    fullest: bool = False
    sigma_scale: float = 1.0  # of the expected cost

    def __post_init__(self) -> None:
        for name in (
            "horizon_ticks",
            "drain_ticks",
            "drain_hosts",
            "drain_trials",
            "drain_misses",
            "near",
            "wake_trials",
        ):
            if getattr(self, name) < 0:
                raise ValueError(f"packer: {name}: expected 0 or more, got {getattr(self, name)}")
        self.native().check()

    def native(self) -> _core.PackerKnobs:
        """The same knobs for the native packer."""
        native = _core.PackerKnobs()
        for knob in fields(self):
            if knob.name not in ("window", "z"):
                setattr(native, knob.name, getattr(self, knob.name))
        native.window = self.window.native()
        native.peaks, native.z = self.z is not None, self.z or 0.0
        return native


#: `expected-cost`, tuned on training data (docs/packers.md).
EXPECTED_COST = PackerKnobs(
    sigma_scale=2.0,
    drain_ticks=288,
    rack_credit=0.5,
    window=WindowKnobs(last=0.25, floor_sigma=(0.08, 0.01, 0.01, 0.01, 0.0)),
)
#: `expected-cost` that sees the VMs of an application, the racks, and who waits as a whole, tuned likewise.
JOINT = replace(
    EXPECTED_COST,
    sigma_scale=1.5,
    kin=1.0,
    urgent=True,
    whole_racks=True,
    failover=12.0,
    acute_weight=1.0,
)
#: `n-sigma`, tuned on training data (docs/packers.md).
N_SIGMA = PackerKnobs(
    z=2.5,
    target=0.95,
    relief=1.0,
    boot_weight=0.5,
    drain_ticks=288,
    reserve=0.5,
    window=WindowKnobs(ticks=6, last=0.5),
)
#: `expected-cost` where an idle host is off at once and for nothing: the whole layout in the first tick, then moves
#: off hosts that are short now, and others only where they pay for hours. Tuned on PlanetLab days (docs/cloudsim.md).
IDLE_IS_OFF = PackerKnobs(
    sigma_scale=1.55,
    horizon_ticks=72,
    drain_ticks=240,
    move_weight=150.0,  # an arrival counts as a violation of its target there, whatever it gets
    acute_weight=7.0,
    acute_uneven=60.0,
    wake_trials=1,
    layout=True,
    # PlanetLab's VMs scatter around a level of their own, one sample much like the next: a long window, no newest.
    # Its spikes reach a VM's whole allocation, so the least spread is a share of that, not of what the VM has wanted.
    window=WindowKnobs(
        ticks=24,
        prior_ticks=1.0,
        sigma_ticks=8.0,
        prior_sigma=(0.08, 0.05, 0.05, 0.05, 0.2),
        floor_sigma=(0.08, 0.01, 0.01, 0.01, 0.0),
    ),
)
