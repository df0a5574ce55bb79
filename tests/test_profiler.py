"""Beliefs about hypervisors: what is declared holds until telemetry says otherwise, and then the truth is found."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from foreshade.agents.managers.profile_match import ProfileMatch, ProfileMatchKnobs
from foreshade.agents.rules.rules import Rules
from foreshade.envs import catalogue
from foreshade.envs.candidates import PLACEMENT
from foreshade.envs.errors import InputError
from foreshade.envs.model.action import Plan, migrate, place, reshape
from foreshade.envs.profile_watch import ProfileWatch
from foreshade.envs.profiler import MEMORY, Profiler
from foreshade.envs.scenarios.profiles import profiles_text, read_profiles, with_profiles
from foreshade.envs.simulated import SimulatedWorld
from foreshade.envs.site import site_of
from tests.tiny_world import Stage, scenario, workload

KVM = catalogue.hypervisor("kvm")


def profiler() -> Profiler:
    return Profiler(dict(catalogue.hypervisors()))


def test_what_nobody_measured_is_as_declared_and_wide() -> None:
    said = profiler().estimate("kvm", "web", "boot_cold")
    assert (said.value, said.n) == (pytest.approx(45.0), 0)
    assert said.low < 25.0
    assert said.high > 80.0
    assert math.isnan(profiler().estimate("kvm", "web", "steal").value)  # nothing is declared
    assert profiler().estimate("kvm-tcg", "web", "cpu_down").value < 0.2  # declared as impossible
    assert profiler().measured("kvm") == KVM


def test_posterior_is_that_of_the_textbook() -> None:
    learner = profiler()
    values = [30.0, 36.0, 33.0]
    for value in values:
        learner.saw("kvm", "web", "boot_cold", value)
    logs = np.log(values)
    n, k0, m0, a0, b0 = 3, 1.0, math.log(45.0), 1.0, 0.25
    mean = (k0 * m0 + logs.sum()) / (k0 + n)
    beta = b0 + 0.5 * ((logs - logs.mean()) ** 2).sum() + 0.5 * k0 * n * (logs.mean() - m0) ** 2 / (k0 + n)
    got = learner.belief("kvm", "*", "boot_cold").posterior()
    assert got == pytest.approx((mean, k0 + n, a0 + n / 2, beta))
    learner.tried("kvm", "web", "memory_down", good=1, bad=7)
    assert learner.estimate("kvm", "*", "memory_down").value == pytest.approx((3.5 + 1) / (4 + 8))


def test_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(300):
        learner = Profiler({})
        for value in np.exp(rng.normal(1.0, 0.5, 12)):
            learner.saw("kvm", "", "io_latency", float(value))
        said = learner.estimate("kvm", "", "io_latency")
        hits += said.low <= math.e <= said.high
    assert 0.91 <= hits / 300 <= 0.99


def test_a_class_of_few_samples_leans_on_its_hypervisor() -> None:
    learner = profiler()
    for _ in range(50):
        learner.saw("kvm", "batch", "boot_cold", 20.0)
    assert learner.estimate("kvm", "web", "boot_cold").value == pytest.approx(
        20.6, abs=0.5
    )  # never seen itself
    learner.saw("kvm", "web", "boot_cold", 80.0)
    assert 20.0 < learner.estimate("kvm", "web", "boot_cold").value < 50.0
    for _ in range(50):
        learner.saw("kvm", "web", "boot_cold", 80.0)
    assert learner.estimate("kvm", "web", "boot_cold").value == pytest.approx(80.0, rel=0.1)
    assert (
        learner.belief("kvm", "web", "boot_cold").upper(0.9)
        > learner.estimate("kvm", "web", "boot_cold").high
    )


def test_what_changes_is_followed() -> None:
    learner = profiler()
    learner.saw_many("kvm", "", "boot_cold", 10 * MEMORY, math.log(20.0), 1.0)
    learner.saw_many("kvm", "", "boot_cold", MEMORY, math.log(60.0), 1.0)
    assert learner.estimate("kvm", "", "boot_cold").value == pytest.approx(60.0, rel=0.01)


@pytest.mark.parametrize(
    ("quantity", "value", "says"),
    [("boot", 1.0, "expected one of boot_cold"), ("steal", -1.0, "at least 0"), ("steal", math.nan, "nan")],
)
def test_what_is_no_observation_is_refused(quantity: str, value: float, says: str) -> None:
    with pytest.raises(InputError, match=says):
        profiler().saw("kvm", "", quantity, value)


def watched(bandwidth_mbit: float) -> Profiler:
    """A VM with 2,000 MiB in use goes to and fro between two idle hosts, and is given more and less CPU."""
    truth = KVM.model_copy(
        update={"migration": KVM.migration.model_copy(update={"bandwidth_mbit": bandwidth_mbit})}
    )
    world = SimulatedWorld(with_profiles(scenario(2), {"kvm": truth}), workload([500.0], memory=2_000.0))
    site = site_of(world, 0)
    learner = profiler()
    watch = ProfileWatch(learner, site)
    world.observe()
    world.execute(Plan(0, [place(0, 0)]))
    world.advance()
    for tick in range(30):
        state = world.observe()
        watch.look(state)
        allocation = tuple(float(x) for x in state.vms.allocation[0])
        half = (allocation[0] * (0.5 if tick % 2 else 2.0), *allocation[1:])
        actions = [migrate(0, 1 - int(state.vms.host[0])), reshape(0, half)][tick % 3 == 2 :][:1]
        outcomes = world.execute(Plan(state.tick, actions))
        watch.sent(state, [a for a, said in zip(actions, outcomes, strict=True) if said.accepted])
        world.advance()
    watch.look(world.observe())
    return learner


@pytest.mark.parametrize("truth", [200.0, 900.0])
def test_the_rate_of_migrations_is_found_from_what_telemetry_shows(truth: float) -> None:
    learner = watched(truth)
    said = learner.estimate("kvm", "", "migration_rate")
    assert said.n == 20
    assert said.value == pytest.approx(
        truth, rel=0.3
    )  # dirty pages are sent again, and the prior is at 10,000
    assert abs(math.log(said.value / truth)) < abs(math.log(10_000 / truth)) / 4
    assert learner.estimate("kvm", "", "migration").value > 0.95
    assert learner.estimate("kvm", "", "cpu_up").n + learner.estimate("kvm", "", "cpu_down").n == 10
    assert learner.estimate("kvm", "", "memory_pressure").value == pytest.approx(0.25, rel=0.1)


def test_learned_profiles_are_written_read_and_simulated(tmp_path: Path) -> None:
    learner = watched(200.0)
    path = tmp_path / "profiles.yaml"
    path.write_text(profiles_text(learner, ("kvm",)))
    read = read_profiles(path)
    assert read == {"kvm": learner.measured("kvm")}
    assert "measured" in read["kvm"].source("migration")
    assert "n = 20" in read["kvm"].source("migration")
    assert read["kvm"].boot_s == KVM.boot_s
    simulated = with_profiles(scenario(2), read)
    assert simulated.fleet[0].hosts[0].profile.migration.bandwidth_mbit < 500
    assert scenario(2).fleet[0].hosts[0].profile == KVM


def test_files_of_profiles_that_are_none_are_refused_with_a_line(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    for text, says in (
        ("kvm: {}\n", "p.yaml:1: expected hypervisors with their entries"),
        ("hypervisors:\n  kvm: {title: x}\n", "p.yaml:2: hypervisors.kvm"),
        ("hypervisors:\n  kvm: {title: x}\nothers: 1\n", "p.yaml:3: expected hypervisors and fingerprints"),
    ):
        path.write_text(text)
        with pytest.raises(InputError) as error:
            read_profiles(path)
        assert says in str(error.value)
    with pytest.raises(InputError, match="expected profiles of kvm, found xen"):
        with_profiles(scenario(2), {"xen": catalogue.hypervisor("xen")})


def stage(steal_on_xen: float) -> tuple[Stage, ProfileMatch]:
    """A VM on Xen, one on KVM, and a profiler that has seen both for long."""
    machine = {"server": "hpe-ml30-gen11", "cores": 10, "mhz": 1000, "memory_mib": 65536}
    fleet = ({"zone": "a", "hosts": ({**machine, "hypervisor": "xen"}, {**machine, "hypervisor": "kvm"})},)
    manager = ProfileMatch(ProfileMatchKnobs(cooldown_h=0.0))
    knobs = PLACEMENT.model_copy(update={"plans": ()})
    plays = Stage(Rules(knobs, [manager]), 2, workload([3_000.0, 500.0]), on=[0, 1], fleet=fleet)
    for hypervisor, steal in (("xen", steal_on_xen), ("kvm", 0.001)):
        for _ in range(400):
            manager.profiler.saw(hypervisor, "", "steal", steal)
    return plays, manager


def test_a_vm_goes_to_the_hypervisor_that_steals_less_from_its_kind() -> None:
    plays, _ = stage(0.2)
    assert plays.ask() == [("migrate", 0, 1)]


def test_a_vm_stays_where_the_difference_is_not_worth_a_move() -> None:
    plays, _ = stage(0.004)
    assert plays.wait(3) == []
