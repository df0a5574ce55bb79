"""Components that empty, switch and hire hosts: what they refuse, keep to and weigh."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from foreshade._core import ClusterState
from foreshade.agents.bars import LEAVING, Bars, Mask
from foreshade.agents.managers.evacuation import Evacuation, EvacuationKnobs
from foreshade.agents.managers.maintenance import MaintenanceDrains
from foreshade.agents.managers.manager import Manager, Offer
from foreshade.agents.managers.rack_power import RackPower, RackPowerKnobs
from foreshade.agents.managers.renting import Renting, RentingKnobs
from foreshade.agents.rules.rules import Rules
from foreshade.envs.candidates import PLACEMENT, RULES
from foreshade.envs.errors import InputError
from foreshade.envs.model.action import ActionKind, Plan, PowerTarget, migrate, place, power
from foreshade.envs.model.state import HostState
from foreshade.envs.scenarios.load import load_scenario
from foreshade.envs.scenarios.what_if import what_if
from foreshade.envs.simulated import SimulatedWorld
from foreshade.envs.site import Site, site_of
from tests.tiny_world import MACHINE, Stage, scenario, workload

ALONE = PLACEMENT.model_copy(update={"plans": ()})


def seen(world: SimulatedWorld, hazard: list[float] | None = None, sure: float = 0.5) -> ClusterState:
    """A copy of what is seen, with hazards of one's own."""
    state = world.observe().copy()
    if hazard is not None:
        state.show_hazards(np.array(hazard, np.float32), np.full(len(hazard), sure, np.float32))
    return state


def offered(manager: Manager, state: ClusterState) -> Sequence[Offer]:
    """What a component offers where nobody bars anything."""
    return manager.offers(state, Bars.none(state))


def placed(world: SimulatedWorld, on: list[int]) -> None:
    """VM i on host ``on[i]``; one tick passes."""
    assert all(o.accepted for o in world.execute(Plan(0, [place(vm, host) for vm, host in enumerate(on)])))
    world.advance()


def test_hosts_are_left_in_order_of_risk_times_impact() -> None:
    world = SimulatedWorld(scenario(4, actions=("migrate",)), workload([4_000.0, 500.0, 500.0, 500.0]))
    placed(world, [0, 1, 2, 2])
    manager = Evacuation(EvacuationKnobs(restart_h=1.0))
    manager.reset(site_of(world, 0))
    offers = offered(manager, seen(world, [0.02, 0.5, 0.1, 0.0]))
    assert [offer.source for offer in offers] == [1, 2, 0]
    assert {action.host for offer in offers for action in offer.actions} == {3}


@pytest.mark.parametrize(("hazard", "leaves"), [(1e-4, False), (0.5, True)])
def test_false_alarms_are_weighed_by_money(hazard: float, leaves: bool) -> None:
    prices = {"migration_usd": 0.01}
    world = SimulatedWorld(scenario(2, actions=("migrate",), prices=prices), workload([500.0]))
    placed(world, [0])
    manager = Evacuation()
    manager.reset(site_of(world, 0))
    assert bool(offered(manager, seen(world, [hazard, 0.0]))) is leaves


def test_what_every_host_shows_is_no_warning() -> None:
    world = SimulatedWorld(scenario(3, actions=("migrate",)), workload([500.0]))
    placed(world, [0])
    manager = Evacuation()
    manager.reset(site_of(world, 0))
    assert not offered(manager, seen(world, [0.2, 0.2, 0.2]))


def test_vm_that_finds_no_room_for_its_usage_stays() -> None:
    # Host 1 has room for the allocation; what runs there leaves none for what the VM uses.
    world = SimulatedWorld(scenario(2, actions=("migrate",)), workload([6_000.0, 6_000.0]))
    placed(world, [0, 1])
    manager = Evacuation(EvacuationKnobs(restart_h=10.0))
    manager.reset(site_of(world, 0))
    assert not offered(manager, seen(world, [1.0, 0.0]))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (
            {"fleet": ({"zone": "a", "power_control": False, "hosts": (MACHINE,)},)},
            "a rack with power control",
        ),
        ({"actions": ("migrate",)}, "a world that can migrate and switch power"),
    ],
)
def test_racks_that_cannot_be_switched_are_named(changes: dict[str, Any], why: str) -> None:
    world = SimulatedWorld(scenario(1, **changes), workload([500.0]))
    with pytest.raises(InputError, match=f"rack_power: expected {why}"):
        RackPower().reset(site_of(world, 0))
    idle = RackPower(RackPowerKnobs(else_idle=True))  # as where nobody named it
    idle.reset(site_of(world, 0))
    assert offered(idle, world.observe()) == ()


