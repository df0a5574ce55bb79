"""Greedy on expected money: each tick the moves, drains and boots that earn what they cost."""

from __future__ import annotations

from collections.abc import Sequence

from foreshade._core import ClusterState
from foreshade.agents.agent import Site
from foreshade.agents.baselines.demand_window import WindowKnobs
from foreshade.agents.baselines.packer import Packer, PackerKnobs
from foreshade.envs.model.action import Action

#: Every knob at a plain value.
START = PackerKnobs()
#: Tuned on training data, see docs/packers.md.
TUNED = PackerKnobs(
    sigma_scale=2.0,
    drain_ticks=288,
    rack_credit=0.5,
    window=WindowKnobs(last=0.25, floor_sigma=(0.08, 0.01, 0.01, 0.01, 0.0)),
)


class ExpectedCost:
    """Nothing learned: the closed-form cost of docs/packers.md, taken downhill."""

    name = "expected-cost"
    power_managed = True

    def __init__(self, knobs: PackerKnobs = TUNED) -> None:
        self._knobs = knobs
        self._packer: Packer | None = None

    def reset(self, site: Site) -> None:
        """A run on ``site`` begins."""
        self._packer = Packer(self._knobs, site)

    def act(self, state: ClusterState) -> Sequence[Action]:
        """The actions of this tick."""
        if self._packer is None:
            raise RuntimeError(f"{self.name}: act: expected reset first")
        return self._packer.plan(state)
