"""Greedy on expected money: each tick the moves, drains and boots that earn what they cost."""

from __future__ import annotations

from collections.abc import Sequence

from foreshade._core import ClusterState
from foreshade.agents.baselines.packer import Packer
from foreshade.envs.model.action import Action
from foreshade.envs.packers import EXPECTED_COST, PackerKnobs
from foreshade.envs.site import Site

#: Every knob at a plain value.
START = PackerKnobs()
#: Tuned on training data, see docs/packers.md.
TUNED = EXPECTED_COST


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
