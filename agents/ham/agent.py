"""HAM as an agent: a frozen policy decides, and the rules where it should not be trusted."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from foreshade.agents.baselines.registry import SHIPPED_POLICY
from foreshade.agents.decisions import HAM, RULES, Taken
from foreshade.agents.ham.chosen_among import candidates_of
from foreshade.agents.ham.frozen import FrozenPolicy
from foreshade.agents.managers.manager import Manager
from foreshade.agents.rules.rules import Decider, load_rules
from foreshade.envs.candidates import CandidateKnobs
from foreshade.envs.errors import InputError
from foreshade.envs.features import F32
from foreshade.envs.native_schema import native_schema
from foreshade.envs.site import Site

#: Why the rules decide for HAM, as it is counted; ``FrozenPolicy.doubt`` has the numbers.
OUT_OF_RANGE, UNSURE, UNVERIFIED = "input out of range", "low confidence", "policy does not verify"
UNTRAINED = "another kind of world than it was trained on"

_log = logging.getLogger(__name__)


class Ham(Decider):
    """Takes the policy's choice among the candidates that it was trained on."""

    def __init__(
        self,
        folder: str | Path | None = None,
        *,
        policy: FrozenPolicy | None = None,
        rules: CandidateKnobs | None = None,
        fallback: bool = False,
        managers: Sequence[Manager] = (),
    ) -> None:
        """Load a frozen policy, or take one.

        Args:
            folder: of the policy; None = the one that comes with the package.
            policy: to be taken instead of one from a folder.
            rules: in force, which decide where the policy is in doubt; None = those that come with the package.
            managers: components that offer candidates beside the proposer's own.
            fallback: where the policy does not verify, let the rules decide everything, and log once why,
                instead of raising.

        Raises:
            InputError: the folder does not verify, or was made for other observations.

        """
        self.policy: FrozenPolicy | None = None
        self.unverified = ""  # why there is no policy; "" = there is one
        self._rules = knobs = load_rules() if rules is None else rules
        try:
            policy, where = (policy, "policy") if policy is not None else _load(folder)
            knobs = candidates_of(policy, knobs, where)
            self.policy = policy
        except InputError as error:
            if not fallback:
                raise
            self.unverified = str(error)
            _log.warning("HAM hands over to the rules: %s", error)
        super().__init__("ham", knobs, managers)
        self._trained_on = knobs
        self._flat: F32 = np.zeros(native_schema(knobs.k).size, dtype=np.float32)
        self._untrained = False

    def reset(self, site: Site) -> None:
        """A run on ``site`` begins."""
        # No environment to train in has hosts that are off at once, or no actions but these.
        self._untrained = site.idle_is_off or site.placement_only
        self.knobs = self._rules if self._untrained else self._trained_on
        super().reset(site)

    @property
    def deciding(self) -> FrozenPolicy | None:
        """The policy, where it decides on this site; None = the rules take every decision."""
        return None if self._untrained else self.policy

    def choose(self) -> Taken:
        """The policy's choice, or the rules' where the policy is in doubt."""
        proposer = self.proposer
        if self.policy is None:
            return Taken(proposer.preferred, RULES, UNVERIFIED)
        if self._untrained:
            return Taken(proposer.preferred, RULES, UNTRAINED)
        proposer.write(self._flat)
        choice = self.policy.choose(self._flat, proposer.preferred)
        if self.policy.doubt(choice) is None:
            return Taken(choice.candidate, HAM)
        return Taken(proposer.preferred, RULES, OUT_OF_RANGE if choice.out_of_range else UNSURE)

    @property
    def fallback_rate(self) -> float:
        """Share of the decisions since the reset that the rules took."""
        return self.tally.summary().fallback_rate


def _load(folder: str | Path | None) -> tuple[FrozenPolicy, str]:
    if folder is None and not SHIPPED_POLICY.is_dir():
        raise InputError(
            "agent ham: expected a frozen policy, found none in this package; name one with --policy DIR, "
            "as foreshade train and foreshade export write it"
        )
    where = SHIPPED_POLICY if folder is None else Path(folder)
    return FrozenPolicy.load(where, backend="numpy"), str(where)  # it decides one state at a time
