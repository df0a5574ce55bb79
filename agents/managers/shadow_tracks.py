"""What is remembered of each shadow, and what the state of the cluster reports of it to the state machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from foreshade._core import ClusterState
from foreshade.agents.shadow.kpi import Kpis, compare
from foreshade.agents.shadow.machine import Event, Shadow, State
from foreshade.envs.model.state import Resource, VmKind, VmState

_OVER = (State.ENDED, State.LOST)
_CONTENDED = 0.02  # share of the wanted CPU time spent waiting, from which a host counts as under load
_UNLOADED_MS = 10.0  # latency of a request where nothing waits; what is compared is how much longer it takes


@dataclass(slots=True)
class Track:
    """A shadow, and what is remembered of it."""

    shadow: Shadow
    primary_birth: int
    vm_birth: int = -1
    since: int = 0  # tick of its last transition
    roomy: int = 0  # ticks in which there was room without it
    crowded: int = 0  # ticks of contention on its host
    strange: int = 0  # ticks in which its KPIs were not its primary's

    def there(self, state: ClusterState) -> bool:
        """Whether its clone still is what it was, and its primary too."""
        vms, vm, primary = state.vms, self.shadow.vm, self.shadow.primary
        same = (
            vm >= 0 and int(vms.birth[vm]) == self.vm_birth and int(vms.birth[primary]) == self.primary_birth
        )
        return same and int(vms.host[vm]) >= 0 and int(vms.host[primary]) >= 0

    def on(self, event: Event, tick: int, **said: int) -> None:
        """An event happened at a tick."""
        self.shadow = self.shadow.on(event, **said)
        self.since = tick


def report(state: ClusterState, tracks: Sequence[Track], tick_s: float, tolerance: float) -> list[Track]:
    """Tell every shadow what the state shows of it; those that are not over."""
    for track in tracks:
        _report(state, track, tracks, tick_s, tolerance)
    return [track for track in tracks if track.shadow.state not in _OVER]


def _report(
    state: ClusterState, track: Track, tracks: Sequence[Track], tick_s: float, tolerance: float
) -> None:
    vms, tick, shadow = state.vms, state.tick, track.shadow
    if shadow.state is State.CREATING:
        _find(state, track, tracks)
        shadow = track.shadow
    elif not _there(state, track):
        track.on(Event.RELEASED if shadow.state is State.ENDING else Event.FAILED, tick)
        return
    primary = shadow.primary
    gone = vms.state[primary] == VmState.ABSENT or int(vms.birth[primary]) != track.primary_birth
    if gone and Event.PRIMARY_GONE in shadow.allowed:
        track.on(Event.PRIMARY_GONE, tick)
        return
    if track.vm_birth < 0:
        return
    vm, host = shadow.vm, int(vms.host[shadow.vm])
    still = vms.state[vm] == VmState.RUNNING and vms.destination[vm] < 0
    if shadow.state is State.MOVING:
        if still and tick > track.since and host == shadow.host:
            track.on(Event.STAYED, tick)
        elif still and tick > track.since:
            track.on(Event.MOVED, tick, host=host)
    elif host >= 0:
        track.shadow = replace(shadow, host=host)  # somebody else may have moved it
    strange = _deviates(state, track, tick_s, tolerance)
    track.strange = track.strange + 1 if strange else 0
    track.crowded = track.crowded + 1 if state.hosts.contention[host] > _CONTENDED else 0
    if track.shadow.state is State.WARMING and strange is False:
        track.on(Event.WARMED, tick)


def _find(state: ClusterState, track: Track, tracks: Sequence[Track]) -> None:
    """The clone of a shadow that was ordered."""
    vms = state.vms
    known = {t.shadow.vm for t in tracks if t.vm_birth >= 0}
    clones = (vms.kind == VmKind.SHADOW) & (vms.primary == track.shadow.primary)
    found = [vm for vm in np.flatnonzero(clones & (vms.state != VmState.ABSENT)).tolist() if vm not in known]
    if not found:
        if state.tick - track.since > 1:
            track.on(Event.FAILED, state.tick)
    elif vms.state[found[0]] == VmState.RUNNING:
        track.vm_birth = int(vms.birth[found[0]])
        track.on(Event.CREATED, state.tick, vm=found[0])


def _there(state: ClusterState, track: Track) -> bool:
    vm = track.shadow.vm
    if vm < 0:
        return track.shadow.state is not State.ENDING
    same = int(state.vms.birth[vm]) == track.vm_birth
    return same and state.vms.state[vm] not in (VmState.ABSENT, VmState.FAILED)


def _deviates(state: ClusterState, track: Track, tick_s: float, tolerance: float) -> bool | None:
    """Whether its KPIs are not its primary's; None where they cannot be compared."""
    vms, shadow = state.vms, track.shadow
    pair = (shadow.primary, shadow.vm)
    unseen = any(not vms.age_s[v] < tick_s or vms.state[v] != VmState.RUNNING for v in pair)
    if unseen or state.tick <= track.since:
        return None
    load = shadow.fidelity if not shadow.step else shadow.traffic / max(1.0 - shadow.traffic, 1e-9)
    if not load > 0.0:
        return False  # it replays nothing: that it runs is all that can be asked
    return bool(compare(_kpis(state, pair[0]), _kpis(state, pair[1]), load, tolerance))


def _kpis(state: ClusterState, vm: int) -> Kpis:
    vms = state.vms
    waits = min(float(vms.contention[vm]), 0.99)
    return Kpis(
        float(vms.usage[vm, Resource.CPU]),
        float(vms.usage[vm, Resource.DISK]),
        float(vms.usage[vm, Resource.NETWORK]),
        _UNLOADED_MS / (1.0 - waits),
        0.0,
    )
