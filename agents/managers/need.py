"""Which applications will be short of capacity, when, of how much, and what it is worth to help them.

Two triggers share all the rest, so that they can be compared in pairs. ``forecast`` acts on the upper quantile of
the demand to come. ``usage`` is what a reactive autoscaler does: it acts when what is used exceeds a share of what
can be served, and believes that what is wanted may then become half more than what can be served. The first includes
the second: what cannot be foreseen is reacted to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from foreshade.agents.managers.manager import ManagerKnobs
from foreshade.agents.managers.outlook import LEVELS, MASS, View
from foreshade.envs.site import Site

F32 = npt.NDArray[np.float32]
Share = Annotated[float, Field(gt=0, le=1)]

KNEE = 0.8  # of its allocation, from which on a VM answers late (docs/physics.md)
#: What is believed of demand once use is above ``react``, in units of what can be served.
_BELIEF = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.5], np.float32)


class TriggerKnobs(ManagerKnobs):
    """When a component helps an application."""

    trigger: Literal["forecast", "usage"] = "forecast"
    level: Annotated[float, Field(ge=0.5, lt=1)] = 0.9  # of the forecast that must fit
    threshold: Share = 0.85  # of what can be served, that the forecast must not exceed
    react: Share = 0.85  # use over what can be served above which it acts whatever is forecast
    hold_ticks: Annotated[int, Field(ge=1)] = 12  # for which help is reckoned to stay
    trust_ticks: Annotated[int, Field(ge=0)] = (
        36  # of an application's history, before its forecast is acted on
    )


@dataclass(frozen=True, slots=True)
class Need:
    """An application that is about to be short."""

    app: int
    capacity: float  # CPU MHz that can be served, what is on its way included
    wanted: float  # CPU MHz, the largest of the hour at the level
    first: int  # ticks until it is short; 0 = it is, or would be in the tick to come
    path: F32  # (n_ahead, 7) CPU MHz wanted in each tick to come
    foreseen: bool  # by the forecast; else by use

    def __str__(self) -> str:
        """For people."""
        how = "is to want" if self.foreseen else "uses much of what it has and may want"
        return f"app {self.app} {how} {self.wanted / 1e3:.1f} GHz of {self.capacity / 1e3:.1f}"


def needs(view: View, knobs: TriggerKnobs, capacity: F32 | None = None) -> Iterator[Need]:
    """The applications that will be short, by number.

    Args:
        view: of this tick.
        knobs: the trigger.
        capacity: (n_apps,) CPU MHz that can be served; None = all that is there or on its way.

    """
    capacity = view.coming if capacity is None else capacity
    limit = knobs.threshold * capacity
    serves = view.saturates > 0.0
    reacts = (view.now > knobs.react * capacity) & view.fresh & serves
    upper = view.level(knobs.level)
    trusted = view.foreseen & serves & (view.seen_ticks >= knobs.trust_ticks) & (knobs.trigger == "forecast")
    foreseen = (upper > limit[:, None]) & trusted[:, None]
    for app in np.flatnonzero(foreseen.any(axis=1) | reacts).tolist():
        path = view.ahead[app] if trusted[app] else np.full_like(view.ahead[app], view.now[app])
        if reacts[app]:
            path = np.maximum(path, np.maximum(_BELIEF * capacity[app], view.now[app]))
        at = _at(path, max(knobs.level, 0.9) if reacts[app] else knobs.level)
        first = 0 if reacts[app] else int(np.argmax(foreseen[app]))
        yield Need(app, float(capacity[app]), float(at.max()), first, path, bool(foreseen[app].any()))


def spare(view: View, app: int, without: float, knobs: TriggerKnobs) -> bool:
    """Whether an application has room again without so many MHz: the forecast fits, and so does what is used."""
    left = float(view.saturates[app]) - without
    if left <= 0.0 or not view.fresh[app] or view.now[app] > knobs.react * left:
        return False
    return knobs.trigger == "usage" or float(view.level(knobs.level, app).max()) <= knobs.threshold * left


def worth(site: Site, need: Need, added: float, ready: int, hold: int, credit: float) -> tuple[float, float]:
    """USD of unmet demand, and USD of lateness, that ``added`` MHz avoid.

    Args:
        site: for prices.
        need: of the application.
        added: CPU MHz that serve from the tick ``ready`` on.
        ready: ticks from now.
        hold: ticks that are counted, from now; beyond the hour the last of it stands.
        credit: of the application.

    """
    path = need.path[np.minimum(np.arange(ready, max(hold, ready + 1)), len(need.path) - 1)]
    hours = site.tick_s / 3600.0
    prices = site.economy

    def of(capacity: float) -> tuple[float, float]:
        unmet = np.maximum(path - capacity, 0.0)
        served = np.minimum(path, capacity)
        late = np.minimum(np.maximum(served - KNEE * capacity, 0.0) / (1.0 - KNEE), served)
        return float((unmet @ MASS).sum()), float((late @ MASS).sum())

    before, after = of(need.capacity), of(need.capacity + added)
    usd = (before[0] - after[0]) * prices.unmet_usd_h[0] * hours * credit
    return usd, (before[1] - after[1]) * prices.late_usd_mhz_h * hours


def _at(path: F32, level: float) -> F32:
    """(n_ahead,) the path at a level."""
    place = float(np.interp(level, LEVELS, np.arange(len(LEVELS))))
    low = int(place)
    high = min(low + 1, len(LEVELS) - 1)
    out: F32 = path[:, low] + np.float32(place - low) * (path[:, high] - path[:, low])
    return out
