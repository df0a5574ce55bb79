"""Proposals: habits that are there are found, what is not there is not, and each was played before it is shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from foreshade.agents.rules.rule_file import to_yaml
from foreshade.agents.rules.rules import load_rules
from foreshade.envs.candidates import PLACEMENT
from foreshade.envs.native_schema import native_schema
from foreshade.training.rules.propose import Observed, _band, _Done, heading, observe, propose, rules_of
from foreshade.training.rules.reading import Reader
from tests.test_rules_distil import ground

pytest.importorskip("sklearn")

NAMES = Reader(native_schema(2)).names


def row(**values: float) -> np.ndarray:
    found = np.zeros(len(NAMES), np.float32)
    for name, value in values.items():
        found[NAMES.index(name)] = value
    return found


def test_what_pays_and_is_left_is_proposed_with_its_money_and_pays_on_other_worlds(tmp_path: Path) -> None:
    """Rules that take nothing but their plan leave all that reshaping would earn."""
    train, validate = ground(1), ground(11, 12, 16)
    seen = observe(PLACEMENT, train)
    assert seen.days == pytest.approx(1.0)
    drafts = rules_of(seen, PLACEMENT)
    kinds = [rule.when["kind"] for rule, *_ in drafts]
    assert {"grow", "right_size"} <= set(kinds)
    found, both, before, after = propose(PLACEMENT, train, validate, most=3)
    assert [one.ratio.mean for one in found] == sorted(one.ratio.mean for one in found)
    best = found[0]
    assert best.verdict == "pays"
    assert best.effect["cost"].n == 3
    assert best.reckoned_usd is not None
    assert best.reckoned_usd.mean > 0
    assert f"left in {best.times} ticks of 1 worlds" in best.rule.why
    assert [rule.name for rule in both.rules] == [one.rule.name for one in found if one.verdict == "pays"]
    assert after.over(before).mean < 0
    path = tmp_path / "p.yaml"
    path.write_text(to_yaml(both, heading(best)))
    assert load_rules(path).rules == both.rules


def test_moves_that_are_undone_under_a_condition_are_proposed_to_stop_there() -> None:
    rng = np.random.default_rng(0)
    seen = Observed(worlds=["w"], days=2.0)
    for _ in range(200):
        since = float(rng.uniform(0, 10))
        undone = since < 2.0
        seen.done.append(_Done("migrate", 0, 0, row(since_move=since, migrate=1.0), 0, 1.0, 0, "w", undone))
    ((rule, times, worlds, money),) = rules_of(seen, PLACEMENT)
    assert rule.prefer == "never"
    assert rule.when["kind"] == "migrate"
    side, number = str(rule.when["since_move"]).split()
    assert side == "<="
    assert float(number) == pytest.approx(2.0, abs=0.2)
    assert (times, worlds, money) == (sum(one.regretted for one in seen.done), 1, None)


def test_moves_that_are_seldom_undone_give_no_rule() -> None:
    seen = Observed(worlds=["w"], days=2.0)
    for i in range(200):
        seen.done.append(_Done("migrate", 0, 0, row(since_move=float(i % 7)), 0, 1.0, 0, "w", i % 5 == 0))
    assert rules_of(seen, PLACEMENT) == []


def test_applications_that_are_grown_at_the_same_hour_every_day_are_not_shrunk_before_it() -> None:
    seen = Observed(worlds=["w"], days=3.0)
    for app in range(4):
        for day in range(3):
            seen.done.append(_Done("shrink", app, 0, row(), app, 3.0, day, "w"))
            seen.done.append(_Done("grow", app, 0, row(), app, 9.4, day, "w"))
    ((rule, times, worlds, _),) = rules_of(seen, PLACEMENT)
    assert (rule.when, rule.prefer, times, worlds) == ({"kind": "shrink", "hour": "7..9"}, "never", 4, 1)


def test_money_of_a_few_hours_has_a_band_and_money_of_all_hours_none() -> None:
    assert _band([8.2, 9.7, 8.9, 20.0], [5.0, 4.0, 3.0, 1.0]) == (8, 10)
    assert _band(list(range(24)), [1.0] * 24) is None


def test_a_world_in_which_nothing_shows_gives_no_proposals() -> None:
    assert rules_of(Observed(worlds=["w"], days=1.0), PLACEMENT) == []
