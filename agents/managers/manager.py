"""What a component offers, and the port through which it is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

from foreshade import _core
from foreshade._core import ClusterState
from foreshade.agents.bars import Bars
from foreshade.envs.candidates import KINDS
from foreshade.envs.knobs import Knobs
from foreshade.envs.model.action import Action
from foreshade.envs.site import Site

_NOTHING = (0.0, 0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Offer:
    """A candidate with its actions and what it is worth; chosen whole, or not at all.

    It is weighed against all other candidates by ``performance + utilisation - cost - latency``, expected USD
    over the proposer's horizon, and leaves the tick's candidates once what was booked leaves no room for it.
    """

    kind: str  # of ``foreshade.envs.candidates.KINDS``
    actions: tuple[Action, ...]  # in order; at least one
    reason: str  # one line, for people
    vm: int = -1  # what it is about, for the features: VM, where it goes, where it leaves
    host: int = -1
    source: int = -1
    performance: float = 0.0  # USD of unmet demand avoided
    utilisation: float = 0.0  # USD of energy, hire and room saved
    cost: float = 0.0  # USD of the transition
    latency: float = 0.0  # USD of lateness and downtime added
    ready_h: float = 0.0  # until it has its effect
    preferred: bool = True  # whether the rules may take it
    #: The need that it meets, e.g. ``capacity of app 3``: of the offers that claim the same one is taken.
    claim: str = ""

    def native(self, by: str) -> _core.OfferTuple:
        """The same for the proposer."""
        return (
            KINDS.index(self.kind),
            (self.vm, self.host, self.source),
            (self.performance, self.utilisation, self.cost, self.latency),
            self.ready_h,
            self.preferred,
            by,
            self.reason,
            self.claim,
            [
                (int(a.kind), a.vm, a.host, a.app, a.rack, a.value, a.value2, list(a.allocation or _NOTHING))
                for a in self.actions
            ],
        )


class ManagerKnobs(Knobs):
    """What every component's section of the file may say; its own knobs are added by subclasses."""

    enabled: bool = False  # whether it is on where nobody names components
    #: On a site where it cannot work: True = it does nothing; False = that is an error, as always where it is named.
    else_idle: bool = False


class Advice(NamedTuple):
    """Knobs of the rules that outcomes correct."""

    headroom: float  # decayed peaks that a VM is right-sized to
    threshold: float  # idle host hours that a candidate must earn


class Manager(Protocol):
    """A component: asked once a tick, told which of its offers entered the plan; does no I/O."""

    @property
    def name(self) -> str:
        """As in ``evaluate --components`` and in reports."""
        ...

    def reset(self, site: Site) -> None:
        """Forget everything; a run on ``site`` begins."""
        ...

    def offers(self, state: ClusterState, bars: Bars, /) -> Sequence[Offer]:
        """What could be done this tick beside what all components bar; ``state`` may not be written or kept."""
        ...

    def taken(self, offer: Offer) -> None:
        """One of this tick's offers entered the plan; whether the world took it shows in later states."""
        ...


@runtime_checkable
class RackSeer(Manager, Protocol):
    """A component that is told which racks are switched off, by whatever the plans were made of."""

    def see_racks(self, dark: frozenset[int]) -> None:
        """Racks that are dark as this tick begins; comes before all else of the tick."""
        ...


@runtime_checkable
class Adviser(Manager, Protocol):
    """A component that corrects the rules by what came of their actions."""

    def begin(self, advice: Advice) -> None:
        """A run begins, after the reset, with the knobs as they are without advice."""
        ...

    def advice(self) -> Advice | None:
        """The knobs from the next tick on; None = as they are."""
        ...

    def planned(self, state: ClusterState, actions: Sequence[Action]) -> None:
        """The plan of the tick whose ``state`` this is; a guard or the world may yet refuse parts of it."""
        ...

    def outcomes(self) -> Mapping[str, Mapping[str, float]]:
        """What came of actions by kind, and where the knobs stand; for reports."""
        ...
