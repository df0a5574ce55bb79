"""The guard: what each rule refuses and what it lets pass, on a cluster of four hosts and eight VMs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy.typing as npt
import pytest

from foreshade._core import ClusterState
from foreshade.agents.guard import Guard, GuardKnobs, Seen, Verdict, Window
from foreshade.agents.plan import ActionState, Mode, PlannedAction
from foreshade.agents.validation import dependencies, stale
from foreshade.envs.inventory import HostFacts, Inventory, VmFacts
from foreshade.envs.model.action import ActionKind, PowerTarget
from foreshade.envs.model.state import HostState
from foreshade.envs.order import Order
from foreshade.envs.snapshot import HOSTS, VMS
from tests.control_worlds import durable

OTHERS = {"hazard_per_h", "hazard_confidence", "anomaly", "anomaly_p", "widen"}  # estimated, not filled in


@pytest.fixture
def seen(tmp_path: Path) -> Seen:
    """VM i stands on host i % 4; one more host could be rented."""
    world = durable(tmp_path)
    world.advance()
    return Seen(world.observe().copy(), world.inventory(), 1000.0)


def move(vm: int, to: int, key: str = "") -> Order:
    name = f"vm{vm}"
    return Order(key or f"m{vm}", ActionKind.MIGRATE, vm=name, host=f"host000{to}", source=f"host000{vm % 4}")


def off(host: int) -> Order:
    return Order(
        f"off{host}", ActionKind.POWER, host=f"host000{host}", value=float(PowerTarget.OFF), before=1.0
    )


def on(host: int) -> Order:
    return replace(off(host), key=f"on{host}", value=float(PowerTarget.ON))


def review(seen: Seen, *orders: Order, recent: Sequence[PlannedAction] = (), **knobs: Any) -> list[str]:
    """The rule that refused each order, "" = none."""
    return [v.rule for v in Guard(GuardKnobs(**knobs)).review(orders, seen, Mode.AUTO, recent)]


def reason(seen: Seen, order: Order, **knobs: Any) -> Verdict:
    return Guard(GuardKnobs(**knobs)).review([order], seen, Mode.AUTO)[0]


def facts(seen: Seen, vm: VmFacts | None = None, host: HostFacts | None = None) -> Seen:
    """The same with other facts of VM 0 or host 0."""
    old = seen.inventory
    vms = (vm, *old.vms[1:]) if vm is not None else old.vms
    hosts = (host, *old.hosts[1:]) if host is not None else old.hosts
    return replace(seen, inventory=Inventory(hosts, vms, old.apps, old.racks, old.zones))


def aged(seen: Seen, host: int, age_s: float) -> Seen:
    """The same with another age of one host's newest sample."""
    ages = seen.state.hosts.age_s.copy()
    ages[host] = age_s
    return with_hosts(seen, age_s=ages)


def with_hosts(seen: Seen, **columns: npt.NDArray[Any]) -> Seen:
    """The same with other columns of the hosts."""
    state = ClusterState()
    hosts = {name: getattr(seen.state.hosts, name) for name in HOSTS if name not in OTHERS} | columns
    vms = {name: getattr(seen.state.vms, name) for name in VMS if name not in OTHERS}
    state.fill(0.0, 1, len(hosts["state"]), len(vms["state"]), hosts, vms)
    return replace(seen, state=state)


def past(order: Order, begun_s: float, state: ActionState = ActionState.SUCCEEDED) -> PlannedAction:
    return PlannedAction(order, state, begun_s=begun_s)


def test_nothing_is_against_a_plain_move(seen: Seen) -> None:
    assert review(seen, move(0, 1)) == [""]


@pytest.mark.parametrize(
    "vm",
    [
        VmFacts("vm0", "app0", protected=True),
        VmFacts("vm0", "app0", managed=False),
        VmFacts("vm0", "app0", forbidden=frozenset({ActionKind.MIGRATE})),
    ],
    ids=["protected", "foreign", "opted out"],
)
def test_what_is_not_ours_or_opted_out_is_not_touched(seen: Seen, vm: VmFacts) -> None:
    assert review(facts(seen, vm=vm), move(0, 1), move(1, 2)) == ["protected", ""]


