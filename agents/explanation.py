"""Why a tick was decided as it was: every candidate of every decision, what it was worth, and why it lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from foreshade import _core
from foreshade.agents.decisions import HAM, Taken
from foreshade.agents.ham.agent import Ham
from foreshade.agents.rules.rules import Decider
from foreshade.envs.candidates import CandidateKnobs, Sizing
from foreshade.envs.features import F32
from foreshade.envs.native_schema import native_schema


@dataclass(frozen=True, slots=True)
class Weighed:
    """A candidate as it stood when a decision was taken."""

    index: int  # row
    what: str  # kind, VM and hosts in words
    said: _core.CandidateDict  # score terms in USD over the horizon, preference, whether it was possible
    features: Mapping[str, float]  # as the policy read them; empty where it was masked
    probability: float | None  # that HAM gives it; None = no policy was asked
    verdict: str  # why it was taken or not


@dataclass(frozen=True, slots=True)
class Explained:
    """One decision."""

    taken: Taken
    #: HAM's: probability of its best minus that of its second; None = it was not asked.
    confidence: float | None
    out_of_range: tuple[str, ...]  # columns beyond what the policy was trained on
    context: Mapping[str, float]
    candidates: tuple[Weighed, ...]  # by row; row 0 is wait

    @property
    def chosen(self) -> Weighed:
        """The candidate that was taken."""
        return self.candidates[self.taken.candidate]


class TickRecorder:
    """Listens to an agent's decisions of one tick: its ``on_decision``."""

    def __init__(self, agent: Decider) -> None:
        self.decisions: list[Explained] = []
        self._knobs = agent.in_force
        self._policy = agent.deciding if isinstance(agent, Ham) else None
        self._schema = native_schema(agent.knobs.k)

    def __call__(self, proposer: _core.Proposer, taken: Taken) -> None:
        """Write down all candidates as they stand, before the one that is taken is booked."""
        flat: F32 = np.zeros(self._schema.size, np.float32)
        proposer.write(flat)
        context, rows, _ = self._schema.split(flat)
        odds, confidence = None, None
        beyond: tuple[str, ...] = ()
        if self._policy is not None:
            logits = self._policy.scores(flat[None])[0].astype(np.float64)
            odds = np.exp(logits - logits.max())
            odds /= odds.sum()
            confidence = self._policy.choose(flat).confidence
            beyond = self._policy.columns_out_of_range(flat)
        said = [proposer.describe(i) for i in range(len(proposer))]
        names = [column.name for column in self._schema.candidate]
        candidates = tuple(
            Weighed(
                i,
                _words(one, self._knobs),
                one,
                dict(zip(names, rows[i].tolist(), strict=True)) if one["possible"] else {},
                None if odds is None else float(odds[i]),
                self._verdict(i, said, taken, odds),
            )
            for i, one in enumerate(said)
        )
        by_name = zip((column.name for column in self._schema.context), context.tolist(), strict=True)
        self.decisions.append(Explained(taken, confidence, beyond, dict(by_name), candidates))

    def _verdict(self, i: int, said: list[_core.CandidateDict], taken: Taken, odds: np.ndarray | None) -> str:
        mine, best = said[i], said[taken.candidate]
        if i == taken.candidate:
            return f"taken by {taken.by}"
        if not mine["possible"]:
            return self._masked(mine)
        if taken.by == HAM and odds is not None:
            text = f"HAM gives it {odds[i]:.1%}, the taken one {odds[taken.candidate]:.1%}"
            if mine["preference"] > best["preference"]:
                text += f"; the rules prefer it, {mine['preference']:.3f} to {best['preference']:.3f}"
            return text
        if why := _left_by_rules(mine, self._knobs):
            return why
        if mine["preference"] == best["preference"]:
            return "level with the taken one, which stands first"
        return f"preference {mine['preference']:.3f} below {best['preference']:.3f}"

    def _masked(self, mine: _core.CandidateDict) -> str:
        """What was booked before it in this tick is why it cannot be done."""
        for number, decision in enumerate(self.decisions, start=1):
            if decision.taken.candidate == _row_of(decision, mine):
                return f"masked: taken in decision {number}"
        for number, decision in enumerate(self.decisions, start=1):
            before = decision.chosen.said
            if mine["vm"] >= 0 and mine["vm"] == before["vm"]:
                return f"masked: decision {number} settled VM {mine['vm']} for this tick"
            hosts = {mine["host"], mine["source"]} & {before["host"], before["source"]} - {-1}
            if hosts:
                return f"masked: decision {number} changed host {min(hosts)}, for which it was planned"
        return "masked: what was booked this tick left no room or no place for another VM"


def _row_of(decision: Explained, mine: _core.CandidateDict) -> int:
    """Row that a candidate had in an earlier decision of the tick; -1 = it was not there."""
    for candidate in decision.candidates:
        if all(candidate.said[key] == mine[key] for key in ("kind", "vm", "host", "source", "plan", "z")):
            return candidate.index
    return -1


def _left_by_rules(said: _core.CandidateDict, knobs: CandidateKnobs) -> str:
    """Why the rules do not take a candidate for itself; "" = they would."""
    kind = said["kind"]
    if said["rule"] >= 0 and said["preference"] <= 0.0:
        return f"a rule decides: {knobs.rule_labels[said['rule']]}"
    if kind == "wait" or said["preference"] > 0.0:
        return ""
    if kind == "plan":
        return "the rules follow another plan"
    if kind not in knobs.preferred:
        return f"the rules never {kind.replace('_', ' ')} by themselves"
    if kind == "right_size" and said["plan"] >= 0:
        return f"the rules size otherwise: {_sizing(knobs)}"
    return f"earns {said['score']:+.5f} USD, not above the threshold"


def _sizing(sizing: Sizing) -> str:
    return f"headroom {sizing.headroom:g}, CPU at least {sizing.slack_floor:.0%} of the flavour"


def _words(said: _core.CandidateDict, knobs: CandidateKnobs) -> str:
    if said["kind"] == "plan":
        plan = knobs.plans[said["plan"]]
        return f"plan {plan.name}" if plan.eager else f"plan {plan.name}, made once taken"
    if said["kind"] == "right_size":
        sizing = knobs if said["plan"] < 0 else knobs.sizings[said["plan"]]
        return f"right_size {said['actions']} VMs, {_sizing(sizing)}"
    return said["reason"]
