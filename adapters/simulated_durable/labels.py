"""A scenario's hard rules about hosts as the labels that live VMs would carry."""

from __future__ import annotations

from collections.abc import Mapping

from foreshade.envs.affinity import BoundRule, Guests, Reach, Sense, bind
from foreshade.envs.data_centre import places
from foreshade.envs.simulated import SimulatedWorld

Labels = tuple[frozenset[str], frozenset[str]]


def labels_of(world: SimulatedWorld) -> Mapping[str, Labels]:
    """By VM, the labels that keep it together with others and apart from them; racks and zones have none."""
    scenario, load = world.scenario, world.workload
    if not scenario.affinity:
        return {}
    guests = Guests(load.vms.name, tuple(load.vms.app.tolist()), load.apps.name)
    found: dict[str, Labels] = {}
    for number, one in enumerate(bind(scenario.affinity, guests, places(scenario))):
        if (
            one.rule.price_usd_h is not None
            or one.rule.within is not None
            or one.rule.reach is not Reach.HOST
        ):
            continue
        label = f"{one.rule.name}.{number}" if one.rule.each_application else one.rule.name
        for name in _members(one, guests):
            together, apart = found.get(name, (frozenset(), frozenset()))
            if one.rule.sense is Sense.TOGETHER:
                together |= {label}
            else:
                apart |= {label}
            found[name] = (together, apart)
    return found


def _members(one: BoundRule, guests: Guests) -> list[str]:
    apps, vms = set(one.apps), set(one.vms)
    return [name for v, name in enumerate(guests.vm) if v in vms or guests.app[v] in apps]
