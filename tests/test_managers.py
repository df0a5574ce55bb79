"""Components' offers among the proposer's candidates: weighed, taken whole, told, and gone when they do not fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from foreshade._core import ClusterState
from foreshade.agents.bars import Bars
from foreshade.agents.managers.manager import ManagerKnobs, Offer
from foreshade.agents.managers.registry import Component, load_components
from foreshade.agents.rules.rules import Rules
from foreshade.envs.candidates import PLACEMENT
from foreshade.envs.errors import InputError
from foreshade.envs.model.action import PowerTarget, migrate, power, shadow
from foreshade.envs.site import Site
from tests.tiny_world import Stage, workload


class Fixed:
    """Offers the same every tick."""

    name = "fixed"

    def __init__(self, *offers: Offer) -> None:
        self.said = offers
        self.told: list[Offer] = []

    def reset(self, site: Site) -> None:
        self.told.clear()

    def offers(self, state: ClusterState, _bars: Bars, /) -> Sequence[Offer]:
        return self.said

    def taken(self, offer: Offer) -> None:
        self.told.append(offer)


def move(gain: float, vm: int = 0, host: int = 1, *, preferred: bool = True) -> Offer:
    """VM ``vm`` goes to ``host`` and is said to gain so much."""
    return Offer(
        "migrate",
        (migrate(vm, host),),
        f"vm {vm} should go",
        vm=vm,
        host=host,
        performance=gain,
        preferred=preferred,
    )


def stage(manager: Fixed) -> Stage:
    """Two VMs of little demand on host 0, host 1 empty; nothing else is worth doing."""
    knobs = PLACEMENT.model_copy(update={"plans": ()})
    return Stage(Rules(knobs, [manager]), 2, workload([500.0, 500.0]), on=[0, 0])


def test_offer_that_gains_is_taken_and_told() -> None:
    manager = Fixed(move(1.0))
    assert stage(manager).ask() == [("migrate", 0, 1)]
    assert manager.told == [manager.said[0]]


@pytest.mark.parametrize("offer", [move(-1.0), move(1.0, preferred=False)])
def test_offer_that_loses_or_is_not_preferred_is_left(offer: Offer) -> None:
    manager = Fixed(offer)
    assert stage(manager).ask() == []
    assert manager.told == []


def test_the_better_of_two_offers_for_one_vm_is_taken_and_the_other_is_gone() -> None:
    manager = Fixed(move(1.0), move(2.0))
    assert stage(manager).ask() == [("migrate", 0, 1)]
    assert manager.told == [manager.said[1]]


def test_of_two_offers_that_meet_one_need_the_better_is_taken_alone() -> None:
    offers = [replace(move(gain, vm), claim="room of host 0") for vm, gain in ((0, 1.0), (1, 2.0))]
    assert stage(Fixed(*offers)).ask() == [("migrate", 1, 1)]
    assert stage(Fixed(*offers, move(0.5))).ask() == [("migrate", 1, 1), ("migrate", 0, 1)]
    several = replace(offers[0], actions=(migrate(0, 1), migrate(1, 1)), performance=3.0)
    assert stage(Fixed(several, offers[1])).ask() == [("migrate", 0, 1), ("migrate", 1, 1)]


def test_a_host_that_a_vm_was_put_on_is_not_switched_off_in_the_same_tick() -> None:
    off = Offer("power_off", (power(1, PowerTarget.OFF),), "host 1 is empty", host=1, utilisation=1.0)
    knobs = PLACEMENT.model_copy(update={"plans": ()})
    site = {"actions": ("migrate", "power")}
    for gain, taken in ((2.0, ["migrate"]), (0.5, ["off"])):
        manager = Fixed(move(gain), off)
        said = Stage(Rules(knobs, [manager]), 2, workload([500.0, 500.0]), on=[0, 0], **site).ask()
        assert [action[0] for action in said] == taken


def test_offer_of_several_actions_is_taken_whole() -> None:
    both = Offer("migrate", (migrate(0, 1), migrate(1, 1)), "both should go", performance=1.0)
    assert stage(Fixed(both)).ask() == [("migrate", 0, 1), ("migrate", 1, 1)]


@pytest.mark.parametrize(("memory", "taken"), [(64_000.0, []), (40_000.0, [("shadow", 0, 1)])])
def test_a_shadow_is_left_where_its_host_has_no_room_for_it(
    memory: float, taken: list[tuple[str, int, int]]
) -> None:
    clone = Offer("shadow", (shadow(0, 1, 0.1),), "vm 0 is to have one", vm=0, host=1, performance=1.0)
    knobs = PLACEMENT.model_copy(update={"plans": ()})
    load = workload([500.0, 500.0], allocation=[8_000.0, memory])
    assert Stage(Rules(knobs, [Fixed(clone)]), 2, load, on=[0, 1]).ask() == taken


def test_reason_and_component_are_told() -> None:
    agent = Rules(PLACEMENT.model_copy(update={"plans": ()}), [Fixed(move(1.0))])
    said = []
    agent.on_decision = lambda proposer, taken: said.append(proposer.describe(taken.candidate))
    plays = Stage(agent, 2, workload([500.0, 500.0]), on=[0, 0])
    plays.ask()
    assert [(row["by"], row["reason"]) for row in said] == [("fixed", "vm 0 should go"), ("", "wait")]


def test_offer_about_a_vm_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected a VM below \d+, found 10000"):
        stage(Fixed(move(1.0, vm=10_000))).ask()


class FixedKnobs(ManagerKnobs):
    """Knobs of a made-up component."""

    gain: float = 1.0


KNOWN = {"fixed": Component(FixedKnobs, lambda knobs: Fixed(move(knobs.gain)))}


def test_components_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("fixed: {enabled: true, gain: 3}\n")
    (manager,) = load_components(str(path), KNOWN)
    assert manager.offers(None, None)[0].performance == 3.0  # type: ignore[arg-type]
    path.write_text("fixed: {gain: 3}\n")
    assert load_components(str(path), KNOWN) == ()
    assert load_components("none", KNOWN) == ()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("fixd: {}\n", "c.yaml:1: expected components of fixed, found 'fixd'"),
        (
            "fixed:\n  gian: 1\n",
            "c.yaml:2: fixed.gian: expected one of else_idle, enabled, gain, found an unknown key",
        ),
        ("fixed: {enabled: 7}\n", "c.yaml:1: fixed.enabled: expected a valid boolean"),
        ("fixed: {gain: .nan}\n", "c.yaml:1: fixed.gain: expected a finite number, found nan"),
        ("- fixed\n", "c.yaml:1: expected components with their knobs"),
    ],
)
def test_wrong_file_says_where(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        load_components(str(path), KNOWN)
    assert says in str(error.value)


def test_unknown_component_on_the_command_line_is_named() -> None:
    with pytest.raises(InputError, match="--components: expected components of fixed, found 'x'"):
        load_components("fixed,x", {**KNOWN})


def test_a_component_that_is_named_twice_would_offer_twice_and_is_refused() -> None:
    with pytest.raises(InputError, match="--components: expected each component once, found fixed,fixed"):
        load_components("fixed,fixed", {**KNOWN})
