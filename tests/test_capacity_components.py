"""Components around an application's capacity: what they learn, what they refuse, and what never takes room away."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from foreshade._core import ClusterState
from foreshade.agents.bars import CLOSED
from foreshade.agents.managers.adjuster import AdjusterKnobs
from foreshade.agents.managers.members import BootTimes, Members
from foreshade.agents.managers.need import TriggerKnobs, needs, spare, worth
from foreshade.agents.managers.outlook import LEVELS, MASS, Outlook, View
from foreshade.agents.managers.registry import load_components
from foreshade.agents.managers.room import Room
from foreshade.agents.managers.shadows import Shadows, ShadowsKnobs
from foreshade.agents.managers.spawning import Spawning
from foreshade.agents.shadow.machine import State
from foreshade.envs.errors import InputError
from foreshade.envs.model.action import ActionKind, Boot, Plan, PowerTarget, place, power, power_rack, spawn
from foreshade.envs.model.state import Resource, VmState
from foreshade.envs.simulated import SimulatedWorld
from foreshade.envs.site import Site, site_of
from foreshade.envs.templates.template import Template, templates
from tests.golden._stage import App, foreseen, workload
from tests.golden.capacity import rules, surge, world
from tests.tiny_world import MACHINE, scenario
from tests.tiny_world import workload as tiny_workload

GHZ = 1_000.0


def view(upper: float, now: float, capacity: float = 5.0 * GHZ, *, fresh: bool = True) -> View:
    """One application whose hour has quantiles from 0 to ``upper``, straight in the level's place."""
    ahead = np.tile(np.linspace(0.0, upper, len(LEVELS), dtype=np.float32), (1, 12, 1))
    one = np.array([capacity], np.float32)
    return View(
        ahead, ahead[:, 0], np.array([True]), np.array([now], np.float32), one, one, 0.0 * one, 0.0 * one,
        np.array([1000]), np.array([fresh]), np.array([1.0], np.float32),
    )  # fmt: skip


def test_an_upper_forecast_beyond_the_limit_is_a_need_and_current_use_is_one_for_both_triggers() -> None:
    foreseen_knobs, reactive = TriggerKnobs(), TriggerKnobs(trigger="usage")
    (need,) = needs(view(8.0 * GHZ, 1.0 * GHZ), foreseen_knobs)
    assert (need.app, need.first, need.foreseen) == (0, 0, True)
    assert list(needs(view(8.0 * GHZ, 1.0 * GHZ), reactive)) == []
    for knobs in (foreseen_knobs, reactive):
        (need,) = needs(view(0.0, 4.5 * GHZ), knobs)
        assert not need.foreseen
    assert list(needs(view(4.0 * GHZ, 1.0 * GHZ), foreseen_knobs)) == []


def test_stale_metrics_neither_react_nor_give_room_away() -> None:
    knobs = TriggerKnobs()
    assert spare(view(1.0 * GHZ, 1.0 * GHZ), 0, 2.5 * GHZ, knobs)
    assert not spare(view(1.0 * GHZ, 0.0, fresh=False), 0, 2.5 * GHZ, knobs)
    assert list(needs(view(0.0, 4.9 * GHZ, fresh=False), knobs)) == []


@pytest.mark.parametrize(("upper", "now"), [(4.0, 1.0), (1.0, 2.4)])
def test_room_is_given_away_only_where_use_and_upper_forecast_both_fit(upper: float, now: float) -> None:
    assert not spare(view(upper * GHZ, now * GHZ), 0, 2.5 * GHZ, TriggerKnobs())


def test_worth_is_the_expected_excess_that_is_avoided_at_its_price() -> None:
    site = site_of(world(workload([App([1.0])], 4)), 0)
    (need,) = needs(view(8.0 * GHZ, 1.0 * GHZ), TriggerKnobs())
    usd, late = worth(site, need, 3.0 * GHZ, ready=6, hold=12, credit=2.0)
    excess = float(
        np.maximum(np.linspace(0.0, 8.0, 7) - 5.0, 0.0) @ MASS
    )  # GHz; none of it is left with 3 more
    assert usd == pytest.approx(excess * GHZ * 0.5 * site.economy.unmet_usd_h[0] * 2.0)
    assert late > 0.0
    assert worth(site, need, 0.0, 0, 12, 1.0) == (0.0, 0.0)


