"""Where VMs could go: hosts that are opened one after the other are as many as with each set looked at from anew."""

from __future__ import annotations

import numpy as np
import pytest

from foreshade.agents.managers.relocation import Relocation
from foreshade.envs.model.action import Plan, PowerTarget, place, power
from foreshade.envs.simulated import SimulatedWorld
from foreshade.envs.site import site_of
from tests.tiny_world import MACHINE, scenario, workload

N_HOSTS, N_ON, N_VMS = 12, 6, 60
RULES = (
    {"name": "pair", "together": "host", "vms": ("vm0", "vm1")},
    {"name": "licences", "within": ("licence",), "vms": ("vm2",)},
    {"name": "ha", "apart": "host", "vms": ("vm3", "vm12")},
)


def random_world(dice: np.random.Generator, *, rules: bool) -> SimulatedWorld:
    """Half of the hosts are off; the others, of which host 0 is to be emptied, are nearly full."""
    on = np.zeros(N_VMS, int)
    on[12:] = dice.integers(1, N_ON, N_VMS - 12)
    sizes = dice.uniform(1_000.0, 20_000.0, N_VMS)
    sizes *= (60_000.0 / np.maximum(np.bincount(on, sizes), 60_000.0))[on]
    here = {**MACHINE, "count": N_ON}
    there = (
        {**MACHINE, "memory_mib": int(mib), "labels": ("licence",)}
        for mib in dice.choice([16_384, 24_576, 40_960], N_HOSTS - N_ON)
    )
    fleet = ({"zone": "a", "hosts": (here, *there)},)
    world = SimulatedWorld(
        scenario(
            N_HOSTS,
            fleet=fleet,
            overcommit={"cpu": 32, "memory": 1},
            affinity=RULES if rules else (),
        ),
        workload(dice.uniform(200.0, 1_100.0, N_VMS).tolist(), memory=500.0, allocation=sizes.tolist()),
    )
    off = [power(h, PowerTarget.OFF) for h in range(N_ON, N_HOSTS)]
    placed = [place(v, h) for v, h in enumerate(on.tolist())]
    world.execute(Plan(0, [*placed, *off]))  # VM 2 only where it may stand
    for _ in range(3):
        world.advance()
    return world


@pytest.mark.parametrize("rules", [False, True])
def test_hosts_opened_one_by_one_are_those_of_a_look_from_anew(rules: bool) -> None:
    dice = np.random.default_rng(7)
    counts = []
    for _ in range(60):
        world = random_world(dice, rules=rules)
        state, site = world.observe(), site_of(world, 0)
        more = dice.permutation(np.arange(N_ON, N_HOSTS)).tolist()
        cpu_share, spread = float(dice.uniform(0.2, 0.85)), bool(dice.random() < 0.7)
        rooms = []
        for n in range(len(more) + 1):
            as_if_on = np.isin(np.arange(N_HOSTS), more[:n])
            takes = np.arange(N_HOSTS) > 0
            rooms.append(
                Relocation(site, state, takes, cpu_share=cpu_share, spread=spread, as_if_on=as_if_on)
            )
        moves = [room.empty([0], "") for room in rooms]
        enough = next((n for n in range(1, len(moves)) if moves[n] is not None), 0)
        one = Relocation(site, state, takes, cpu_share=cpu_share, spread=spread)
        assert one.woken_for([0], more) == (more[:enough] if enough else None)
        assert one.empty([0], "") == moves[enough or -1]  # nothing was booked
        counts.append(enough)
    assert len(set(counts)) > 3, counts  # none, and several numbers of hosts
