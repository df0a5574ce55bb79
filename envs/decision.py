"""How a tick is cut into decisions and a workload into episodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from foreshade import _core
from foreshade.envs.errors import InputError


@dataclass(frozen=True, slots=True)
class Decision:
    """Settings of the decision process; an episode's draws follow from its seed alone.

    Raises:
        InputError: a number is out of its range, or ``proposer`` names what the proposer has not.

    """

    #: Candidates shown, ``wait`` included; 64 hold all that a fleet of a hundred hosts offers at once.
    k: int = 64
    #: Decisions in a tick at most; then the world goes on.
    decisions: int = 16
    #: Least and most ticks of an episode; None = to the workload's end.
    episode_ticks: tuple[int, int] | None = None
    #: Whether an episode begins at a random tick, so that every hour of the day is a first one.
    random_start: bool = False
    #: Whether the scenario's own scheduler has placed the first VMs; else all of them wait for the agent.
    placed: bool = False
    #: Each episode multiplies the prices of energy, unmet demand, migrations and boots by factors, log-uniform
    #: between 1 / spread and spread; they stand in the context.
    price_spread: float = 1.0
    #: Of one tick; between the decisions of a tick it is 1. 0.99 looks 8 h ahead at 5 min.
    discount: float = 0.99
    #: Hours over which the potential of the shaping counts expected costs; 0 = rewards as they are paid.
    shaping_h: float = 0.0
    #: Further settings of the native proposer (``_core.ProposerKnobs``), by name.
    proposer: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        least, most = self.episode_ticks or (1, 1)
        for name, holds, expected in (
            ("k", self.k >= 2, "at least 2, wait and one more"),
            ("decisions", self.decisions >= 1, "at least 1"),
            ("episode_ticks", 1 <= least <= most, "1 <= least <= most"),
            ("price_spread", self.price_spread >= 1.0, "a factor of at least 1"),
            ("discount", 0.0 < self.discount <= 1.0, "above 0 and at most 1"),
            ("shaping_h", self.shaping_h >= 0.0, "at least 0"),
        ):
            if not holds:
                raise InputError(f"decision: {name}: expected {expected}, got {getattr(self, name)!r}")
        self.proposer_knobs()

    def proposer_knobs(self) -> _core.ProposerKnobs:
        """The native settings of the candidates."""
        knobs = _core.ProposerKnobs()
        knobs.k, knobs.decisions = self.k, self.decisions
        for name, value in self.proposer.items():
            if name in ("k", "decisions") or not hasattr(knobs, name):
                raise InputError(f"decision: proposer: expected a setting of the proposer, got {name!r}")
            try:
                setattr(knobs, name, value)
            except TypeError:
                raise InputError(f"decision: proposer: {name}: expected a number, got {value!r}") from None
        return knobs

    def episode_knobs(self) -> _core.EpisodeKnobs:
        """The native settings of an episode."""
        knobs = _core.EpisodeKnobs()
        knobs.least_ticks, knobs.most_ticks = self.episode_ticks or (0, 0)
        knobs.random_start, knobs.scattered = self.random_start, self.placed
        knobs.price_spread, knobs.discount, knobs.shaping_h = (
            self.price_spread,
            self.discount,
            self.shaping_h,
        )
        return knobs
