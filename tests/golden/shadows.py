"""Shadows: their life through a surge, and what others do to them and to their primaries."""

from __future__ import annotations

from collections.abc import Iterator

from foreshade.agents.managers.shadows import Shadows, ShadowsKnobs
from foreshade.envs.model.action import migrate
from tests.golden import golden
from tests.golden._stage import App, play, workload
from tests.golden.capacity import GHZ, rules, surge, wants, world


@golden("shadow")
def shadow() -> Iterator[str]:
    """A surge at tick 60 is foreseen: a shadow is created, warms, takes traffic in three steps, gives it back in
    three when there is room again, and ends.
    """
    load = workload([App(surge(1 * GHZ, 3.4 * GHZ, 60, 68))], 90)
    yield from play(world(load), rules([Shadows()]), 90, wants)


@golden("shadow_suspended")
def suspended() -> Iterator[str]:
    """Two surges three hours apart: after the first the shadow is suspended, for the second it is resumed instead of
    another being created, and when none comes for two hours it ends.
    """
    want = [*surge(1 * GHZ, 3.4 * GHZ, 60, 64), *surge(1 * GHZ, 3.4 * GHZ, 40, 44)]
    load = workload([App(want)], 160)
    yield from play(world(load), rules([Shadows(ShadowsKnobs(suspend_ticks=24))]), 160, wants)


@golden("shadow_of_a_false_alarm")
def false_alarm() -> Iterator[str]:
    """A surge that nobody foresaw, and that ends before the shadow is warm: it gives back what it took and ends."""
    load = workload([App(surge(1 * GHZ, 2.45 * GHZ, 50, 51))], 80)
    yield from play(world(load), rules([Shadows(ShadowsKnobs(trigger="usage"))]), 80, wants)


@golden("shadow_and_migration")
def migration() -> Iterator[str]:
    """Somebody moves the primary while its shadow warms, and the shadow while it serves: it goes on from where it
    is, and nothing is asked of a VM that is being copied.
    """
    load = workload([App(surge(1 * GHZ, 3.4 * GHZ, 60, 68))], 90)
    moves = {53: [migrate(0, 2)], 62: [migrate(1, 1)]}
    yield from play(world(load), rules([Shadows()]), 90, wants, moves)


@golden("shadow_and_packers")
def packers() -> Iterator[str]:
    """Beside packers that fill hosts: neither is the small clone taken to a fuller host, nor is the room filled that
    it is to grow into, as long as its application is about to be short.
    """
    load = workload([App(surge(1 * GHZ, 3.4 * GHZ, 60, 68)), App([900.0], vms=3), App([500.0], vms=2)], 90)
    yield from play(world(load), rules([Shadows()], plan=True), 90, wants)


@golden("standing_shadow")
def standing() -> Iterator[str]:
    """VMs of credit 2 have a standing shadow in another place from the start; in a surge it takes traffic as any
    other, and stays afterwards.
    """
    load = workload([App(surge(1 * GHZ, 3.4 * GHZ, 60, 66), credit=2.0), App([500.0])], 80)
    yield from play(world(load), rules([Shadows(ShadowsKnobs(standing_credit=2.0))]), 80, wants)
