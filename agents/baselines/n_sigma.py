"""N-sigma: hosts are filled until mean + z sigma of their VMs' summed demand reaches a share of the capacity.

The peak predictor of Bashir et al., "Take it to the limit: peak prediction-driven resource overcommitment in
datacenters", EuroSys 2021, as a packer: the same measure places, relieves and drains, from the first tick on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from foreshade._core import ClusterState
from foreshade.agents.baselines.packer import Packer
from foreshade.envs.model.action import Action
from foreshade.envs.packers import N_SIGMA, PackerKnobs
from foreshade.envs.site import Site

#: The textbook's two sigma, with every other knob at a plain value.
START = PackerKnobs(z=2.0, target=1.0, relief=1.0)
#: Tuned on training data, see docs/packers.md.
TUNED = N_SIGMA


class NSigma:
    """Packs by peaks; energy alone decides among the hosts whose peak stays below the target."""

    power_managed = True

    def __init__(self, z: float | None = None, knobs: PackerKnobs = TUNED) -> None:
        self._knobs = knobs if z is None else replace(knobs, z=z)
        self._packer: Packer | None = None

    @property
    def name(self) -> str:
        """As on the command line."""
        return f"n-sigma-{self._knobs.z:g}"

    def reset(self, site: Site) -> None:
        """A run on ``site`` begins."""
        self._packer = Packer(self._knobs, site)

    def act(self, state: ClusterState) -> Sequence[Action]:
        """The actions of this tick."""
        if self._packer is None:
            raise RuntimeError(f"{self.name}: act: expected reset first")
        return self._packer.plan(state)
