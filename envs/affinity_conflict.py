"""Whether hard rules about places can be obeyed together, and if not, the fewest of them that cannot.

Hosts are taken as large enough: this finds rules that contradict each other, whatever stands on the hosts. What is
proven impossible is so; a search that would take longer than ``_STEPS`` is let through, and the world then leaves a
VM waiting rather than break a rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Protocol

_STEPS = 20_000  # of one search for a placement
_SMALL = 3  # sets up to this size are tried one by one; a larger one is thinned until nothing can be left out


class Places(Protocol):
    """Where hosts stand."""

    @property
    def rack(self) -> tuple[int, ...]:
        """(n_hosts,) of each host."""
        ...

    @property
    def zone(self) -> tuple[int, ...]:
        """(n_hosts,) of each host."""
        ...


@dataclass(frozen=True, slots=True)
class Bound:
    """A hard rule of one group."""

    name: str
    sense: str  # TOGETHER, APART or WITHIN
    reach: int  # 0 host, 1 rack, 2 zone
    vms: tuple[int, ...]
    hosts: frozenset[int]  # of WITHIN


@dataclass(frozen=True, slots=True)
class Conflict:
    """Rules that no placement obeys; without any one of them there is a placement, as far as is known."""

    rules: tuple[str, ...]  # names, in the order they were given
    why: str


def conflict(rules: Sequence[Bound], places: Places) -> Conflict | None:
    """The smallest set of rules that contradict each other; None where none do."""
    for component in _components(rules):
        if _refuted(component, places) is None:
            continue
        core = component
        for size in range(1, min(_SMALL, len(component)) + 1):
            hit = next((c for c in combinations(component, size) if _refuted(c, places)), None)
            if hit is not None:
                core = list(hit)
                break
        else:
            for rule in list(core):
                without = [other for other in core if other is not rule]
                if _refuted(without, places):
                    core = without
        names = tuple(dict.fromkeys(rule.name for rule in core))
        return Conflict(names, _refuted(core, places) or "no placement obeys all of them")
    return None


def _components(rules: Sequence[Bound]) -> Iterable[list[Bound]]:
    """Rules that share VMs, directly or by way of others."""
    root = list(range(len(rules)))

    def find(i: int) -> int:
        while root[i] != i:
            root[i] = root[root[i]]
            i = root[i]
        return i

    first: dict[int, int] = {}
    for i, rule in enumerate(rules):
        for vm in rule.vms:
            root[find(i)] = find(first.setdefault(vm, i))
    groups: dict[int, list[Bound]] = {}
    for i, rule in enumerate(rules):
        groups.setdefault(find(i), []).append(rule)
    return groups.values()


def _refuted(rules: Sequence[Bound], places: Places) -> str | None:
    """Why no placement obeys the rules; None where one does, or where none was found impossible."""
    n_hosts = len(places.rack)
    domain = (tuple(range(n_hosts)), places.rack, places.zone)
    vms = sorted({vm for rule in rules for vm in rule.vms})
    if not vms:
        return None
    groups = [
        _joined(vms, [r for r in rules if r.sense == "TOGETHER" and r.reach <= reach]) for reach in range(3)
    ]
    for rule in rules:
        if rule.sense != "APART":
            continue
        seen: set[int] = set()
        for vm in rule.vms:
            if groups[rule.reach][vm] in seen:
                return "VMs that must be apart must be together"
            seen.add(groups[rule.reach][vm])
    allowed = {vm: frozenset(range(n_hosts)) for vm in vms}
    for rule in rules:
        if rule.sense == "WITHIN":
            for vm in rule.vms:
                allowed[vm] &= rule.hosts
    # Domains of each reach that a group may be in: those in which every member has a host.
    options: list[dict[int, frozenset[int]]] = []
    for reach in range(3):
        by_group: dict[int, frozenset[int]] = {}
        for vm in vms:
            here = frozenset(domain[reach][h] for h in allowed[vm])
            group = groups[reach][vm]
            by_group[group] = by_group.get(group, here) & here
        if not all(by_group.values()):
            return "no host has the labels that all of a group need"
        options.append(by_group)
    for rule in rules:
        if rule.sense == "APART":
            wanted = [options[rule.reach][groups[rule.reach][vm]] for vm in rule.vms]
            if not _matched(wanted):
                n, kind = len(set().union(*wanted)), ("hosts", "racks", "zones")[rule.reach]
                return f"{len(rule.vms)} VMs that must be apart have {n} {kind}"
    return None if _placed(vms, rules, allowed, domain, groups) else "no placement obeys all of them"


def _joined(vms: Sequence[int], rules: Iterable[Bound]) -> Mapping[int, int]:
    """The group of each VM: VMs that the rules keep together, by one of them."""
    root = {vm: vm for vm in vms}

    def find(vm: int) -> int:
        while root[vm] != vm:
            root[vm] = root[root[vm]]
            vm = root[vm]
        return vm

    for rule in rules:
        for vm in rule.vms[1:]:
            root[find(vm)] = find(rule.vms[0])
    return {vm: find(vm) for vm in vms}


def _matched(wanted: Sequence[frozenset[int]]) -> bool:
    """Whether each can have a domain of its own (augmenting paths)."""
    holder: dict[int, int] = {}

    def give(i: int, seen: set[int]) -> bool:
        for d in wanted[i]:
            if d in seen:
                continue
            seen.add(d)
            if d not in holder or give(holder[d], seen):
                holder[d] = i
                return True
        return False

    return all(give(i, set()) for i in range(len(wanted)))


def _placed(
    vms: Sequence[int],
    rules: Sequence[Bound],
    allowed: Mapping[int, frozenset[int]],
    domain: Sequence[Sequence[int]],
    groups: Sequence[Mapping[int, int]],
) -> bool:
    """Whether a placement is found, or none was within so many steps."""
    units = sorted({groups[0][vm] for vm in vms})
    hosts = {
        u: sorted(frozenset.intersection(*(allowed[vm] for vm in vms if groups[0][vm] == u))) for u in units
    }
    apart: dict[int, set[tuple[int, int]]] = {u: set() for u in units}
    together: dict[int, set[tuple[int, int]]] = {u: set() for u in units}
    for rule in rules:
        if rule.sense == "WITHIN":
            continue
        members = sorted({groups[0][vm] for vm in rule.vms})
        book = apart if rule.sense == "APART" else together
        for a, b in combinations(members, 2):
            book[a].add((b, rule.reach))
            book[b].add((a, rule.reach))
    at: dict[int, int] = {}
    steps = 0

    def fits(unit: int, host: int) -> bool:
        return all(domain[r][host] != domain[r][at[o]] for o, r in apart[unit] if o in at) and all(
            domain[r][host] == domain[r][at[o]] for o, r in together[unit] if o in at
        )

    def place() -> bool:
        nonlocal steps
        if len(at) == len(units):
            return True
        left = [u for u in units if u not in at]
        room = {u: [h for h in hosts[u] if fits(u, h)] for u in left}
        unit = min(left, key=lambda u: (len(room[u]), u))
        for host in room[unit]:
            steps += 1
            if steps > _STEPS:
                return True
            at[unit] = host
            if place():
                return True
            del at[unit]
        return False

    return place() if len(units) <= 200 else True
