"""Agents that do nothing, or place arrivals only; and the labels of all."""

from __future__ import annotations

import pytest

from foreshade.agents.baselines.registry import SHIPPED_POLICY, agent_names, make_agent
from foreshade.envs.errors import InputError
from tests.tiny_world import Stage, workload


@pytest.mark.parametrize("label", agent_names())
def test_agent_bears_its_label(label: str) -> None:
    agent = make_agent(label)
    assert agent.name == label
    assert agent.power_managed is (label != "npa")


def test_labels_are_those_of_the_command_line_in_the_order_of_reports() -> None:
    assert " ".join(name for name in agent_names() if name != "ham") == (
        "npa dvfs thr-mmt-0.8 iqr-mmt-1.5 mad-mmt-2.5 lr-mmt-1.2 lrr-mmt-1.2 first-fit best-fit worst-fit "
        "hold-margin high-low greedy-spread n-sigma-2 expected-cost ilp rules"
    )
    assert agent_names()[-1] == ("ham" if SHIPPED_POLICY.is_dir() else "rules")


def test_number_of_a_label_is_taken_over() -> None:
    assert make_agent("thr-mmt-0.70").name == "thr-mmt-0.7"


@pytest.mark.parametrize(
    ("label", "says"),
    [
        (
            "thr-mmt-1.1",
            "'thr-mmt-1.1': expected a threshold of utilisation above 0 and at most 1, found '1.1'",
        ),
        ("thr-mmt-0", "above 0 and at most 1, found '0'"),
        ("lr-mmt-nan", "safety factor above 0 and at most 10, found 'nan'"),
        ("iqr-mmt-many", "found 'many'"),
        ("n-sigma", "'n-sigma': expected a number of standard deviations at its end, found none"),
        ("random", "unknown agent 'random', expected one of npa, dvfs, thr-mmt-0.8"),
        ("npa-2", "unknown agent 'npa-2'"),
    ],
)
def test_bad_label_is_refused_in_one_line(label: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        make_agent(label)
    assert says in str(caught.value)
    assert "greedy-spread" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("label", ["npa", "dvfs"])
def test_static_agents_do_nothing_whatever_happens(label: str) -> None:
    stage = Stage(make_agent(label), 3, workload([9_000, 3_000, 100]), on=[0, 0, 1])
    assert stage.wait(5) == []


# VM 3 arrives at tick 1 and wants 8,000 MiB. Allocated on hosts 0, 1, 2: 1, 2 and no VMs.
@pytest.mark.parametrize(
    ("label", "does"),
    [
        ("first-fit", [("place", 3, 0), ("off", -1, 2)]),
        ("best-fit", [("place", 3, 1), ("off", -1, 2)]),
        ("worst-fit", [("place", 3, 2)]),
    ],
)
def test_arrival_goes_where_the_rule_says_and_empty_hosts_go_off(
    label: str, does: list[tuple[str, int, int]]
) -> None:
    load = workload([100, 100, 100, 100], arrival=[0, 0, 0, 1])
    stage = Stage(make_agent(label), 3, load, on=[0, 1, 1, -1])
    assert stage.ask() == does


def test_best_fit_passes_over_a_host_without_memory_for_the_arrival() -> None:
    load = workload([100, 100, 100], allocation=[60_000, 30_000, 20_000], arrival=[0, 0, 1])
    assert Stage(make_agent("best-fit"), 2, load, on=[0, 1, -1]).ask() == [("place", 2, 1)]


def test_arrival_without_room_wakes_one_host_and_goes_there_when_it_is_up() -> None:
    load = workload([100, 100, 100], allocation=[60_000, 30_000, 30_000], arrival=[0, 2, 2])
    stage = Stage(make_agent("first-fit"), 3, load, on=[0, -1, -1], off=[1, 2])
    assert stage.ask() == []
    assert stage.ask() == [("on", -1, 1)]  # both fit on one host: no second one is woken
    later = stage.wait(4)
    assert later == [("place", 1, 1), ("place", 2, 1)]


def test_departure_lets_first_fit_switch_the_host_off() -> None:
    load = workload([100, 100], departure=[60, 2])
    stage = Stage(make_agent("first-fit"), 2, load, on=[0, 1])
    assert stage.ask() == []
    assert stage.ask() == [("off", -1, 1)]