def test_what_was_said_an_hour_before_holds_beside_what_is_said_now() -> None:
    load = workload([App(surge(1.0 * GHZ, 4.0 * GHZ, 30, 34), vms=2)], 60)
    far = foreseen(load, 0.0, known=lambda t, then: then - t >= 11)  # only the hour's horizon knows
    there = SimulatedWorld(world(load).scenario, load, forecast=far)
    outlook = Outlook(site_of(there, 0))
    said = []
    for _ in range(34):
        state = there.observe()
        said.append(outlook.look(state).level(0.9)[0])
        there.execute(Plan(state.tick, [place(0, 0), place(1, 1)] if state.tick == 0 else []))
        there.advance()
    assert said[18].max() == pytest.approx(1.0 * GHZ)
    assert said[19][11] == pytest.approx(4.0 * GHZ)
    assert said[29][1:5] == pytest.approx([4.0 * GHZ] * 4)  # though the nearer horizons say 1 GHz


def days(n: int, at: list[int | None]) -> list[float]:
    """1 GHz, and 4 GHz for an hour of each day from the tick that is said."""
    out = np.full(n * 288, 1.0 * GHZ)
    for day, tick in enumerate(at):
        if tick is not None:
            out[day * 288 + tick : day * 288 + tick + 12] = 4.0 * GHZ
    return out.tolist()


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ([100, 101, 99, None], 4.0),  # to within a tick, on three days
        ([100, None, None, None], 1.0),  # once
        ([100, 150, 200, None], 1.0),  # every day at another time
    ],
)
def test_what_recurs_on_most_days_is_expected_again(at: list[int | None], expected: float) -> None:
    load = workload([App(days(4, at), vms=2)], 4 * 288)
    there = SimulatedWorld(world(load).scenario, load)
    outlook = Outlook(site_of(there, 0))
    for tick in range(3 * 288 + 92):
        state = there.observe()
        seen = outlook.look(state)
        there.execute(Plan(tick, [place(0, 0), place(1, 1)] if tick == 0 else []))
        there.advance()
    assert float(seen.level(0.9)[0].max()) == pytest.approx(expected * GHZ)


def test_boot_times_follow_what_is_seen_and_a_prior_that_fits_it_stands() -> None:
    load = workload([App([1.0 * GHZ])], 30)
    there = world(load)
    members, boots = Members(), BootTimes({Boot.COLD: 45.0, Boot.RESTORED: 5.0, Boot.SPARE: 0.1})
    slow = BootTimes({Boot.COLD: 900.0, Boot.RESTORED: 5.0, Boot.SPARE: 0.1})
    for tick in range(4):
        state = there.observe()
        members.look(state)
        for vm in members.new:
            for known in (boots, slow):
                known.began(vm, int(state.vms.birth[vm]), Boot.COLD, 300.0)
        boots.look(state)
        slow.look(state)
        size = (2_500.0, 4_096.0, 50.0, 500.0, 0.0)
        there.execute(Plan(tick, [place(0, 0)] if tick == 0 else [spawn(0, 1, size)] if tick == 1 else []))
        there.advance()
    assert boots.of(Boot.COLD) == 45.0  # up within 300 s: so it may have been
    assert slow.of(Boot.COLD) == pytest.approx(900.0 - 0.3 * 600.0)
    assert (boots.seen, slow.seen) == ({Boot.COLD: 1}, {Boot.COLD: 1})
    assert members.elastic.tolist()[:2] == [False, True]


