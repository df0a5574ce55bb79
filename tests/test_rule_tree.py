"""Rules of a file: what they say is what they do, and what nobody can reach is named with its line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshade import _core
from foreshade.agents.rules.rules import Rules, load_rules
from foreshade.envs.candidates import RULES, CandidateKnobs
from foreshade.envs.errors import InputError
from foreshade.envs.model.action import Plan
from foreshade.envs.native_schema import native_schema
from foreshade.envs.rule_reach import unreachable
from foreshade.envs.rule_tree import RULED_KINDS, Node, Rule, compiled, conditions_of, features
from foreshade.envs.simulated import SimulatedWorld
from foreshade.envs.site import native_site, site_of
from foreshade.envs.stock_world import simulated_world


def error_of(tmp_path: Path, text: str) -> str:
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as raised:
        load_rules(path)
    assert "\n" not in str(raised.value)
    return str(raised.value).replace(f"{path}:", "")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rules:\n- {when: {price_7h: '> 1'}, prefer: never}", "did you mean price_6h?"),
        (
            "rules:\n\n- {when: {price_6h: '> 1'}, prefer: never, then: 1}",
            "3: rules[0].then: expected one of",
        ),
        (
            "rules:\n- when:\n    cpu_used: '> 60'\n  prefer: never",
            "2: rules[0].when: cpu_used: expected a condition that can hold between 0 and 10, found '> 60'",
        ),
        ("rules:\n- {when: {cpu_used: 0.8..0.2}, prefer: never}", "from the smaller to the larger number"),
        ("rules:\n- {when: {cpu_used: '>> 1'}, prefer: never}", "expected '> 1', '>= 1'"),
        ("rules:\n- {when: {cpu_used: '> x'}, prefer: never}", "expected a number in '> x', found 'x'"),
        ("rules:\n- {when: {kind: wait}, prefer: never}", "expected kinds of plan, place"),
        ("rules:\n- {when: {}, prefer: never}", "expected at least one condition"),
        (
            "rules:\n- {when: {hour: '> 7'}, prefer: sometimes}",
            "first, score, or score + 0.3, found 'sometimes'",
        ),
        ("rules:\n- {when: {hour: '> 7'}, prefer: 11}", "rules[0].prefer: expected a number from -10 to 10"),
        (
            "tree:\n  when: {hour: '> 7'}\n  then: {prefer: 1}",
            "1: tree: expected either prefer, or when, then",
        ),
        # what nobody can reach
        (
            (
                "rules:\n- {when: {hour: '> 7'}, prefer: never}\n- name: late\n  when: {hour: '> 9', kind: grow}\n"
                "  prefer: score"
            ),
            "4: unreachable of 'late': hour > 9 cannot hold, hour is 0 to 7 here",
        ),
        (
            (
                "tree:\n  when: {cpu_used: '> 0.5'}\n  then:\n    when: {cpu_used: '<= 0.5'}\n"
                "    then: {prefer: 1}\n    else: {prefer: 2}\n  else: {prefer: 0}"
            ),
            "5: unreachable: cpu_used <= 0.5 cannot hold, cpu_used is 0.5 to 10 here",
        ),
        (
            (
                "tree:\n  when: {cpu_used: '> 0.5'}\n  then:\n    when: {cpu_used: '> 0.2'}\n"
                "    then: {prefer: 1}\n    else: {prefer: 2}\n  else: {prefer: 0}"
            ),
            "6: unreachable: cpu_used > 0.2 always holds here",
        ),
        (
            (
                "rules:\n- {when: {hour: '< 8'}, prefer: never}\n- {when: {hour: '>= 8'}, prefer: never}\n"
                "tree: {prefer: 1}"
            ),
            "4: unreachable: the rules before it take every candidate",
        ),
        (  # the two before it take all drains between them
            (
                "rules:\n- {when: {kind: [drain, grow], hour: '< 8'}, prefer: never}\n"
                "- {when: {hour: 8..24}, prefer: 1}\n- {when: {kind: drain}, prefer: never}"
            ),
            "4: unreachable: kind drain cannot come here, what can is despawn",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, text: str, says: str) -> None:
    assert says in error_of(tmp_path, text)


def test_half_open_ranges_meet_without_a_gap_and_without_overlap() -> None:
    meet = (Rule(when={"hour": "<= 0.1"}, prefer="never"), Rule(when={"hour": "> 0.1"}, prefer="never"))
    assert unreachable(meet, None) is None
    assert unreachable(meet, Node(prefer=1.0)) is not None
    gap = (Rule(when={"hour": "< 0.5"}, prefer="never"), Rule(when={"hour": "> 0.5"}, prefer="never"))
    assert unreachable(gap, Node(prefer=1.0)) is None


@pytest.fixture(scope="module")
def world() -> SimulatedWorld:
    return simulated_world("enterprise", seed=3)


TEXT = """
rules:
- name: never these
  when: {kind: [migrate, microvm], target_cpu: "> 0.05"}
  prefer: never
- name: grow by day
  when: {kind: grow, hour: 1..24}
  prefer: score
- {when: {kind: power_off}, prefer: first}
tree:
  when: {source_margin: "< 3", score: "> 0"}
  then: {name: crowded, prefer: -0.5}
  else:
    when: {site.memory_reserved: "> 0.05"}
    then: {prefer: +0.125}
    else: {prefer: 0}
