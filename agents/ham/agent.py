"""HAM as an agent: a frozen policy decides, and the rules where it should not be trusted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from foreshade.agents.ham.frozen import FrozenPolicy
from foreshade.agents.rules.rules import Decider
from foreshade.envs.candidates import CandidateKnobs
from foreshade.envs.errors import InputError
from foreshade.envs.features import F32
from foreshade.envs.native_schema import native_schema
from foreshade.envs.site import Site

#: The policy that comes with the package.
SHIPPED = Path(__file__).parent / "policy"


class Ham(Decider):
    """Takes the policy's choice among the candidates that it was trained on."""

    def __init__(self, folder: str | Path | None = None) -> None:
        """Load a frozen policy; None = the one that comes with the package.

        Raises:
            InputError: the folder does not verify, or was made for other observations.

        """
        where = Path(folder) if folder is not None else SHIPPED
        self.policy = FrozenPolicy.load(where)
        knobs = _candidates(self.policy.origin, where)
        expected = native_schema(knobs.k)
        difference = expected.difference(self.policy.schema)
        if difference is not None:
            raise InputError(f"{where}: schema: {difference}")
        super().__init__("ham", knobs)
        #: Decisions by who took them: ``ham``, or why the rules did.
        self.decided: Counter[str] = Counter()
        self._flat: F32 = np.zeros(expected.size, dtype=np.float32)

    def reset(self, site: Site) -> None:
        """A run on ``site`` begins."""
        super().reset(site)
        self.decided.clear()

    def choose(self) -> int:
        """The policy's choice, or the rules' where the policy is in doubt."""
        proposer = self.proposer
        proposer.write(self._flat)
        choice = self.policy.choose(self._flat)
        doubt = self.policy.doubt(choice)
        if doubt is None:
            self.decided["ham"] += 1
            return choice.candidate
        self.decided[doubt.split(" 0.")[0]] += 1
        return int(proposer.preferred)

    @property
    def fallback_rate(self) -> float:
        """Share of the decisions since the reset that the rules took."""
        total = self.decided.total()
        return 0.0 if total == 0 else 1.0 - self.decided["ham"] / total


def _candidates(origin: Mapping[str, object], where: Path) -> CandidateKnobs:
    said = origin.get("candidates")
    try:
        return CandidateKnobs.model_validate(said)
    except ValueError as error:
        raise InputError(
            f"{where}: manifest: origin.candidates: expected what a policy was trained on"
        ) from error
