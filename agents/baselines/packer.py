"""The tick that both packers share, run natively (`cpp/core/decide/packer.hpp`): its actions."""

from __future__ import annotations

from collections.abc import Sequence

from foreshade import _core
from foreshade._core import ClusterState
from foreshade.envs.model.action import Action, ActionKind
from foreshade.envs.packers import PackerKnobs
from foreshade.envs.site import Site, native_site


class Packer:
    """The native packer behind Python's actions; only its memory of demand lasts between ticks."""

    def __init__(self, knobs: PackerKnobs, site: Site) -> None:
        self._native = _core.Packer(native_site(site), knobs.native())

    def plan(self, state: ClusterState) -> Sequence[Action]:
        """The actions of this tick; called once a tick."""
        self._native.observe(state)
        return [
            Action(ActionKind(kind), vm=vm, host=host, rack=rack, value=value, reason=reason)
            for kind, vm, host, rack, value, reason in self._native.plan(state)
        ]
