"""Which VMs may stand where: rules in names, as people write them, bound to a site's numbers.

A rule says one of three things of a group: ``together`` in one host, rack or zone; ``apart`` in as many; ``within``
the hosts that carry labels. A rule with ``price_usd_h`` is soft: each pair (each VM, of ``within``) that breaks it
costs so much in every decision; one without is hard and nothing may break it. ``together`` and ``apart`` bind
production VMs; ``within`` binds shadows and helpers of its applications, too.

.. code-block:: yaml

    affinity:
      - {name: replicas, apart: host, each_application: [database-*]}
      - {name: shop, together: rack, applications: [web-0001, cache-0023]}
      - {name: licences, within: [oracle], vms: [database-0003-0, database-0003-1]}
      - {name: near, together: zone, applications: [web-*, cache-*], price_usd_h: 0.02}
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from fnmatch import fnmatchcase
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from foreshade import _core
from foreshade.envs.affinity_conflict import Bound, conflict
from foreshade.envs.catalogue.entry import Entry, Positive
from foreshade.envs.errors import ScenarioError

ReachName = Literal["host", "rack", "zone"]
Names = Annotated[tuple[str, ...], Field(min_length=1)]  # patterns as of a shell: database-*


class Sense(IntEnum):
    """What a rule asks of its group; the order is that of the native enum."""

    TOGETHER = 0
    APART = 1
    WITHIN = 2


class Reach(IntEnum):
    """The domain in which VMs are together or apart; each holds those before it."""

    HOST = 0
    RACK = 1
    ZONE = 2


class AffinityRule(Entry):
    """One rule of a scenario or of a site; exactly one of together, apart, within."""

    name: Annotated[str, Field(min_length=1)]
    together: ReachName | None = None
    apart: ReachName | None = None
    within: Names | None = None  # labels, all of which a host must carry
    vms: Names | None = None
    applications: Names | None = None  # all their VMs are one group with `vms`
    each_application: Names | None = None  # each is a group of its own
    price_usd_h: Positive | None = None  # None = hard

    @property
    def sense(self) -> Sense:
        """Together, apart or within."""
        if self.together is not None:
            return Sense.TOGETHER
        return Sense.APART if self.apart is not None else Sense.WITHIN

    @property
    def reach(self) -> Reach:
        """Of together and apart; a host where neither is said."""
        return Reach[(self.together or self.apart or "host").upper()]

    @model_validator(mode="after")
    def _one_sense(self) -> AffinityRule:
        said = [key for key in ("together", "apart", "within") if getattr(self, key) is not None]
        if len(said) != 1:
            raise ValueError(
                f"{self.name}: expected exactly one of together, apart, within, found {' and '.join(said) or 'none'}"
            )
        groups = [
            key for key in ("vms", "applications", "each_application") if getattr(self, key) is not None
        ]
        if not groups:
            raise ValueError(f"{self.name}: expected vms, applications or each_application, found none")
        if self.each_application is not None and len(groups) > 1:
            raise ValueError(f"{self.name}: expected each_application alone, found {' and '.join(groups)}")
        return self


@dataclass(frozen=True, slots=True)
class Places:
    """Where the hosts of a site stand, in their order."""

    rack: tuple[int, ...]
    zone: tuple[int, ...]
    labels: tuple[frozenset[str], ...]


@dataclass(frozen=True, slots=True)
class Guests:
    """The VMs that rules can name, and the applications that they serve."""

    vm: tuple[str, ...]
    app: tuple[int, ...]  # (n_vms,)
    application: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BoundRule:
    """A rule of one group, in a site's numbers."""

    rule: AffinityRule
    apps: tuple[int, ...]
    vms: tuple[int, ...]
    hosts: tuple[bool, ...]  # (n_hosts,) of within; else empty


def bind(rules: Sequence[AffinityRule], guests: Guests, places: Places) -> tuple[BoundRule, ...]:
    """The rules in numbers, groups of one application each told apart.

    Raises ScenarioError where a name fits nothing, no host carries the labels, or hard rules contradict each other:
    the smallest set of them that no placement obeys is named.
    """
    bound = tuple(one for rule in rules for one in _groups(rule, guests, places))
    found = conflict([_as_bound(one, guests) for one in bound if one.rule.price_usd_h is None], places)
    if found is not None:
        said = "; ".join(
            _says(rule) for rule in dict.fromkeys(rules[_index(rules, name)] for name in found.rules)
        )
        raise ScenarioError(
            f"affinity: expected rules that some placement obeys, found that {found.why}: {said}"
        )
    return bound


def native(bound: Sequence[BoundRule], guests: Guests, places: Places) -> _core.Affinity | None:
    """The same for the native core; None where there are no rules."""
    if not bound:
        return None
    return _core.Affinity(
        [
            (
                int(one.rule.sense),
                int(one.rule.reach),
                list(one.apps),
                list(one.vms),
                np.array(one.hosts, dtype=np.uint8).tolist(),
                one.rule.price_usd_h or 0.0,
            )
            for one in bound
        ],
        list(places.rack),
        list(places.zone),
        list(guests.app),
        len(guests.application),
    )


def _groups(rule: AffinityRule, guests: Guests, places: Places) -> Iterator[BoundRule]:
    hosts: tuple[bool, ...] = ()
    if rule.within is not None:
        hosts = tuple(labels.issuperset(rule.within) for labels in places.labels)
        if not any(hosts):
            raise ScenarioError(
                f"affinity {rule.name}: expected a host labelled {', '.join(rule.within)}, found none; labels are "
                f"{', '.join(sorted(frozenset().union(*places.labels))) or 'not declared'}"
            )
    vms = _matching(rule.name, "VM", rule.vms, guests.vm)
    apps = _matching(rule.name, "application", rule.applications, guests.application)
    if rule.each_application is not None:
        for app in _matching(rule.name, "application", rule.each_application, guests.application):
            yield BoundRule(rule, (app,), (), hosts)
        return
    yield BoundRule(rule, apps, vms, hosts)


def _matching(rule: str, what: str, patterns: Names | None, names: Sequence[str]) -> tuple[int, ...]:
    found: dict[int, None] = {}
    for pattern in patterns or ():
        hits = [i for i, name in enumerate(names) if fnmatchcase(name, pattern)]
        if not hits:
            raise ScenarioError(f"affinity {rule}: expected a {what} named {pattern}, found none")
        found.update(dict.fromkeys(hits))
    return tuple(found)


def _as_bound(one: BoundRule, guests: Guests) -> Bound:
    members = set(one.vms)
    if one.apps:
        apps = set(one.apps)
        members.update(vm for vm, app in enumerate(guests.app) if app in apps)
    return Bound(
        one.rule.name,
        one.rule.sense.name,
        int(one.rule.reach),
        tuple(sorted(members)),
        frozenset(h for h, allowed in enumerate(one.hosts) if allowed),
    )


def _index(rules: Sequence[AffinityRule], name: str) -> int:
    return next(i for i, rule in enumerate(rules) if rule.name == name)


def _says(rule: AffinityRule) -> str:
    groups = {"vms": rule.vms, "applications": rule.applications, "each of": rule.each_application}
    who = " and ".join(f"{key} {' '.join(names)}" for key, names in groups.items() if names)
    where = "+".join(rule.within) if rule.within else rule.reach.name.lower()
    return f"{rule.name} ({rule.sense.name.lower()} {where}: {who})"
