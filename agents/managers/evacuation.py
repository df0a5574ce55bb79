"""Hosts about to fail are emptied, in order of risk times impact, where that is worth more than a false alarm.

A host's hazard h says it fails within the horizon with p = 1 - exp(-h · horizon). Moving a VM away saves p times what
its outage costs, and costs the migration whether the host fails or not: a false alarm is weighed by money, not by a
threshold. Spot hosts whose provider wants them back show as a hazard, too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from foreshade._core import ClusterState
from foreshade.agents.bars import LEAVING, Bars
from foreshade.agents.managers.manager import ManagerKnobs, Offer
from foreshade.agents.managers.relocation import Relocation
from foreshade.agents.managers.worth import move_usd, outage_usd
from foreshade.envs.model.action import Action
from foreshade.envs.model.state import HostState
from foreshade.envs.site import Site


class EvacuationKnobs(ManagerKnobs):
    """When a host is left."""

    horizon_h: Annotated[float, Field(gt=0)] = 2.0  # in which a foreseen failure comes
    margin: Annotated[float, Field(ge=1)] = 1.5  # times a migration's cost that leaving has to be worth
    confidence: Annotated[float, Field(ge=0, le=1)] = 0.02  # of the hazard, below which it is no warning
    restart_h: Annotated[float, Field(gt=0)] = (
        0.1  # that a VM is out when its host fails: noticed, placed, booted
    )


class Evacuation:
    """Asked each tick; remembers nothing but what it has told and been told."""

    name = "evacuation"

    def __init__(self, knobs: EvacuationKnobs | None = None) -> None:
        self.knobs = knobs or EvacuationKnobs()
        self._site: Site | None = None

    def reset(self, site: Site) -> None:
        """A run begins."""
        self._site = site

    def threatened(self, state: ClusterState) -> dict[int, float]:
        """Probability of a failure within the horizon, by host worth a look, the likeliest first."""
        hosts = state.hosts
        sure = (hosts.hazard_confidence >= self.knobs.confidence) & (hosts.state == HostState.ON)
        risk = 1.0 - np.exp(-hosts.hazard_per_h * self.knobs.horizon_h)
        # What every host shows all the time is no warning about one of them.
        on = hosts.hazard_per_h[hosts.state == HostState.ON]
        usual = float(on.min(initial=np.inf)) if len(on) else 0.0
        warned = sure & (hosts.hazard_per_h > 2.0 * usual) & (risk > 0.0)
        order = sorted(np.flatnonzero(warned).tolist(), key=lambda h: (-float(risk[h]), h))
        return {h: float(risk[h]) for h in order}

    def bars(self, state: ClusterState) -> Bars:
        """Threatened hosts take no VMs and are to come empty."""
        bars = Bars.none(state)
        bars.hosts[list(self.threatened(state))] = LEAVING
        return bars

    def offers(self, state: ClusterState, bars: Bars) -> Sequence[Offer]:
        """One offer a host: every VM whose outage is worth more than its move, the dearest first."""
        site = self._site
        threatened = self.threatened(state)
        if site is None or not threatened:
            return ()
        takes = np.ones(len(state.hosts.state), bool)
        takes[list(threatened)] = False
        room = Relocation(site, state, takes, cpu_share=1.0, bars=bars)
        by_impact = []
        for host, risk in threatened.items():
            worth = {v: risk * outage_usd(site, state, v, self.knobs.restart_h) for v in room.residents(host)}
            by_impact.append((sum(worth.values()), host, risk, worth))
        offers = []
        for impact, host, risk, worth in sorted(by_impact, key=lambda x: (-x[0], x[1])):
            if math.isclose(impact, 0.0):
                continue
            why = f"host {host} fails within {self.knobs.horizon_h:g} h with {risk:.0%}"
            actions: list[Action] = []
            gain = cost = dark = 0.0
            for vm in sorted(worth, key=lambda v: (-worth[v], v)):
                move, down = move_usd(site, state, vm)
                if worth[vm] <= self.knobs.margin * (move + down):
                    continue
                moves = room.move(vm, why)
                actions.extend(moves)
                if moves:
                    gain, cost, dark = gain + worth[vm], cost + move, dark + down
            if not actions:
                continue
            first = actions[0]
            offers.append(
                Offer(
                    "drain",
                    tuple(actions),
                    f"{why}: {len(actions)} VMs leave, worth {gain:.4f} USD for {cost + dark:.4f}",
                    vm=first.vm,
                    host=first.host,
                    source=host,
                    performance=gain,
                    cost=cost,
                    latency=dark,
                )
            )
        return offers

    def taken(self, offer: Offer) -> None:
        """Nothing to remember: a host that is left shows no VMs."""
