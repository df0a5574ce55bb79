"""A simulated world from the name of a scenario."""

from __future__ import annotations

from pathlib import Path

from foreshade.envs.errors import ScenarioError
from foreshade.envs.scenarios.load import load_scenario
from foreshade.envs.simulated import SimulatedWorld
from foreshade.envs.workloads.of_scenario import workload_of
from foreshade.envs.workloads.workload import Workload


def simulated_world(
    scenario: str | Path, variant: str = "", workload: str | None = None, seed: int | None = None
) -> SimulatedWorld:
    """A shipped scenario or a file, under its own workload or the one that a spec names.

    ``seed`` is of a generated workload and of a sample; None = the scenario's.

    Raises:
        InputError: there is no such scenario or workload, or the scenario's engine is not Foreshade's.

    """
    said = load_scenario(scenario, variant)
    if said.engine != "foreshade":
        raise ScenarioError(
            f"scenario {said.name}: expected engine foreshade for an environment, got {said.engine}"
        )
    loaded = workload_of(said, workload, said.seed if seed is None else seed)
    if not isinstance(loaded.played, Workload):
        raise ScenarioError(f"scenario {said.name}: expected a workload, got {loaded.spec}")
    return SimulatedWorld(said, loaded.played)
