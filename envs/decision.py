"""How a tick is cut into decisions and a workload into episodes."""

from __future__ import annotations

from dataclasses import dataclass

from foreshade import _core
from foreshade.envs.candidates import DEFAULT, CandidateKnobs
from foreshade.envs.errors import InputError


@dataclass(frozen=True, slots=True)
class Decision:
    """Settings of the decision process; an episode's draws follow from its seed alone.

    Raises:
        InputError: a number is out of its range.

    """

    #: Candidates: how many are shown and looked at, decisions in a tick, which of them the rules may take.
    candidates: CandidateKnobs = DEFAULT
    #: Least and most ticks of an episode; None = to the workload's end.
    episode_ticks: tuple[int, int] | None = None
    #: Whether an episode begins at a random tick, so that every hour of the day is a first one.
    random_start: bool = False
    #: Whether the scenario's own scheduler has placed the first VMs; else all of them wait for the agent.
    placed: bool = False
    #: Each episode multiplies the prices of energy, unmet demand, migrations and boots by factors,
    #: log-uniform between 1 / spread and spread; they stand in the context.
    price_spread: float = 1.0
    #: Of one tick; between the decisions of a tick it is 1. 0.99 looks 8 h ahead at 5 min.
    discount: float = 0.99
    #: Hours over which the potential of the shaping counts expected costs; 0 = rewards as they are paid.
    shaping_h: float = 0.0

    def __post_init__(self) -> None:
        least, most = self.episode_ticks or (1, 1)
        for name, holds, expected in (
            ("episode_ticks", 1 <= least <= most, "1 <= least <= most"),
            ("price_spread", self.price_spread >= 1.0, "a factor of at least 1"),
            ("discount", 0.0 < self.discount <= 1.0, "above 0 and at most 1"),
            ("shaping_h", self.shaping_h >= 0.0, "at least 0"),
        ):
            if not holds:
                raise InputError(f"decision: {name}: expected {expected}, got {getattr(self, name)!r}")

    @property
    def k(self) -> int:
        """Candidates shown, ``wait`` included."""
        return self.candidates.k

    def episode_knobs(self) -> _core.EpisodeKnobs:
        """The native settings of an episode."""
        knobs = _core.EpisodeKnobs()
        knobs.least_ticks, knobs.most_ticks = self.episode_ticks or (0, 0)
        knobs.random_start, knobs.scattered = self.random_start, self.placed
        knobs.price_spread, knobs.discount = self.price_spread, self.discount
        knobs.shaping_h = self.shaping_h
        return knobs
