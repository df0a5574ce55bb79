"""What hurts operators, one log each: alarms, maintenance, racks, hire, churn and rules about places."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from foreshade._core import ClusterState
from foreshade.agents.bars import Bars
from foreshade.agents.managers.churn import ChurnManager, ChurnManagerKnobs
from foreshade.agents.managers.evacuation import Evacuation
from foreshade.agents.managers.maintenance import MaintenanceDrains, MaintenanceKnobs
from foreshade.agents.managers.manager import Offer
from foreshade.agents.managers.rack_power import RackPower, RackPowerKnobs
from foreshade.agents.managers.renting import Renting, RentingKnobs
from foreshade.agents.rules.rules import Rules
from foreshade.envs.candidates import PLACEMENT, PlanKnobs
from foreshade.envs.model.action import Plan, migrate, place
from foreshade.envs.packers import EXPECTED_COST
from foreshade.envs.simulated import SimulatedWorld
from foreshade.envs.site import Site
from tests.golden import golden
from tests.golden._stage import App, foreseen, play, workload
from tests.tiny_world import MACHINE, scenario

RENTED = {**MACHINE, "price_usd_h": 0.2, "provision_s": 300.0}
QUIET = PLACEMENT.model_copy(update={"plans": ()})  # nothing but what components offer


def hazards(state: ClusterState) -> str:
    """Chance of a failure within two hours, by host."""
    return " ".join(f"{100 * (1 - 2.718281828 ** (-2 * h)):.0f}%" for h in state.hosts.hazard_per_h.tolist())


@golden("evacuation")
def evacuation() -> Iterator[str]:
    """Every failure of hosts that fail often is foreseen; each is left before it comes, the dearest VMs first."""
    load = workload([App([2_000.0], credit=4.0), App([500.0])], 40)
    law = {"mtbf_h": 4.0, "repair_h": 1.0, "recall": 1.0, "false_alarms_per_host_day": 0.0, "lead_h": 0.5}
    world = SimulatedWorld(scenario(3, actions=("migrate",), failures=law), load, seed=1)
    yield from play(world, Rules(QUIET, [Evacuation()]), 40, hazards)


@golden("maintenance")
def maintenance() -> Iterator[str]:
    """Host 0 is taken at 03:00 UTC, after a freeze until 01:30: it is emptied in between, when it is quiet."""
    load = workload([App([2_000.0] * 24 + [800.0]), App([500.0])], 44)
    windows = (
        {"weekly": "mon 00:00-01:30 freeze"},
        {"weekly": "mon 04:00-05:00 Europe/Berlin host 0"},
    )
    world = SimulatedWorld(
        scenario(2, actions=("migrate", "power"), maintenance=windows), load, forecast=foreseen(load)
    )
    agent = Rules(QUIET, [MaintenanceDrains(MaintenanceKnobs(lead_h=4))])
    yield from play(world, agent, 44, lambda s: f"{s.vms.usage[:, 0].sum():.0f} MHz")


def two_racks(load: object, **changes: object) -> SimulatedWorld:
    """Two racks of two hosts."""
    fleet = ({"zone": "a", "racks": 2, "hosts": ({**MACHINE, "count": 2},)},)
    return SimulatedWorld(
        scenario(2, fleet=fleet, actions=("migrate", "power"), **changes),
        load,  # type: ignore[arg-type]
        forecast=foreseen(load),  # type: ignore[arg-type]
    )


BIG = (8_000.0, 8_192.0, 100.0, 1_000.0, 0.0)
DAY = [App([6_000.0] * 4 + [1_200.0] * 30 + [6_000.0], flavour=BIG)] * 4


@golden("rack_power")
def rack_power() -> Iterator[str]:
    """At night one rack is enough: the other is emptied and switched off, and is up again when the day needs it."""
    load = workload(DAY, 56)
    plan = PlanKnobs(name="hosts", packer=replace(EXPECTED_COST, racks=False), preferred=True, eager=True)
    agent = Rules(
        PLACEMENT.model_copy(update={"plans": (plan,)}), [RackPower(RackPowerKnobs(spare_hosts=0.0))]
    )
    yield from play(two_racks(load), agent, 56, lambda s: f"{s.vms.demand[:, 0].sum():.0f} MHz wanted")


@golden("rack_unproven")
def rack_unproven() -> Iterator[str]:
    """The same night, but no host was ever seen to come back from power-off: nothing is switched off."""
    load = workload(DAY, 56)
    agent = Rules(QUIET, [RackPower(RackPowerKnobs(spare_hosts=0.0, proven="seen"))])
    yield from play(two_racks(load), agent, 56)


@golden("renting")
def renting() -> Iterator[str]:
    """One host of our own is too little by day: the cheaper of two cloud hosts is hired, and goes back at night."""
    day = [2_000.0] * 4 + [6_500.0] * 16 + [2_000.0]
    load = workload([App(day, flavour=(9_800.0, 8_192.0, 100.0, 1_000.0, 0.0))] * 2, 44)
    rented = ({**RENTED, "price_usd_h": 0.3}, RENTED)
    world = SimulatedWorld(
        scenario(1, rented=rented, actions=("migrate", "rent")), load, forecast=foreseen(load)
    )
    agent = Rules(QUIET, [Renting(RentingKnobs(hold_ticks=1))])
    yield from play(world, agent, 44, lambda s: f"{s.vms.demand[:, 0].sum():.0f} MHz wanted")


@golden("spot_reclaimed")
def spot_reclaimed() -> Iterator[str]:
    """A spot host is wanted back, with half an hour's notice: another is hired and takes its VM in time."""
    load = workload([App([2_000.0] * 3 + [6_500.0], flavour=(9_800.0, 8_192.0, 100.0, 1_000.0, 0.0))] * 2, 40)
    spot = {**RENTED, "market": "spot", "price_usd_h": 0.05, "reclaims_per_h": 0.5, "notice_s": 1800.0}
    world = SimulatedWorld(
        scenario(1, rented=(spot, RENTED), actions=("migrate", "rent")), load, seed=1, forecast=foreseen(load)
    )
    agent = Rules(QUIET, [Evacuation(), Renting(RentingKnobs(hold_ticks=1))])
    yield from play(world, agent, 40, hazards)