def test_an_opt_out_of_moves_still_lets_the_vm_be_reshaped(seen: Seen) -> None:
    vm = VmFacts("vm0", "app0", forbidden=frozenset({ActionKind.MIGRATE}))
    more = Order("r", ActionKind.RESHAPE, vm="vm0", allocation=(9_800.0, 7_000.0, 0.0, 0.0, 0.0))
    assert review(facts(seen, vm=vm), more) == [""]


def test_a_protected_host_is_neither_filled_nor_emptied(seen: Seen) -> None:
    kept = facts(seen, host=HostFacts("host0000", protected=True))
    assert review(kept, move(0, 1), move(1, 0), move(2, 3)) == ["protected", "protected", ""]


def test_a_host_whose_power_on_is_not_proven_stays_on(seen: Seen) -> None:
    unproven = facts(seen, host=HostFacts("host0000"))
    assert review(unproven, off(0)) == ["power"]
    assert review(unproven, off(0), proven_power_only=False) == [""]
    assert review(unproven, on(0)) == [""]


def test_no_more_hosts_go_dark_than_the_share_allows(seen: Seen) -> None:
    assert review(seen, off(0), off(1), off(2), power_per_tick=9) == ["", "", "power"]
    assert review(seen, off(0), off(1), off(2), power_per_tick=9, most_dark=1.0) == ["", "", ""]


@pytest.mark.parametrize("age_s", [901.0, float("inf")])
def test_old_samples_never_justify_taking_capacity_away(seen: Seen, age_s: float) -> None:
    old = aged(seen, 0, age_s)
    assert [review(old, order) for order in (off(0), on(0), move(0, 1), off(1))] == [
        ["stale"],
        [""],
        [""],
        [""],
    ]


def test_a_vm_rests_after_a_move_twice_as_long_after_each(seen: Seen) -> None:
    once = [past(move(0, 2, "a"), 0.0)]
    assert review(seen, move(0, 1), recent=once, vm_cooldown_s=900) == [""]
    assert review(seen, move(0, 1), recent=once, vm_cooldown_s=1100) == ["cooldown"]
    twice = [*once, past(move(0, 3, "b"), 100.0)]
    assert review(seen, move(0, 1), recent=twice, vm_cooldown_s=440) == [""]
    assert review(seen, move(0, 1), recent=twice, vm_cooldown_s=460) == ["cooldown"]
    failed = [past(move(0, 2, "a"), 999.0, ActionState.FAILED)]
    assert review(seen, move(0, 1), recent=failed, vm_cooldown_s=9_999) == [""]


def test_a_destination_rests_after_it_took_a_vm(seen: Seen) -> None:
    took = [past(move(3, 1, "a"), 900.0)]
    assert review(seen, move(0, 1), move(2, 3), recent=took, destination_cooldown_s=200) == ["cooldown", ""]


def test_budgets_count_what_was_admitted_alone(seen: Seen) -> None:
    orders = [move(vm, (vm + 1) % 4) for vm in range(4)]
    assert review(seen, *orders, actions_per_tick=2) == ["", "", "budget", "budget"]
    assert review(seen, *orders, migrations_per_tick=3) == ["", "", "", "budget"]
    kept = facts(seen, vm=VmFacts("vm0", "app0", protected=True))
    assert review(kept, *orders, actions_per_tick=2) == ["protected", "", "", "budget"]


def test_a_drain_is_done_whole_or_not_at_all(seen: Seen) -> None:
    drain = [move(0, 1), move(4, 2), off(0)]
    assert review(seen, *drain, move(1, 2)) == ["", "", "", ""]
    kept = facts(seen, vm=VmFacts("vm0", "app0", protected=True))
    verdicts = Guard(GuardKnobs()).review([*drain, move(1, 2)], kept, Mode.AUTO)
    assert [v.rule for v in verdicts] == ["protected", "protected", "protected", ""]
    assert verdicts[1].reason == "goes with migrate vm0: VM vm0 is protected by its tags"
    assert review(seen, *drain, actions_per_tick=2) == ["budget"] * 3


