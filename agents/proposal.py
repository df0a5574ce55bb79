"""What a decision maker would do in one tick, with what it is worth and how it came to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from foreshade import _core
from foreshade._core import ClusterState
from foreshade.agents.decisions import Taken
from foreshade.agents.explanation import Explained, TickRecorder
from foreshade.agents.journal import Choice
from foreshade.agents.rules.rules import Decider
from foreshade.envs.model.action import Action


@dataclass(frozen=True, slots=True)
class Proposal:
    """The actions of one tick, before any guard."""

    by: str  # ham or rules
    actions: tuple[Action, ...] = ()
    gain_usd: float = 0.0  # sum of the scores of what was taken: expected over the horizon, transitions paid
    transition_usd: float = 0.0
    doubts: Mapping[str, int] = field(default_factory=dict)  # decisions left to the rules, by why
    decisions: tuple[Explained, ...] = ()  # where it was recorded
    error: str = ""  # why it could not decide

    def choice(self) -> Choice:
        """The same in a few numbers."""
        kinds = Counter(action.kind.name.lower() for action in self.actions)
        return Choice(self.by, dict(kinds), self.gain_usd, self.transition_usd, dict(self.doubts), self.error)


def propose(decider: Decider, state: ClusterState, *, record: bool, instead: str = "") -> Proposal:
    """Ask a decision maker; what it raises is its error and no one else's.

    Args:
        decider: rules or HAM; it learns from every state that it is shown.
        state: of this tick.
        record: whether to write down every candidate of every decision.
        instead: why it decides in HAM's place, to be written down with each decision; "" = it does not.

    """
    recorder = TickRecorder(decider) if record else None
    doubts: Counter[str] = Counter()
    worth = {"gain": 0.0, "transition": 0.0}

    def listen(proposer: _core.Proposer, taken: Taken) -> None:
        if recorder is not None:
            recorder(proposer, taken._replace(doubt=instead) if instead else taken)
        if taken.doubt:
            doubts[taken.doubt] += 1
        if taken.candidate > 0:
            said = proposer.describe(taken.candidate)
            worth["gain"] += said["score"]
            worth["transition"] += said["cost"]

    decider.on_decision = listen
    try:
        actions: Sequence[Action] = decider.act(state)
    except (RuntimeError, ValueError, ArithmeticError, LookupError) as error:
        return Proposal(decider.name, error=f"{type(error).__name__}: {error}")
    finally:
        decider.on_decision = None
    return Proposal(
        decider.name,
        tuple(actions),
        worth["gain"],
        worth["transition"],
        doubts,
        tuple(recorder.decisions) if recorder is not None else (),
    )


Estimator = Callable[[ClusterState], None]
"""Fills in what telemetry does not measure (anomalies, hazards); writes to the state it is given."""
