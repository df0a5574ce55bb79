"""The life of a shadow: every transition, every refusal, and that the world does what the machine asks."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from foreshade.agents.shadow.kpi import Kpis, compare
from foreshade.agents.shadow.machine import RULES, Event, Kind, Shadow, State, actions, create
from foreshade.envs.errors import ActionError, InputError
from foreshade.envs.model.action import SUSPENDED, Action, ActionKind, Plan, place, shift
from foreshade.envs.model.state import VmKind, VmState
from foreshade.envs.simulated import SimulatedWorld
from tests.tiny_world import scenario, workload

E, S = Event, State
OVER = {S.ENDED, S.LOST}
ALLOCATION = (1_000.0, 2_000.0, 100.0, 200.0, 1.0)


def given(event: Event) -> dict[str, int]:
    return {E.CREATED: {"vm": 7}, E.MOVED: {"host": 3}}.get(event, {})


def after(*events: Event, kind: Kind = Kind.PREDICTIVE, **said: Any) -> Shadow:
    shadow = Shadow(kind, primary=0, host=1, **said)
    for event in events:
        shadow = shadow.on(event, **given(event))
    return shadow


class Life(RuleBasedStateMachine):
    """Any events in any order."""

    @initialize(
        kind=st.sampled_from(Kind), steps=st.sampled_from([(0.1, 0.25, 0.5), (1.0,), (0.01, 0.02, 0.5, 1.0)])
    )
    def begin(self, kind: Kind, steps: tuple[float, ...]) -> None:
        self.shadow = Shadow(kind, primary=0, host=1, steps=steps)
        self.seen = [self.shadow.state]

    @rule(event=st.sampled_from(Event))
    def any_event(self, event: Event) -> None:
        before = self.shadow
        copy = replace(before)
        if event in before.allowed:
            self.shadow = before.on(event, **given(event))
            self.seen.append(self.shadow.state)
            assert RULES[before.state, event].to is self.shadow.state
        else:
            with pytest.raises(ActionError) as caught:
                before.on(event, **given(event))
            assert "\n" not in str(caught.value)
            assert event.name in str(caught.value)
        assert before == copy

    @precondition(lambda self: self.shadow.state not in OVER)
    @rule(event=st.sampled_from(sorted(Event, key=lambda e: e.name)))
    def a_legal_event(self, event: Event) -> None:
        if event in self.shadow.allowed - {E.FAILED, E.PRIMARY_GONE, E.RELEASE}:
            self.any_event(event)

    @invariant()
    def traffic_is_taken_by_who_serves_alone(self) -> None:
        shadow = self.shadow
        assert (shadow.traffic > 0) == (shadow.state is S.SERVING)
        assert 0 <= shadow.step <= len(shadow.steps)
        assert (shadow.vm >= 0) == (S.WARMING in self.seen)

    @invariant()
    def who_serves_was_warm_and_a_standing_shadow_never_sleeps(self) -> None:
        if S.SERVING in self.seen:
            assert self.seen.index(S.READY) < self.seen.index(S.SERVING)
        if self.shadow.kind is Kind.STANDING:
            assert S.SUSPENDED not in self.seen

    @invariant()
    def it_can_always_be_ended(self) -> None:
        shadow = self.shadow
        if shadow.state is S.SERVING:
            shadow = shadow.on(E.RETURN)
        if shadow.state not in OVER | {S.ENDING}:
            shadow = shadow.on(E.RELEASE)
        if shadow.state not in OVER:
            assert shadow.on(E.RELEASED).state is S.ENDED
        assert shadow.state in {S.ENDING, *OVER}


TestLife = Life.TestCase


def test_every_state_is_reached_and_every_pair_is_either_a_rule_or_refused() -> None:
    found = {after()}
    while more := {s.on(e, **given(e)) for s in found for e in s.allowed} - found:
        found |= more
    assert {s.state for s in found} == set(State)
    for shadow, event in itertools.product(found, Event):
        if (shadow.state, event) not in RULES:
            with pytest.raises(ActionError):
                shadow.on(event, **given(event))
    used = {(s.state, e) for s in found for e in s.allowed}
    assert used == set(RULES)


def test_traffic_goes_up_and_down_by_steps_and_no_further() -> None:
    ready = after(E.CREATED, E.WARMED)
    steps = [ready.traffic]
    for event in (E.RAISE, E.RAISE, E.RAISE, E.LOWER, E.RETURN):
        ready = ready.on(event)
        steps.append(ready.traffic)
    assert steps == [0.0, 0.1, 0.25, 0.5, 0.25, 0.0]
    assert ready.state is S.READY
    with pytest.raises(ActionError, match="found RAISE while SERVING at step 3 of 3"):
        after(E.CREATED, E.WARMED, E.RAISE, E.RAISE, E.RAISE).on(E.RAISE)
    with pytest.raises(ActionError, match="found LOWER while SERVING at step 1 of 3"):
        after(E.CREATED, E.WARMED, E.RAISE).on(E.LOWER)


def test_what_serves_is_not_released_and_a_standing_shadow_is_not_suspended() -> None:
    with pytest.raises(ActionError, match="expected FAILED, PRIMARY_GONE, RAISE, RETURN, found RELEASE"):
        after(E.CREATED, E.WARMED, E.RAISE).on(E.RELEASE)
    with pytest.raises(ActionError, match="found SUSPEND while READY"):
        after(E.CREATED, E.WARMED, kind=Kind.STANDING).on(E.SUSPEND)
    with pytest.raises(ActionError, match="expected nothing: it is over, found RAISE while ENDED"):
        after(E.RELEASE, E.RELEASED).on(E.RAISE)


def test_events_come_with_what_they_need_and_nothing_else() -> None:
    with pytest.raises(ActionError, match="expected a vm with CREATED, found None"):
        after().on(E.CREATED)
    with pytest.raises(ActionError, match="expected no host with CREATED, found 3"):
        after().on(E.CREATED, vm=7, host=3)
    assert after(E.CREATED, E.WARMED, E.MOVE, E.MOVED).host == 3
    assert after(E.CREATED, E.WARMED, E.MOVE, E.STAYED).host == 1


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"share": 0.04}, "expected a share of 0.05 to 0.1, found 0.04"),
        ({"share": 0.11}, "found 0.11"),
        ({"share": float("nan")}, "found nan"),
        ({"fidelity": -0.1}, "expected a fidelity of 0 to 1, found -0.1"),
        ({"steps": ()}, "expected steps that rise within 0 to 1"),
        ({"steps": (0.5, 0.25)}, "expected steps that rise within 0 to 1"),
        ({"steps": (0.5, 1.5)}, "expected steps that rise within 0 to 1"),
    ],
)
def test_settings_out_of_range_are_refused(said: dict[str, Any], expected: str) -> None:
    with pytest.raises(InputError, match=expected.replace("(", r"\(")):
        after(**said)


def test_room_comes_before_traffic_and_goes_after_it() -> None:
    ready = after(E.CREATED, E.WARMED)
    up = actions(ready, E.RAISE, ALLOCATION, weight=2.0)
    assert [a.kind for a in up] == [ActionKind.RESHAPE, ActionKind.SHIFT, ActionKind.SHIFT]
    serving = ready.on(E.RAISE).on(E.RAISE)
    down = actions(serving, E.LOWER, ALLOCATION)
    assert [(a.kind, a.vm) for a in down] == [
        (ActionKind.SHIFT, 0),
        (ActionKind.SHIFT, 7),
        (ActionKind.RESHAPE, 7),
    ]
    assert [a.value for a in up[1:]] == pytest.approx([0.2, 1.8])
    assert actions(ready.on(E.RAISE), E.RAISE, (900.0, 1_800.0, 90.0, 180.0, 1.0))[
        0
    ].allocation == pytest.approx(
        (300.0, 600.0, 30.0, 60.0, 0.1)  # a quarter of the traffic beside three quarters
    )


def test_reports_ask_for_nothing_and_what_is_not_allowed_is_said() -> None:
    assert actions(after(), E.CREATED, ALLOCATION) == ()
    assert actions(after(E.CREATED), E.WARMED, ALLOCATION) == ()
    with pytest.raises(ActionError, match="found SUSPEND while WARMING"):
        actions(after(E.CREATED), E.SUSPEND, ALLOCATION)
    with pytest.raises(ActionError, match="found RAISE while WARMING"):
        actions(after(E.CREATED), E.RAISE, ALLOCATION)


class Played:
    """A primary of 4,000 MHz on host 0, an idle host 1, and a shadow that the machine drives."""

    def __init__(self) -> None:
        self.world = SimulatedWorld(scenario(3), workload([4_000.0]))
        self.do(place(0, 0))
        self.shadow = Shadow(Kind.PREDICTIVE, primary=0, host=1)

    def do(self, *wanted: Action) -> int:
        outcomes = self.world.execute(Plan(self.world.observe().tick, wanted))
        assert [o.error for o in outcomes if not o.accepted] == []
        self.world.advance()
        return outcomes[-1].vm

    def on(self, event: Event, to_host: int = -1) -> None:
        allocation = tuple(float(x) for x in self.world.observe().vms.allocation[0])
        wanted = actions(self.shadow, event, allocation, to_host=to_host)  # type: ignore[arg-type]
        self.shadow = self.shadow.on(event)
        self.do(*wanted)


def test_the_simulated_world_does_what_the_machine_asks() -> None:
    played = Played()
    vm = played.do(create(played.shadow))
    played.shadow = played.shadow.on(E.CREATED, vm=vm)
    state = played.world.observe()
    assert (state.vms.kind[vm], state.vms.state[vm]) == (VmKind.SHADOW, VmState.RUNNING)
    np.testing.assert_allclose(state.vms.usage[vm][0], 0.05 * 4_000.0)  # its fidelity
    played.shadow = played.shadow.on(E.WARMED)
    for event, ours in ((E.RAISE, 400.0), (E.RAISE, 1_000.0), (E.RAISE, 2_000.0), (E.LOWER, 1_000.0)):
        played.on(event)
        usage = played.world.observe().vms.usage
        np.testing.assert_allclose([usage[vm][0], usage[0][0]], [ours, 4_000.0 - ours], rtol=1e-5)
    played.on(E.RETURN)
    played.on(E.MOVE, to_host=2)
    played.shadow = played.shadow.on(E.MOVED, host=2)
    state = played.world.observe()
    assert state.vms.host[vm] == 2
    np.testing.assert_allclose(state.vms.allocation[vm][:2], [980.0, 800.0], rtol=1e-5)
    played.on(E.SUSPEND)
    state = played.world.observe()
    assert (state.vms.state[vm], state.vms.usage[vm][0]) == (VmState.PAUSED, 0.0)
    refused = played.world.execute(Plan(state.tick, (shift(vm, 0.5), shift(0, SUSPENDED))))
    assert [o.error.partition(": ")[2].partition(",")[0] for o in refused] == [
        "expected a running VM",
        "a value is out of range",
    ]
    played.on(E.RESUME)
    played.shadow = played.shadow.on(E.WARMED)
    state = played.world.observe()
    np.testing.assert_allclose(
        (state.vms.state[vm], state.vms.usage[vm][0]), (VmState.RUNNING, 200.0), rtol=1e-5
    )
    played.on(E.RELEASE)
    assert played.world.observe().vms.state[vm] in {VmState.STOPPING, VmState.ABSENT}
    assert played.world.metrics().unmet_demand == pytest.approx(0.0, abs=1e-3)


KPIS = Kpis(1_000.0, 20.0, 100.0, 5.0, 0.0)


def test_kpis_are_compared_at_the_shadows_load() -> None:
    assert compare(KPIS, Kpis(100.0, 2.0, 10.0, 5.0, 0.0), load=0.1) == ()
    assert compare(KPIS, Kpis(149.0, 2.0, 12.0, 1.0, 0.0), load=0.1) == ()  # within 50 MHz, and faster
    found = compare(KPIS, Kpis(10.0, 2.0, 13.0, 6.5, 0.01), load=0.1)
    assert [(d.kpi, d.expected, d.found) for d in found] == [
        ("cpu_mhz", 100.0, 10.0),
        ("network_mbit", 10.0, 13.0),
        ("latency_ms", 5.0, 6.5),
        ("errors", 0.0, 0.01),
    ]


def test_kpis_that_are_none_and_a_load_of_nothing_are_refused() -> None:
    with pytest.raises(InputError, match="KPI latency_ms: expected a finite number >= 0, found nan"):
        Kpis(1.0, 1.0, 1.0, float("nan"), 0.0)
    with pytest.raises(InputError, match="expected a load above 0 to compare by, found 0"):
        compare(KPIS, KPIS, load=0.0)
