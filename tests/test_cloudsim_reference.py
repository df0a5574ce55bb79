"""The native policies against a plain Python transcription of the rules, step by step on random days."""

from __future__ import annotations

import numpy as np
import pytest

from foreshade._core import CloudSimPolicy
from foreshade.envs.cloudsim import CloudSimWorld
from foreshade.envs.model.action import Plan
from foreshade.envs.model.state import VmState
from tests.cloudsim_reference import MIPS, Reference

N_VMS, N_HOSTS, SAMPLES, STEPS = 40, 30, 288, 40


class Lists:
    """Who stands where, in order of arrival, kept from the moves alone."""

    def __init__(self, world: CloudSimWorld) -> None:
        self.of_host: list[list[int]] = [[] for _ in range(N_HOSTS)]
        for vm, host in enumerate(world.observe().vms.host):
            if host >= 0:
                self.of_host[host].append(vm)
        self.kind = [vm // -(-N_VMS // 4) for vm in range(N_VMS)]

    def drop_absent(self, world: CloudSimWorld) -> None:
        state = world.observe().vms.state
        self.of_host = [[vm for vm in vms if state[vm] != VmState.ABSENT] for vms in self.of_host]

    def land(self, moves: list[tuple[int, int]]) -> None:
        ram = (870, 1740, 1740, 613)
        for vm, host in sorted(moves, key=lambda move: ram[self.kind[move[0]]]):
            next(vms for vms in self.of_host if vm in vms).remove(vm)
            self.of_host[host].append(vm)


@pytest.mark.parametrize("variant", ["stock", "keepzero"])
@pytest.mark.parametrize(
    ("policy", "parameter"),
    [("thr", 0.8), ("thr", 0.4), ("iqr", 1.5), ("iqr", 0.2), ("mad", 2.5), ("lr", 1.2), ("lr", 0.8)],
)
@pytest.mark.parametrize("seed", range(3))
def test_every_step_makes_the_moves_that_the_rules_make(seed, policy, parameter, variant):
    rng = np.random.default_rng(seed)
    # Steps of 5 % make many exact ties; stretches of zeros let VMs idle.
    percent = rng.integers(0, 14, (N_VMS, SAMPLES)) * 5 + rng.integers(0, 30, (N_VMS, 1))
    percent *= (rng.random((N_VMS, SAMPLES // 4)) > 0.1).repeat(4, axis=1)
    world = CloudSimWorld(percent, [f"{i:03d}" for i in range(N_VMS)], hosts=N_HOSTS, variant=variant)
    lists = Lists(world)
    history: list[list[float]] = [[] for _ in range(N_VMS)]
    sample = percent / 100.0
    compared = 0
    for step in range(STEPS):
        time_s = 0.1 + 300
        for _ in range(step):
            time_s += 300
        left = int(time_s // 300)
        u = sample[:, left] + (sample[:, left + 1] - sample[:, left]) / 300 * (time_s - left * 300)
        for vm in range(N_VMS):
            history[vm] = [float(u[vm]), *history[vm]][:30]
        lists.drop_absent(world)
        request = [float(u[vm] * MIPS[lists.kind[vm]]) for vm in range(N_VMS)]
        actions = world.optimise(CloudSimPolicy[policy.upper()], parameter)
        moves = [(action.vm, action.host) for action in actions]
        assert moves == Reference(policy, parameter, lists.kind, request, history, lists.of_host).moves(), (
            f"step {step}"
        )
        compared += len(moves)
        world.execute(Plan(tick=step, actions=actions))
        lists.land(moves)
        world.advance()
    assert compared > 50
