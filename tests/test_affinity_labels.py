"""Labels of VMs as rules about places: in the guard, at the last look, in snapshots and when a plan is simulated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from foreshade.agents.guard import Guard, GuardKnobs, Seen
from foreshade.agents.plan import Mode
from foreshade.agents.validation import stale
from foreshade.envs.affinity_labels import contradiction, rules_of_labels
from foreshade.envs.forward import Forward
from foreshade.envs.inventory import Inventory, VmFacts
from foreshade.envs.snapshot import Snapshot
from tests.control_worlds import durable
from tests.test_guard import move, off


def labelled(seen: Seen, together: Mapping[str, str] = {}, apart: Mapping[str, str] = {}) -> Seen:
    """The same with labels, separated by blanks, of VMs by name."""
    old = seen.inventory
    vms = tuple(
        replace(
            vm,
            together=frozenset(together.get(vm.name, "").split()),
            apart=frozenset(apart.get(vm.name, "").split()),
        )
        for vm in old.vms
    )
    return replace(seen, inventory=Inventory(old.hosts, vms, old.apps, old.racks, old.zones))


@pytest.fixture
def seen(tmp_path: Path) -> Seen:
    """VM i stands on host i % 4."""
    world = durable(tmp_path)
    world.advance()
    return Seen(world.observe().copy(), world.inventory(), 1000.0)


def review(seen: Seen, *orders: object) -> list[tuple[str, str]]:
    verdicts = Guard(GuardKnobs()).review(orders, seen, Mode.AUTO)  # type: ignore[arg-type]
    return [(v.rule, v.reason) for v in verdicts]


def test_a_vm_does_not_come_to_one_that_it_is_kept_apart_from(seen: Seen) -> None:
    kept = labelled(seen, apart={"vm0": "db", "vm1": "db web", "vm2": "web"})
    assert review(kept, move(0, 1)) == [
        ("affinity", "VM vm0 is to stand apart from VM vm1 (label db), found on host0001")
    ]
    assert review(kept, move(0, 2)) == [("", "")]
    assert stale(move(0, 1), kept) == "VM vm0 is to stand apart from VM vm1 (label db), found on host0001"
    assert stale(move(0, 2), kept) == ""


def test_planned_places_count_and_not_those_of_now(seen: Seen) -> None:
    kept = labelled(seen, apart={"vm0": "db", "vm1": "db"})
    assert review(kept, move(1, 3), move(0, 1)) == [("", ""), ("", "")]  # it has left by then
    assert [rule for rule, _ in review(kept, move(1, 3), move(0, 3))] == ["", "affinity"]


def test_company_moves_whole_or_not_at_all(seen: Seen) -> None:
    kept = labelled(seen, together={"vm0": "shop", "vm4": "shop"})
    assert review(kept, move(0, 1), move(4, 1)) == [("", ""), ("", "")]
    assert [rule for rule, _ in review(kept, move(0, 1), move(4, 2))] == ["affinity", "affinity"]
    assert review(kept, move(0, 1)) == [
        ("affinity", "VM vm0 is to stand with VM vm4 (label shop), found on host0000")
    ]


def test_a_drain_that_would_break_a_label_is_left_out_whole(seen: Seen) -> None:
    kept = labelled(seen, apart={"vm4": "db", "vm1": "db"})
    verdicts = review(kept, move(0, 2), move(4, 1), off(0))
    assert [rule for rule, _ in verdicts] == ["affinity", "affinity", "affinity"]
    assert verdicts[2][1].startswith("goes with migrate vm4: VM vm4 is to stand apart from VM vm1")


def test_labels_that_contradict_each_other_are_named_with_the_fewest_that_do() -> None:
    vms = [
        VmFacts("a", together=frozenset({"x"})),
        VmFacts("b", together=frozenset({"x", "y"})),
        VmFacts("c", together=frozenset({"y"}), apart=frozenset({"z"})),
        VmFacts("a2", together=frozenset({"x"}), apart=frozenset({"z", "other"})),
        VmFacts("d", apart=frozenset({"other"})),
    ]
    said = contradiction(vms)
    assert said.startswith("affinity: expected labels that some placement obeys, found that ")
    assert all(part in said for part in ("together x (a b a2)", "together y (b c)", "apart z (c a2)"))
    assert "other" not in said
    assert contradiction(vms[:3]) == ""


def test_a_label_of_one_vm_alone_is_no_rule_and_names_are_no_patterns() -> None:
    vms = [VmFacts("a*", apart=frozenset({"x", "lone"})), VmFacts("ab", apart=frozenset({"x"}))]
    (rule,) = rules_of_labels(vms)
    assert (rule.name, rule.vms) == ("apart x", ("a[*]", "ab"))


def test_a_snapshot_keeps_labels_and_a_simulated_plan_obeys_them(tmp_path: Path, seen: Seen) -> None:
    world = durable(tmp_path / "again")
    world.advance()
    kept = labelled(seen, apart={"vm0": "db", "vm1": "db", "vm2": "at home", "vm6": "at"})
    taken = Snapshot.of(world.observe(), kept.inventory, world.site(), world.clock.now_s())
    again = Snapshot.from_bytes(taken.to_bytes())
    assert again.inventory.vms == kept.inventory.vms
    played = Forward(again, 2).play((move(0, 1),))
    assert played.refused == (
        "affinity apart at: expected it obeyed in the snapshot, found it broken",
        "migrate vm0: an affinity rule keeps the VM from that host",
    )
    assert Forward(again, 2).play((move(0, 3),)).refused[1:] == ()


def test_a_simulated_cluster_has_the_labels_of_its_scenarios_hard_rules_about_hosts(tmp_path: Path) -> None:
    rules = (
        {"name": "pair", "apart": "host", "vms": ("vm0", "vm1")},
        {"name": "near", "together": "zone", "vms": ("vm0", "vm2")},
        {"name": "soft", "apart": "host", "vms": ("vm2", "vm3"), "price_usd_h": 0.1},
    )
    world = durable(tmp_path, affinity=rules)
    world.advance()
    assert {vm.name: vm.apart for vm in world.inventory().vms if vm.apart} == dict.fromkeys(
        ("vm0", "vm1"), frozenset({"pair"})
    )
    assert not any(vm.together for vm in world.inventory().vms)
