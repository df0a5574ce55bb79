"""Migrations that are worth their unrest: cooldowns, a hold, two marks, a margin, destinations that can take them.

One set of rules for every migration, whoever wants it: the plan of a packer, a single candidate, a component. They
bar VMs and hosts before candidates are made, so that decisions are made among what may move, and look at each move
again when the plan is made, on allocation and on usage. Pure: what it remembers is what it was shown.

The remedies are those that operators of balancers ask for: a hold and a margin against ping-pong, cooldowns of the VM
and of its destination, a high mark at which relief begins and a low one at which it ends, and no target that the move
itself overloads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from foreshade._core import ClusterState
from foreshade.agents.bars import CLOSED, LEAVING, Bars, Mask
from foreshade.envs.knobs import Knobs
from foreshade.envs.model.action import Action, ActionKind
from foreshade.envs.model.state import HostState, VmState

F32 = npt.NDArray[np.float32]

_CPU_MEMORY = slice(0, 2)


class ChurnKnobs(Knobs):
    """How much unrest is allowed; shares are of a host's capacity, times in seconds."""

    cooldown_s: Annotated[float, Field(ge=0)] = 1800.0  # of a VM that moved; doubles with each move more
    most_cooldown_s: Annotated[float, Field(ge=0)] = 14400.0
    forget_s: Annotated[float, Field(gt=0)] = (
        86400.0  # after so long without a move the first cooldown holds again
    )
    destination_s: Annotated[float, Field(ge=0)] = (
        600.0  # for which a host that took VMs takes none of another plan
    )
    hold_ticks: Annotated[int, Field(ge=1)] = 2  # that an imbalance lasts before anything moves
    high: Annotated[float, Field(gt=0, le=1)] = 0.85  # use of CPU or memory above which a host is relieved
    low: Annotated[float, Field(gt=0, le=1)] = 0.70  # down to which it is relieved
    quiet: Annotated[float, Field(ge=0, le=1)] = 0.60  # use of both below which a host may be emptied
    margin: Annotated[float, Field(ge=0, le=1)] = (
        0.05  # that the fuller of both hosts is less full after a relief
    )
    limit: Annotated[float, Field(gt=0, le=1)] = 0.90  # use that a move may bring its destination to
    peak_ticks: Annotated[int, Field(ge=1)] = 12  # over which a VM's peak is forgotten

    @model_validator(mode="after")
    def _marks_in_order(self) -> ChurnKnobs:
        if not self.quiet <= self.low <= self.high:
            raise ValueError(
                f"expected quiet <= low <= high, found quiet {self.quiet:g}, low {self.low:g}, high {self.high:g}"
            )
        if self.most_cooldown_s < self.cooldown_s:
            raise ValueError(
                f"expected most_cooldown_s of at least cooldown_s {self.cooldown_s:g}, found {self.most_cooldown_s:g}"
            )
        return self


