"""The tick that both packers share, run natively (`cpp/core/decide/packer.hpp`): its knobs and its actions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

from foreshade import _core
from foreshade._core import ClusterState
from foreshade.agents.agent import Site
from foreshade.agents.baselines.demand_window import WindowKnobs
from foreshade.agents.site import native_site
from foreshade.envs.model.action import Action, ActionKind


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
    drain_hosts: int = 4  # hosts emptied in a tick at most, or one in 25
    drain_trials: int = 64  # hosts looked at for it, or a quarter
    reserve: float = 1.0  # room kept for arrivals, times the most that came in one tick of the last hours
    failover: float = 1.0  # room kept for the fullest host's failure, where hosts fail; times its memory
    grace_s: float = 600.0  # a host that has come up is left on so long
    hazard_per_h: float = 0.1  # failure hazard above which a host is emptied and shunned
    racks: bool = True  # whether a rack whose hosts are all off is switched off
    rack_credit: float = 0.0  # share of a rack's power that its hosts' drains are credited with
    wake_trials: int = 2  # hosts that are off whose opening is weighed in a tick
    # The n-sigma measure; without it cost alone decides.
    z: float | None = None
    target: float = 1.0
    relief: float = 1.0
    fullest: bool = False
    sigma_scale: float = 1.0  # of the expected cost

    def __post_init__(self) -> None:
        for name in ("horizon_ticks", "drain_ticks", "drain_hosts", "drain_trials", "wake_trials"):
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


class Packer:
    """The native packer behind Python's actions; only its memory of demand and arrivals lasts between ticks."""

    def __init__(self, knobs: PackerKnobs, site: Site) -> None:
        self._native = _core.Packer(native_site(site), knobs.native())

    def plan(self, state: ClusterState) -> Sequence[Action]:
        """The actions of this tick; called once a tick."""
        self._native.observe(state)
        return [
            Action(ActionKind(kind), vm=vm, host=host, rack=rack, value=value, reason=reason)
            for kind, vm, host, rack, value, reason in self._native.plan(state)
        ]
