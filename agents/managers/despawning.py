"""The de-spawning controller: ends the VMs that a controller spawned, once nobody needs them any more.

A VM goes when its application has had room without it for a declared time, what is used and the upper forecast
alike, and every member was seen in the last tick: missing metrics never take capacity away. It goes gracefully: its
traffic is drained first, then the guest is asked to shut down (the hypervisor's driver switches it off at its
deadline). A drain is called off when the room is wanted again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from foreshade._core import ClusterState
from foreshade.agents.bars import Bars
from foreshade.agents.managers.manager import Offer
from foreshade.agents.managers.members import Members
from foreshade.agents.managers.need import Share, TriggerKnobs, spare
from foreshade.agents.managers.outlook import Outlook, View
from foreshade.agents.managers.room import Room
from foreshade.envs.model.action import Action, ActionKind, despawn, five, shift
from foreshade.envs.model.state import Resource, VmState
from foreshade.envs.site import Site


class DespawningKnobs(TriggerKnobs):
    """Of the de-spawning controller: a VM goes below marks that are lower than those it came above."""

    threshold: Share = 0.8  # of what is left without it, that the upper forecast must not exceed
    react: Share = 0.7  # likewise of current use
    idle_ticks: Annotated[int, Field(ge=1)] = 6  # for which that must have been so
    least_life_ticks: Annotated[int, Field(ge=0)] = 6  # nothing goes sooner after it came
    drain_ticks: Annotated[int, Field(ge=1)] = 1  # between the last traffic and the shutdown
    gain_usd: Annotated[float, Field(ge=0)] = 1e-3  # of having ended a VM that nobody needs, beside its room


class Despawning:
    """See the module; a ``Manager``."""

    name = "despawning"

    def __init__(self, knobs: DespawningKnobs | None = None) -> None:
        self.knobs = knobs or DespawningKnobs()

    def reset(self, site: Site) -> None:
        """Forget everything; a run on ``site`` begins."""
        self._site = site
        self.outlook, self._room, self._members = Outlook(site), Room(site), Members()
        self._idle = np.zeros(0, np.int64)  # (n_vms,) ticks in which its application had room without it
        self._draining: dict[
            int, tuple[int, int, float]
        ] = {}  # VM: birth, tick of its last traffic, weight before

    def offers(self, state: ClusterState, _bars: Bars, /) -> Sequence[Offer]:
        """For each application the drain of one VM, the shutdown of those that are drained, or their return."""
        if not {ActionKind.DESPAWN, ActionKind.SHIFT} <= self._site.capabilities:
            return ()
        view = self.outlook.look(state)
        self._room.look(state)
        self._members.look(state)
        self._forget(state)
        found = list(self._ends(state, view))
        if len(self._idle) != len(state.vms.state):
            self._idle = np.zeros(len(state.vms.state), np.int64)
        busy = {int(state.vms.app[vm]) for vm in self._draining}
        for vm in np.flatnonzero(self._members.elastic).tolist():
            app, cpu = int(state.vms.app[vm]), float(state.vms.allocation[vm, Resource.CPU])
            serves = state.vms.state[vm] == VmState.RUNNING and state.vms.weight[vm] > 0.0
            self._idle[vm] = self._idle[vm] + 1 if serves and spare(view, app, cpu, self.knobs) else 0
        for vm in sorted(np.flatnonzero(self._members.elastic).tolist(), key=lambda v: (-self._idle[v], v)):
            app = int(state.vms.app[vm])
            lives = (state.time_s - self._members.since_s[vm]) / self._site.tick_s
            if app in busy or self._idle[vm] < self.knobs.idle_ticks or lives < self.knobs.least_life_ticks:
                continue
            if state.vms.destination[vm] >= 0:
                continue
            busy.add(app)  # one at a time: the room is looked at again without it
            reason = (
                f"app {app} has had room without vm {vm} for {self._idle[vm]} ticks: its traffic is drained"
            )
            found.append(self._offer(state, vm, "shift", (shift(vm, 0.0),), reason))
        return found

    def taken(self, offer: Offer) -> None:
        """A drain has begun or was called off."""
        if offer.kind != "shift":
            return
        if offer.actions[0].value == 0.0:
            birth, weight = self._seen[offer.vm]
            self._draining[offer.vm] = (birth, self._tick, weight)
        else:
            self._draining.pop(offer.vm, None)

    def _ends(self, state: ClusterState, view: View) -> Iterator[Offer]:
        """What becomes of those that are drained."""
        for vm, (_, since, weight) in self._draining.items():
            app = int(state.vms.app[vm])
            if not spare(view, app, 0.0, self.knobs):
                reason = f"app {app} wants vm {vm} again: its drain is called off"
                yield self._offer(
                    state, vm, "shift", (shift(vm, weight),), reason, claim=f"capacity of app {app}"
                )
            elif state.tick - since >= self.knobs.drain_ticks and state.vms.destination[vm] < 0:
                yield self._offer(state, vm, "despawn", (despawn(vm),), f"vm {vm} is drained: it shuts down")

    def _offer(
        self, state: ClusterState, vm: int, kind: str, what: tuple[Action, ...], reason: str, claim: str = ""
    ) -> Offer:
        host = int(state.vms.host[vm])
        hold_h = self.knobs.hold_ticks * self._site.tick_s / 3600.0
        saved = self._room.usd_h(host, five(state.vms.allocation[vm].tolist())) * hold_h
        return Offer(
            kind, what, reason, vm=vm, host=host, utilisation=self.knobs.gain_usd + saved, claim=claim
        )

    def _forget(self, state: ClusterState) -> None:
        """VMs that are gone, or on their way."""
        self._tick = state.tick
        vms = state.vms
        self._seen = {
            vm: (int(vms.birth[vm]), float(vms.weight[vm]))
            for vm in np.flatnonzero(self._members.elastic).tolist()
        }
        self._draining = {
            vm: said
            for vm, said in self._draining.items()
            if int(vms.birth[vm]) == said[0] and vms.state[vm] in (VmState.RUNNING, VmState.MIGRATING)
        }
