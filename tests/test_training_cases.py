"""The named workloads of training: what is held out takes no part, and a gate can judge or says that it cannot."""

from collections.abc import Iterator

import pytest

from foreshade.training.cases import (
    BITBRAINS_DAYS,
    HAM_CASES,
    HELD_OUT,
    MIXED,
    against_gate,
    groups_of,
    ham_cases,
    some_of,
)


def days_of(case: str) -> Iterator[tuple[str, ...]]:
    """What no other purpose may share: a seed, a day, each day of each part of the VMs."""
    name, *rest = case.partition("~")[0].partition("+")[0].split(":")
    if name != "bitbrains":
        yield (name, rest[0])
        return
    first, _, end = rest[1].partition("-")
    for day in range(int(first), int(end or int(first) + int(BITBRAINS_DAYS))):
        yield name, rest[0], str(day)


@pytest.mark.parametrize("scenario", HAM_CASES)
def test_the_gate_shares_no_day_with_what_is_learned_or_held_out(scenario: str) -> None:
    gate = {day for case in ham_cases(scenario, "gate") for day in days_of(case)}
    used = [case for purpose in ("train", "habits") for case in ham_cases(scenario, purpose)]
    assert gate.isdisjoint(day for case in (*used, *HELD_OUT) for day in days_of(case))


def test_a_gate_of_one_day_is_told_of_and_the_others_can_judge() -> None:
    assert [against_gate(scenario) for scenario in ("enterprise", "bitbrains", MIXED, "surge")] == [""] * 4
    assert "two days" in against_gate("planetlab")


def test_draws_of_a_stretch_are_alike_and_few_cases_are_of_every_scenario() -> None:
    assert groups_of(["a:1~5", "b:1~5", "a:1", "a:2~5"]) == [0, 1, 0, 2]
    cases = ("a:1", "a:2", "a:3", "b:1", "c:1", "c:2")
    assert some_of(cases, 6) == cases
    assert some_of(cases, 5) == ("a:1", "b:1", "c:1", "a:2", "c:2")
