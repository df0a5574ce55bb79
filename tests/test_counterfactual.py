"""The yardstick of no action: hand-made placements, and that it goes on over a restart and a change of slots."""

import pytest

pytest.importorskip("sqlalchemy", reason="sqlalchemy IS MISSING: the store is not tested")

from foreshade.adapters.store.baseline import read_baseline, write_baseline
from foreshade.adapters.store.store import Store
from foreshade.agents.counterfactual import Baseline, NoAction
from foreshade.envs.errors import JournalError
from foreshade.envs.snapshot import Snapshot
from tests import control_worlds


@pytest.fixture
def snapshots(tmp_path):
    """A cluster whose controller packs eight VMs onto fewer hosts and switches the others off."""
    world, kept = control_worlds.durable(tmp_path), control_worlds.journal(tmp_path)
    kept.say("mode", "auto", "test")
    controller = control_worlds.controller(world, kept)
    found = []
    for _ in range(40):
        controller.tick()
        view = controller.view
        if view is not None:
            found.append(Snapshot.of(view.seen.state, view.seen.inventory, view.site, view.seen.now_s))
        controller.cost_usd = world.advance()
    world.close()
    kept._store.close()
    return found


def test_before_anything_is_done_both_are_alike_and_packing_saves(snapshots):
    one = NoAction()
    compared = [one.observe(snapshot) for snapshot in snapshots]
    assert compared[0].as_is == compared[0].no_action
    assert compared[-1].as_is.power_w < compared[-1].no_action.power_w - 10.0


def test_after_a_restart_it_goes_on_where_it_was(snapshots, tmp_path):
    before = NoAction()
    for snapshot in snapshots[:-1]:
        before.observe(snapshot)
    store = Store(tmp_path / "kept.db")
    assert read_baseline(store, "c") is None
    for _ in range(2):
        write_baseline(store, "c", before.baseline(snapshots[-2]), 0.0)
    after = NoAction(read_baseline(store, "c"))
    store.close()
    last = snapshots[-1]
    assert after.observe(last) == before.observe(last)
    assert NoAction().observe(last).no_action != after.observe(last).no_action, "it matters where it begins"


def test_what_is_gone_is_forgotten(snapshots):
    last = snapshots[-1]
    stranger = Baseline({"nobody": "host0000", last.names[0]: "nowhere"}, frozenset({"nowhere", "host0001"}))
    one = NoAction(stranger)
    one.observe(last)
    found = one.baseline(last)
    assert "nobody" not in found.homes
    assert found.homes[last.names[0]] == last.inventory.hosts[last.vms["host"][0]].name, (
        "seen now for the first time"
    )
    assert "nowhere" not in found.on


def test_a_baseline_that_cannot_be_read_is_said(tmp_path):
    store = Store(tmp_path / "control.db")
    write_baseline(store, "c", Baseline({}, frozenset()), 0.0)
    with store.writing() as connection:
        connection.exec_driver_sql("UPDATE baselines SET data = x'00'")
    with pytest.raises(JournalError, match="baseline of c"):
        read_baseline(store, "c")
    store.close()
