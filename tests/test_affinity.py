"""Rules about places: contradictions are named, and nothing that anybody asks for breaks a hard rule."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshade import _core as core
from foreshade.agents.rules.rules import Rules
from foreshade.envs.affinity import AffinityRule, Guests, Places, bind
from foreshade.envs.candidates import CandidateKnobs
from foreshade.envs.errors import ScenarioError
from foreshade.envs.model.action import Plan, migrate, place
from foreshade.envs.simulated import SimulatedWorld
from foreshade.envs.site import site_of
from tests.tiny_world import MACHINE, Stage, scenario, workload
from tests.worlds import MIGRATE, Native, random_action, random_scenario

bounded = settings(derandomize=True, max_examples=12, deadline=None, database=None)
TOGETHER, APART, WITHIN = range(3)
HOST, RACK, ZONE = range(3)

#: Four hosts in two racks and two zones, the last one with a licence.
PLACES = Places((0, 0, 1, 1), (0, 0, 1, 1), (frozenset(), frozenset(), frozenset(), frozenset({"oracle"})))
GUESTS = Guests(tuple("abcdef"), (0, 0, 1, 1, 2, 3), ("web", "db", "cache", "batch"))


def rule(name: str, **said: Any) -> AffinityRule:
    """A rule as a file would have it."""
    return AffinityRule.model_validate({"name": name, **said})


@pytest.mark.parametrize(
    ("rules", "named", "why"),
    [
        (
            [rule("1", apart="host", vms=("a", "b")), rule("2", together="rack", vms=("a", "b"))],
            (),
            "",
        ),
        (
            [
                rule("far", apart="zone", vms=("a", "c")),
                rule("ab", together="rack", vms=("a", "b")),
                rule("other", apart="host", vms=("e", "f")),
                rule("bc", together="host", vms=("b", "c")),
                rule("ac", apart="host", vms=("a", "e")),
            ],
            ("far", "ab", "bc"),
            "VMs that must be apart must be together",
        ),
        (
            [rule("licence", within=("oracle",), vms=("a", "b")), rule("ha", apart="host", vms=("a", "b"))],
            ("licence", "ha"),
            "2 VMs that must be apart have 1 hosts",
        ),
        (
            [rule("five", apart="host", vms=tuple("abcde"))],
            ("five",),
            "5 VMs that must be apart have 4 hosts",
        ),
        (
            [rule(f"{x}{y}", apart="zone", vms=(x, y)) for x, y in ("ab", "bc", "ac")],
            ("ab", "bc", "ac"),
            "no placement obeys all of them",
        ),
        (
            [rule("soft", apart="zone", vms=tuple("abc"), price_usd_h=1.0)],
            (),
            "",
        ),
    ],
)
def test_smallest_set_of_contradicting_rules_is_named(
    rules: list[AffinityRule], named: tuple[str, ...], why: str
) -> None:
    if not named:
        assert len(bind(rules, GUESTS, PLACES)) == len(rules)
        return
    with pytest.raises(ScenarioError) as error:
        bind(rules, GUESTS, PLACES)
    said = str(error.value)
    assert why in said
    assert [r.name for r in rules if f"{r.name} (" in said] == sorted(
        named, key=[r.name for r in rules].index
    )


@pytest.mark.parametrize(
    ("said", "expects"),
    [
        ({"together": "host", "apart": "rack", "vms": ("a",)}, "exactly one of together, apart, within"),
        ({"apart": "rack"}, "expected vms, applications or each_application, found none"),
        ({"apart": "rack", "vms": ("a",), "price_usd_h": -1.0}, "greater than 0"),
    ],
)
def test_rule_that_says_too_much_or_too_little_is_refused(said: dict[str, Any], expects: str) -> None:
    with pytest.raises(ValueError, match=expects):
        rule("x", **said)


def test_names_and_labels_that_fit_nothing_are_refused() -> None:
    with pytest.raises(ScenarioError, match=r"affinity x: expected a VM named z\*, found none"):
        bind([rule("x", apart="host", vms=("z*",))], GUESTS, PLACES)
    with pytest.raises(ScenarioError, match="labelled gpu, found none; labels are oracle"):
        bind([rule("x", within=("gpu",), vms=("a",))], GUESTS, PLACES)


def broken(rules: Any, state: Any) -> list[int]:
    """How often each rule is broken where VMs are planned to be."""
    book = core.AffinityBook(rules)
    book.read(state)
    return book.broken()


def overlaps(state: Any, vms: list[int], domain: Any) -> int:
    """Pairs of VMs that stand in one domain now, whatever is planned; counted without the book."""
    here = [int(domain[state.vms.host[v]]) for v in vms if state.vms.host[v] >= 0]
    return len(here) - len(set(here))


@bounded
@given(st.integers(0, 10_000))
def test_nothing_in_random_runs_breaks_a_hard_rule(seed: int) -> None:
    dice = random.Random(seed)
    dc, work = random_scenario(seed)
    racks, zones = [h.rack for h in dc.hosts], [h.rack for h in dc.hosts]
    apart, kept = dice.sample(range(13), 3), dice.sample(range(13), 2)
    allowed = [int(dice.random() < 0.6) for _ in dc.hosts]
    allowed[0] = 1
    rules = core.Affinity(
        [
            (APART, HOST, [], apart, [], 0.0),
            (APART, dice.choice([HOST, RACK]), [dice.randrange(6)], [], [], 0.0),
            (TOGETHER, HOST, [], kept, [], 0.0),
            (TOGETHER, ZONE, [], dice.sample(range(13), 3), [], 0.0),
            (WITHIN, HOST, [dice.randrange(6)], [], allowed, 0.0),
        ],
        racks,
        zones,
        work["vm_app"].tolist(),
        6,
    )
    dc.affinity = rules
    world = Native(dc, work, seed)
    for _ in range(16):
        for _ in range(12):
            action = random_action(dice)
            if action["kind"] == MIGRATE and dice.random() < 0.3:
                action["value"] = 1.0
            world.do(**action)
        world.tick()
        state = world.look()
        assert broken(rules, state) == [0] * 5
        assert overlaps(state, apart, range(8)) == 0


def test_agent_places_moves_and_drains_by_the_rules() -> None:
    # Four VMs of one application would go on one host; two of them may not share one, the third has to stay with 0.
    world = SimulatedWorld(
        scenario(
            4,
            affinity=(
                {"name": "ha", "apart": "host", "vms": ("vm0", "vm1")},
                {"name": "pair", "together": "host", "vms": ("vm0", "vm2")},
                {"name": "near", "within": ("fast",), "vms": ("vm3",)},
            ),
            fleet=(
                {"zone": "a", "hosts": ({**MACHINE, "count": 3},)},
                {"zone": "b", "hosts": ({**MACHINE, "labels": ("fast",)},)},
            ),
        ),
        workload([500.0] * 6),
    )
    agent = Rules(CandidateKnobs())
    site = site_of(world, 0)
    agent.reset(site)
    for _ in range(30):
        state = world.observe()
        assert all(o.accepted for o in world.execute(Plan(state.tick, agent.act(state))))
        world.advance()
        assert broken(site.affinity, world.observe()) == [0, 0, 0]
    host = world.observe().vms.host
    assert host[0] == host[2] != host[1]
    assert host[3] == 3
    assert len(set(host[:6].tolist())) == 2  # and no more hosts than the rules ask for


def test_soft_rule_costs_what_it_says() -> None:
    def where(price: float) -> bool:
        far = {"name": "far", "apart": "host", "vms": ("vm0", "vm1"), "price_usd_h": price}
        stage = Stage(Rules(CandidateKnobs()), 2, workload([500.0, 500.0]), on=[0, 0], affinity=(far,))
        stage.wait(6)
        host = stage.world.observe().vms.host
        return bool(host[0] != host[1])

    assert not where(1e-6)  # a second host costs more than the rule
    assert where(1.0)


def test_company_moves_at_once_or_not_at_all() -> None:
    pair = {"name": "pair", "together": "host", "vms": ("vm0", "vm1")}
    # Host 1 has room for one of the two beside what stands there.
    world = SimulatedWorld(
        scenario(3, affinity=(pair,)), workload([500.0] * 3, allocation=[25_000.0, 25_000.0, 20_000.0])
    )
    said = [place(0, 0), place(1, 0), place(2, 1)]
    assert all(o.accepted for o in world.execute(Plan(0, said)))
    world.advance()
    alone, crowded, together = world.execute(
        Plan(1, [migrate(0, 2), migrate(0, 1, company=True), migrate(0, 2, company=True)])
    )
    assert "an affinity rule keeps the VM from that host" in alone.error
    assert "does not fit" in crowded.error
    assert together.accepted
    world.advance()
    assert world.observe().vms.host.tolist()[:3] == [2, 2, 1]


def test_first_of_a_company_waits_for_room_for_all() -> None:
    pair = {"name": "pair", "together": "host", "vms": ("vm0", "vm1")}
    world = SimulatedWorld(
        scenario(2, affinity=(pair,)), workload([500.0] * 3, allocation=[25_000.0, 25_000.0, 20_000.0])
    )
    assert world.execute(Plan(0, [place(2, 0)]))[0].accepted
    world.advance()  # the world's own scheduler places the pair
    assert world.observe().vms.host.tolist()[:3] == [1, 1, 0]
