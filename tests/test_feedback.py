"""Outcomes held against what was expected: judged after their window, counted, turned into bounded corrections."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from foreshade.agents.feedback import Feedback, FeedbackKnobs
from foreshade.agents.managers.manager import Advice
from foreshade.agents.rules.rules import Rules
from foreshade.envs.candidates import RULES
from foreshade.envs.model.action import Action, Plan, PowerTarget, migrate, place, power, reshape
from foreshade.envs.simulated import SimulatedWorld
from foreshade.envs.site import site_of
from tests.tiny_world import scenario, workload

KNOBS = FeedbackKnobs(window_ticks=4, headroom_rate=0.1, threshold_rate=0.01)


def watched(
    cpu: Sequence[Sequence[float] | float], acts: dict[int, list[Action]], ticks: int = 12
) -> Feedback:
    """Two hosts, VM v on host 0, and what is done at which tick; the last of ``acts`` may be refused."""
    world = SimulatedWorld(scenario(2), workload(cpu))
    feedback = Feedback(KNOBS)
    feedback.reset(site_of(world, 0))
    feedback.begin(Advice(1.4, 0.0))
    state = world.observe()
    world.execute(Plan(0, [place(vm, 0) for vm in range(len(cpu))]))
    world.advance()
    for tick in range(1, ticks):
        state = world.observe()
        feedback.look(state)
        actions = acts.get(tick, [])
        world.execute(Plan(state.tick, actions))
        feedback.planned(state, actions)
        world.advance()
    return feedback


def size(mhz: float) -> tuple[float, float, float, float, float]:
    return (mhz, 8_000.0, 0.0, 0.0, 0.0)


def test_a_vm_that_turns_out_too_small_raises_the_headroom_and_one_that_fits_lowers_it_less() -> None:
    small = watched([[1_000.0] * 4 + [5_000.0]], {2: [reshape(0, size(2_000.0))]})
    assert small.outcomes()["reshape"] == {
        "expected": 1,
        "judged": 1,
        "wrong": 1,
        "not_done": 0,
        "wrong_share": 1.0,
        "need": pytest.approx(1.0, abs=0.02),  # more than all cannot be seen
    }
    assert small.advice() == pytest.approx((1.4 + 0.1 * 0.95, 0.0))
    fits = watched([1_000.0], {2: [reshape(0, size(2_000.0))]})
    assert fits.outcomes()["reshape"]["need"] == pytest.approx(0.5)
    assert fits.advice() == pytest.approx((1.4 - 0.1 * 0.05, 0.0))


def test_an_outcome_is_awaited_for_the_whole_window() -> None:
    early = watched([1_000.0], {2: [reshape(0, size(2_000.0))]}, ticks=6)
    assert early.outcomes()["reshape"]["judged"] == 0
    assert early.advice() == (1.4, 0.0)


def test_what_was_not_done_is_neither_right_nor_wrong() -> None:
    refused = watched([1_000.0], {2: [reshape(0, size(90_000.0))]})  # no host has so much
    assert refused.outcomes()["reshape"]["not_done"] == 1
    assert refused.outcomes()["reshape"]["judged"] == 0
    assert refused.advice() == (1.4, 0.0)


def test_moves_and_switches_that_are_undone_raise_the_threshold_and_those_that_last_lower_it_to_the_start() -> (
    None
):
    lasting = watched([1_000.0], {2: [migrate(0, 1)]})
    assert lasting.outcomes()["move"]["wrong"] == 0
    assert lasting.advice() == (1.4, 0.0)  # never below the start
    undone = watched([1_000.0], {2: [migrate(0, 1)], 4: [migrate(0, 0)]}, ticks=7)
    assert (undone.outcomes()["move"]["judged"], undone.outcomes()["move"]["wrong"]) == (1, 1)
    assert undone.advice() == pytest.approx((1.4, 0.01 * 0.9))
    switched = watched([1_000.0], {2: [power(1, PowerTarget.OFF)], 5: [power(1, PowerTarget.ON)]}, ticks=7)
    assert switched.outcomes()["switch"]["wrong"] == 1


def test_corrections_stay_inside_their_bounds() -> None:
    acts = {t: [reshape(0, size(2_000.0 + 10.0 * t))] for t in range(2, 58, 5)}
    wide = FeedbackKnobs(window_ticks=4, headroom_rate=1.0, most_headroom=1.6)
    world = SimulatedWorld(scenario(1), workload([5_000.0]))
    feedback = Feedback(wide)
    feedback.begin(Advice(1.4, 0.0))
    world.observe()
    world.execute(Plan(0, [place(0, 0)]))
    world.advance()
    for tick in range(1, 59):
        state = world.observe()
        feedback.look(state)
        world.execute(Plan(state.tick, acts.get(tick, [])))
        feedback.planned(state, acts.get(tick, []))
        world.advance()
    advice = feedback.advice()
    assert advice is not None
    assert advice.headroom == 1.6


def test_advice_is_what_the_rules_follow_from_the_next_tick_on() -> None:
    """The same world, the same state: what a VM is right-sized to follows the advice."""

    class Told(Feedback):
        def advice(self) -> Advice:
            return Advice(1.8, 0.0)

    def given(manager: Feedback) -> float:
        world = SimulatedWorld(scenario(1), workload([1_000.0], memory=2_000.0))
        agent = Rules(RULES.model_copy(update={"settle_ticks": 2}), [manager])
        agent.reset(site_of(world, 0))
        for _ in range(6):
            state = world.observe()
            world.execute(Plan(state.tick, agent.act(state)))
            world.advance()
        return float(world.observe().vms.allocation[0, 1])

    plain, told = given(Feedback(FeedbackKnobs())), given(Told(FeedbackKnobs()))
    assert told / plain == pytest.approx(1.8 / 1.4, rel=0.01)


def test_a_slot_that_another_vm_takes_is_not_judged_for_the_first() -> None:
    feedback = watched([1_000.0], {2: [reshape(0, size(2_000.0))]}, ticks=4)
    run = feedback._run
    assert run is not None
    assert run.shapes is not None
    run.shapes.birth += 7
    world = SimulatedWorld(scenario(1), workload([1_000.0]))
    feedback.look(world.observe())
    assert (run.shapes.since < 0).all()
