"""The simulated world as a controller drives it: the contract, replay, torn writes, faults."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from foreshade.envs.errors import InputError, WorldError
from foreshade.envs.inventory import ControlledWorld
from foreshade.envs.model.action import despawn, five, migrate, reshape, spawn
from foreshade.envs.model.state import VmState
from foreshade.envs.order import Order, Standing
from tests.contract_world import Stage, WorldContract
from tests.control_worlds import durable


class TestContract(WorldContract):
    @pytest.fixture
    def stage(self, tmp_path: Path) -> Iterator[Stage]:  # type: ignore[override]
        world = durable(tmp_path)
        world.advance()

        def wait() -> None:
            world.advance()

        yield Stage(world, wait)
        world.close()


def begun(tmp_path: Path, *steps: str) -> tuple[ControlledWorld, list[str]]:
    """A world in which the calls of the named steps fail, and the steps that were asked for."""
    asked: list[str] = []

    def before(order: Order, step: str) -> str:
        asked.append(step)
        return "the host is on fire" if step in steps else ""

    world = durable(tmp_path, before)
    world.advance()
    return world, asked


def test_a_restart_replays_to_the_same_cluster(tmp_path: Path) -> None:
    world, _ = begun(tmp_path)
    world.carry_out(world.order(migrate(0, 3), "a"), 1.0)
    world.carry_out(world.order(spawn(0, 2, five([1000, 1000, 0, 0, 0])), "b"), 1.0)
    for _ in range(3):
        world.advance()
    state, names = world.observe(), [vm.name for vm in world.inventory().vms]
    again, _ = begun(tmp_path)  # plays one tick more
    world.advance()
    other = again.observe()
    assert [vm.name for vm in again.inventory().vms] == names
    for column in ("host", "state", "allocation", "usage", "weight", "birth"):
        assert (getattr(state.vms, column) == getattr(other.vms, column)).all()
    assert (state.hosts.power_w == other.hosts.power_w).all()


def test_a_torn_last_line_is_a_call_that_did_not_arrive(tmp_path: Path) -> None:
    world, _ = begun(tmp_path)
    order = world.order(migrate(0, 3), "a")
    world.carry_out(order, 1.0)
    world.close()
    log = tmp_path / "world.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:-1]) + lines[-1][:20])
    again = durable(tmp_path)
    assert again.torn_lines == 1
    assert again.standing(order) is Standing.HALF_DONE  # prepared, and not moved


@pytest.mark.parametrize(("step", "half"), [("define", Standing.UNTOUCHED), ("start", Standing.HALF_DONE)])
def test_a_spawn_that_fails_half_way_is_taken_back(tmp_path: Path, step: str, half: Standing) -> None:
    world, _ = begun(tmp_path, step)
    order = world.order(spawn(0, 2, five([1000, 1000, 0, 0, 0])), "a")
    result = world.carry_out(order, 1.0)
    assert result.standing is half
    assert result.error == "the host is on fire"
    assert world.compensate(order, 1.0).standing is Standing.UNTOUCHED
    assert order.vm not in world.inventory().vm_slot


def test_a_reshape_that_fails_half_way_goes_back_to_what_was(tmp_path: Path) -> None:
    world, asked = begun(tmp_path, "memory")
    was = five(world.observe().vms.allocation[0].tolist())
    order = world.order(reshape(0, five([was[0] / 2, was[1] / 2, *was[2:]])), "a")
    assert world.carry_out(order, 1.0).standing is Standing.HALF_DONE
    assert world.observe().vms.allocation[0, 0] == was[0] / 2
    assert world.compensate(order, 1.0).standing is Standing.UNTOUCHED
    assert world.observe().vms.allocation[0].tolist() == list(was)
    assert asked == ["cpu", "memory", "restore"]


def test_a_despawn_that_fails_after_the_drain_gives_the_traffic_back(tmp_path: Path) -> None:
    world, _ = begun(tmp_path, "stop")
    made = world.order(spawn(0, 2, five([1000, 1000, 0, 0, 0])), "made")
    world.carry_out(made, 1.0)
    world.advance()
    slot = world.inventory().vm_slot[made.vm]
    order = world.order(despawn(slot), "a")
    assert world.carry_out(order, 1.0).standing is Standing.HALF_DONE
    assert world.observe().vms.weight[slot] == 0.0
    assert world.compensate(order, 1.0).standing is Standing.UNTOUCHED
    assert world.observe().vms.weight[slot] == 1.0
    assert world.observe().vms.state[slot] == VmState.RUNNING


def refusal(folder: Path, **changes: Any) -> str:
    """Why the log of the folder is not taken for a scenario with changes."""
    with pytest.raises(InputError) as refused:
        durable(folder, **changes)
    return str(refused.value).removeprefix(f"{folder / 'world.jsonl'}")


def test_the_log_of_another_cluster_is_refused_by_what_differs(tmp_path: Path) -> None:
    durable(tmp_path).close()
    log = tmp_path / "world.jsonl"
    assert refusal(tmp_path, prices={"electricity": 0.5}) == (
        ': expected the cluster that was begun there, prices.electricity "us-va-commercial"; found '
        "prices.electricity 0.5: put that back, or give another state_dir"
    )
    begun = log.read_text()
    log.write_text(begun.replace('"vms":8', '"vms":9').replace('"seed":0', '"seed":7', 1))
    assert ", vms 9, seed 7; found vms 8, seed 0: " in refusal(tmp_path)
    log.write_text('{"scenario":"other"}\n')
    assert refusal(tmp_path) == ':1: expected the head of a simulated cluster, found {"scenario": "other"}'


def test_a_log_that_says_less_is_taken(tmp_path: Path) -> None:
    durable(tmp_path).close()
    log = tmp_path / "world.jsonl"
    head, *rest = log.read_text().splitlines()
    said = json.loads(head)
    del said["of"]  # as logs began before scenarios stood in them
    log.write_text("\n".join([json.dumps(said), *rest, ""]))
    durable(tmp_path).close()


def test_a_log_that_cannot_be_written_touches_nothing(tmp_path: Path) -> None:
    world = durable(tmp_path)
    order = world.order(migrate(0, 3), "a")
    world.close()
    with pytest.raises(WorldError, match="closed"):
        world.advance()
    result = world.carry_out(order, 1.0)
    assert result.error
    assert world.standing(order) is Standing.UNTOUCHED
