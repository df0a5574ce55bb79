"""The circuit breaker, and whose plan it is while it is open."""

from __future__ import annotations

from pathlib import Path

from foreshade.adapters.executor import ExecutorKnobs, PlanExecutor
from foreshade.agents.breaker import Breaker, BreakerKnobs
from foreshade.agents.controller import Controller, Minds
from foreshade.agents.decisions import Taken
from foreshade.agents.guard import Guard, GuardKnobs
from foreshade.agents.rules.rules import Decider, Rules, load_rules
from tests.control_worlds import durable, journal


def test_it_opens_after_so_many_strikes_and_closes_by_itself() -> None:
    breaker = Breaker(BreakerKnobs(strikes=3, forget_ticks=4, open_ticks=5))
    twice = breaker.strike(10, "a").strike(11, "b")
    assert twice.why(11) == ""
    opened = twice.strike(12, "c")
    assert opened.why(12) == opened.why(17) == "circuit breaker until tick 18: c"
    assert opened.why(18) == ""
    assert breaker.strike(10, "a", count=3).why(10) != ""


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