def test_the_owners_vms_are_nobody_elses_to_end() -> None:
    load = workload([App([1.0 * GHZ], vms=2)], 20)
    late = replace(load, vms=replace(load.vms, arrival_tick=np.array([0, 5], np.int32)))
    there = world(late)
    members = Members()
    while not there.done:
        state = there.observe()
        members.look(state)
        assert not members.elastic.any()
        there.advance()
    assert (state.vms.state[:2] == VmState.RUNNING).all()


def played(agent: Any, there: SimulatedWorld, ticks: int) -> ClusterState:
    agent.reset(site_of(there, 0))
    for tick in range(ticks):
        there.execute(Plan(tick, agent.act(there.observe())))
        there.advance()
    return there.observe()


def test_a_shadow_whose_primary_vanished_ends() -> None:
    shadows = Shadows()
    there = world(workload([App(surge(1.0 * GHZ, 3.4 * GHZ, 50, 70))], 90))
    agent = rules([shadows])
    state = played(agent, there, 55)
    (track,) = shadows.tracks
    assert track.shadow.state is State.SERVING
    track.primary_birth += 1  # another VM has its slot
    actions = agent.act(state)
    assert [a.vm for a in actions if a.kind is ActionKind.DESPAWN] == [track.shadow.vm]
    assert track.shadow.state is State.ENDING
    assert all(o.accepted for o in there.execute(Plan(state.tick, actions)))
    there.advance()
    agent.act(there.observe())
    assert track.shadow.state is State.ENDED
    assert track not in shadows.tracks


def test_a_clone_that_does_not_behave_as_its_primary_takes_no_traffic_and_goes() -> None:
    shadows = Shadows(ShadowsKnobs(tolerance=1e-9, patience_ticks=2, fidelity=0.5))
    load = workload([App(surge(1.0 * GHZ, 3.4 * GHZ, 50, 70))], 90)
    there = SimulatedWorld(world(load).scenario, load, forecast=foreseen(load))
    agent = rules([shadows])
    agent.reset(site_of(there, 0))
    states = set()
    for tick in range(60):
        state = there.observe()
        for track in shadows.tracks:
            # what it replays is half of its primary's and is capped by its tenth of the allocation
            states.add(track.shadow.state)
        there.execute(Plan(tick, agent.act(state)))
        there.advance()
    assert State.WARMING in states
    assert State.SERVING not in states


def test_a_template_that_fits_on_no_host_is_told_in_one_line() -> None:
    web = templates()["web"]
    large = web.limits.least.model_copy(update={"memory_mib": 100_000.0})
    most = web.limits.most.model_copy(update={"memory_mib": 200_000.0})
    wide = web.model_copy(
        update={"limits": web.limits.model_copy(update={"least": large, "most": most}), "allocation": large}
    )
    library: dict[str, Template] = {"web": wide}
    there = world(workload([App([4.9 * GHZ], vms=2)], 20))
    with pytest.raises(
        InputError, match=r"template web: expected a host with 100,000 MiB, found at most 64,"
    ):
        played(rules([Spawning(library=library)]), there, 10)


def test_bounds_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="expected floor <= ceiling of cpu, found 3 > 2"):
        AdjusterKnobs(floor=(3.0, 0.25, 0.25, 0.25))
    with pytest.raises(ValueError, match="expected shrink_at < target < grow_at"):
        AdjusterKnobs(shrink_at=0.8)


def test_a_wrong_step_of_a_shadow_is_told_with_file_and_line(tmp_path: Any) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("shadows:\n  share: 0.5\n")
    with pytest.raises(InputError, match=r"c\.yaml:2: shadows\.share: "):
        load_components(str(path))


def test_every_component_plays_a_site_without_forecasts() -> None:
    names = "spawning,despawning,warm_pool,shadows,microvms,adjuster"
    there = SimulatedWorld(
        world(workload([App(surge(1.0 * GHZ, 4.9 * GHZ, 5, 9), vms=2, offloadable=0.5)], 30)).scenario,
        workload([App(surge(1.0 * GHZ, 4.9 * GHZ, 5, 9), vms=2, offloadable=0.5)], 30),
    )
    site: Site = site_of(there, 0)
    agent = rules(load_components(names))
    agent.reset(site)
    while not there.done:
        state = there.observe()
        assert all(o.accepted for o in there.execute(Plan(state.tick, agent.act(state))))
        there.advance()
    assert there.metrics().counts["spawned"] >= 1


