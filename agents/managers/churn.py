"""The churn rules as a component: it offers nothing, bars what rests and looks at every move once more."""

from __future__ import annotations

from collections.abc import Sequence

from foreshade._core import ClusterState
from foreshade.agents.bars import Bars, Mask
from foreshade.agents.churn import Churn, ChurnKnobs
from foreshade.agents.managers.manager import ManagerKnobs, Offer
from foreshade.envs.model.action import Action
from foreshade.envs.site import Site


class ChurnManagerKnobs(ManagerKnobs, ChurnKnobs):
    """The knobs of ``foreshade.agents.churn``."""


class ChurnManager:
    """``foreshade.agents.churn`` beside the components."""

    name = "churn"

    def __init__(self, knobs: ChurnManagerKnobs | None = None) -> None:
        self.rules = Churn(knobs or ChurnManagerKnobs())

    def reset(self, site: Site) -> None:
        """A run begins."""
        del site  # the rules know hosts by the state
        self.rules.reset()

    def heed(self, state: ClusterState, leaving: Mask) -> Bars:
        """VMs that rest, hosts that took one of late, and hosts that may not be left."""
        return self.rules.bars(state, leaving)

    def admit(self, state: ClusterState, actions: Sequence[Action], bars: Bars) -> list[Action]:
        """The plan without the moves that may not be."""
        return self.rules.admit(state, actions, bars)

    def offers(self, state: ClusterState, _bars: Bars, /) -> Sequence[Offer]:
        """None."""
        del state
        return ()

    def taken(self, offer: Offer) -> None:
        """Nothing was offered."""
