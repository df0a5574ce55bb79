"""The port through which everything sees and touches a cluster, simulated or live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from foreshade._core import ClusterState
from foreshade.envs.model.action import ActionKind, Outcome, Plan


class World(Protocol):
    """A cluster that can be observed, acted on and advanced by one control interval."""

    @property
    def capabilities(self) -> frozenset[ActionKind]:
        """The kinds of action this world can carry out."""
        ...

    @property
    def tick_s(self) -> float:
        """Length of a control interval in seconds."""
        ...

    @property
    def done(self) -> bool:
        """Whether the last tick of the workload has been played; a live world is never done."""
        ...

    def observe(self) -> ClusterState:
        """The cluster now, as an operator can know it.

        The same object each time, refilled in place: copy what must outlive the next call.
        """
        ...

    def execute(self, plan: Plan) -> Sequence[Outcome]:
        """Start the plan's actions in order, each checked on the state that the ones before left.

        One outcome per action. An action that cannot be carried out is refused with a reason and changes
        nothing; it never raises for what the world looks like.
        """
        ...

    def advance(self) -> Mapping[str, float]:
        """Let one control interval pass; returns what it cost, by term, in USD."""
        ...


@runtime_checkable
class ReplayableWorld(World, Protocol):
    """A world whose workload can be played again from any of its ticks."""

    @property
    def n_ticks(self) -> int:
        """Ticks that can be played."""
        ...

    def reset(self, seed: int, start_tick: int = 0) -> None:
        """Start again with every VM of that tick waiting; the same seed gives the same run."""
        ...

    def schedule(self) -> int:
        """Place what waits by the world's own rule; returns how many VMs still wait."""
        ...
