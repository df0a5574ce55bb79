"""Workloads that are matched to hypervisors: what is learned of steal moves a VM, once."""

from __future__ import annotations

from collections.abc import Iterator

from foreshade.agents.managers.profile_match import ProfileMatch, ProfileMatchKnobs
from foreshade.agents.rules.rules import Rules
from foreshade.envs.candidates import PLACEMENT
from foreshade.envs.model.action import place
from foreshade.envs.simulated import SimulatedWorld
from tests.golden import golden
from tests.golden._stage import App, play, workload
from tests.tiny_world import MACHINE, scenario


@golden("profile_match")
def profile_match() -> Iterator[str]:
    """Batch VMs crowd a Xen host while a web server stands on KVM: once steal has been seen for long enough on both
    sides, a batch VM moves, and the others stay, since Xen steals no longer."""
    flavour = (9_800.0, 4_096.0, 100.0, 1_000.0, 0.0)
    load = workload(
        [App([4_500.0] * 40, kind="batch", flavour=flavour) for _ in range(3)]
        + [App([1_000.0] * 40, kind="batch", flavour=flavour)],
        40,
    )
    fleet = ({"zone": "a", "hosts": ({**MACHINE, "hypervisor": "xen"}, {**MACHINE, "hypervisor": "kvm"})},)
    world = SimulatedWorld(scenario(2, fleet=fleet, actions=("migrate",)), load)
    manager = ProfileMatch(ProfileMatchKnobs(least_samples=10, cooldown_h=24.0, moves=1))
    agent = Rules(PLACEMENT.model_copy(update={"plans": ()}), [manager])

    def steal(hypervisor: str) -> str:
        said = manager.profiler.estimate(hypervisor, "batch", "steal")
        return f"{hypervisor} {said.low:.3f} to {said.high:.3f}"

    starts = [place(vm, 0 if vm < 3 else 1) for vm in range(4)]
    yield from play(world, agent, 40, lambda s: f"steal {steal('xen')}, {steal('kvm')}", touch={0: starts})