def test_nobody_offers_what_the_scenario_forbids() -> None:
    load = workload([App(surge(1.0 * GHZ, 4.9 * GHZ, 5, 9), vms=2, offloadable=0.5)], 30)
    forbids = world(load).scenario.model_copy(update={"actions": ("migrate",)})
    there = SimulatedWorld(forbids, load, forecast=foreseen(load))
    agent = rules(load_components("spawning,despawning,warm_pool,shadows,microvms,adjuster"))
    played(agent, there, 30)
    assert agent.tally.summary().by_component == {}
    assert there.metrics().counts["refused"] == 0


def test_a_dark_rack_is_woken_last_and_with_what_it_draws_itself() -> None:
    fleet = ({"zone": "a", "racks": 2, "hosts": ({**MACHINE, "count": 2},)},)
    world = SimulatedWorld(scenario(2, fleet=fleet), tiny_workload([500.0]))
    off = [power(host, PowerTarget.OFF) for host in (1, 2, 3)]
    world.execute(Plan(0, [place(0, 0), *off]))
    world.advance()
    world.execute(Plan(1, [power_rack(1, PowerTarget.OFF)]))
    site, state = site_of(world, 0), world.observe()
    room = Room(site)
    room.look(state)
    asked = (100.0, 100.0, 0.0, 0.0, 0.0)
    near, far = (room.find(asked, apart, wake=True) for apart in ([0], [0, 1]))
    assert near is not None
    assert far is not None
    assert (near.host, far.host) == (1, 2)
    assert site.rack_w is not None
    assert site.rack_w[1] > 0.0
    watts = float(state.hosts.idle_w[2]) + float(site.rack_w[1])
    assert far.usd_h == pytest.approx(watts * 1e-3 * room.usd_kwh)
    assert near.usd_h == pytest.approx(float(state.hosts.idle_w[1]) * 1e-3 * room.usd_kwh)


def test_a_host_is_closed_for_a_shadow_to_grow_unless_it_has_a_gpu_that_a_vm_waits_for() -> None:
    shadows = Shadows()
    load = workload([App(surge(1.0 * GHZ, 3.4 * GHZ, 50, 70)), App([0.1 * GHZ])], 90)
    there = SimulatedWorld(world(load).scenario, load, forecast=foreseen(load))
    agent = rules([shadows])
    agent.reset(site_of(there, 0))
    while True:
        state = there.observe()
        nowhere = np.zeros(len(state.hosts.state), np.bool_)
        closed = np.flatnonzero(shadows.heed(state, nowhere).hosts == CLOSED)
        if len(closed):
            break
        there.execute(Plan(state.tick, agent.act(state)))
        there.advance()
    host, waits = int(closed[0]), 1

    def open_to_write(columns: Any) -> SimpleNamespace:
        names = [name for name in dir(columns) if not name.startswith("_")]
        return SimpleNamespace(**{name: np.array(getattr(columns, name)) for name in names})

    def closes(free: float) -> bool:
        seen: Any = SimpleNamespace(
            tick=state.tick, vms=open_to_write(state.vms), hosts=open_to_write(state.hosts)
        )
        seen.vms.state[waits], seen.vms.host[waits] = VmState.FAILED, -1
        seen.vms.allocation[waits, Resource.GPU] = 2.0
        seen.hosts.capacity[host, Resource.GPU], seen.hosts.overcommit[host, Resource.GPU] = 4.0, 1.0
        seen.hosts.allocated[host, Resource.GPU] = 4.0 - free
        return bool(shadows.heed(seen, nowhere).hosts[host] == CLOSED)

    assert [closes(free) for free in (0.0, 1.0, 2.0)] == [True, True, False]
