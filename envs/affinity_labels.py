"""Rules about places from the labels of VMs, as domain metadata carry them, and whether a plan obeys them.

VMs with a label in common stand together on one host, or apart on different ones. Labels bind production VMs; a
helper stands where its component puts it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from foreshade.envs.affinity import AffinityRule
from foreshade.envs.affinity_conflict import Bound, conflict
from foreshade.envs.inventory import Inventory, VmFacts


class _OneRack:
    """Hosts as many as VMs: whether labels contradict each other does not depend on how many there are."""

    def __init__(self, n_hosts: int) -> None:
        self.rack = self.zone = (0,) * n_hosts


def rules_of_labels(vms: Sequence[VmFacts]) -> tuple[AffinityRule, ...]:
    """A hard rule for each label that two VMs at least carry, named after it."""
    rules = []
    for sense in ("together", "apart"):
        for label, names in sorted(_by_label(vms, sense).items()):
            if len(names) > 1:
                said = {"name": f"{sense} {label}", sense: "host", "vms": tuple(map(_literal, names))}
                rules.append(AffinityRule.model_validate(said))
    return tuple(rules)


def members_of(rule: AffinityRule, names: Sequence[str]) -> list[str]:
    """Those of the names that a rule of ``rules_of_labels`` is about."""
    wanted = set(rule.vms or ())
    return [name for name in names if _literal(name) in wanted]


def contradiction(vms: Sequence[VmFacts]) -> str:
    """The fewest labels that no placement obeys, in one line; "" = there are none."""
    slot = {facts.name: number for number, facts in enumerate(vms) if facts.name}
    bound = [
        Bound(f"{sense} {label}", sense.upper(), 0, tuple(sorted(slot[name] for name in names)), frozenset())
        for sense in ("together", "apart")
        for label, names in sorted(_by_label(vms, sense).items())
        if len(names) > 1
    ]
    found = conflict(bound, _OneRack(max(len(slot), 1)))
    if found is None:
        return ""
    members = {one.name: " ".join(vms[v].name for v in one.vms) for one in bound}
    said = "; ".join(f"{name} ({members[name]})" for name in found.rules)
    return f"affinity: expected labels that some placement obeys, found that {found.why}: {said}"


def broken(inventory: Inventory, stands: Mapping[str, str], vm: str, *, together: bool = True) -> str:
    """Which label is broken where a VM stands, in one line; "" = none.

    Args:
        inventory: whose VMs carry the labels.
        stands: host by VM, planned or present; VMs that are not there stand nowhere.
        vm: the VM that comes there.
        together: whether its company counts; it may yet be on its way.

    """
    slot = inventory.vm_slot.get(vm, -1)
    host = stands.get(vm, "")
    if slot < 0 or not host:
        return ""
    mine = inventory.vms[slot]
    if not (mine.together or mine.apart):
        return ""
    for other in inventory.vms:
        elsewhere = stands.get(other.name, "") if other.name and other.name != vm else ""
        if not elsewhere:
            continue
        apart, company = mine.apart & other.apart, mine.together & other.together
        if apart and elsewhere == host:
            return f"VM {vm} is to stand apart from VM {other.name} (label {min(apart)}), found on {host}"
        if together and company and elsewhere != host:
            return f"VM {vm} is to stand with VM {other.name} (label {min(company)}), found on {elsewhere}"
    return ""


def _by_label(vms: Iterable[VmFacts], sense: str) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for facts in vms:
        for label in getattr(facts, sense) if facts.name else ():
            found.setdefault(label, []).append(facts.name)
    return found


def _literal(name: str) -> str:
    """A name as a pattern that fits nothing else."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)
