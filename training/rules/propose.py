"""New rules from what was observed: what is left undone though it pays, what is undone soon after, what recurs daily.

The rules play training worlds under observation. Each habit that shows becomes a rule of a file, with its evidence
in words: how often, in how many worlds, what it was reckoned to be worth, with an interval over the worlds. A
proposal is only a guess about causes: so each is played on other worlds, before and after in pairs.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from foreshade import _core
from foreshade._core import ClusterState
from foreshade.agents.decisions import Taken
from foreshade.agents.rules.rules import Rules
from foreshade.envs.candidates import CandidateKnobs
from foreshade.envs.extras import require
from foreshade.envs.features import F32
from foreshade.envs.model.action import Plan
from foreshade.envs.native_schema import native_schema
from foreshade.envs.rule_reach import unreachable
from foreshade.envs.rule_tree import Rule
from foreshade.envs.site import site_of
from foreshade.training.estimate import Estimate
from foreshade.training.rules.ground import MEASURES, Ground, Played
from foreshade.training.rules.reading import Reader

#: What is undone within so many ticks was a regret; as the agent's own feedback has it.
WINDOW_TICKS = 24
#: A habit that shows less often is none.
LEAST_TIMES = 20
#: Share of a kind's decisions under a condition that were regretted, before it is proposed to stop them.
LEAST_REGRET = 0.5
#: Share of days on which an application was given more at the same hour, before that is called daily.
LEAST_DAYS = 0.7
#: A VM that wants this share of what it has wants more than is seen.
FULL = 0.98


@dataclass(slots=True)
class _Left:
    """What paid by its score and was not taken."""

    usd: float
    world: str
    hour: float


@dataclass(slots=True)
class _Done:
    """A single action that was taken, and whether it was undone or fell short."""

    kind: str
    vm: int
    tick: int
    row: F32
    app: int
    hour: float
    day: int
    world: str
    regretted: bool = False


@dataclass(slots=True)
class Observed:
    """What the rules did and left in worlds that were watched."""

    worlds: list[str] = field(default_factory=list)
    days: float = 0.0  # of all worlds together
    left: dict[str, list[_Left]] = field(default_factory=lambda: defaultdict(list))
    done: list[_Done] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A rule, why it is proposed, and what it did on worlds that took no part."""

    rule: Rule
    times: int
    worlds: int
    reckoned_usd: Estimate | None  # a day, over the worlds that were watched; None = no money was reckoned
    effect: dict[str, Estimate]  # after minus before, by measure
    ratio: Estimate  # logarithm of cost after over before

    @property
    def verdict(self) -> str:
        """``pays``, ``harms``, or ``level`` where the interval of the cost holds zero."""
        return "level" if not self.ratio.resolved else "pays" if self.ratio.mean < 0 else "harms"

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold."""
        return {
            "name": self.rule.name,
            "when": dict(self.rule.when),
            "prefer": self.rule.prefer,
            "why": self.rule.why,
            "times": self.times,
            "worlds": self.worlds,
            "reckoned_usd_day": None if self.reckoned_usd is None else _pair(self.reckoned_usd),
            "verdict": self.verdict,
            "effect": {name: _pair(e) for name, e in self.effect.items()},
        }

    def sentence(self) -> str:
        """What it did, in words."""
        cost, unmet = self.effect["cost"], self.effect["unmet"]
        return (
            f"{self.verdict}: cost {cost.mean:+.2f} ± {cost.half_width:.2f} USD a run, unmet demand "
            f"{unmet.mean:+.3f} ± {unmet.half_width:.3f} points, on {cost.n} other worlds"
        )


def observe(
    knobs: CandidateKnobs, ground: Ground, on_world: Callable[[int], None] = lambda _: None
) -> Observed:
    """Play the rules and write down what they leave and what they come to regret."""
    seen = Observed()
    reader = Reader(native_schema(knobs.k), knobs.threshold)
    for number, (label, world, seed) in enumerate(ground.fresh()):
        on_world(number)
        watch = _Watch(seen, label, reader)
        agent = Rules(knobs)
        agent.on_decision = watch.decided
        agent.reset(site_of(world, seed))
        while not world.done:
            watch.state = state = world.observe()
            watch.look(state)
            world.execute(Plan(state.tick, agent.act(state)))
            world.advance()
        seen.worlds.append(label)
        seen.days += world.n_ticks * world.tick_s / 86_400.0
    return seen


class _Watch:
    """Decisions of one world as they are taken."""

    def __init__(self, seen: Observed, world: str, reader: Reader) -> None:
        self._seen, self._world, self._reader = seen, world, reader
        self.state: ClusterState | None = None
        self._open: dict[int, _Done] = {}  # the newest single action of each VM

    def decided(self, proposer: _core.Proposer, taken: Taken) -> None:
        """Told of every decision, before it is booked."""
        state = self.state
        if state is None:
            return
        hour = state.time_s % 86_400 / 3600.0
        if taken.candidate == 0:
            best: dict[str, float] = {}
            for i in range(1, len(proposer)):
                said = proposer.describe(i)
                # A plan, or another sizing, is another way to do the same, nothing that was left.
                other = said["kind"] == "plan" or (said["kind"] == "right_size" and said["plan"] >= 0)
                if said["possible"] and said["score"] > 0.0 and not other:
                    best[said["kind"]] = max(best.get(said["kind"], 0.0), said["score"])
            for kind, usd in best.items():
                self._seen.left[kind].append(_Left(usd, self._world, hour))
            return
        said = proposer.describe(taken.candidate)
        vm = said["vm"]
        if vm < 0 or said["actions"] != 1 or said["kind"] not in ("migrate", "grow", "shrink"):
            return
        before = self._open.pop(vm, None)
        if before is not None and {before.kind, said["kind"]} in ({"migrate"}, {"grow", "shrink"}):
            before.regretted = True
        flat = np.zeros(proposer.width(), np.float32)
        proposer.write(flat)
        context, rows, _ = self._split(flat, proposer.k)
        row = self._reader.rows(context, rows[taken.candidate][None], state.time_s)[0]
        app, day = int(state.vms.app[vm]), int(state.time_s // 86_400)
        done = _Done(said["kind"], vm, int(state.tick), row, app, hour, day, self._world)
        self._open[vm] = done
        self._seen.done.append(done)

    def look(self, state: ClusterState) -> None:
        """A VM that was made smaller and then wants all that it has was made too small."""
        for vm, done in list(self._open.items()):
            if int(state.tick) - done.tick > WINDOW_TICKS:
                del self._open[vm]
            elif done.kind == "shrink" and float(state.vms.demand[vm, 0]) >= FULL * float(
                state.vms.allocation[vm, 0]
            ):
                done.regretted = True
                del self._open[vm]

    def _split(self, flat: F32, k: int) -> tuple[F32, F32, F32]:
        return native_schema(k).split(flat)


def rules_of(seen: Observed, knobs: CandidateKnobs) -> list[tuple[Rule, int, int, Estimate | None]]:
    """Rule, how often what it is for was seen, in how many worlds, and what that was reckoned to be worth a day."""
    found = [*_left(seen, knobs), *_regretted(seen), *_daily(seen)]
    return [one for one in found if unreachable((*knobs.rules, one[0]), knobs.tree) is None]


def _left(seen: Observed, knobs: CandidateKnobs) -> Iterator[tuple[Rule, int, int, Estimate | None]]:
    days = seen.days / max(len(seen.worlds), 1)
    for kind, rows in sorted(seen.left.items(), key=lambda item: -sum(one.usd for one in item[1])):
        if kind in knobs.preferred or len(rows) < LEAST_TIMES:
            continue
        by_world = dict.fromkeys(seen.worlds, 0.0)
        for one in rows:  # a score is over the horizon, and what is left stays on offer: a tick's part of it
            by_world[one.world] += one.usd / knobs.horizon_ticks
        money = Estimate.of([usd / days for usd in by_world.values()])
        worlds = sum(usd > 0 for usd in by_world.values())
        band = _band([one.hour for one in rows], [one.usd for one in rows])
        when: dict[str, Any] = {"kind": kind}
        if band is not None:
            when["hour"] = f"{band[0]}..{band[1]}"
        at = f" between {band[0]} and {band[1]} h" if band is not None else ""
        why = (
            f"left in {len(rows)} ticks of {worlds} worlds though its score was above 0{at}; "
            f"reckoned at {money.mean:.3f} ± {money.half_width:.3f} USD a day"
        )
        yield Rule(name=f"take {kind}{at}", why=why, when=when, prefer="score"), len(rows), worlds, money


def _band(
    hours: Sequence[float], usd: Sequence[float], share: float = 0.8, most_h: int = 8
) -> tuple[int, int] | None:
    """The shortest run of whole hours that holds so much of the money; None where it is longer than ``most_h``."""
    by_hour = np.bincount(np.asarray(hours, np.int64) % 24, np.asarray(usd), 24)
    total = by_hour.sum()
    for length in range(1, most_h + 1):
        for first in range(25 - length):
            if by_hour[first : first + length].sum() >= share * total > 0:
                return first, first + length
    return None


def _regretted(seen: Observed) -> Iterator[tuple[Rule, int, int, Estimate | None]]:
    """Where single actions of a kind were mostly undone: the leaf of a shallow tree over what was known then."""
    tree_module = require("sklearn.tree", "rules", "rules propose")
    for kind in ("migrate", "grow", "shrink"):
        rows = [one for one in seen.done if one.kind == kind]
        regretted = np.array([one.regretted for one in rows])
        if len(rows) < 2 * LEAST_TIMES or regretted.sum() < LEAST_TIMES:
            continue
        reader = Reader(native_schema(2))
        features = np.stack([one.row for one in rows])
        tree = tree_module.DecisionTreeClassifier(max_depth=2, min_samples_leaf=LEAST_TIMES, random_state=0)
        tree.fit(features, regretted)
        leaf = tree.apply(features)
        shares = {number: regretted[leaf == number].mean() for number in np.unique(leaf)}
        worst = max(shares, key=lambda number: shares[number])
        if shares[worst] < LEAST_REGRET:
            continue
        when: dict[str, Any] = {"kind": kind, **_path(tree.tree_, int(worst), reader)}
        here = [one for one, number in zip(rows, leaf, strict=True) if number == worst]
        worlds = len({one.world for one in here})
        times = int(regretted[leaf == worst].sum())
        why = (
            f"of {len(here)} times in {worlds} worlds {times} were undone or fell short within {WINDOW_TICKS} ticks; "
            f"of all {len(rows)}: {regretted.mean():.0%}"
        )
        yield Rule(name=f"no {kind} that is undone", why=why, when=when, prefer="never"), times, worlds, None


def _path(tree: Any, leaf: int, reader: Reader) -> dict[str, str]:
    """Conditions on the way to a leaf, the tightest of each feature."""
    found: dict[str, str] = {}
    at = 0

    def holds(node: int) -> bool:
        left, right = int(tree.children_left[node]), int(tree.children_right[node])
        return node == leaf or (left >= 0 and (holds(left) or holds(right)))

    while at != leaf:
        left, right = int(tree.children_left[at]), int(tree.children_right[at])
        below = holds(left)
        name, threshold = reader.names[int(tree.feature[at])], float(tree.threshold[at])
        bare = name.removeprefix("site.")
        shown = name if bare in reader.names else bare
        if name not in reader.kinds:
            found[shown] = f"{'<=' if below else '>'} {threshold:.4g}"
        at = left if below else right
    return found


def _daily(seen: Observed) -> Iterator[tuple[Rule, int, int, Estimate | None]]:
    """Applications that are given more at the same hour day after day, and less before it."""
    days = {world: {one.day for one in seen.done if one.world == world} for world in seen.worlds}
    grown: dict[tuple[str, int, int], set[int]] = defaultdict(set)
    for one in seen.done:
        if one.kind == "grow":
            grown[one.world, one.app, int(one.hour)].add(one.day)
    shrunk = {(one.world, one.app, one.day) for one in seen.done if one.kind == "shrink"}
    by_hour: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for (world, app, hour), on in grown.items():
        if (
            len(on) >= 2
            and len(on) >= LEAST_DAYS * len(days[world])
            and any((world, app, d) in shrunk for d in on)
        ):
            by_hour[hour].append((world, app))
    for hour, apps in sorted(by_hour.items(), key=lambda item: -len(item[1])):
        if len(apps) < 3 or hour < 2:
            continue
        worlds = len({world for world, _ in apps})
        why = (
            f"{len(apps)} applications of {worlds} worlds were given more between {hour} and {hour + 1} h on "
            f"{LEAST_DAYS:.0%} of the days or more, after they had been given less"
        )
        when = {"kind": "shrink", "hour": f"{max(0, hour - 2)}..{hour}"}
        yield (
            Rule(name=f"no shrink before {hour} h", why=why, when=when, prefer="never"),
            len(apps),
            worlds,
            None,
        )


def propose(
    knobs: CandidateKnobs,
    train: Ground,
    validate: Ground,
    *,
    most: int = 8,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> tuple[list[Proposal], CandidateKnobs, Played, Played]:
    """Observe, propose, and play each proposal before and after on worlds that took no part.

    Returns:
        The proposals, best first; the rules with all that pay; and both played on the worlds that took no part.

    Raises:
        MissingExtraError: scikit-learn is not installed.

    """
    require("sklearn.tree", "rules", "rules propose")
    seen = observe(knobs, train, lambda number: on_progress(number, len(train) + most))
    drafts = rules_of(seen, knobs)[:most]
    before = validate.play(knobs)
    found: list[Proposal] = []
    for number, (rule, times, worlds, money) in enumerate(drafts):
        on_progress(len(train) + number, len(train) + len(drafts))
        after = validate.play(knobs.model_copy(update={"rules": (*knobs.rules, rule)}))
        effect = {name: after.less(before, name) for name in MEASURES}
        found.append(Proposal(rule, times, worlds, money, effect, after.over(before)))
    found.sort(key=lambda one: one.ratio.mean)
    kept = tuple(one.rule for one in found if one.verdict == "pays")
    both = knobs.model_copy(update={"rules": (*knobs.rules, *kept)})
    return found, both, before, validate.play(both) if kept else before


def heading(proposal: Proposal) -> list[str]:
    """What stands above the file of one proposal."""
    return [
        f"Proposed: {proposal.rule.name}.",
        f"Observed: {proposal.rule.why}.",
        f"Simulated: {proposal.sentence()}.",
    ]


def _pair(estimate: Estimate) -> dict[str, float | None]:
    return {
        "mean": estimate.mean if math.isfinite(estimate.mean) else None,
        "half_width": estimate.half_width if math.isfinite(estimate.half_width) else None,
    }