def two_racks(**said: Any) -> dict[str, Any]:
    """Two racks of two hosts, power and moves."""
    fleet = ({"zone": "a", "racks": 2, "hosts": ({**MACHINE, "count": 2},), **said},)
    return {"fleet": fleet, "actions": ("migrate", "power")}


class Keeps:
    """Bars the moves of VMs, but for those on hosts that somebody empties."""

    name = "keeps"

    def __init__(self, *vms: int) -> None:
        self.vms = list(vms)

    def reset(self, site: Site) -> None:
        pass

    def heed(self, state: ClusterState, leaving: Mask) -> Bars:
        bars = Bars.none(state)
        bars.fixed[self.vms] = ~leaving[state.vms.host[self.vms]]
        return bars

    def offers(self, _state: ClusterState, _bars: Bars, /) -> Sequence[Offer]:
        return ()

    def taken(self, offer: Offer) -> None:
        pass


def switched_off(world: SimulatedWorld, *managers: Manager, ticks: int = 30) -> set[int]:
    """Racks that were switched off in a run of components alone."""
    agent = Rules(ALONE, managers)
    agent.reset(site_of(world, 0))
    racks = set()
    for tick in range(ticks):
        actions = agent.act(world.observe())
        outcomes = world.execute(Plan(tick, actions))
        assert all(o.accepted for o in outcomes)
        racks |= {a.rack for a in actions if a.rack >= 0 and a.value == PowerTarget.OFF}
        world.advance()
    return racks


@pytest.mark.parametrize(
    ("knobs", "changes", "racks"),
    [
        ({"spare_hosts": 0}, {}, {0}),
        ({"spare_hosts": 2}, {}, set()),  # the loss of two hosts would need the other rack
        ({"spare_hosts": 0, "proven": "seen"}, {}, set()),
        ({"spare_hosts": 0}, {"affinity": ({"name": "ha", "apart": "rack", "vms": ("vm0", "vm1")},)}, set()),
        ({"spare_hosts": 0}, {"thermal": {"supply_c": 20.0, "limit_c": 20.1}}, set()),
    ],
)
def test_a_rack_goes_only_where_spare_proof_rules_and_heat_allow(
    knobs: dict[str, Any], changes: dict[str, Any], racks: set[int]
) -> None:
    world = SimulatedWorld(scenario(2, **two_racks(), **changes), workload([500.0, 500.0]))
    placed(world, [0, 2])
    assert switched_off(world, RackPower(RackPowerKnobs(**knobs))) == racks


@pytest.mark.parametrize("keeps_first", [True, False])  # who is asked first has no meaning
@pytest.mark.parametrize("kept", [(0,), (0, 1)])  # the others leave first, or there are none
def test_what_others_hold_in_a_rack_leaves_once_they_see_it_go(
    kept: tuple[int, ...], keeps_first: bool
) -> None:
    world = SimulatedWorld(scenario(2, **two_racks()), workload([500.0] * 5))
    placed(world, [0, 1, 2, 2, 3])
    managers: list[Manager] = [Keeps(*kept), RackPower(RackPowerKnobs(spare_hosts=0))]
    assert switched_off(world, *(managers if keeps_first else managers[::-1])) == {0}


def test_a_rack_that_cannot_be_emptied_keeps_no_other_from_going() -> None:
    fleet = (
        {"zone": "a", "hosts": ({**MACHINE, "count": 2, "labels": ("licence",)},)},
        {"zone": "a", "racks": 2, "hosts": ({**MACHINE, "count": 2},)},
    )
    tied = ({"name": "licences", "within": ("licence",), "vms": ("vm0",)},)
    world = SimulatedWorld(
        scenario(2, fleet=fleet, actions=("migrate", "power"), affinity=tied), workload([500.0] * 6)
    )
    placed(world, [0, 2, 2, 4, 4, 4])  # the one VM of rack 0 is cheap to move, and may not go
    assert switched_off(world, RackPower(RackPowerKnobs(spare_hosts=0))) == {1, 2}


