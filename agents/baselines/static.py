"""Doing nothing: what a data centre costs when no VM moves and no host is switched.

Both leave the placement of arrivals to the world's own scheduler. On our physics they differ from CloudSim's
agents of the same names in that an idle host is not off: it draws what SPECpower_ssj2008 measured at active
idle.
"""

from __future__ import annotations

from collections.abc import Sequence

from foreshade._core import ClusterState
from foreshade.envs.model.action import Action
from foreshade.envs.site import Site


class NonPowerAware:
    """``npa``: every host that is on draws its full power always (Beloglazov & Buyya, CCPE 2012)."""

    name = "npa"
    power_managed = False

    def reset(self, site: Site) -> None:
        """Keeps nothing."""

    def act(self, state: ClusterState) -> Sequence[Action]:  # noqa: ARG002
        """Nothing."""
        return ()


class FrequencyScaling:
    """``dvfs``: power follows load along each server's curve, which is all that is managed (same source)."""

    name = "dvfs"
    power_managed = True

    def reset(self, site: Site) -> None:
        """Keeps nothing."""

    def act(self, state: ClusterState) -> Sequence[Action]:  # noqa: ARG002
        """Nothing."""
        return ()
