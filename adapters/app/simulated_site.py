"""What a section ``simulated`` of the configuration comes to: a scenario, and the workload that it plays."""

from __future__ import annotations

from foreshade.adapters.app.control_config import SimulatedSection
from foreshade.envs.errors import InputError
from foreshade.envs.scenarios.load import load_scenario
from foreshade.envs.scenarios.schema import Scenario
from foreshade.envs.workloads.of_scenario import workload_of
from foreshade.envs.workloads.workload import Workload


def simulated_site(said: SimulatedSection) -> tuple[Scenario, Workload]:
    """Read both; nothing is simulated yet.

    Raises:
        InputError: there is no such scenario or workload, or a controller cannot drive it.

    """
    scenario = load_scenario(said.scenario, said.variant)
    if scenario.engine != "foreshade":
        raise InputError(
            f"simulated.scenario {scenario.name}: expected engine foreshade, found {scenario.engine}"
        )
    scenario = scenario.model_copy(update={"days": None, "ticks": None}) if said.workload else scenario
    loaded = workload_of(scenario, said.workload, said.seed)
    if not isinstance(loaded.played, Workload):
        raise InputError(f"simulated.workload: expected a workload, found {loaded.spec}")
    return scenario, loaded.played