@pytest.mark.parametrize(("tied", "expected"), [(False, ([3], {0})), (True, ([], set()))])
def test_hosts_are_woken_for_a_rack_only_where_that_empties_it(
    tied: bool, expected: tuple[list[int], set[int]]
) -> None:
    wide = [60_000.0] * 2  # of 64 GiB: one host holds one
    apart = {"affinity": ({"name": "ha", "apart": "rack", "vms": ("vm0", "vm1")},)} if tied else {}
    world = SimulatedWorld(scenario(2, **two_racks(), **apart), workload([500.0] * 2, allocation=wide))
    placed(world, [0, 2])
    agent = Rules(ALONE, [RackPower(RackPowerKnobs(spare_hosts=0))])
    agent.reset(site_of(world, 0))
    woken, off = [], set()
    for tick in range(1, 30):
        spare = [power(h, PowerTarget.OFF) for h in (1, 3) if tick == 1]
        actions = [*agent.act(world.observe()), *spare]
        woken += [a.host for a in actions if a.value == PowerTarget.ON and a.host >= 0]
        off |= {a.rack for a in actions if a.rack >= 0 and a.value == PowerTarget.OFF}
        world.execute(Plan(tick, actions))
        world.advance()
    assert (woken, off) == expected


def test_moves_of_one_offer_see_each_other() -> None:
    class Fills:
        name = "fills"

        def reset(self, site: Site) -> None:
            pass

        def offers(self, _state: ClusterState, _bars: Bars, /) -> Sequence[Offer]:
            return (
                Offer("drain", tuple(migrate(v, 0, "") for v in (1, 2)), "", vm=1, host=0, utilisation=1.0),
            )

        def taken(self, offer: Offer) -> None:
            pass

    # Each has room on host 0 by itself, both have none.
    large = [30_000.0, 20_000.0, 20_000.0]
    load = workload([500.0] * 3, memory=large, allocation=large)
    world = SimulatedWorld(scenario(2, actions=("migrate",)), load)
    placed(world, [0, 1, 1])
    agent = Rules(ALONE, [Fills()])
    agent.reset(site_of(world, 0))
    actions = agent.act(world.observe())
    outcomes = world.execute(Plan(1, actions))
    assert [o.error for o in outcomes if not o.accepted] == []
    assert sum(a.kind is ActionKind.MIGRATE for a in actions) == 1


def test_a_vm_that_others_hold_keeps_nobody_on_a_host_about_to_fail() -> None:
    world = SimulatedWorld(scenario(2, actions=("migrate",)), workload([500.0, 600.0]))
    placed(world, [0, 0])
    manager = Evacuation(EvacuationKnobs(restart_h=10.0))
    manager.reset(site_of(world, 0))
    state = seen(world, [1.0, 0.0])
    assert {a.vm for offer in offered(manager, state) for a in offer.actions} == {0, 1}
    bars = Bars.none(state)
    bars.fixed[1] = 1
    assert {a.vm for offer in manager.offers(state, bars) for a in offer.actions} == {0}


def test_a_rack_that_a_plan_has_switched_off_is_dark_and_not_switched_off_again() -> None:
    world = SimulatedWorld(scenario(2, **two_racks()), workload([500.0, 500.0]))
    placed(world, [0, 1])  # the other rack is empty: the plan's own affair, before the component is sure
    agent = Rules(PLACEMENT, [RackPower(RackPowerKnobs(spare_hosts=0, sustain_ticks=6))])
    agent.reset(site_of(world, 0))
    off = []
    for tick in range(20):
        state = world.observe()
        actions = agent.act(state)
        off += [(tick, a.rack, a.value) for a in actions if a.rack >= 0]
        world.execute(Plan(tick, actions))
        world.advance()
    assert [(rack, value) for _, rack, value in off] == [(1, PowerTarget.OFF)]
    assert agent.proposer.dark_racks(world.observe()) == [1]


@pytest.mark.parametrize(
    ("late", "racks"), [(1, 1), (2, 2)]
)  # the rack that is lit has room for one large VM more
def test_a_dark_rack_stays_dark_until_a_vm_waits_for_room(late: int, racks: int) -> None:
    n, comes = 2 + late, 30
    load = workload(
        [500.0] * n, allocation=[8_000.0] * 2 + [60_000.0] * late, arrival=[0, 0] + [comes] * late
    )
    world = SimulatedWorld(scenario(2, **two_racks()), load)
    placed(world, [0, 2])
    agent = Rules(RULES, [RackPower(RackPowerKnobs(spare_hosts=0))])
    agent.reset(site_of(world, 0))
    lit = []
    for _ in range(comes + 15):
        state = world.observe()
        lit.append(len(set(state.hosts.rack[state.hosts.state == HostState.ON].tolist())))
        world.execute(Plan(state.tick, agent.act(state)))
        world.advance()
    assert lit[10:comes] == [1] * (comes - 10)
    assert max(lit[comes:]) == racks
    assert min(world.observe().vms.host[:n]) >= 0


