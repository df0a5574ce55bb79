"""Changes laid over a scenario before it is played: ``host+2,price.spot=0.03,demand*1.2``.

    what-if = change {"," change}
    change  = "host" [":" server] ("+" | "-") count      hosts of our own, of a named or the first server model
            | "price." key "=" value                     a key of the scenario's prices, dots for keys in keys
            | "price.spot" "=" USD                       every rented host is a spot host at so much an hour
            | "demand*" factor                           every VM's demand, all resources
           | "defer=" hours                             one-off jobs may wait so long for cheaper hours

Changes apply from left to right. Hosts that are added stand at the end of the last rack, hosts that are removed go
from the end: numbers of hosts and racks that stay do not move more than they must, and maintenance windows follow
the machine they were meant for.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
from pydantic import BaseModel, ValidationError

from foreshade.envs.catalogue.entry import listing
from foreshade.envs.errors import InputError
from foreshade.envs.scenarios.prices import Prices
from foreshade.envs.scenarios.schema import HostGroup, Maintenance, RackGroup, Scenario
from foreshade.envs.workloads.deferred import deferred
from foreshade.envs.workloads.workload import Workload

GRAMMAR = "host+N, host-N, host:SERVER+N, price.KEY=VALUE, price.spot=USD, demand*FACTOR or defer=HOURS"
_HOSTS = re.compile(r"host(?::(?P<server>[\w.-]+?))?(?P<sign>[+-])(?P<count>\d+)")
_PRICE = re.compile(r"price\.(?P<key>[\w.]+)=(?P<value>[^=]+)")
_DEMAND = re.compile(r"demand[*×](?P<factor>[^=*×]+)")
_DEFER = re.compile(r"defer=(?P<hours>[^=]+)")
_MOST_HOSTS = 100_000  # beyond it a typing error is likelier than a fleet


@dataclass(frozen=True, slots=True)
class WhatIf:
    """A scenario with its changes, and what the workload's demand is multiplied by."""

    said: str  # as typed, without spaces
    scenario: Scenario
    demand: float  # factor
    defers: bool = False  # whether jobs wait that did not

    def workload(self, played: Workload) -> Workload:
        """The workload as this world sees it; allocations stay, so demand above them goes unmet."""
        if self.demand != 1.0:
            factor = np.float32(self.demand)
            played = replace(played, demand=played.demand * factor, gpu=played.gpu * factor)
        if self.defers:
            prices = self.scenario.usd_kwh(played.n_ticks)
            played = deferred(played, prices, self.scenario.defer_h)
        return played


@dataclass(frozen=True, slots=True)
class _Machine:
    """One host of a rack while the fleet is being changed."""

    group: HostGroup  # with count 1
    number: int | None  # host number in the unchanged scenario; None = new


@dataclass(slots=True)
class _Rack:
    group: RackGroup
    number: int  # rack number in the unchanged scenario
    machines: list[_Machine]


def what_if(scenario: Scenario, said: str) -> WhatIf:
    """The scenario as changed.

    Raises:
        InputError: a change that is not in the grammar or cannot be made; the line names it.

    """
    changes = [change.strip() for change in said.split(",")]
    demand = 1.0
    defers = False
    for change in changes:
        if found := _HOSTS.fullmatch(change):
            by = int(found["count"]) * (1 if found["sign"] == "+" else -1)
            scenario = _with_hosts(scenario, change, found["server"], by)
        elif found := _PRICE.fullmatch(change):
            scenario = _with_price(scenario, change, found["key"], found["value"].strip())
        elif found := _DEMAND.fullmatch(change):
            demand *= _factor(scenario, change, found["factor"])
        elif found := _DEFER.fullmatch(change):
            if scenario.defer_h:
                raise _refused(
                    change, f"expected a scenario whose jobs do not wait, found {scenario.defer_h:g} h"
                )
            scenario = _changed(scenario, change, {"defer_h": _hours(change, found["hours"])})
            defers = scenario.defer_h > 0.0
        else:
            raise _refused(change, f"expected {GRAMMAR}")
    return WhatIf(",".join(changes), scenario, demand, defers)


def _refused(change: str, why: str) -> InputError:
    return InputError(f"--what-if {change!r}: {why}")


def _factor(scenario: Scenario, change: str, text: str) -> float:
    try:
        factor = float(text)
    except ValueError:
        factor = math.nan
    if not 0.0 < factor < math.inf:
        raise _refused(change, f"expected a factor above 0, found {text!r}")
    if scenario.engine == "cloudsim":
        raise _refused(change, "expected the engine foreshade, found cloudsim")
    return factor


