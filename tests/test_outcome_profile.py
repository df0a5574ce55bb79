"""What a journal says of orders that ended is learned of the hypervisors, and what says nothing is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from foreshade.agents.outcome_profile import learn_outcomes
from foreshade.agents.plan import ActionState, PlannedAction
from foreshade.envs import catalogue
from foreshade.envs.model.action import ActionKind
from foreshade.envs.order import Order
from foreshade.envs.profiler import Profiler
from tests.control_worlds import controller, durable, journal

A = ActionState


def kvm() -> Profiler:
    return Profiler({"kvm": catalogue.hypervisor("kvm")})


def ended(
    kind: ActionKind, seconds: float, state: ActionState = A.SUCCEEDED, attempts: int = 1, **order: object
) -> PlannedAction:
    said = {"host": "h1", **order}
    return PlannedAction(Order("k", kind, **said), state, "", 100.0, 100.0 + seconds, attempts)  # type: ignore[arg-type]


def hypervisor(host: str) -> str:
    return "kvm" if host == "h1" else ""


def test_times_of_boots_move_beliefs_from_what_is_declared() -> None:
    profiler = kvm()
    declared = profiler.estimate("kvm", "", "boot_cold").value
    shown = [ended(ActionKind.SPAWN, 2 * declared, app="web", value=0.0) for _ in range(30)]
    assert learn_outcomes(profiler, shown, hypervisor, lambda order: order.app) == 30
    assert profiler.estimate("kvm", "", "boot_cold").value == pytest.approx(2 * declared, rel=0.1)
    assert profiler.estimate("kvm", "web", "boot_cold").n == 30
    assert profiler.estimate("kvm", "", "boot").n == 30


def test_failures_lower_the_chance_and_their_times_say_nothing() -> None:
    profiler = kvm()
    moves = [ended(ActionKind.MIGRATE, 9.0, state) for state in (A.FAILED, A.COMPENSATED, A.SUCCEEDED)]
    before = profiler.estimate("kvm", "", "boot_restored").n
    learn_outcomes(profiler, [*moves, ended(ActionKind.SHADOW, 99.0, A.FAILED)], hypervisor)
    assert profiler.estimate("kvm", "", "migration").n == 3
    assert profiler.estimate("kvm", "", "migration").value < 0.9
    assert profiler.estimate("kvm", "", "boot_restored").n == before


def test_hot_plug_is_tried_in_the_direction_that_was_asked_for() -> None:
    profiler = kvm()
    reshape = {"allocation": (2e3, 1e3, 0, 0, 0), "allocation_before": (1e3, 2e3, 0, 0, 0)}
    learn_outcomes(profiler, [ended(ActionKind.RESHAPE, 1.0, A.FAILED, **reshape)], hypervisor)
    tried = {q: e.n for _, kind, q, e in profiler.fingerprints() if kind == "*"}
    assert tried == {"cpu_up": 1, "memory_down": 1}


@pytest.mark.parametrize(
    "action",
    [
        ended(ActionKind.SPAWN, 5.0, A.ONGOING, app="web"),
        ended(ActionKind.SPAWN, 5.0, A.ABANDONED, app="web"),
        ended(ActionKind.SPAWN, 5.0, app="web", host="h2"),
        ended(ActionKind.POWER, 5.0),
    ],
    ids=["not ended", "given up", "an unknown host", "no hypervisor's doing"],
)
def test_what_says_nothing_is_not_learned(action: PlannedAction) -> None:
    profiler = kvm()
    assert learn_outcomes(profiler, [action], hypervisor) == 0
    assert list(profiler.fingerprints()) == []


def test_a_boot_that_a_later_tick_found_done_has_no_time() -> None:
    profiler = kvm()
    learn_outcomes(profiler, [ended(ActionKind.SHADOW, 300.0)], hypervisor)
    assert [q for _, kind, q, _ in profiler.fingerprints() if kind == "*"] == ["boot"]


def test_a_boot_that_was_called_again_says_that_it_came_but_not_how_long_it_takes() -> None:
    profiler = kvm()
    learn_outcomes(profiler, [ended(ActionKind.SHADOW, 50.0, attempts=2)], hypervisor)
    assert [q for _, kind, q, _ in profiler.fingerprints() if kind == "*"] == ["boot"]


def test_a_controller_of_a_simulated_cluster_leaves_outcomes_to_learn_from(tmp_path: Path) -> None:
    world, kept = durable(tmp_path), journal(tmp_path)
    kept.say("mode", "auto", "test")
    driver = controller(world, kept)
    for _ in range(12):
        driver.tick()
        world.advance()
    profiler = kvm()
    actions = kept.recent(0.0)
    assert learn_outcomes(profiler, actions, lambda _: "kvm") > 0
