"""Rebalancing with a hold and a margin, in the manner of Proxmox VE's cluster resource scheduling.

From its documented behaviour (Proxmox VE Administration Guide, "Cluster Resource Scheduling", automatic
rebalancing): each round the imbalance of the nodes is checked; when it has passed a threshold for a number of
rounds in a row, the one migration that lowers it most is carried out, if it lowers it by at least a margin.
Nothing is ever switched off.

Different here: a round is a tick (theirs is about 10 s, so the hold lasts longer), a node's load is the mean
of its CPU and memory utilisation, the imbalance is their coefficient of variation over the hosts that are on,
and the best move is found among all pairs of VM and host.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foreshade._core import ClusterState
from foreshade.agents.baselines.planned import F64, I64, Mask, Planned
from foreshade.envs.model.action import Action
from foreshade.envs.model.state import Resource
from foreshade.envs.site import Site

BALANCED = (Resource.CPU, Resource.MEMORY)

#: VMs whose moves are weighed at once; bounds memory on large clusters.
BLOCK = 512


@dataclass(frozen=True, slots=True)
class HoldMarginConfig:
    """Defaults are those of the documented options."""

    threshold: float = 0.3  # coefficient of variation of the hosts' loads
    hold_rounds: int = 3  # rounds in a row above the threshold
    margin: float = 0.1  # relative fall of the imbalance that a move must bring


class HoldMargin:
    """At most one move a tick, and only against an imbalance that lasts."""

    name = "hold-margin"
    power_managed = True

    def __init__(self, config: HoldMarginConfig | None = None) -> None:
        self._config = config or HoldMarginConfig()
        self._site: Site | None = None
        self._rounds = 0

    def reset(self, site: Site) -> None:
        """Forget the rounds counted."""
        self._site = site
        self._rounds = 0

    def act(self, state: ClusterState) -> Sequence[Action]:
        """Arrivals to the least loaded host, then perhaps one move."""
        assert self._site is not None  # noqa: S101 - reset comes first by the protocol
        plan = Planned(state, self._site)
        plan.place_pending(
            lambda _, room: int(np.argmin(np.where(room, node_load(plan), np.inf))), "least loaded host"
        )
        imbalance = variation(node_load(plan)[plan.on])
        self._rounds = self._rounds + 1 if imbalance > self._config.threshold else 0
        if self._rounds < self._config.hold_rounds:
            return plan.actions
        vm, host, after = best_move(plan)
        if after < imbalance * (1.0 - self._config.margin):
            plan.move(vm, host, "lowers an imbalance that lasts")
            self._rounds = 0
        return plan.actions


def node_load(plan: Planned) -> F64:
    """(n_hosts,) mean of CPU and memory utilisation."""
    return sum((plan.utilisation(r) for r in BALANCED), np.zeros(plan.n_hosts)) / len(BALANCED)


def variation(loads: F64) -> float:
    """Coefficient of variation: standard deviation over mean; 0 where nothing is loaded."""
    mean = float(loads.mean()) if len(loads) else 0.0
    return float(loads.std()) / mean if mean > 0.0 else 0.0


def best_move(plan: Planned) -> tuple[int, int, float]:
    """VM and host of the move after which the imbalance is least, and that imbalance; inf if none fits."""
    loads = node_load(plan)
    above: Mask = loads > loads[plan.on].mean()  # a move from below the mean can only make it worse
    vms: I64 = np.flatnonzero(plan.movable)
    vms = vms[above[plan.place[vms]]]
    best = (-1, -1, np.inf)
    for start in range(0, len(vms), BLOCK):
        block = vms[start : start + BLOCK]
        after = np.where(plan.fits_many(block), _variation_after(plan, loads, block), np.inf)
        row, host = np.unravel_index(np.argmin(after), after.shape)
        if after[row, host] < best[2]:
            best = (int(block[row]), int(host), float(after[row, host]))
    return best


def _variation_after(plan: Planned, loads: F64, vms: I64) -> F64:
    """(k, n_hosts) coefficient of variation after each VM's move to each host."""
    n = int(plan.on.sum())
    total, squares = loads[plan.on].sum(), (loads[plan.on] ** 2).sum()
    source = plan.place[vms]
    added = np.zeros((len(vms), plan.n_hosts))  # to the load of each possible target
    taken = np.zeros(len(vms))
    for r in BALANCED:
        need = plan.vm_load[vms, r, None] + plan.site.vm_overhead[:, r]
        share = need / plan.capacity[:, r] / len(BALANCED)
        added += share
        taken += share[np.arange(len(vms)), source]
    total_after = total + added - taken[:, None]
    left = (loads[source] - taken) ** 2 - loads[source] ** 2
    gained = (loads + added) ** 2 - loads**2
    mean = total_after / n
    variance = np.maximum(0.0, (squares + left[:, None] + gained) / n - mean**2)
    after: F64 = np.sqrt(variance) / np.maximum(mean, 1e-12)
    return after
