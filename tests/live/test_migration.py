"""Every way of moving a guest, and a move that is watched and taken back half way."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from foreshade.envs.model.action import Boot, migrate, spawn
from foreshade.envs.order import Order, Result, Standing
from tests.live.testbed import Testbed, settled, until

pytestmark = pytest.mark.skipif(
    not os.environ.get("FORESHADE_LIVE_ALL"), reason="three minutes: FORESHADE_LIVE_ALL=1"
)
SIZE = (1000.0, 160.0, 0.0, 0.0, 0.0)
WAYS: dict[str, dict[str, Any]] = {
    "peer": {"bandwidth_mib_s": 1024.0, "downtime_ms": 500},
    "direct": {"mode": "direct", "bandwidth_mib_s": 1024.0},
    "tunnelled": {"mode": "tunnelled"},
    "auto-converge": {"auto_converge": True, "bandwidth_mib_s": 256.0},
    "post-copy": {"post_copy": True, "post_copy_after_s": 1.0, "bandwidth_mib_s": 16.0},
    "parallel": {"parallel": 2},
}


def test_guest_is_moved_every_way(clean: Testbed, measured: Callable[[str, object], None]) -> None:
    first = clean.world()
    first.observe()
    made = first.order(spawn(0, 0, SIZE, Boot.RESTORED), "ways")
    assert settled(first, made).standing is Standing.DONE
    first.close()
    shown = {}
    for number, (way, said) in enumerate(WAYS.items()):
        world = clean.world(migration=said)
        world.observe()
        to = (number + 1) % 3
        order = world.order(migrate(world.inventory().vm_slot[made.vm], to), f"way-{way}")
        begun = time.monotonic()
        result = settled(world, order)
        assert result.standing is Standing.DONE, (way, result)
        took = time.monotonic() - begun
        assert clean.running() == {made.vm: clean.hosts[to]}
        done = world.migration.completed.get(order.key)
        shown[way] = f"{took:.1f} s" + ("" if done is None else f", downtime {done.downtime_ms} ms")
        assert not any("post-copy" in line or "downtime" in line for line in world.abilities), list(
            world.abilities
        )
        world.close()
    measured("ways of moving", shown)


def test_move_is_watched_and_taken_back(clean: Testbed) -> None:
    world = clean.world(migration={"bandwidth_mib_s": 8.0})
    world.observe()
    made = world.order(spawn(0, 0, SIZE, Boot.RESTORED), "abort")
    assert settled(world, made).standing is Standing.DONE
    world.observe()
    order = world.order(migrate(world.inventory().vm_slot[made.vm], 1), "abort-move")
    box: list[Result] = []
    thread = threading.Thread(target=lambda: box.append(world.carry_out(order, 60.0)), daemon=True)
    thread.start()
    until(lambda: world.migration.progress(made.vm, "h1") is not None, 20.0)
    before = world.migration.progress(made.vm, "h1")
    time.sleep(1.0)
    after = world.migration.progress(made.vm, "h1")
    assert before is not None
    assert after is not None
    assert after.sent_mib > before.sent_mib
    assert world.standing(order) is Standing.UNDER_WAY
    state = world.observe()
    slot = world.inventory().vm_slot[made.vm]
    assert (state.vms.host[slot], state.vms.destination[slot]) == (0, 1)
    assert world.compensate(order, 30.0).standing is Standing.UNTOUCHED
    thread.join(30.0)
    assert box[0].standing is Standing.UNTOUCHED
    assert "aborted" in box[0].error or "cancel" in box[0].error
    assert clean.running() == {made.vm: "h1"}
    again = Order(**{f: getattr(order, f) for f in Order.__dataclass_fields__})
    world.cluster.call("h1", "speed", lambda conn: conn.lookupByName(made.vm).migrateSetMaxSpeed(1024, 0))
    assert settled(world, again).standing is Standing.DONE
    world.close()


@pytest.mark.parametrize("uri", ["qemu+unix:///system?socket=/no/such", "qemu+tcp://10.77.9.9/system"])
def test_destination_out_of_reach_is_an_error_and_the_guest_stays(clean: Testbed, uri: str) -> None:
    said = clean.settings()
    hosts = tuple(h.model_dump() | ({"peer_uri": uri} if h.name == "h2" else {}) for h in said.hosts)
    world = clean.world(hosts=hosts)
    world.observe()
    made = world.order(spawn(0, 0, SIZE, Boot.RESTORED), f"reach-{uri}")
    assert settled(world, made).standing is Standing.DONE
    world.observe()
    order = world.order(migrate(world.inventory().vm_slot[made.vm], 1), f"reach-move-{uri}")
    result = world.carry_out(order, 20.0)
    assert result.standing in (Standing.UNTOUCHED, Standing.UNDER_WAY)
    assert clean.running() == {made.vm: "h1"}
    world.close()
