"""The controller killed with SIGKILL while it acts on real guests, and everything else that can die beside it.

Whatever was killed: no guest lost, none doubled, none half moved, and the journal says what the hypervisors show.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from foreshade.adapters.libvirt_world import guest_agent
from foreshade.adapters.libvirt_world.world import LibvirtWorld
from foreshade.adapters.store.journal import order_to_json
from foreshade.agents.plan import ActionState
from foreshade.envs.errors import WorldError
from foreshade.envs.model.action import (
    Action,
    Boot,
    PowerTarget,
    despawn,
    microvm,
    migrate,
    power,
    rent,
    reshape,
    shadow,
    shift,
    spawn,
)
from foreshade.envs.order import Order, Standing
from tests.live.crash_child import executor, journal, look
from tests.live.testbed import SIZE, Testbed, script, settled, spawned, until
from tests.test_crash import SETTLED

#: The n-th write of the journal after approval: 1 the plan is begun, 2 the intent, 3 the outcome, 4 the plan's end.
WRITES = ("1", "2", "3", "4")
IN_CALL = ("+0.1", "+0.6", "+2.0")
POINTS = (*WRITES, *IN_CALL) if os.environ.get("FORESHADE_LIVE_ALL") else ("+0.6", "3")


@pytest.fixture(scope="module")
def staged(testbed: Testbed) -> Iterator[tuple[Testbed, LibvirtWorld]]:
    """Two guests that serve; the third host is empty."""
    testbed.sweep()
    world = testbed.world(power=True, rented=True)
    for host in (0, 1):
        spawned(world, host)
    yield testbed, world
    world.close()
    testbed.sweep()


def wanted(world: LibvirtWorld, kind: str, names: list[str]) -> Action:
    """An action of that kind on the guests as they stand now."""
    state, slots = world.observe(), world.inventory().vm_slot
    first = slots[names[0]]
    here = int(state.vms.host[first])
    empty = next(h for h in (2, 1, 0) if state.hosts.n_vms[h] == 0)
    low = state.vms.allocation[first, 0] < 900.0
    return {
        "spawn": spawn(0, empty, SIZE, Boot.RESTORED),
        "despawn": despawn(slots[names[-1]]),
        "reshape": reshape(first, (1000.0, 160.0, 0.0, 0.0, 0.0) if low else (700.0, 128.0, 0.0, 0.0, 0.0)),
        "migrate": migrate(first, empty),
        "microvm": microvm(0, empty, (500.0, 96.0, 0.0, 0.0, 0.0), 3600.0),
        "shadow": shadow(first, empty if empty != here else 1, 0.5),
        "shift": shift(first, 0.25 if state.vms.weight[first] > 0.6 else 1.0),
        "power": power(empty, PowerTarget.OFF),
        "rent": rent(3),
    }[kind]


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize(
    "kind", ["spawn", "despawn", "reshape", "migrate", "microvm", "shadow", "shift", "power", "rent"]
)
def test_killed_at_any_moment_the_cluster_is_whole_and_the_journal_true(
    staged: tuple[Testbed, LibvirtWorld], tmp_path: Path, kind: str, point: str
) -> None:
    testbed, world = staged
    world.observe()
    names = sorted(testbed.running())
    if kind == "despawn":  # one more, which may go
        names.append(spawned(world, 1).vm)
    order = world.order(wanted(world, kind, names), f"crash-{kind}-{point}-{time.time()}")
    child = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.live.crash_child",
            str(tmp_path),
            json.dumps(order_to_json(order)),
            point,
        ],
        timeout=150,
        check=False,
    )
    assert child.returncode in (-signal.SIGKILL, 0)  # 0: it was done before the moment came
    if point in WRITES:
        assert child.returncode == -signal.SIGKILL
    mended = testbed.world(power=True, rented=True)
    mended.observe()
    kept = journal(tmp_path)
    mend = executor(mended, kept)
    end = time.monotonic() + 150.0
    while kept.open_plans() and time.monotonic() < end:
        mend.settle(lambda: look(mended))
        # A plan that was approved and never begun is the controller's to begin.
        for plan in kept.open_plans():
            if plan.state.value == "approved":
                mend.carry_out(plan, lambda: look(mended))
        time.sleep(0.3)
    (plan,) = kept.plans()
    (action,) = plan.actions
    assert not plan.open, plan
    assert mended.standing(order) is SETTLED[action.state], (action.state, action.reason)
    plans, actions = kept.replayed()
    assert plans == {plan.id: plan.state}
    assert actions == {action.order.key: action.state}
    running = testbed.running()  # asserts that no name runs twice
    done = action.state is ActionState.SUCCEEDED
    made = {order.vm} if kind in ("spawn", "microvm", "shadow") and done else set()
    gone = {order.vm} if kind == "despawn" and done else set()
    assert set(running) == (set(names) | made) - gone
    known = set(mended._hands.traffic.servers("app"))  # type: ignore[union-attr]
    assert known == set(running)
    # As it was, for the next.
    if kind == "power" and done:
        back = mended.order(power(testbed.hosts.index(order.host), PowerTarget.ON), f"on-{time.time()}")
        assert settled(mended, back).standing is Standing.DONE
    if kind == "rent":
        assert testbed.is_up(testbed.rentable) is done
        back = mended.order(rent(3, on=False), f"back-{time.time()}")
        assert settled(mended, back).standing is Standing.DONE
    for name in set(running) - set(names[:2]):
        assert (
            mended.carry_out(Order(f"tidy-{name}", despawn(0).kind, name, app="shop"), 30.0).standing
            is Standing.DONE
        )
    mended.close()
    kept._store.close()


def test_destination_that_dies_in_the_middle_of_a_move_leaves_the_guest_where_it_was(clean: Testbed) -> None:
    world, order = _slow_move(clean)
    pending = _begun(world, order)
    script("kill", "3")
    result = pending()
    assert result.standing is not Standing.DONE
    assert list(clean_running(clean, (1, 2))) == [order.vm]
    with pytest.raises(WorldError, match="host h3"):
        world.standing(order)
    script("start", "3")
    until(lambda: world.cluster.hosts["h3"].connection.connected, 20.0)
    until(lambda: world.standing(order) is not Standing.UNDER_WAY, 30.0)
    assert world.standing(order) is Standing.UNTOUCHED
    assert clean.running() == {order.vm: "h1"}
    world.close()


def test_source_that_dies_in_the_middle_of_a_move_loses_no_more_than_its_guest(clean: Testbed) -> None:
    world, order = _slow_move(clean)
    pending = _begun(world, order)
    script("kill", "1")
    pending()
    until(lambda: not clean_running(clean, (2, 3)), 40.0)  # an incoming half is no guest
    world.observe()
    script("start", "1")
    until(lambda: world.cluster.hosts["h1"].connection.connected, 20.0)
    assert world.standing(order) in (Standing.UNTOUCHED, Standing.HALF_DONE)
    assert clean.running() == {}
    world.close()


def test_libvirtd_that_is_restarted_is_found_again_with_its_guests(clean: Testbed) -> None:
    world = clean.world()
    order = spawned(world, 0)
    before = world.cluster.hosts["h1"].connection.times_connected
    script("restart-libvirtd", "1")
    until(lambda: world.cluster.hosts["h1"].connection.times_connected > before, 30.0)
    state = world.observe()
    assert state.hosts.age_s[0] < 5.0
    assert world.standing(order) is Standing.DONE
    grown = world.order(reshape(world.inventory().vm_slot[order.vm], (2000.0, 160.0, 0.0, 0.0, 0.0)), "after")
    assert settled(world, grown).standing is Standing.DONE
    world.close()


@pytest.mark.parametrize("number", ["1", "3"], ids=["source", "destination"])
def test_libvirtd_that_dies_in_the_middle_of_a_move_leaves_one_guest(clean: Testbed, number: str) -> None:
    world, order = _slow_move(clean)
    pending = _begun(world, order)
    before = world.cluster.hosts[f"h{number}"].connection.times_connected
    script("restart-libvirtd", number)
    pending()
    until(lambda: world.cluster.hosts[f"h{number}"].connection.times_connected > before, 30.0)
    until(lambda: world.standing(order) is not Standing.UNDER_WAY, 60.0)
    if world.standing(order) is Standing.HALF_DONE:
        world.compensate(order, 30.0)
    standing = world.standing(order)
    assert standing in (Standing.UNTOUCHED, Standing.DONE)
    assert clean.running() == {order.vm: "h3" if standing is Standing.DONE else "h1"}
    assert list(clean_running(clean, (1, 2, 3))) == [order.vm]
    again = world.order(migrate(world.inventory().vm_slot[order.vm], 1), f"again-{time.time()}")
    world.cluster.call(again.source, "speed", lambda c: c.lookupByName(order.vm).migrateSetMaxSpeed(1024, 0))
    assert settled(world, again).standing is Standing.DONE  # nothing of it is in the way
    world.close()


def test_guest_whose_agent_hangs_is_ended_all_the_same(clean: Testbed) -> None:
    world = clean.world()
    order = spawned(world, 0)
    conn = clean.connect("h1")
    stop = "sleep 1; kill -STOP $(pidof qemu-ga)"
    domain = conn.lookupByName(order.vm)
    guest_agent.command(
        domain,
        "guest-exec",
        3,
        path="/bin/sh",
        arg=["-c", f"({stop}) >/dev/null 2>&1 &"],
    )
    until(lambda: not guest_agent.answers(domain, 2), 60.0, 0.5)
    world.observe()
    assert world.cluster.hosts["h1"].failed_samples == 0  # the tick goes on
    gone = world.order(despawn(world.inventory().vm_slot[order.vm]), "gone")
    assert settled(world, gone).standing is Standing.DONE
    assert clean.running() == {}
    world.close()


def test_balancer_that_is_gone_is_an_error_and_nothing_is_touched(clean: Testbed) -> None:
    world = clean.world()
    made, second = spawned(world, 0), spawned(world, 1)
    order = world.order(shift(world.inventory().vm_slot[made.vm], 0.5), "lb-shift")
    script("lb-kill")
    result = world.carry_out(order, 10.0)
    assert result.standing is not Standing.DONE
    assert "haproxy: " in result.error
    with pytest.raises(WorldError, match="haproxy"):
        world.standing(order)
    assert set(clean.running()) == {made.vm, second.vm}
    script("lb-start")  # it has forgotten its dynamic servers: they are made known again
    world.observe()
    assert set(world._hands.traffic.servers("app")) == {made.vm, second.vm}  # type: ignore[union-attr]
    assert settled(world, order).standing is Standing.DONE
    world.close()


def test_full_disk_under_saved_images_leaves_nothing_behind(clean: Testbed, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["/bin/mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], check=True)
    try:
        said = clean.settings()
        hosts = tuple(h.model_copy(update={"saves_here": small}) for h in said.hosts)
        (small / "web.save").symlink_to(said.hosts[0].saves_here / "web.save")  # type: ignore[operator]
        world = clean.world(hosts=tuple(h.model_dump() for h in hosts))
        world.observe()
        order = world.order(spawn(0, 0, SIZE, Boot.RESTORED), "full")
        result = world.carry_out(order, 20.0)
        assert (result.standing, "No space left" in result.error) == (Standing.UNTOUCHED, True)
        assert sorted(path.name for path in small.iterdir()) == ["web.save"]
        assert clean.running() == {}
        world.close()
    finally:
        subprocess.run(["/bin/umount", str(small)], check=True)


def _slow_move(testbed: Testbed) -> tuple[LibvirtWorld, Order]:
    """A guest on the first host, and the order to move it to the third, slowly."""
    world = testbed.world(migration={"bandwidth_mib_s": 8.0})
    made = spawned(world, 0)
    return world, world.order(migrate(world.inventory().vm_slot[made.vm], 2), f"move-{time.time()}")


def _begun(world: LibvirtWorld, order: Order) -> Callable[[], object]:
    """Begin it; returns what waits for its result."""
    import threading  # noqa: PLC0415

    box: list[object] = []
    thread = threading.Thread(target=lambda: box.append(world.carry_out(order, 60.0)), daemon=True)
    thread.start()
    until(lambda: (p := world.migration.progress(order.vm, "h1")) is not None and p.sent_mib > 2.0, 60.0)

    def wait() -> object:
        thread.join(90.0)
        return box[0]

    return wait


def clean_running(testbed: Testbed, hosts: tuple[int, ...]) -> dict[str, str]:
    """Domains whose CPUs run on some of the hosts."""
    import libvirt  # noqa: PLC0415

    found = {}
    for number in hosts:
        conn = testbed.connect(f"h{number}")
        for domain in conn.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_RUNNING):
            found[domain.name()] = f"h{number}"
        conn.close()
    return found
