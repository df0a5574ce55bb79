"""A policy made acquainted with what components do, which learn in no native environment.

Components (racks that go dark, shadows, hosts that are emptied for maintenance) lead to states that training never
came to, and a frozen policy hands those over to the rules. Here it plays training workloads as ``foreshade evaluate``
does, with the components that are on by default, and what it is shown widens the range of its columns.
"""

from __future__ import annotations

import numpy as np
import torch

from foreshade.agents.decisions import HAM, Taken
from foreshade.agents.episode import play
from foreshade.agents.ham.policy import HamPolicy
from foreshade.agents.managers.registry import load_components
from foreshade.agents.rules.rules import Decider
from foreshade.envs.candidates import CandidateKnobs
from foreshade.envs.errors import InputError
from foreshade.envs.features import F32
from foreshade.envs.simulated import SimulatedWorld
from foreshade.training.cases import HAM_CASES, MIXED, world_of


def acquaint(policy: HamPolicy, knobs: CandidateKnobs, scenario: str, workloads: int) -> None:
    """Play the first ``workloads`` of each of the scenario's training cases with the default components.

    Raises:
        InputError: the scenario has no training cases.

    """
    if scenario != MIXED and scenario not in HAM_CASES:
        raise InputError(
            f"evaluation.with_components: expected 0 for {scenario}, which has no training cases, got {workloads}"
        )
    named = HAM_CASES.values() if scenario == MIXED else [HAM_CASES[scenario]]
    for case in [case for cases in named for case in cases["train"][:workloads]]:
        plain = world_of(case)()
        world = SimulatedWorld(plain.scenario, plain.workload, 0, forecast="table")
        play(world, _Acquainted(policy, knobs))


class _Acquainted(Decider):
    """Decides by a policy in torch, in doubt about nothing."""

    def __init__(self, policy: HamPolicy, knobs: CandidateKnobs) -> None:
        super().__init__("ham", knobs, load_components())
        self._policy = policy
        self._flat: F32 = np.zeros((1, policy.network["schema"].size), np.float32)

    def choose(self) -> Taken:
        self.proposer.write(self._flat[0])
        shown = torch.as_tensor(self._flat, device=self._policy.device)
        self._policy.widen_range(shown)
        with torch.no_grad():
            return Taken(int(self._policy.logits(shown).argmax()), HAM)