"""


def expected(knobs: CandidateKnobs, kind: str, x: Mapping[str, float], score: float, base: float) -> float:
    """The preference by the page, slowly."""

    def holds(when: Mapping[str, object]) -> bool:
        return all(
            kind in test.kinds if test.kinds else test.within.low <= x[test.feature] <= test.within.high
            for test in conditions_of(when)  # type: ignore[arg-type]
        )

    prefer: object = 0.0
    for rule in knobs.rules:
        if holds(rule.when):
            prefer = rule.prefer
            break
    else:
        node = knobs.tree
        while node is not None and node.when is not None:
            node = node.then if holds(node.when) else node.otherwise
        prefer = 0.0 if node is None else node.prefer
    if prefer == "never":
        return -10.0
    if prefer == "score":
        return 0.7 + score / 10 if score > 0 else -0.7 + score / 10
    if prefer == "first":
        return 5.0 + score / 10
    assert isinstance(prefer, float)
    return base + prefer


def test_rules_do_what_they_say_candidate_by_candidate(world: SimulatedWorld, tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(TEXT)
    ruled = load_rules(path)
    plain = ruled.model_copy(update={"rules": (), "tree": None})
    schema = native_schema(ruled.k)
    seen, fired = set(), set()

    def compare(proposer: _core.Proposer, taken: object) -> None:
        flat = np.zeros(schema.size, np.float32)
        proposer.write(flat)
        context, rows, _ = schema.split(flat)
        if len(bare) != len(proposer) or proposer.decisions_left != ruled.decisions:
            return  # only a tick's first decision stands beside an untouched proposer
        base = {
            (said["kind"], said["vm"], said["host"], said["source"], said["z"]): said
            for said in map(bare.describe, range(len(bare)))
        }
        for i in range(1, len(proposer)):
            said = proposer.describe(i)
            x = {c.name: float(v) for c, v in zip(schema.context, context, strict=True)}
            x |= {c.name: float(v) for c, v in zip(schema.candidate, rows[i], strict=True)}
            x["hour"] = state.time_s % 86_400 / 3600
            before = base[said["kind"], said["vm"], said["host"], said["source"], said["z"]]["preference"]
            want = expected(ruled, said["kind"], x, x["score"], before)
            assert said["preference"] == pytest.approx(want, abs=1e-5), said
            assert rows[i][0] == np.float32(said["preference"])
            seen.add(said["kind"])
            fired.add(said["rule"])

    agent = Rules(ruled)
    agent.on_decision = compare
    world.reset(3)
    bare = _core.Proposer(native_site(site_of(world, 0)), plain.native())
    agent.reset(site_of(world, 0))
    for _ in range(40):
        state = world.observe()
        bare.observe(state.copy())
        world.execute(Plan(state.tick, tuple(agent.act(state))))
        world.advance()
    assert {"plan", "grow", "migrate", "power_off"} <= seen
    assert {0, 1, 2, 3, 4} <= fired
    assert set(agent.tally.summary().by_rule) & {
        "crowded",
        "site.memory_reserved > 0.05",
        "not source_margin < 3 and score > 0",
    }


def test_a_tree_that_adds_nothing_changes_nothing(world: SimulatedWorld) -> None:
    def cost(knobs: CandidateKnobs) -> float:
        agent = Rules(knobs)
        world.reset(3)
        agent.reset(site_of(world, 0))
        for _ in range(60):
            state = world.observe()
            world.execute(Plan(state.tick, tuple(agent.act(state))))
            world.advance()
        return world.metrics().cost_usd

    tree = Node(when={"hour": "< 2"}, then=Node(prefer=0.0), otherwise=Node(prefer=0.0))
    assert cost(RULES.model_copy(update={"tree": tree})) == cost(RULES)
    never = (Rule(when={"kind": RULED_KINDS}, prefer="never"),)
    assert cost(RULES.model_copy(update={"rules": never})) != cost(RULES)


NAMES = st.sampled_from(["hour", "cpu_used", "source_margin"])
CONDITIONS = st.dictionaries(
    NAMES, st.sampled_from(["< 1", "<= 2", "> 2", "1..3", ">= 3", "> 0.5"]), min_size=1
)


@settings(max_examples=100, deadline=None)
@given(st.lists(CONDITIONS, min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_a_rule_that_some_candidate_comes_to_is_not_called_unreachable(
    whens: list[dict[str, str]], random: object
) -> None:
    rules = tuple(Rule(when=when, prefer=1.0) for when in whens)
    found = unreachable(rules, None)
    dead = found[0][1] if found is not None else None
    grid = [0.0, 0.5, np.nextafter(np.float32(0.5), np.float32(1)), 1.0, 1.5, 2.0, 2.5, 3.0, 3.5]
    reached = set()
    for a in grid:
        for b in grid:
            for c in grid:
                x = {"hour": a, "cpu_used": b, "source_margin": c}
                for number, rule in enumerate(rules):
                    if all(t.within.low <= x[t.feature] <= t.within.high for t in conditions_of(rule.when)):
                        reached.add(number)
                        break
    for number in range(len(rules)):
        if number == dead:
            assert number not in reached
            break
        assert number in reached  # the grid has a point in every box that these conditions cut


def test_native_walk_refuses_a_graph_that_leads_back() -> None:
    knobs = RULES.native()
    node = _core.RuleNode()
    node.verdict, node.then, node.otherwise = 0, 0, 0
    knobs.rules = [node]
    with pytest.raises(ValueError, match="expected to lead to a node behind it"):
        _core.Proposer(native_site(site_of(simulated_world("enterprise", seed=3), 0)), knobs)


def test_every_named_feature_is_where_its_column_is() -> None:
    names = [c[0] for c in (*_core.context_columns(), *_core.candidate_columns(), *_core.rule_columns())]
    assert all(names[known.column] == name.removeprefix("site.") for name, known in features().items())
    assert compiled((), None) == ([], ())
