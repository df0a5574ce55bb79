"""The circuit breaker: after too many bad outcomes the rules decide for a while instead of HAM."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import Field

from foreshade.envs.knobs import Knobs


class BreakerKnobs(Knobs):
    """When HAM loses the say, and for how long."""

    #: Strikes (an error while deciding, or a failed action of its plans) that open the breaker.
    strikes: Annotated[int, Field(ge=1)] = 3
    #: Ticks without a strike after which the strikes are forgotten.
    forget_ticks: Annotated[int, Field(ge=1)] = 12
    #: Ticks for which the rules decide.
    open_ticks: Annotated[int, Field(ge=1)] = 12


@dataclass(frozen=True, slots=True)
class Breaker:
    """Strikes against HAM so far."""

    knobs: BreakerKnobs
    strikes: int = 0
    last_tick: int = 0  # of the newest strike
    open_until: int = 0  # tick at which HAM has the say again
    reason: str = ""

    def strike(self, tick: int, reason: str, count: int = 1) -> Breaker:
        """After ``count`` bad outcomes more."""
        fresh = tick - self.last_tick > self.knobs.forget_ticks
        strikes = count + (0 if fresh else self.strikes)
        if strikes < self.knobs.strikes:
            return replace(self, strikes=strikes, last_tick=tick, reason=reason)
        return replace(
            self, strikes=0, last_tick=tick, open_until=tick + 1 + self.knobs.open_ticks, reason=reason
        )

    def why(self, tick: int) -> str:
        """Why the rules decide in this tick; "" = HAM has the say."""
        if tick < self.open_until:
            return f"circuit breaker until tick {self.open_until}: {self.reason}"
        return ""