class Churn:
    """The memory of one run: who moved when, and how long each host has been beyond its marks."""

    def __init__(self, knobs: ChurnKnobs | None = None) -> None:
        self.knobs = knobs or ChurnKnobs()
        self.refused: list[tuple[Action, str]] = []  # of the last admit()
        self._clear(np.zeros(0, np.uint32), 0)

    def _clear(self, birth: npt.NDArray[np.uint32], n_hosts: int) -> None:
        n = len(birth)
        self._birth = birth.copy()
        self._moved_s = np.full(n, -np.inf)
        self._moves = np.zeros(n, np.int64)
        self._peak: F32 = np.zeros((n, 2), np.float32)
        self._took_s = np.full(n_hosts, -np.inf)
        self._high_for: npt.NDArray[np.int64] = np.zeros(n_hosts, np.int64)
        self._quiet_for: npt.NDArray[np.int64] = np.zeros(n_hosts, np.int64)
        self._relieving: npt.NDArray[np.bool_] = np.zeros(n_hosts, bool)
        self._use = np.zeros(n_hosts)
        self._restart: set[int] = set()

    def reset(self) -> None:
        """A run begins; what is remembered of the one before is forgotten."""
        self._clear(np.zeros(0, np.uint32), 0)
        self.refused = []

    def bars(self, state: ClusterState, leaving: Mask) -> Bars:
        """What may not move and who may not take, as of this tick; asked once a tick.

        Hosts of ``leaving`` (n_hosts,), which somebody empties for a reason of its own (an alarm, maintenance), are
        left whatever their load.
        """
        self._grow(state)
        self._watch(state)
        hosts, vms, knobs = state.hosts, state.vms, self.knobs
        rests = state.time_s - self._moved_s < self._rest_s()
        source = np.where(vms.host >= 0, vms.host, 0)
        leaves = (self._relieving | (self._quiet_for >= knobs.hold_ticks) | leaving)[source] & (vms.host >= 0)
        taken = state.time_s - self._took_s < knobs.destination_s
        return Bars(
            (rests | ~leaves).astype(np.uint8),
            np.where(taken & (hosts.n_vms + hosts.arriving > 0), CLOSED, 0).astype(np.uint8),
        )

    def admit(self, state: ClusterState, actions: Sequence[Action], bars: Bars) -> list[Action]:
        """The actions without the moves that may not be; ``refused`` says which those are and why.

        For the state that is seen now: ask again with a fresh one before a plan that is older is carried out.
        """
        self._grow(state)
        self.refused = []
        coming = self._arriving(state)
        admitted = []
        for action in actions:
            if action.kind is not ActionKind.MIGRATE:
                admitted.append(action)
                continue
            why = self._against(state, action, coming, bars)
            if why:
                self.refused.append((action, why))
                continue
            coming[action.host] += self._peak[action.vm]
            self._note(state, action)
            admitted.append(action)
        return admitted

    def _against(self, state: ClusterState, action: Action, coming: F32, bars: Bars) -> str:
        hosts, vms, knobs = state.hosts, state.vms, self.knobs
        vm, to = action.vm, action.host
        since = state.time_s - self._moved_s[vm]
        rest = self._rest_s()[vm]
        if since < rest:
            return f"vm {vm} moved {since:.0f} s ago, rests {rest:.0f} s after {self._moves[vm]} moves"
        limit = hosts.capacity[to] * hosts.overcommit[to]
        if (hosts.allocated[to] + vms.allocation[vm] > limit * (1 + 1e-6)).any():
            return f"host {to} has no room for what vm {vm} is allocated"
        then = hosts.usage[to, _CPU_MEMORY] + coming[to] + self._peak[vm]
        if (then > knobs.limit * hosts.capacity[to, _CPU_MEMORY]).any():
            share = float((then / hosts.capacity[to, _CPU_MEMORY]).max())
            return f"host {to} would be used to {share:.0%} with vm {vm}, expected at most {knobs.limit:.0%}"
        source = int(vms.host[vm])
        freely = bars.hosts[source] == LEAVING
        if self._relieving[source] and not freely:
            after = float((then / hosts.capacity[to, _CPU_MEMORY]).max())
            if self._use[source] - after < knobs.margin:
                return f"host {to} would be as full as host {source} is now: {after:.0%} of {self._use[source]:.0%}"
        return ""

    def _note(self, state: ClusterState, action: Action) -> None:
        vm = action.vm
        lately = state.time_s - self._moved_s[vm] < self.knobs.forget_s
        self._moves[vm] = self._moves[vm] + 1 if lately else 1
        self._moved_s[vm] = self._took_s[action.host] = state.time_s
        # A new imbalance has to last again, at both ends, before anything more moves there.
        self._restart.update((int(state.vms.host[vm]), action.host))

    def _rest_s(self) -> npt.NDArray[np.float64]:
        times = np.maximum(self._moves - 1, 0)
        rest = np.minimum(self.knobs.cooldown_s * 2.0**times, self.knobs.most_cooldown_s)
        return np.where(self._moves > 0, rest, 0.0)

    def _watch(self, state: ClusterState) -> None:
        hosts, vms, knobs = state.hosts, state.vms, self.knobs
        fresh = vms.age_s < np.inf
        now = np.where(fresh[:, None], vms.demand[:, _CPU_MEMORY], 0.0)
        self._peak = np.maximum(now, self._peak - (self._peak - now) / knobs.peak_ticks).astype(np.float32)
        wanted = hosts.usage[:, 0] / np.maximum(1.0 - hosts.contention, 0.05)
        capacity = np.maximum(hosts.capacity[:, _CPU_MEMORY], 1.0)
        self._use = np.maximum(wanted / capacity[:, 0], hosts.usage[:, 1] / capacity[:, 1])
        for h in self._restart:
            self._high_for[h] = self._quiet_for[h] = 0
            self._relieving[h] = False
        self._restart.clear()
        on = hosts.state == HostState.ON
        self._high_for = np.where(on & (self._use > knobs.high), self._high_for + 1, 0)
        self._quiet_for = np.where(on & (self._use < knobs.quiet), self._quiet_for + 1, 0)
        self._relieving |= self._high_for >= knobs.hold_ticks
        self._relieving &= on & (self._use > knobs.low)

    def _arriving(self, state: ClusterState) -> F32:
        """(n_hosts, 2) peaks of VMs that are on their way to each host."""
        vms = state.vms
        out = np.zeros((len(state.hosts.state), 2), np.float32)
        for v in np.flatnonzero((vms.destination >= 0) & (vms.state != VmState.ABSENT)).tolist():
            out[vms.destination[v]] += self._peak[v]
        return out

    def _grow(self, state: ClusterState) -> None:
        """Columns for the VMs and hosts of the state; a slot with another VM in it begins anew."""
        birth = state.vms.birth
        if len(self._birth) != len(birth):
            self._clear(birth, len(state.hosts.state))
            return
        for v in np.flatnonzero(self._birth != birth).tolist():
            self._moved_s[v], self._moves[v], self._peak[v] = -np.inf, 0, 0.0
        self._birth = birth.copy()


def told(refused: Sequence[tuple[Action, str]]) -> Iterator[str]:
    """A line for each move that was not admitted."""
    for action, why in refused:
        yield f"migrate vm {action.vm} to host {action.host}: {why}"
