"""The store's disk full or read-only under a controller that acts on real guests."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from foreshade._core import ClusterState
from foreshade.adapters.libvirt_world.world import LibvirtWorld
from foreshade.adapters.store.journal import StoreJournal
from foreshade.adapters.store.store import Store
from foreshade.agents.controller import Controller, Minds
from foreshade.agents.guard import Guard, GuardKnobs
from foreshade.agents.plan import ActionState, Mode, PlannedAction, PlanRecord, PlanState
from foreshade.agents.rules.rules import Decider, load_rules
from foreshade.envs.errors import JournalError
from foreshade.envs.model.action import Action, migrate
from tests.live.crash_child import executor, look
from tests.live.testbed import Testbed, spawned


@dataclass
class Disk:
    """A small file system under the store."""

    folder: Path

    def fill(self) -> None:
        """Not a byte is left."""
        with (self.folder / "ballast").open("wb", buffering=0) as ballast:
            for size in (65_536, 4_096, 1):
                try:
                    while True:
                        ballast.write(b"\0" * size)
                except OSError:
                    continue

    def free(self) -> None:
        (self.folder / "ballast").unlink()

    def mount(self, options: str) -> None:
        subprocess.run(["/bin/mount", "-o", f"remount,{options}", str(self.folder)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "state"
    folder.mkdir()
    subprocess.run(["/bin/mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], check=True)
    yield Disk(folder)
    subprocess.run(["/bin/umount", "--lazy", str(folder)], check=True)


class Mover(Decider):
    """Wants the first guest on the third host."""

    def __init__(self) -> None:
        super().__init__("rules", load_rules())

    def act(self, state: ClusterState) -> Sequence[Action]:
        return [] if state.vms.host[0] == 2 else [migrate(0, 2, "because")]


def guest(testbed: Testbed) -> tuple[LibvirtWorld, str]:
    """A world with a guest on the first host."""
    world = testbed.world(tick_s=2.0)
    return world, spawned(world, 0).vm


@pytest.mark.parametrize(
    ("lose", "says"),
    [
        (lambda disk, _store: disk.fill(), "database or disk is full|disk I/O error"),
        (lambda disk, store: (store.close(), disk.mount("ro")), "readonly|unable to open"),
    ],
    ids=["full", "read-only"],
)
def test_nothing_is_touched_while_the_store_cannot_be_written(
    clean: Testbed, disk: Disk, lose: Callable[[Disk, Store], object], says: str
) -> None:
    world, vm = guest(clean)
    store = Store(disk.folder / "control.db")
    kept = StoreJournal(store, wall_s=time.time)
    kept.say("mode", "auto", "test")
    one = Controller(world, kept, executor(world, kept), Minds(Mover()), Guard(GuardKnobs()))
    lose(disk, store)
    for _ in range(3):
        with pytest.raises(JournalError, match=says):
            one.tick()
        world.advance()
    assert clean.running() == {vm: "h1"}
    disk.mount("rw")
    if (disk.folder / "ballast").exists():
        disk.free()
    end = time.monotonic() + 90.0
    while clean.running() != {vm: "h3"} and time.monotonic() < end:
        one.tick()
        world.advance()
    one.tick()
    assert clean.running() == {vm: "h3"}
    (plan,) = [plan for plan in kept.plans() if plan.actions]
    assert plan.state is PlanState.SUCCEEDED
    assert kept.replayed()[1] == {plan.actions[0].order.key: ActionState.SUCCEEDED}
    world.close()
    store.close()


def test_outcome_that_could_not_be_written_is_found_once_it_can(clean: Testbed, disk: Disk) -> None:
    class Filling(StoreJournal):
        """The disk is full as soon as the intent is written."""

        def step_action(self, plan_id: str, action: PlannedAction, at_s: float) -> None:
            super().step_action(plan_id, action, at_s)
            if action.state is ActionState.ONGOING:
                disk.fill()

    world, vm = guest(clean)
    store = Store(disk.folder / "control.db")
    kept = Filling(store, wall_s=time.time)
    order = world.order(migrate(world.inventory().vm_slot[vm], 2), "store-move")
    plan = PlanRecord(kept.new_id(), 0, time.time(), Mode.AUTO, "test", (PlannedAction(order),))
    kept.add(plan)
    approved = plan.to(PlanState.APPROVED, by="test")
    kept.step_plan(approved, plan.state, time.time())
    one = executor(world, kept)
    with pytest.raises(JournalError):
        one.carry_out(kept.plan(plan.id), lambda: look(world))
    assert kept.plan(plan.id).actions[0].state is ActionState.ONGOING
    with pytest.raises(JournalError):
        one.settle(lambda: look(world))
    disk.free()
    end = time.monotonic() + 90.0
    while kept.open_plans() and time.monotonic() < end:
        one.settle(lambda: look(world))
        time.sleep(0.3)
    assert clean.running() == {vm: "h3"}
    assert kept.plan(plan.id).state is PlanState.SUCCEEDED
    assert kept.replayed()[1] == {order.key: ActionState.SUCCEEDED}
    world.close()
    store.close()
