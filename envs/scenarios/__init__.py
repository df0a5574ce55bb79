"""Scenario files: a workload, a fleet, prices and risks, as a person writes them."""

from foreshade.envs.scenarios.load import list_scenarios, load_scenario, show, variant
from foreshade.envs.scenarios.schema import Scenario

__all__ = ["Scenario", "list_scenarios", "load_scenario", "show", "variant"]
