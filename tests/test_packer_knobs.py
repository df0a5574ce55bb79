from dataclasses import replace

import pytest

from foreshade import _core
from foreshade.agents.baselines.expected_cost import START, TUNED
from foreshade.envs.model.action import Action, ActionKind, Plan
from foreshade.envs.site import native_site, site_of
from tests.packer_world import tiny_world


@pytest.mark.parametrize(
    ("knob", "value"),
    [
        ("horizon_ticks", 0),
        ("drain_hosts", -1),
        ("target", 0.0),
        ("margin_usd", -1.0),
        ("reserve", float("nan")),
    ],
)
def test_a_knob_out_of_range_is_named(knob, value):
    with pytest.raises(ValueError, match=f"packer: {knob}: expected"):
        replace(START, **{knob: value})


def test_a_plan_needs_an_observation():
    world = tiny_world(2, [[500.0] * 2] * 2)
    packer = _core.Packer(native_site(site_of(world, 0)), TUNED.native())
    with pytest.raises(RuntimeError, match="expected observe first"):
        packer.plan(world.observe())


def test_columns_of_the_site_must_agree():
    site = native_site(site_of(tiny_world(2, [[500.0] * 2]), 0))
    site.off_w = [0.0]
    with pytest.raises(ValueError, match="site: off_w: expected 2 numbers, got 1"):
        _core.Packer(site, TUNED.native())


def test_packers_that_share_a_memory_plan_as_one_with_its_own():
    knobs = replace(TUNED, reserve=0.0, boot_weight=0.0, grace_s=0.0)
    world = tiny_world(2, [[500.0] * 8] * 4)
    site = native_site(site_of(world, 0))
    memory = _core.PackerMemory(knobs.window.native(), site.tick_s)
    alone, *sharing = (_core.Packer(site, knobs.native(), m) for m in (None, memory, memory))
    gains = []
    while not world.done:
        state = world.observe()
        alone.observe(state)
        memory.observe(state)
        wanted = alone.plan(state)
        gains.append(alone.gain_usd())
        for packer in sharing:
            assert packer.plan(state) == wanted
            assert packer.gain_usd() == gains[-1]
        world.advance()
    assert any(gain > 0.0 for gain in gains)


def test_a_rack_that_was_not_switched_off_after_all_is_offered_again():
    world = tiny_world(2, [[500.0] * 8], arrival=[7])
    packer = _core.Packer(native_site(site_of(world, 0)), replace(TUNED, reserve=0.0, grace_s=0.0).native())
    offered = []
    for tick in range(5):
        state = world.observe()
        packer.observe(state)
        actions = [
            Action(ActionKind(kind), vm=vm, host=host, rack=rack, value=value)
            for kind, vm, host, rack, value, _ in packer.plan(state)
        ]
        offered.append([a.rack for a in actions if a.rack >= 0])
        world.execute(Plan(state.tick, [a for a in actions if a.rack < 0]))
        if tick == 3:
            assert packer.dark_racks() == [True]
            packer.assume_dark([False])
        world.advance()
    assert offered == [[], [0], [], [], [0]]
