"""The circuit breaker, and whose plan it is while it is open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from foreshade._core import ClusterState
from foreshade.adapters.app.control import explained
from foreshade.adapters.executor import ExecutorKnobs, PlanExecutor
from foreshade.agents.breaker import Breaker, BreakerKnobs
from foreshade.agents.controller import Controller, Minds
from foreshade.agents.decisions import Taken
from foreshade.agents.guard import Guard, GuardKnobs
from foreshade.agents.ham.agent import Ham
from foreshade.agents.plan import ActionState
from foreshade.agents.rules.rules import Decider, Rules, load_rules
from foreshade.envs.model.action import Action, migrate
from tests.control_worlds import durable, journal


def test_it_opens_after_so_many_strikes_and_closes_by_itself() -> None:
    breaker = Breaker(BreakerKnobs(strikes=3, forget_ticks=4, open_ticks=5))
    twice = breaker.strike(10, "a").strike(11, "b")
    assert twice.why(11) == ""
    opened = twice.strike(12, "c")
    assert opened.why(12) == opened.why(17) == "circuit breaker until tick 18: c"
    assert opened.why(18) == ""
    assert breaker.strike(10, "a", count=3).why(10) != ""


def test_ham_that_hands_over_by_itself_is_no_failure_of_ham(tmp_path: Path) -> None:
    world, kept = durable(tmp_path, actions=("migrate", "power")), journal(tmp_path)
    executor = PlanExecutor(world, kept, ExecutorKnobs(), sleep=lambda _s: None)
    minds = Minds(Rules(), Ham())
    breaker = BreakerKnobs(strikes=2)
    one = Controller(world, kept, executor, minds, Guard(GuardKnobs()), breaker=breaker, explain=explained)
    records = []
    for _ in range(3):
        world.advance()
        records.append(one.tick())
    assert [(record.by, record.why) for record in records] == [("ham", "")] * 3
    assert all(choice.error == "" for record in records for choice in record.choices)


def test_old_strikes_are_forgotten() -> None:
    breaker = Breaker(BreakerKnobs(strikes=2, forget_ticks=4))
    assert breaker.strike(10, "a").strike(15, "b").why(15) == ""
    assert breaker.strike(10, "a").strike(14, "b").why(14) != ""


class Broken(Decider):
    """Decides nothing: it raises."""

    def __init__(self) -> None:
        super().__init__("ham", load_rules())

    def choose(self) -> Taken:
        raise ValueError("no kernel")


def test_the_rules_decide_where_ham_cannot(tmp_path: Path) -> None:
    world, kept = durable(tmp_path), journal(tmp_path)
    executor = PlanExecutor(world, kept, ExecutorKnobs(), sleep=lambda _s: None)
    one = Controller(
        world, kept, executor, Minds(Rules(), Broken()), Guard(GuardKnobs()), breaker=BreakerKnobs(strikes=2)
    )
    world.advance()
    records = []
    for _ in range(3):
        records.append(one.tick())
        world.advance()
    assert [record.by for record in records] == ["rules"] * 3
    assert records[0].why == "ValueError: no kernel"
    assert records[1].why.startswith("circuit breaker until tick")
    assert records[0].choices[0].error == "ValueError: no kernel"


class Eager(Decider):
    """Moves VM 0 to and fro and says whose decision it was."""

    def __init__(self, by: str) -> None:
        super().__init__("ham", load_rules())
        self._by = by

    def act(self, state: ClusterState) -> Sequence[Action]:
        there = 3 if state.vms.host[0] != 3 else 2
        return [replace(migrate(0, there), by=self._by)]


@pytest.mark.parametrize(("by", "opens"), [("ham", True), ("rules", False)])
def test_ham_answers_for_its_own_decisions_alone(tmp_path: Path, by: str, opens: bool) -> None:
    world = durable(tmp_path, lambda _order, step: "no route" if step == "move" else "")
    kept = journal(tmp_path)
    kept.say("mode", "auto", "test")
    executor = PlanExecutor(world, kept, ExecutorKnobs(attempts=1), sleep=lambda _s: None)
    guard = Guard(GuardKnobs(vm_cooldown_s=0.0))
    one = Controller(
        world, kept, executor, Minds(Rules(), Eager(by)), guard, breaker=BreakerKnobs(strikes=2, open_ticks=9)
    )
    world.advance()
    records = []
    for _ in range(6):
        records.append(one.tick())
        world.advance()
    failed = [a for plan in kept.plans() for a in plan.actions if a.state is ActionState.COMPENSATED]
    assert {action.order.by for action in failed} >= {by}
    assert len(failed) >= 2
    assert (records[-1].by == "rules") is opens
    assert ("2 of its actions failed" in records[-1].why or "1 of its" in records[-1].why) is opens


def test_the_rules_explain_what_they_decide_in_the_place_of_ham(tmp_path: Path) -> None:
    world, kept = durable(tmp_path), journal(tmp_path)
    executor = PlanExecutor(world, kept, ExecutorKnobs(), sleep=lambda _s: None)
    minds = Minds(Rules(), Broken())
    one = Controller(world, kept, executor, minds, Guard(GuardKnobs()), explain=explained)
    world.advance()
    for _ in range(20):
        record = one.tick()
        if record.plans:
            break
        world.advance()
    plan = kept.plan(record.plans[0])
    assert plan.by == "rules"
    decisions = kept.explanation(plan.id)
    assert {decision["by"] for decision in decisions} == {"rules"}
    assert {decision["doubt"] for decision in decisions} == {record.why}
    assert "no kernel" in record.why
    taken = [decision["candidates"][decision["chosen"]]["kind"] for decision in decisions]
    assert any(kind != "wait" for kind in taken)
