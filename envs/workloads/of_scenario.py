"""Which workload a scenario plays: its own, or the one that is named."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from foreshade.envs.errors import InputError
from foreshade.envs.scenarios.schema import Scenario
from foreshade.envs.workloads.deferred import deferred
from foreshade.envs.workloads.planetlab import PercentDay, read_planetlab_percent
from foreshade.envs.workloads.spec import GENERATED, Spec, load_workload, stored
from foreshade.envs.workloads.workload import Workload


@dataclass(frozen=True, slots=True)
class Loaded:
    """A workload, how it was asked for, and whether another seed would make another."""

    played: Workload | PercentDay
    spec: str
    seeded: bool


def workload_of(scenario: Scenario, said: str | None, seed: int) -> Loaded:
    """Read or generate what the scenario plays with this seed.

    ``said`` is a workload spec, or None for the scenario's own. A scenario that needs a trace and gets none
    looks for it in the folder that FORESHADE_DATA names.

    Raises:
        InputError: the spec is wrong, the data is not there, or it is not what the scenario's engine plays.

    """
    text = spec_of(scenario, said)
    spec = Spec.parse(text)
    if scenario.engine == "cloudsim":
        if spec.kind != "planetlab":
            raise InputError(
                f"--workload {text}: scenario {scenario.name} plays PlanetLab days, "
                f"expected planetlab:DIR/DAY, found {spec.kind}"
            )
        path = spec.path or stored(spec.kind)
        return Loaded(read_planetlab_percent(path, day=spec.options.get("day")), text, seeded=False)
    limits: dict[str, str] = {}
    generated = spec.kind == GENERATED
    if generated:
        limits = {"seed": str(seed), "start": scenario.start.date().isoformat(), "days": str(_days(scenario))}
    elif scenario.n_ticks is not None and "days" not in spec.options:
        limits = {"ticks": str(scenario.n_ticks)}
    if "vms" in spec.options:
        limits["seed"] = str(seed)
    wanted = {key: value for key, value in limits.items() if key not in spec.options}
    workload = load_workload(text, tick_s=round(scenario.tick_s), **wanted)
    if scenario.defer_h:
        workload = deferred(workload, scenario.usd_kwh(workload.n_ticks), scenario.defer_h)
    return Loaded(workload, text, seeded="seed" in wanted)


def spec_of(scenario: Scenario, said: str | None) -> str:
    """The spec of what the scenario plays: the one that is said, else its own."""
    return said or scenario.workload or _needed(scenario)


def _days(scenario: Scenario) -> float:
    ticks = scenario.n_ticks
    return 1.0 if ticks is None else ticks * scenario.tick_s / timedelta(days=1).total_seconds()


def _needed(scenario: Scenario) -> str:
    """The spec of the trace that the scenario needs, to be found in FORESHADE_DATA."""
    if scenario.needs == "planetlab":
        return f"planetlab?day={scenario.start:%Y%m%d}"
    return {"bitbrains": "bitbrains", "google_vms": "google", "alibaba_gpu": "alibaba-gpu"}[
        str(scenario.needs)
    ]
