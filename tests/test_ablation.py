"""Components with and without: which sets are played, and that the differences are those of paired runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from foreshade._core import ClusterState
from foreshade.adapters.app.ablation import (
    ENABLED,
    NOTHING,
    OTHERS,
    ablate,
    comparisons,
    markdown,
    subjects,
)
from foreshade.adapters.app.report import render
from foreshade.agents.bars import Bars
from foreshade.agents.managers.manager import Offer
from foreshade.agents.managers.registry import COMPONENTS, Component, ManagerKnobs
from foreshade.envs.errors import InputError
from foreshade.envs.model.action import PowerTarget, power
from foreshade.envs.scenarios.load import load_scenario
from foreshade.envs.site import Site
from foreshade.envs.workloads.of_scenario import Loaded, workload_of
from tests.runs import run


class Waster:
    """Turns a host on that is off, every tick, and says that it pays."""

    name = "waster"

    def __init__(self, knobs: ManagerKnobs) -> None:
        self.taken_n = 0

    def reset(self, site: Site) -> None:
        self.taken_n = 0

    def offers(self, state: ClusterState, _bars: Bars, /) -> Sequence[Offer]:
        off = [h for h, said in enumerate(state.hosts.state) if int(said) == 0]
        return (
            [Offer("power_on", (power(off[0], PowerTarget.ON),), "more", host=off[0], utilisation=5.0)]
            if off
            else []
        )

    def taken(self, offer: Offer) -> None:
        self.taken_n += 1


class Idle(Waster):
    """Offers nothing."""

    name = "idle"

    def offers(self, state: ClusterState, _bars: Bars, /) -> Sequence[Offer]:
        return []


def test_each_set_is_asked_for_once_and_each_pair_differs_by_the_component() -> None:
    rows = comparisons(("a", "b", "c"), ("b",))
    assert rows[:2] == [("all", NOTHING, ("a", "b", "c"), ()), ("enabled", NOTHING, ("b",), ())]
    for component, _, with_it, without in rows[2:]:
        assert set(with_it) - set(without) == {component}
        assert set(without) <= set(with_it)
    assert [(beside, without) for name, beside, _, without in rows if name == "a"] == [
        (ENABLED, ("b",)),
        (NOTHING, ()),
        (OTHERS, ("b", "c")),
    ]
    # b is enabled alone: its company is nothing else, and that is said once.
    assert [beside for name, beside, _, _ in rows if name == "b"] == [ENABLED, OTHERS]
    alone = comparisons(("a", "b", "c"), ("b",), (ENABLED,))
    assert [row[1] for row in alone[2:]] == [ENABLED] * 3


def test_a_component_that_wastes_harms_and_one_that_does_nothing_is_level(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for maker in (Waster, Idle):
        monkeypatch.setitem(COMPONENTS, maker.name, Component(ManagerKnobs, maker))  # type: ignore[arg-type]
    scenario = load_scenario("enterprise").model_copy(update={"ticks": 36, "days": None})
    workloads: dict[int, Loaded] = {}
    for seed in (0, 1, 2):
        workloads[seed] = workload_of(scenario, "generated:enterprise?vms=60", seed)
    ablation = ablate(
        scenario,
        workloads,
        "rules",
        "none",
        1,
        lambda _done, _total: None,
        known=("waster", "idle"),
        enabled=("waster",),
    )
    by = {(row.component, row.beside): row for row in ablation.contributions}
    waster, idle = by["waster", ENABLED], by["idle", ENABLED]
    assert waster.verdict == "harms"
    assert waster.enabled
    assert idle.verdict == "level"
    assert [one.mean for one in idle.differences.values()] == [0.0] * 5
    assert by["all", NOTHING].differences["cost_usd"].mean == pytest.approx(
        waster.differences["cost_usd"].mean
    )
    assert "| **waster** | what is enabled | harms |" in markdown(ablation)
    html = render([run()], ablations=[ablation])
    assert "What each component is worth to rules on enterprise" in html
    assert ablation.to_dict()["contributions"][1]["differences"]["cost_usd"]["half_width"] is not None


def test_components_of_a_run_stand_in_the_report_also_where_they_were_never_taken() -> None:
    from foreshade.agents.decisions import Decisions  # noqa: PLC0415

    row = {"rules": 3, "actions": 4, "transition_usd": 0.25, "gain_usd": 1.5}
    said = Decisions({}, {}, 0.0, {"racks": row})
    html = render([replace(run("rules", decisions=said), components=("racks", "shadows"))])
    table = html[html.index('id="components-0"') :].split("</table>")[0]
    assert '<td>racks</td><td class="n">0</td><td class="n">3</td><td class="n">4</td>' in table
    assert '<td>shadows</td><td class="n">0</td><td class="n">0</td>' in table


def test_what_came_of_actions_and_the_knobs_that_it_corrected_stand_in_the_report() -> None:
    from foreshade.agents.decisions import Decisions  # noqa: PLC0415

    row = {"expected": 9, "judged": 8, "wrong": 2, "not_done": 1, "wrong_share": 0.25, "need": 0.5}
    said = Decisions({}, {}, 0.0, outcomes={"move": row, "headroom": {"before": 1.4, "now": 1.35}})
    table = render([run("rules", decisions=said)]).split('id="outcomes-0"')[1].split("</table>")[0]
    assert (
        '<td>move</td><td class="n">9</td><td class="n">8</td><td class="n">2</td><td class="n">25.0%</td>'
        in table
    )
    assert "1.4 → 1.35" in table


def test_agents_without_components_are_refused_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(COMPONENTS, "idle", Component(ManagerKnobs, Idle))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="--ablate: expected the agent rules or ham, found dvfs"):
        subjects(("dvfs",), everyone=False)
    assert subjects(("dvfs", "ham"), everyone=False) == ("ham",)
