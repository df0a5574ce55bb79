"""One run: a world, an agent, tick after tick."""

from __future__ import annotations

from collections.abc import Callable

from foreshade.agents.agent import Agent
from foreshade.envs.model.action import Plan
from foreshade.envs.run_metrics import RunMetrics
from foreshade.envs.simulated import SimulatedWorld
from foreshade.envs.site import site_of


def play(
    world: SimulatedWorld,
    agent: Agent,
    seed: int = 0,
    on_tick: Callable[[int], None] | None = None,
    *,
    end_tick: int | None = None,
) -> RunMetrics:
    """Play the world's workload on to its end or to ``end_tick``; ``on_tick`` is told the number of ticks played."""
    agent.reset(site_of(world, seed))
    while not world.done:
        state = world.observe()
        if state.tick == end_tick:
            break
        world.execute(Plan(state.tick, agent.act(state)))
        world.advance()
        if on_tick is not None:
            on_tick(state.tick + 1)
    return world.metrics()
