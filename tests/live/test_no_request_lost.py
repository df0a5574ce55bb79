"""A steady load through the balancer while guests come, change, move and go: no request may fail."""

from __future__ import annotations

import time
from collections.abc import Callable

from foreshade.envs.model.action import Action, Boot, despawn, migrate, reshape, shadow, shift, spawn
from foreshade.envs.order import Order, Standing
from tests.live.testbed import Load, Testbed, settled

SIZE = (1000.0, 160.0, 0.0, 0.0, 0.0)
LEAST = 2_000


def test_no_request_is_lost(clean: Testbed, measured: Callable[[str, object], None]) -> None:
    world = clean.world()
    world.observe()
    told: list[str] = []

    def do(action: Action) -> Order:
        order = world.order(action, f"lost-{len(told)}")
        begun = time.monotonic()
        result = settled(world, order)
        assert result.standing is Standing.DONE, result
        told.append(f"{order.kind.name.lower()} {time.monotonic() - begun:.1f} s")
        world.observe()
        return order

    def slot(order: Order) -> int:
        return world.inventory().vm_slot[order.vm]

    first = do(spawn(0, 0, SIZE, Boot.RESTORED))
    with Load(40.0) as load:
        second = do(spawn(0, 1, SIZE, Boot.RESTORED))
        do(reshape(slot(first), (2000.0, 176.0, 0.0, 0.0, 0.0)))
        do(reshape(slot(first), (1000.0, 144.0, 0.0, 0.0, 0.0)))
        do(despawn(slot(second)))
        clone = do(shadow(slot(first), 1, 0.1))
        do(reshape(slot(clone), SIZE))  # on the way up the clone is given room before traffic
        do(shift(slot(clone), 1.0))
        do(shift(slot(first), 0.0))
        do(migrate(slot(first), 2))
        do(migrate(slot(clone), 0))
        do(shift(slot(first), 1.0))
        do(shift(slot(clone), 0.0))
        do(despawn(slot(clone)))
        end = time.monotonic() + 120.0
        while load.sent < LEAST and time.monotonic() < end:
            time.sleep(0.2)
    measured("no request lost: sent", load.sent)
    measured("no request lost: failed", len(load.failed))
    measured("no request lost: longest gap, ms", round(load.longest_gap_s * 1000))
    measured("no request lost: steps", ", ".join(told))
    measured("no request lost: served by", dict(load.served))
    measured(
        "no request lost: migrations",
        [f"{m.total_ms} ms, downtime {m.downtime_ms} ms" for m in world.migration.completed.values()],
    )
    world.close()
    assert load.sent >= LEAST
    assert load.failed == []
    assert len(load.served) == 3
