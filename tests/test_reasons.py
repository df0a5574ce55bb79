"""Reasons as an operator reads them: names and numbers, no slots."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from foreshade.agents.guard import Seen
from foreshade.agents.reasons import with_reasons
from foreshade.envs.model.action import Action, despawn, migrate, power, reshape, shadow, shift, spawn
from tests.control_worlds import durable

SIZE = (1000.0, 1000.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("action", "says"),
    [
        (despawn(1, "despawn vm 1"), "{app} is served without it"),
        (
            despawn(1, "nobody wanted spare vm 1 for 12 ticks: it goes"),
            "nobody wanted spare {vm1} for 12 ticks",
        ),
        (
            shadow(0, 3, 0.1, reason="shadow vm 0 host 3"),
            "{vm0} on {host0} may need to hand traffic over; {host3} is at",
        ),
        (
            shadow(0, 3, 0.1, reason="app 0 wants more in 10 min"),
            "{app} wants more in 10 min; {host3} is at",
        ),
        (shift(1, 0.5, "vm 1 takes traffic by its size"), "{vm1} takes traffic by its size; its share"),
        (migrate(0, 3, "migrate vm 0 from host 0 host 3"), "costs less there: {host0} is at"),
        (migrate(0, 3, "its host is under lasting load"), "its host is under lasting load; {host3} is at"),
        (reshape(0, SIZE, "right_size"), "CPU "),
        (power(3, 1, "power host 3"), "the load to come needs it"),
        (spawn(0, 3, SIZE, reason="app 9 of nobody"), "app 9 of nobody; {host3} is at"),
    ],
    ids=lambda value: value.kind.name if isinstance(value, Action) else "",
)
def test_slots_are_named_and_what_a_component_said_is_kept(tmp_path: Path, action: Action, says: str) -> None:
    world = durable(tmp_path)
    world.advance()
    seen = Seen(world.observe().copy(), world.inventory(), 0.0)
    names = {
        "app": seen.inventory.apps[0],
        "vm0": seen.inventory.vms[0].name,
        "vm1": seen.inventory.vms[1].name,
        "host0": seen.inventory.hosts[int(seen.state.vms.host[0])].name,
        "host3": seen.inventory.hosts[3].name,
    }
    order = replace(world.order(action, "key"), app=world.order(action, "key").app or names["app"])
    (told,) = with_reasons([order], seen)
    assert told.reason.startswith(says.format(**names))
