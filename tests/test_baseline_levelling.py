"""Hold and margin, high and low marks, greedy levelling and the integer program."""

from __future__ import annotations

import pytest

from foreshade.agents.baselines.greedy_spread import GreedySpread, GreedySpreadConfig
from foreshade.agents.baselines.high_low import HighLow, HighLowConfig
from foreshade.agents.baselines.hold_margin import HoldMargin, HoldMarginConfig
from foreshade.agents.baselines.ilp import IntegerProgram, IntegerProgramConfig
from foreshade.agents.baselines.registry import make_agent
from tests.tiny_world import Stage, workload

UNEVEN = workload([4_000, 2_000, 1_000], memory=[8_000, 8_000, 8_000])  # all on host 0, host 1 has none


def test_move_waits_until_the_imbalance_has_lasted() -> None:
    stage = Stage(HoldMargin(HoldMarginConfig(hold_rounds=3)), 2, UNEVEN, on=[0, 0, 0])
    assert stage.ask() == []
    assert stage.ask() == []
    assert stage.ask() == [("migrate", 0, 1)]


def test_hold_begins_anew_after_a_move() -> None:
    load = workload([4_000, 3_000, 2_000, 1_000], memory=[9_000, 8_000, 8_000, 8_000])
    stage = Stage(HoldMargin(HoldMarginConfig(threshold=0.05)), 4, load, on=[0, 0, 0, 0])
    moved = [tick for tick in range(9) if stage.ask()]
    assert moved == [2, 5, 8]


def test_move_that_gains_less_than_the_margin_is_not_made() -> None:
    config = HoldMarginConfig(hold_rounds=1, margin=0.99)
    assert Stage(HoldMargin(config), 2, UNEVEN, on=[0, 0, 0]).wait(3) == []


def test_imbalance_below_the_threshold_is_left_alone() -> None:
    load = workload([3_000, 2_500], memory=8_000)
    assert Stage(make_agent("hold-margin"), 2, load, on=[0, 1]).wait(6) == []


def test_host_above_the_high_mark_gives_its_largest_fitting_vm_to_the_fullest_host_below() -> None:
    # 8,560 of 9,800 MHz, mark at 7,497. VM 0 would take host 1 beyond the mark; VM 1 goes to it and not to 2.
    load = workload([5_500, 2_000, 1_000, 3_500, 2_300, 500])
    stage = Stage(make_agent("high-low"), 3, load, on=[0, 0, 0, 1, 2, 2])
    assert stage.ask() == [("migrate", 1, 1)]


def test_smoothed_load_rides_out_a_short_peak() -> None:
    load = workload([[3_000, 3_000, 8_000, 3_000], 500, 4_000])
    assert Stage(make_agent("high-low"), 2, load, on=[0, 0, 1]).wait(6) == []


def test_host_below_the_low_mark_is_evacuated_and_switched_off() -> None:
    load = workload([4_000, 900, 500])  # host 1 at 0.15, mark at 0.225
    stage = Stage(make_agent("high-low"), 2, load, on=[0, 1, 1])
    assert stage.ask() == [("migrate", 1, 0), ("migrate", 2, 0)]
    assert stage.ask() == [("off", -1, 1)]


@pytest.mark.parametrize(("cooldown_s", "ticks"), [(0.0, [0, 3, 6, 9, 12, 15, 18]), (3_600.0, [0, 15])])
def test_vm_that_has_just_moved_is_left_alone_for_the_cooldown(cooldown_s: float, ticks: list[int]) -> None:
    swing = ([9_000] * 3 + [1_000] * 3) * 10  # hosts are full in turn; VM 2 flees
    load = workload([swing, swing[3:], 800])
    agent = HighLow(HighLowConfig(cooldown_s=cooldown_s, newest=1.0, low_cpu=0.0))
    stage = Stage(agent, 2, load, on=[0, 1, 0])
    did = [(tick, *action) for tick in range(20) for action in stage.ask()]
    assert [(tick, vm) for tick, _, vm, _ in did] == [(tick, 2) for tick in ticks]


def test_fullest_host_gives_to_the_emptiest_until_they_are_level() -> None:
    # Memory in use, GiB of 62.7: 24 + 8 + 8 against 0 and 16; the move of VM 0 leaves 16, 24 and 16.
    load = workload([500] * 4, memory=[24_576, 8_192, 8_192, 16_384], allocation=26_000)
    overcommit = {"cpu": 4, "memory": 1.5}
    config = GreedySpreadConfig(balanciness=0.2)
    stage = Stage(GreedySpread(config), 3, load, on=[0, 0, 0, 2], overcommit=overcommit)
    assert stage.ask() == [("migrate", 0, 1)]
    assert stage.wait(3) == []


def test_spread_within_the_balanciness_is_left_alone() -> None:
    load = workload([500] * 2, memory=[24_576, 18_432], allocation=26_000)
    assert Stage(make_agent("greedy-spread"), 2, load, on=[0, 1]).wait(3) == []
    stage = Stage(GreedySpread(GreedySpreadConfig(balanciness=0.05)), 2, load, on=[0, 1])
    assert stage.wait(3) == []  # one VM each: no move would bring the hosts closer


def test_program_empties_a_host_by_the_fewest_moves() -> None:
    load = workload([2_000, 500, 400], memory=500)
    agent = IntegerProgram(IntegerProgramConfig(window=3))
    stage = Stage(agent, 2, load, on=[0, 1, 1])
    assert stage.wait(2) == []  # the first program waits for a window
    assert stage.ask() == [("migrate", 0, 1)]  # one move, though host 1 is the less loaded
    assert stage.ask() == [("off", -1, 0)]


def test_program_leaves_a_host_on_when_one_host_would_pass_the_target() -> None:
    load = workload([5_000, 2_000, 2_000], memory=500)  # 9,060 of 9,800 MHz together, target 0.8
    stage = Stage(IntegerProgram(IntegerProgramConfig(window=3)), 2, load, on=[0, 1, 1])
    assert stage.wait(30) == []


def test_program_relieves_a_host_beyond_its_target() -> None:
    load = workload([4_000, 2_000, 3_400, 3_000], memory=500)
    stage = Stage(IntegerProgram(IntegerProgramConfig(window=3)), 2, load, on=[0, 0, 0, 1])
    assert stage.wait(3) == [("migrate", 1, 1)]


def test_program_is_solved_once_a_period() -> None:
    rise = [2_000] * 5 + [6_000] * 60
    load = workload([rise, 1_000, 500], memory=500)
    stage = Stage(IntegerProgram(IntegerProgramConfig(window=3, period_s=3_000.0)), 3, load, on=[0, 1, 1])
    ticks = {tick for tick in range(40) for kind, *_ in stage.ask() if kind == "migrate"}
    assert ticks
    assert {(tick - 2) % 10 for tick in ticks} == {0}


@pytest.mark.parametrize("label", ["hold-margin", "greedy-spread"])
def test_levelling_agents_never_switch_a_host_off(label: str) -> None:
    stage = Stage(make_agent(label), 3, workload([4_000, 2_000]), on=[0, 0])
    assert all(kind != "off" for kind, *_ in stage.wait(10))
