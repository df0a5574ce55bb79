"""VMs at their limit on full hosts, and who waits for GPUs: what they get of what is free, and moves for the rest."""

from __future__ import annotations

import pytest

from foreshade.agents.rules.rules import Rules
from foreshade.envs.candidates import CandidateKnobs
from foreshade.envs.model.action import ActionKind
from foreshade.envs.model.state import Resource
from tests import tiny_world
from tests.tiny_world import Stage

HOST_MHZ = 9_800.0


def stage(flavours: list[float], wants: list[float], on: list[int], *, outgrown: int = 2) -> Stage:
    """VMs of these flavours and wants, MHz, on two hosts that promise no more than they have.

    Nothing is taken back, and no plan moves anything.
    """
    load = tiny_world.workload(wants)
    load.vms.flavour[:, Resource.CPU] = flavours
    knobs = CandidateKnobs(
        preferred=("right_size", "migrate"), plans=(), slack=0.0, settle_ticks=1, outgrown=outgrown
    )
    return Stage(Rules(knobs), 2, load, on, overcommit={"cpu": 1, "memory": 1})


def mhz(of: Stage, vm: int) -> float:
    return float(of.world.observe().vms.allocation[vm, Resource.CPU])


def test_a_vm_grows_by_as_much_as_its_host_has_room_for() -> None:
    full = stage([2_000.0, 7_200.0], [2_000.0, 100.0], [0, 0], outgrown=0)
    did = full.wait(4)
    assert did == [("reshape", 0, -1)]  # 600 MHz are left, a thousand were wanted
    assert 2_590.0 < mhz(full, 0) < 2_600.0


def test_room_below_what_is_worth_a_change_is_left() -> None:
    full = stage(
        [2_000.0, 7_650.0], [2_000.0, 100.0], [0, 0], outgrown=0
    )  # 150 MHz: less than a tenth of 2,000
    assert full.wait(4) == []


def test_a_move_makes_the_room_that_is_missing() -> None:
    full = stage([2_000.0, 7_800.0, 3_000.0], [2_000.0, 100.0, 100.0], [0, 0, 1])
    did = full.wait(6)
    moved = [action for action in did if action[0] == "migrate"]
    assert moved == [("migrate", 0, 1)]  # the idle one is larger than what is free there
    assert mhz(full, 0) == 3_000.0


def test_another_vm_leaves_where_that_costs_less() -> None:
    full = stage([6_000.0, 3_800.0], [6_000.0, 100.0], [0, 0])
    did = full.wait(6)
    assert [action for action in did if action[0] == "migrate"] == [("migrate", 1, 1)]
    assert mhz(full, 0) == 9_000.0


@pytest.mark.parametrize(
    ("flavours", "says"),
    [
        ([2_000.0, 7_800.0, 3_000.0], "vm 0 is to grow, for which host 0 has no room"),
        ([6_000.0, 3_800.0, 100.0], "makes room on host 0 for vm 0 to grow"),
    ],
)
def test_the_move_says_what_it_is_for(flavours: list[float], says: str) -> None:
    full = stage(flavours, [flavours[0], 100.0, 50.0], [0, 0, 1])
    (move,) = (a for a in full.agent.act(full.world.observe()) if a.kind == ActionKind.MIGRATE)
    assert move.reason == says


def test_one_move_is_enough_while_it_is_under_way() -> None:
    full = stage([4_000.0, 2_900.0, 2_900.0], [4_000.0, 100.0, 100.0], [0, 0, 0])
    assert len([action for action in full.ask() if action[0] == "migrate"]) == 1
    assert [action for action in full.wait(5) if action[0] == "migrate"] == []
    assert mhz(full, 0) == 6_000.0


def test_no_room_is_made_where_no_host_has_any() -> None:
    full = stage([2_000.0, 7_800.0, 9_800.0], [2_000.0, 100.0, 100.0], [0, 0, 1])
    assert full.wait(4) == []


def gpu_stage(
    flavours: list[tuple[float, float]],
    on: list[int],
    *,
    outgrown: int = 2,
    together: tuple[str, ...] = (),
) -> Stage:
    """VMs of (MHz, GPUs), idle, on two hosts with four GPUs each and one with none; those behind ``on`` wait."""
    n_waiting = len(flavours) - len(on)
    load = tiny_world.workload([100.0] * len(flavours), arrival=[0] * len(on) + [1] * n_waiting)
    load.vms.flavour[:, [Resource.CPU, Resource.GPU]] = flavours
    knobs = CandidateKnobs(preferred=("migrate", "place"), plans=(), slack=0.0, outgrown=outgrown)
    four = {**tiny_world.MACHINE, "server": "hpe-dl380a-gen11-4xa30", "count": 2}
    fleet = ({"zone": "a", "hosts": (four, {**tiny_world.MACHINE, "count": 1})},)
    return Stage(
        Rules(knobs),
        3,
        load,
        [*on, *[-1] * n_waiting],
        overcommit={"cpu": 1, "memory": 1},
        fleet=fleet,
        actions=("migrate",),
        affinity=({"name": "pair", "together": "host", "vms": together},) if together else (),
    )


@pytest.mark.parametrize("outgrown", [0, 2])
def test_gpus_that_are_free_in_pieces_are_brought_together_for_who_waits(outgrown: int) -> None:
    # Three are wanted: one is free on host 0, two on host 1.
    waits = gpu_stage(
        [(2_000.0, 2.0), (2_000.0, 1.0), (2_000.0, 2.0), (2_000.0, 3.0)], [0, 0, 1], outgrown=outgrown
    )
    did = waits.wait(4)
    assert did == ([("migrate", 0, 1), ("place", 3, 0)] if outgrown else [])


def test_who_is_to_make_room_gets_room_first() -> None:
    # As before, but host 1 has promised all its CPU, most of it to a VM that wants no GPU.
    flavours = [(2_000.0, 2.0), (2_000.0, 1.0), (2_000.0, 2.0), (7_000.0, 0.0), (2_000.0, 3.0)]
    waits = gpu_stage(flavours, [0, 0, 1, 1])
    assert waits.wait(5) == [("migrate", 3, 2), ("migrate", 0, 1), ("place", 4, 0)]


def test_nobody_moves_where_there_are_too_few_gpus_for_who_waits() -> None:
    waits = gpu_stage([(2_000.0, 2.0), (2_000.0, 2.0), (2_000.0, 2.0), (2_000.0, 3.0)], [0, 0, 1])
    assert waits.wait(4) == []


def test_room_is_made_for_all_that_have_to_share_a_host() -> None:
    # Each of the two that wait would find its GPUs on host 1, both together find them nowhere.
    flavours = [(2_000.0, 2.0), (2_000.0, 1.0), (2_000.0, 2.0), (2_000.0, 2.0), (2_000.0, 1.0)]
    waits = gpu_stage(flavours, [0, 0, 1], together=("vm3", "vm4"))
    assert waits.wait(4) == [("migrate", 0, 1), ("place", 3, 0), ("place", 4, 0)]