class Follow:
    """Moves VM 2 to the emptier of two hosts whenever the other is fuller: a balancer without memory."""

    name = "follow"

    def reset(self, site: Site) -> None:
        """Nothing to forget."""

    def offers(self, state: ClusterState, _bars: Bars, /) -> Sequence[Offer]:
        """A move to where the other host's own VM wants less."""
        here = int(state.vms.host[2])
        there = 1 - here
        if state.vms.demand[there, 0] >= state.vms.demand[here, 0]:
            return ()
        return [
            Offer("migrate", (migrate(2, there),), "it is fuller here", vm=2, host=there, performance=1e3)
        ]

    def taken(self, offer: Offer) -> None:
        """Nothing to remember."""


@golden("ping_pong")
def ping_pong() -> Iterator[str]:
    """Two hosts whose loads change places: with churn rules a VM moves once an imbalance lasted, and rests."""
    high, low = [6_000.0] * 3, [1_000.0] * 3
    big = (9_800.0, 4_096.0, 100.0, 1_000.0, 0.0)
    load = workload(
        [
            App((high + low) * 10, flavour=big),
            App((low + high) * 10, flavour=big),
            App([3_500.0], flavour=big),
        ],
        60,
    )
    world = SimulatedWorld(scenario(2, actions=("migrate",)), load)
    assert all(o.accepted for o in world.execute(Plan(0, [place(0, 0), place(1, 1), place(2, 0)])))
    agent = Rules(QUIET, [Follow(), ChurnManager(ChurnManagerKnobs(hold_ticks=2, destination_s=0))])
    yield from play(world, agent, 60, lambda s: " ".join(f"{u:.0f}" for u in s.hosts.usage[:, 0]))


@golden("affinity")
def affinity() -> Iterator[str]:
    """A pair that shares a host and a pair that must not: host 0 is emptied for maintenance by those rules."""
    load = workload([App([500.0]), App([500.0]), App([500.0]), App([500.0])], 30)
    rules = (
        {"name": "pair", "together": "host", "vms": ("vm0", "vm1")},
        {"name": "ha", "apart": "host", "vms": ("vm0", "vm2")},
        {"name": "licence", "within": ("oracle",), "vms": ("vm3",)},
    )
    fleet = (
        {"zone": "a", "hosts": ({**MACHINE, "count": 3},)},
        {"zone": "a", "hosts": ({**MACHINE, "labels": ("oracle",)},)},
    )
    world = SimulatedWorld(
        scenario(
            4,
            fleet=fleet,
            affinity=rules,
            actions=("migrate",),
            maintenance=({"host": 0, "start_h": 2, "hours": 0.25},),
        ),
        load,
    )
    yield from play(world, Rules(QUIET, [MaintenanceDrains(MaintenanceKnobs(lead_h=1))]), 30)
