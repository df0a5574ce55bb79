"""The rules alone, without a component: what every other log is to be read beside."""

from __future__ import annotations

from collections.abc import Iterator

from foreshade.agents.rules.rules import Rules
from foreshade.envs.simulated import SimulatedWorld
from tests.golden import golden
from tests.golden._stage import App, foreseen, play, workload
from tests.tiny_world import scenario


@golden("rules")
def rules() -> Iterator[str]:
    """Two web servers are placed together, their host's neighbour goes off; one of them is given more CPU."""
    load = workload([App([1_000.0] * 6 + [2_500.0]), App([500.0])], 24)
    world = SimulatedWorld(
        scenario(2, actions=("migrate", "power", "reshape")), load, forecast=foreseen(load)
    )
    yield from play(world, Rules(), 24, lambda s: f"vm 0 uses {s.vms.usage[0, 0]:.0f} MHz")