def test_a_rack_that_is_being_vacated_stays_for_a_vm_that_finds_room_nowhere_else() -> None:
    class Holds(Keeps):
        def heed(self, state: ClusterState, leaving: Mask) -> Bars:
            return super().heed(state, np.zeros_like(leaving))

    comes = 8
    large = [
        35_000.0,
        35_000.0,
        30_000.0,
        40_000.0,
    ]  # of 64 GiB: what all are promised is little over two hosts
    load = workload([500.0] * 4, memory=large, allocation=large, arrival=[0, 0, 0, comes])
    world = SimulatedWorld(scenario(2, **two_racks()), load)
    placed(world, [0, 1, 2])
    agent = Rules(ALONE, [Holds(2), RackPower(RackPowerKnobs(spare_hosts=0, abandon_ticks=100))])
    agent.reset(site_of(world, 0))
    off, hosts = [], []
    for _ in range(comes + 8):
        state = world.observe()
        off.append(state.hosts.state[3] == HostState.OFF)
        hosts.append(int(state.vms.host[3]))
        world.execute(Plan(state.tick, agent.act(state)))
        world.advance()
    assert off[comes - 1]
    assert (hosts[comes], hosts[-1]) == (-1, 3)


def test_freeze_holds_every_move() -> None:
    freeze = {"maintenance": ({"freeze": True, "start_h": 0, "hours": 4},), "actions": ("migrate", "power")}
    stage = Stage(Rules(PLACEMENT, [MaintenanceDrains()]), 2, workload([500.0, 500.0]), on=[0, 1], **freeze)
    assert [a for a in stage.wait(40) if a[0] == "migrate"] == []
    free = Stage(Rules(PLACEMENT), 2, workload([500.0, 500.0]), on=[0, 1], actions=("migrate", "power"))
    assert [a for a in free.wait(40) if a[0] == "migrate"] != []


def test_hosts_are_empty_when_their_maintenance_begins() -> None:
    windows = {"maintenance": ({"rack": 1, "start_h": 2, "hours": 1},)}
    world = SimulatedWorld(scenario(2, **two_racks(), **windows), workload([500.0] * 4))
    placed(world, [0, 2, 3, 2])
    agent = Rules(ALONE, [MaintenanceDrains()])
    agent.reset(site_of(world, 0))
    for tick in range(1, 24):
        world.execute(Plan(tick, agent.act(world.observe())))
        world.advance()
    state = world.observe()
    assert state.hosts.state.tolist()[2:] == [HostState.MAINTENANCE] * 2
    assert set(state.vms.host[:4].tolist()) <= {0, 1}
    assert state.vms.state[:4].tolist() == [3] * 4
    bars = MaintenanceDrains()
    bars.reset(site_of(world, 0))
    assert bars.bars(state).hosts.tolist() == [0, 0, LEAVING, LEAVING]


def hired(prices: list[tuple[float, dict[str, Any]]], cpu: float) -> list[int]:
    """Hosts that are ordered first where VMs want so much of the one host that is ours."""
    rented = tuple({**MACHINE, "price_usd_h": usd, "provision_s": 300.0, **more} for usd, more in prices)
    world = SimulatedWorld(scenario(1, rented=rented, actions=("rent", "migrate")), workload([cpu, cpu]))
    placed(world, [0, 0])
    agent = Rules(ALONE, [Renting(RentingKnobs(hold_ticks=1))])
    agent.reset(site_of(world, 0))
    return [a.host for a in agent.act(world.observe()) if a.kind is ActionKind.RENT]


def test_the_cheapest_host_that_closes_the_gap_is_hired_and_none_that_does_not_pay() -> None:
    small = {"cores": 1, "mhz": 500}
    assert hired([(0.3, {}), (0.2, {}), (0.1, small)], 6_000.0) == [2]
    assert hired([(0.3, {}), (0.2, {}), (0.19, small)], 6_000.0) == [2]
    assert hired([(0.3, {}), (0.2, {})], 3_000.0) == []
    assert hired([(50.0, {})], 6_000.0) == []


def test_reserved_host_comes_first_and_spot_pays_for_its_reclaims() -> None:
    assert hired([(0.01, {}), (0.3, {"market": "reserved"})], 6_000.0) == [2]
    spot = {"market": "spot", "reclaims_per_h": 5.0}
    assert hired([(0.20, spot), (0.21, {})], 6_000.0) == [2]
    assert hired([(0.20, {**spot, "reclaims_per_h": 1e-4}), (0.21, {})], 6_000.0) == [1]


def test_price_spot_makes_hosts_that_can_be_reclaimed() -> None:
    changed = what_if(load_scenario("enterprise"), "price.spot=0.03").scenario
    assert {(group.market, group.price_usd_h) for group in changed.rented} == {("spot", 0.03)}
    with pytest.raises(InputError, match="-1"):
        what_if(load_scenario("enterprise"), "price.spot=-1")
