"""A policy with a known advantage, distilled: what is read is what is walked, and little of the advantage is lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from foreshade.agents.episode import play
from foreshade.agents.rules.rule_file import to_yaml
from foreshade.agents.rules.rules import Rules, load_rules
from foreshade.envs.candidates import PLACEMENT, RULES
from foreshade.envs.native_schema import native_schema
from foreshade.envs.rule_reach import unreachable
from foreshade.envs.rule_tree import Node
from foreshade.envs.scenarios.load import load_scenario
from foreshade.envs.simulated import SimulatedWorld
from foreshade.envs.workloads.spec import load_workload
from foreshade.training.rules.distil import Witness, distil
from foreshade.training.rules.ground import Ground, figures_of
from foreshade.training.rules.reading import Reader, Seen
from foreshade.training.rules.tree_fit import merged, reachable
from tests.known_teacher import teacher_folder

pytest.importorskip("sklearn")


def ground(*seeds: int) -> Ground:
    """A day of 250 VMs."""
    scenario = load_scenario("enterprise").model_copy(update={"days": 1.0})
    workloads = {seed: load_workload("generated:enterprise?vms=250", days=1, seed=seed) for seed in seeds}
    return Ground(
        {f"little:{seed}": SimulatedWorld(scenario, w, seed) for seed, w in workloads.items()}, "none"
    )


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return teacher_folder(tmp_path_factory.mktemp("teacher") / "policy")


def test_little_of_a_known_advantage_is_lost_and_the_file_is_what_was_judged(
    teacher: Path, tmp_path: Path
) -> None:
    validate = ground(11, 12, 16)
    found = distil(teacher, PLACEMENT, ground(1), validate, rounds=2, most_decisions=800, leaves=32)
    assert found.teacher_over_rules.resolved
    assert found.teacher_over_rules.mean < np.log(0.85)  # there is something to lose
    assert found.kept >= 0.8
    assert found.agreement > 0.85 > found.agreement_of_rules
    assert 2 <= found.leaves <= 32
    path = tmp_path / "rules.yaml"
    path.write_text(to_yaml(found.knobs, found.sentences()))
    knobs = load_rules(path)
    assert knobs == found.knobs
    # Read over rows or walked by the core, the tree decides alike to the end of a run, but for candidates whose
    # preferences are the same in 32 bits: these stand in the order of their scores, which the tree changes.
    witness = Witness(teacher, Reader(native_schema(knobs.k)))
    witness.student = knobs.tree
    for _, world, at in validate.fresh():
        read = figures_of(play(world, witness, at))
        world.reset(at)
        assert figures_of(play(world, Rules(knobs), at)) == pytest.approx(read, rel=1e-5)
        break


def test_a_policy_that_is_the_rules_has_no_advantage_and_its_tree_adds_nothing(tmp_path: Path) -> None:
    from tests.frozen_policies import policy_folder  # noqa: PLC0415

    little = ground(1)
    found = distil(
        policy_folder(tmp_path / "p", knobs=RULES), RULES, little, little, rounds=1, most_decisions=200
    )
    assert found.departures == 0.0
    assert np.isnan(found.kept)
    assert found.agreement == 1.0
    assert found.against_rules["cost"].mean == 0.0
    assert "no advantage" in found.sentences()[-1]


def test_branches_that_rounding_left_nothing_to_and_leaves_that_say_the_same_go() -> None:
    inner = Node(when={"hour": "<= 5"}, then=Node(prefer=1.0), otherwise=Node(prefer=2.0))
    tree = Node(when={"hour": "<= 5"}, then=inner, otherwise=Node(prefer=3.0))
    assert unreachable((), tree) is not None
    assert reachable(tree) == Node(when={"hour": "<= 5"}, then=Node(prefer=1.0), otherwise=Node(prefer=3.0))
    same = Node(when={"hour": "<= 5"}, then=Node(prefer="score"), otherwise=Node(prefer="score + 0.01"))
    assert merged(same) == Node(prefer="score")
    apart = Node(when={"hour": "<= 5"}, then=Node(prefer="score"), otherwise=Node(prefer=0.0))
    assert merged(apart) == apart


def test_decisions_that_are_drawn_again_are_whole() -> None:
    rows = np.arange(12, dtype=np.float32).reshape(6, 2)
    first, chosen = np.array([0, 2, 6]), np.array([1, 4])
    seen = Seen(rows, first, chosen, rows[:, 0], np.array([1.0, 2.0], np.float32))
    again = seen.some(np.array([1, 0, 1]))
    assert again.first.tolist() == [0, 4, 6, 10]
    assert again.rows[:, 0].tolist() == [4, 6, 8, 10, 0, 2, 4, 6, 8, 10]
    assert again.rows[again.chosen, 0].tolist() == [8, 2, 8]
    assert again.weight.tolist() == [2, 1, 2]
    both = Seen.joined([seen, again])
    assert both.rows[both.chosen, 0].tolist() == [2, 8, 8, 2, 8]
