"""Rules that are tuned: a trial sets what is written, and a study that goes on is one that never stopped."""

from __future__ import annotations

from pathlib import Path

import pytest

from foreshade.adapters.app.rules_front import write_front
from foreshade.agents.rules.rule_file import to_yaml
from foreshade.agents.rules.rules import load_rules
from foreshade.envs.candidates import DEFAULT, RULES, CandidateKnobs
from foreshade.envs.errors import InputError
from foreshade.envs.rule_tree import Node, Rule
from foreshade.envs.stock_world import simulated_world
from foreshade.training.folder_lock import LOCK, alone_in
from foreshade.training.rules.ground import Ground
from foreshade.training.rules.search import Front, changed, search, untuned_params
from tests.test_cli import foreshade

pytest.importorskip("optuna")


def ground(tmp_path: Path, *seeds: int) -> Ground:
    """Two hours of forty VMs."""
    path = tmp_path / "little.yaml"
    if not path.exists():
        from foreshade.envs.scenarios.load import load_scenario, show  # noqa: PLC0415

        kept = [
            line
            for line in show(load_scenario("enterprise")).splitlines()
            if not line.startswith(("days:", "ticks:", "workload:"))
        ]
        path.write_text("\n".join([*kept, "ticks: 24", "workload: generated:enterprise?vms=40", ""]))
    return Ground({f"little:{seed}": simulated_world(path, seed=seed) for seed in seeds})


def searched(tmp_path: Path, name: str, *trials: int) -> Front:
    train, validate = ground(tmp_path, 1, 2), ground(tmp_path, 3, 4)
    for n in trials:
        front = search(tmp_path / name, "little", RULES, train, validate, n_trials=n, seed=7)
    return front


def read_back(tmp_path: Path, knobs: CandidateKnobs) -> CandidateKnobs:
    path = tmp_path / "rules.yaml"
    path.write_text(to_yaml(knobs, ["heading"]))
    return load_rules(path)


def test_a_file_that_is_written_is_read_back(tmp_path: Path) -> None:
    ruled = RULES.model_copy(
        update={
            "rules": (
                Rule(name="a", why="b: #c", when={"kind": ("drain", "grow"), "hour": "7..9"}, prefer="never"),
            ),
            "tree": Node(when={"hour": "> 3"}, then=Node(prefer=0.5, name="x"), otherwise=Node(prefer=-1.0)),
        }
    )
    for knobs in (RULES, DEFAULT, ruled):
        assert read_back(tmp_path, knobs) == knobs


def test_a_trial_sets_knobs_of_the_plan_and_kinds_too(tmp_path: Path) -> None:
    assert changed(RULES, untuned_params(RULES)) == RULES
    tried = changed(RULES, {"headroom": 1.7, "plan.reserve": 2.0, "take.drain": True, "take.place": False})
    assert tried.plans[0].packer.reserve == 2.0
    assert tried.plans[0].packer.sigma_scale == RULES.plans[0].packer.sigma_scale
    assert tried.preferred == ("right_size", "grow", "shrink", "drain")
    assert read_back(tmp_path, tried) == tried


def test_a_knob_of_a_plan_wants_a_plan_that_is_followed() -> None:
    unled = RULES.model_copy(update={"plans": (RULES.plans[0].model_copy(update={"preferred": False}),)})
    with pytest.raises(ValueError, match=r"plan\.reserve: expected rules that follow a plan, found none"):
        unled.changed({"plan.reserve": 2.0})
    with pytest.raises(ValueError, match=r"plan\.reserves: expected a knob of packers"):
        RULES.changed({"plan.reserves": 2.0})
    assert not any(name.startswith("plan.") for name in untuned_params(unled))


def test_a_study_that_goes_on_is_the_one_that_never_stopped(tmp_path: Path) -> None:
    at_once, in_two = searched(tmp_path, "once", 5), searched(tmp_path, "twice", 2, 5)
    assert at_once.to_dict() == in_two.to_dict()
    assert len(at_once.trials) == 5
    assert at_once.trials[0] == pytest.approx(at_once.untuned)  # the search begins where the rules are
    for i, point in enumerate(at_once.points):
        assert load_rules(tmp_path / "once" / f"front-{i + 1:02d}.yaml") == point.knobs
        others = [p.trained for p in at_once.points if p is not point]
        assert not any(
            all(o[m] <= point.trained[m] for m in ("ratio", "unmet", "migrations")) and o != point.trained
            for o in others
        )
    assert at_once.sentence in write_front(at_once, tmp_path).read_text()


def test_a_folder_of_another_study_is_refused(tmp_path: Path) -> None:
    searched(tmp_path, "study", 1)
    train = ground(tmp_path, 1, 2)
    with pytest.raises(InputError, match="expected a study of the same objectives, found one of another"):
        search(tmp_path / "study", "little", RULES, train, train, n_trials=1, objectives=("energy", "unmet"))
    with pytest.raises(
        InputError, match="expected some of cost, energy, unmet, worst, migrations, found 'esv'"
    ):
        search(tmp_path / "study", "little", RULES, train, train, n_trials=1, objectives=("esv",))


def test_a_second_command_in_a_folder_is_refused_and_touches_nothing(tmp_path: Path) -> None:
    searched(tmp_path, "study", 1)
    files = {path.name: path.read_bytes() for path in (tmp_path / "study").iterdir()}
    verb = ["rules", "tune", "--scenario", str(tmp_path / "little.yaml"), "--out", str(tmp_path / "study")]
    with alone_in(tmp_path / "study"):
        done = foreshade(*verb, "--trials", "2")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"foreshade: {tmp_path / 'study'}: expected a folder that no other command works in, found one at "
        "it: wait for its end, or give another folder\n"
    )
    assert {p.name: p.read_bytes() for p in (tmp_path / "study").iterdir() if p.name != LOCK} == files
    with alone_in(tmp_path / "study"):
        pass  # a command that has ended keeps nobody out


def test_a_scenario_that_has_one_workload_alone_is_refused(tmp_path: Path) -> None:
    from foreshade.envs.scenarios.load import load_scenario, show  # noqa: PLC0415

    path = tmp_path / "fixed.yaml"
    text = show(load_scenario("enterprise"))
    path.write_text(
        text.replace("workload: generated:enterprise", "workload: generated:enterprise?seed=3&vms=40")
    )
    with pytest.raises(InputError, match="expected a workload that differs by seed"):
        Ground.of(str(path), "train")