def _hours(change: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise _refused(change, f"expected hours, found {text!r}") from None


def _with_price(scenario: Scenario, change: str, key: str, text: str) -> Scenario:
    value: float | str
    try:
        value = float(text)
    except ValueError:
        value = text
    if key == "spot":
        return _with_hire(scenario, change, value)
    path = key.split(".")
    model: type[BaseModel] = Prices
    for depth, part in enumerate(path):
        field = model.model_fields.get(part)
        if field is None:
            known = [*model.model_fields, *(["spot"] if model is Prices else [])]
            raise _refused(change, f"expected one of {listing(known)}, found {part!r}")
        inner = field.annotation
        nested = isinstance(inner, type) and issubclass(inner, BaseModel)
        if nested and depth == len(path) - 1:
            raise _refused(change, f"expected price.{key}.KEY, found a group of prices")
        if not nested and depth < len(path) - 1:
            raise _refused(change, f"expected price.{'.'.join(path[: depth + 1])} alone, found keys below it")
        if nested:
            model = inner  # type: ignore[assignment]  # checked just above
    prices = scenario.prices.model_dump(exclude_unset=True)
    at = prices
    for part in path[:-1]:
        at = at.setdefault(part, {})
    at[path[-1]] = value
    return _changed(scenario, change, {"prices": prices})


def _with_hire(scenario: Scenario, change: str, value: float | str) -> Scenario:
    if not scenario.rented:
        raise _refused(change, f"expected a scenario with rented hosts, found none in {scenario.name}")
    rented = [
        {**group.model_dump(exclude_unset=True), "price_usd_h": value, "market": "spot"}
        for group in scenario.rented
    ]
    return _changed(scenario, change, {"rented": tuple(rented)})


def _with_hosts(scenario: Scenario, change: str, server: str | None, by: int) -> Scenario:
    racks = _racks(scenario)
    machines = [machine for rack in racks for machine in rack.machines]
    name = server or scenario.fleet[0].hosts[0].server
    like = next((m.group for m in machines if m.group.server == name), None)
    if like is None:
        known = listing({m.group.server for m in machines})
        raise _refused(change, f"expected a server of {scenario.name} ({known}), found {name!r}")
    if by == 0 or abs(by) > _MOST_HOSTS:
        raise _refused(change, f"expected 1 to {_MOST_HOSTS:,} hosts, found {abs(by):,}")
    if by > 0:
        racks[-1].machines.extend(_Machine(like, None) for _ in range(by))
    else:
        there = sum(m.group.server == name for m in machines)
        if there < -by:
            raise _refused(change, f"expected at most {there} hosts {name} to remove, found {-by}")
        if len(machines) == -by:
            raise _refused(change, "expected a host to stay, found none left")
        _take(racks, name, -by)
    racks = [rack for rack in racks if rack.machines]
    return _changed(
        scenario, change, {"fleet": tuple(_fleet(racks)), "maintenance": _windows(scenario, racks)}
    )


def _racks(scenario: Scenario) -> list[_Rack]:
    """Every rack apart, its hosts apart, in the scenario's order."""
    racks: list[_Rack] = []
    number = 0
    for group in scenario.fleet:
        for _ in range(group.racks):
            machines = []
            for hosts in group.hosts:
                single = hosts.model_copy(update={"count": 1})
                machines += [_Machine(single, number + i) for i in range(hosts.count)]
                number += hosts.count
            racks.append(_Rack(group, len(racks), machines))
    return racks


def _take(racks: Sequence[_Rack], server: str, count: int) -> None:
    for rack in reversed(racks):
        for i in range(len(rack.machines) - 1, -1, -1):
            if count and rack.machines[i].group.server == server:
                del rack.machines[i]
                count -= 1


def _fleet(racks: Sequence[_Rack]) -> list[dict[str, Any]]:
    fleet = []
    for rack in racks:
        hosts = [
            {**group.model_dump(exclude_unset=True), "count": len(list(equal))}
            for group, equal in groupby(machine.group for machine in rack.machines)
        ]
        fleet.append({**rack.group.model_dump(exclude_unset=True), "racks": 1, "hosts": tuple(hosts)})
    return fleet


def _windows(scenario: Scenario, racks: Sequence[_Rack]) -> tuple[Mapping[str, Any], ...]:
    """The windows of what is still there, under its new number."""
    hosts = {
        m.number: i for i, m in enumerate(m for rack in racks for m in rack.machines) if m.number is not None
    }
    numbers = {rack.number: i for i, rack in enumerate(racks)}

    def moved(window: Maintenance) -> Mapping[str, Any] | None:
        if window.host is None and window.rack is None:  # a freeze, or a weekly one
            return window.model_dump(exclude_unset=True)
        new = hosts.get(window.host) if window.host is not None else numbers.get(int(window.rack or 0))
        if new is None:
            return None
        return {
            **window.model_dump(exclude_unset=True),
            ("host" if window.host is not None else "rack"): new,
        }

    return tuple(said for window in scenario.maintenance if (said := moved(window)) is not None)


def _changed(scenario: Scenario, change: str, keys: Mapping[str, Any]) -> Scenario:
    try:
        return Scenario.model_validate({**scenario.model_dump(exclude_unset=True), **keys})
    except ValidationError as error:
        # Of the branches of a union, the one whose type fits knows what is wrong with the value.
        first = min(error.errors(include_url=False), key=lambda e: e["type"].endswith("_type"))
        text = str(first["msg"]).removeprefix("Value error, ").replace("Input should be ", "expected ")
        found = "" if first["type"] == "value_error" else f", found {first['input']!r}"
        raise _refused(change, f"{text}{found}") from error
