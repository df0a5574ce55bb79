"""The adjuster: larger before demand, smaller after a long calm, and not by its own effect."""

from __future__ import annotations

from collections.abc import Iterator

from foreshade.agents.managers.adjuster import Adjuster, AdjusterKnobs
from foreshade.agents.managers.microvms import MicroVms
from foreshade.agents.managers.spawning import Spawning
from foreshade.envs.simulated import SimulatedWorld
from tests.golden import golden
from tests.golden._stage import App, foreseen, play, workload
from tests.golden.capacity import GHZ, rules, surge, wants, world
from tests.tiny_world import scenario


@golden("adjuster")
def adjuster() -> Iterator[str]:
    """A surge that is foreseen: CPU is added before it comes, within the ceiling, and taken back after three hours of
    calm, down to what the record of the surge still asks for.
    """
    load = workload([App(surge(1 * GHZ, 3.2 * GHZ, 30, 36))], 240)
    there = SimulatedWorld(scenario(2), load, forecast=foreseen(load))
    yield from play(there, rules([Adjuster()]), 240, wants)


@golden("adjuster_does_not_feed_on_its_own_effect")
def own_effect() -> Iterator[str]:
    """A VM is made smaller after hours of calm. Then it uses all that it was left: that is its cap and not what it
    wants, so that it gets back what it had before at once, and is not made smaller until its record allows it.
    """
    flavour = (
        2_500.0,
        2_048.0,
        100.0,
        1_000.0,
        0.0,
    )  # of a host's room it holds more of the CPU than of the memory
    load = workload([App([0.3 * GHZ] * 60 + [2.2 * GHZ] * 4 + [0.3 * GHZ], flavour=flavour)], 140)
    there = SimulatedWorld(scenario(2), load)
    yield from play(there, rules([Adjuster(AdjusterKnobs(trigger="usage"))]), 140, wants)


@golden("microvms")
def microvms() -> Iterator[str]:
    """Of a surge of forty minutes three fifths can be handed off. A micro-VM for as long as the surge is worth more
    than a VM, which is not spawned; it expires by itself.
    """
    load = workload([App(surge(2 * GHZ, 5.2 * GHZ, 50, 58), vms=2, offloadable=0.6)], 70)
    yield from play(world(load), rules([MicroVms(), Spawning()]), 70, wants)
