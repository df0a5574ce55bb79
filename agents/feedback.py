"""What came of what was done: every action held against what was expected of it, and two knobs corrected from that.

Of a reshaped VM it is expected that it fits: what it wants stays below what it was given, for a window. Of a move,
that the VM stays; of a host that goes off or on, that it stays so: whatever is undone within the window was a regret.
Shares of what went wrong are held at targets by tracking a quantile online, which needs no model of the demand and
follows it when it changes (Gibbs & Candès, *Adaptive Conformal Inference Under Distribution Shift*, NeurIPS 2021,
equation 2): after each outcome the knob goes up by ``rate * (wrong - target)``, inside its bounds.

- ``headroom``, the scaling percentage, answers to VMs that turned out too small;
- ``threshold``, what a candidate must earn, answers to moves and switches that were undone.

The live controller decides through the same ``Decider``, so it learns by the same code; what a guard refused is seen
not to have happened, and is judged as neither right nor wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from foreshade._core import ClusterState
from foreshade.agents.bars import Bars
from foreshade.agents.managers.manager import Advice, ManagerKnobs, Offer
from foreshade.envs.model.action import Action, ActionKind, PowerTarget
from foreshade.envs.model.state import HostState, VmState
from foreshade.envs.site import Site

#: What is nearly full counts as too small: demand beyond a cap is hidden.
FULL = 0.98
_UP = (int(HostState.ON), int(HostState.BOOTING), int(HostState.WAKING))


class FeedbackKnobs(ManagerKnobs):
    """How outcomes correct the rules."""

    window_ticks: Annotated[int, Field(ge=1)] = (
        24  # in which an outcome is awaited: the horizon of the scores
    )
    too_small: Annotated[float, Field(gt=0, lt=1)] = 0.05  # share of reshaped VMs that may turn out too small
    undone: Annotated[float, Field(gt=0, lt=1)] = 0.10  # share of moves and switches that may be undone
    headroom_rate: Annotated[float, Field(ge=0)] = (
        0.002  # a day's reshapes, all wrong, move it by about a tenth
    )
    threshold_rate: Annotated[float, Field(ge=0)] = 0.0005  # idle host hours
    least_headroom: Annotated[float, Field(ge=1)] = 1.1
    most_headroom: Annotated[float, Field(ge=1)] = 2.2
    most_threshold: Annotated[float, Field(ge=0)] = 0.05  # idle host hours


@dataclass(slots=True)
class Outcomes:
    """What came of actions of one kind."""

    expected: int = 0  # actions whose outcome was awaited
    wrong: int = 0  # of those judged
    judged: int = 0
    not_done: int = 0  # the world, or a guard, did not do it
    need: float = 0.0  # of reshaped VMs: sum of what they wanted at most over what they were given

    def row(self) -> dict[str, float]:
        """For reports."""
        return {
            "expected": self.expected,
            "judged": self.judged,
            "wrong": self.wrong,
            "not_done": self.not_done,
            "wrong_share": self.wrong / self.judged if self.judged else 0.0,
            "need": self.need / self.judged if self.judged else 0.0,
        }


@dataclass(slots=True)
class _Awaited:
    """Outcomes that are not in yet, by VM or host."""

    since: npt.NDArray[np.int64]  # (n,) tick of the action; -1 = none
    asked: npt.NDArray[np.float64]  # (n, 2) what it asked for: CPU and memory (inf = unchanged); host; state
    birth: npt.NDArray[np.int64]  # (n,) of the VM

    @classmethod
    def of(cls, n: int) -> _Awaited:
        return cls(np.full(n, -1, np.int64), np.zeros((n, 2)), np.zeros(n, np.int64))


@dataclass(slots=True)
class _Run:
    """What is remembered of one run."""

    headroom: float
    threshold: float
    outcomes: dict[str, Outcomes] = field(default_factory=dict)
    shapes: _Awaited | None = None
    moves: _Awaited | None = None
    power: _Awaited | None = None
    peak: npt.NDArray[np.float64] | None = None  # (n_vms, 2) CPU and memory wanted at most since


class Feedback:
    """Awaits outcomes, and advises the rules' headroom and threshold."""

    name = "feedback"

    def __init__(self, knobs: FeedbackKnobs) -> None:
        self.knobs = knobs
        self._start: Advice | None = None
        self._run: _Run | None = None
        self._tick = 0

    def begin(self, advice: Advice) -> None:
        """The knobs as they are without advice; a run begins."""
        self._start = advice
        self._run = _Run(advice.headroom, advice.threshold)

    def reset(self, site: Site) -> None:
        """Forget everything; ``begin`` says from where."""
        del site
        self._run = None

    def offers(self, state: ClusterState, _bars: Bars, /) -> Sequence[Offer]:
        """None of its own: it looks at what became of the others'."""
        self.look(state)
        return ()

    def taken(self, offer: Offer) -> None:
        """It offers nothing."""

    def advice(self) -> Advice | None:
        """Headroom and threshold as outcomes have corrected them; None before a run."""
        return None if self._run is None else Advice(self._run.headroom, self._run.threshold)

    def outcomes(self) -> Mapping[str, Mapping[str, float]]:
        """By kind: awaited, judged, wrong; and where the knobs stand, under ``headroom`` and ``threshold``."""
        run, start = self._run, self._start
        if run is None or start is None:
            return {}
        rows: dict[str, Mapping[str, float]] = {kind: said.row() for kind, said in run.outcomes.items()}
        rows["headroom"] = {"before": start.headroom, "now": run.headroom}
        rows["threshold"] = {"before": start.threshold, "now": run.threshold}
        return rows

    def planned(self, state: ClusterState, actions: Sequence[Action]) -> None:
        """The actions of this tick, decided on ``state``: what is expected of each."""
        run = self._run
        if run is None:
            return
        run.shapes = run.shapes or _Awaited.of(len(state.vms.state))
        run.moves = run.moves or _Awaited.of(len(state.vms.state))
        run.power = run.power or _Awaited.of(len(state.hosts.state))
        if run.peak is None:
            run.peak = np.zeros((len(state.vms.state), 2))
        tick = int(state.tick)
        for action in actions:
            birth = int(state.vms.birth[action.vm]) if action.vm >= 0 else 0
            if action.kind == ActionKind.RESHAPE and action.allocation is not None:
                before = state.vms.allocation[action.vm]
                asked = [
                    wanted if abs(wanted - before[r]) > 0.01 * before[r] else np.inf
                    for r, wanted in enumerate(action.allocation[:2])
                ]
                self._superseded(action.vm)
                if not np.isfinite(asked).any():
                    continue
                self._await(run.shapes, "reshape", action.vm, asked, tick, birth)
                run.peak[action.vm] = 0.0
            elif action.kind == ActionKind.MIGRATE:
                self._undone(run.moves, "move", [action.vm])  # moved again within the window
                self._await(run.moves, "move", action.vm, [action.host, 0.0], tick, birth)
            elif action.kind == ActionKind.POWER and action.host >= 0:
                self._undone(run.power, "switch", [action.host])
                up = int(action.value) == int(PowerTarget.ON)
                self._await(run.power, "switch", action.host, [float(up), 0.0], tick)

    def look(self, state: ClusterState) -> None:
        """Judge what has had its window, on the state of a tick."""
        run = self._run
        if run is None or run.shapes is None or run.moves is None or run.power is None or run.peak is None:
            return
        self._tick = int(state.tick)
        vms = state.vms
        birth = np.asarray(vms.birth).astype(np.int64)
        alive = np.isin(np.asarray(vms.state), (int(VmState.RUNNING), int(VmState.MIGRATING)))
        for awaited in (run.shapes, run.moves):
            awaited.since[(awaited.since >= 0) & (awaited.birth != birth)] = -1  # another VM has the slot
        # A VM that wants all that it has wants more than is seen.
        wants = np.asarray(vms.demand)[:, :2].astype(np.float64)
        run.peak = np.where(alive[:, None], np.maximum(run.peak, wants), run.peak)
        first = run.shapes.since == self._tick - 1
        changed = np.isfinite(run.shapes.asked)
        asked = np.where(changed, run.shapes.asked, 1.0)
        other = np.abs(np.asarray(vms.allocation)[:, :2] - asked) > 0.02 * asked
        refused = first & (changed & other).any(axis=1)
        self._not_done(run.shapes, refused, "reshape")
        due = (run.shapes.since >= 0) & (self._tick - run.shapes.since >= self.knobs.window_ticks)
        if due.any():
            self._judge_shapes((run.peak[due] / np.maximum(run.shapes.asked[due], 1.0)).max(axis=1))
            run.shapes.since[due] = -1
        gone = (run.moves.since >= 0) & ~alive & (np.asarray(vms.state) != int(VmState.STOPPING))
        run.moves.since[gone] = -1
        lost = (run.moves.since == self._tick - 1) & (np.asarray(vms.state) == int(VmState.RUNNING))
        self._not_done(run.moves, lost & (np.asarray(vms.host) != run.moves.asked[:, 0]), "move")
        up = np.isin(np.asarray(state.hosts.state), _UP)
        settled = (run.power.since >= 0) & (self._tick - run.power.since > 1)
        # The world's own scheduler wakes hosts too: off and on again is a regret, whoever woke it.
        self._undone(
            run.power, "switch", np.flatnonzero(settled & (run.power.asked[:, 0] == 0.0) & up).tolist()
        )
        for awaited, kind in ((run.moves, "move"), (run.power, "switch")):
            due = (awaited.since >= 0) & (self._tick - awaited.since >= self.knobs.window_ticks)
            self._judge_kept(kind, int(due.sum()))
            awaited.since[due] = -1

    def _await(
        self, awaited: _Awaited, kind: str, i: int, asked: Sequence[float], tick: int, birth: int = 0
    ) -> None:
        if self._run is None:
            return
        awaited.since[i], awaited.asked[i], awaited.birth[i] = tick, asked, birth
        self._run.outcomes.setdefault(kind, Outcomes()).expected += 1

    def _not_done(self, awaited: _Awaited, which: npt.NDArray[np.bool_], kind: str) -> None:
        run = self._run
        if run is None or not which.any():
            return
        run.outcomes.setdefault(kind, Outcomes()).not_done += int(which.sum())
        awaited.since[which] = -1

    def _judge_shapes(self, need: npt.NDArray[np.float64]) -> None:
        run, knobs = self._run, self.knobs
        if run is None:
            return
        wrong = need >= FULL
        said = run.outcomes.setdefault("reshape", Outcomes())
        said.judged += len(need)
        said.wrong += int(wrong.sum())
        said.need += float(need.sum())
        step = knobs.headroom_rate * float((wrong - knobs.too_small).sum())
        run.headroom = min(max(run.headroom + step, knobs.least_headroom), knobs.most_headroom)

    def _superseded(self, vm: int) -> None:
        """Reshaped again before the window is over: too small it is by now, or what fitted so far says nothing."""
        run = self._run
        if run is None or run.shapes is None or run.peak is None or run.shapes.since[vm] < 0:
            return
        need = run.peak[vm : vm + 1] / np.maximum(run.shapes.asked[vm], 1.0)
        run.shapes.since[vm] = -1
        if need.max() >= FULL:
            self._judge_shapes(need.max(axis=1))

    def _undone(self, awaited: _Awaited, kind: str, which: Sequence[int]) -> None:
        run, knobs = self._run, self.knobs
        open_ = [i for i in which if awaited.since[i] >= 0]
        if run is None or not open_:
            return
        said = run.outcomes.setdefault(kind, Outcomes())
        said.judged += len(open_)
        said.wrong += len(open_)
        awaited.since[open_] = -1
        run.threshold = min(
            run.threshold + knobs.threshold_rate * (1.0 - knobs.undone) * len(open_), knobs.most_threshold
        )

    def _judge_kept(self, kind: str, n: int) -> None:
        run, knobs = self._run, self.knobs
        if run is None or self._start is None or not n:
            return
        run.outcomes.setdefault(kind, Outcomes()).judged += n
        run.threshold = max(run.threshold - knobs.threshold_rate * knobs.undone * n, self._start.threshold)