def test_windows_freeze_everything_or_keep_hosts_from_being_filled(seen: Seen) -> None:
    everything = Window(start_s=900, end_s=1100, reason="release night")
    assert review(seen, move(0, 1), windows=(everything,)) == ["halt"]
    host = Window(start_s=900, end_s=1100, hosts=frozenset({"host0001"}))
    assert review(seen, move(0, 1), move(1, 2), move(2, 3), windows=(host,)) == ["window", "window", ""]
    repair = host.model_copy(update={"freeze": False})
    assert review(seen, move(0, 1), move(1, 2), windows=(repair,)) == ["window", ""]
    over = everything.model_copy(update={"end_s": 1000.0})
    assert review(seen, move(0, 1), windows=(over,)) == [""]


def test_a_draining_host_is_not_filled(seen: Seen) -> None:
    draining = replace(seen, draining=frozenset({"host0001"}))
    assert review(draining, move(0, 1), move(1, 2)) == ["drain", ""]


def test_a_drain_is_asked_for_so_it_waits_for_no_approval_and_no_rest(seen: Seen) -> None:
    draining = replace(seen, draining=frozenset({"host0001"}))
    moved = [past(move(1, 3, "a"), 999.0)]
    for mode, level in ((Mode.ADVISE, Mode.AUTO), (Mode.OBSERVE, Mode.OBSERVE)):
        verdict = Guard(GuardKnobs()).review([move(1, 2)], draining, mode, moved)[0]
        assert (verdict.rule, verdict.level) == ("", level)


def test_everything_halts_when_too_many_hosts_are_unready(seen: Seen) -> None:
    codes = seen.state.hosts.state.copy()
    codes[:2] = HostState.FAILED
    broken = with_hosts(seen, state=codes)
    verdict = reason(broken, move(2, 3))
    assert (verdict.rule, verdict.reason) == ("halt", "2 of 5 hosts are not ready, expected less than 34%")
    assert review(broken, move(2, 3), unready_halt=0.5) == [""]


def test_what_belongs_to_an_open_plan_is_left_alone(seen: Seen) -> None:
    verdict = Guard(GuardKnobs()).review([move(0, 1)], seen, Mode.AUTO, (), {"vm0": "p7"})[0]
    assert verdict.reason == "vm0 belongs to plan p7, which is not done"


def test_a_level_lowers_the_mode_and_never_raises_it(seen: Seen) -> None:
    knobs = GuardKnobs(levels={"power": "advise", "migrate": "auto"})
    for mode in Mode:
        verdicts = Guard(knobs).review([move(1, 2), off(0)], seen, mode)
        assert verdicts[0].level is mode
        assert verdicts[1].level is (Mode.OBSERVE if mode is Mode.OBSERVE else Mode.ADVISE)


def test_a_fresh_look_finds_what_has_become_stale(seen: Seen) -> None:
    assert stale(move(0, 1), seen) == ""
    assert stale(replace(move(0, 1), vm="ghost"), seen) == "VM ghost is gone"
    assert (
        stale(replace(move(0, 1), source="host0002"), seen) == "VM vm0 stands on host0000, expected host0002"
    )
    assert stale(move(0, 4), seen) == "host host0004 is unrented, expected on"
    assert stale(off(0), seen) == "host host0000 holds 2 VMs, expected none"


def test_orders_of_one_round_see_the_room_that_the_others_take(seen: Seen) -> None:
    booked: dict[str, Any] = {}
    moves = [move(vm, 1) for vm in (0, 2, 3)]  # 9,800 MHz each; host 1 holds two of four that fit
    assert [bool(stale(order, seen, booked)) for order in moves] == [False, False, True]
    assert stale(moves[2], seen, booked) == "host host0001 has no room: CPU allocated to the limit"


def test_an_order_waits_for_those_that_it_needs() -> None:
    orders = [move(0, 1), move(1, 2), off(0), on(3), move(2, 3), move(0, 3, "again")]
    assert dependencies(orders) == ((), (), (0,), (), (3,), (0, 3))
