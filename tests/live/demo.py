"""``make live-demo``: three real libvirt hosts, six guests whose load changes, a balancer, and the frozen policy.

The controller is the one of ``foreshade control``, in mode auto; its log says every action with its reason, and after
each tick come the hosts as it sees them. It ends by itself, and leaves nothing behind.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from foreshade.adapters.app.control import Running, assemble, run
from foreshade.adapters.app.control_config import load_config
from foreshade.adapters.app.control_log import start_log
from foreshade.adapters.haproxy import HaproxyTraffic
from foreshade.agents.controller import View
from foreshade.envs.model.action import Boot, spawn
from foreshade.envs.model.state import HostState
from foreshade.envs.order import Standing
from tests.live.testbed import (
    CORE_MHZ,
    STATE,
    Load,
    Testbed,
    enter_fabric,
    get,
    raise_testbed,
    script,
    settled,
)
from tests.redfish_bmc import Bmc

APPS = ("shop", "search", "mail")
SIZE = (700.0, 160.0, 0.0, 0.0, 0.0)
#: An accelerated day: what the guests are asked for goes up and down in so many seconds.
DAY_S = 150.0


def say(text: str) -> None:
    """To the screen, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def settings(testbed: Testbed, bmc: Bmc, tick_s: float) -> dict[str, Any]:
    """The section ``libvirt`` of the configuration: the testbed with three applications."""
    said: dict[str, Any] = json.loads(testbed.settings().model_dump_json(exclude_none=True))
    for host in said["hosts"]:
        host["power"] = {
            "redfish": bmc.root,
            "resource": f"/redfish/v1/Systems/{host['name']}",
            "proven": True,
        }
        host["cores"] = 1
    said["apps"] = {
        app: {"template": "web", "traffic": "app" if app == "shop" else app, "offloadable": 0.3}
        for app in APPS
    }
    said["tick_s"] = tick_s
    # Micro-VMs pay where a helper boots in a blink; emulated, each takes a core for seconds that the others need.
    said["actions"] = ["spawn", "despawn", "reshape", "migrate", "shadow", "shift", "power"]
    return said


def place_guests(running: Running) -> None:
    """Two guests of each application, spread over the hosts."""
    world = running.world
    world.observe()
    apps = {name: number for number, name in enumerate(world.inventory().apps)}
    for number, (app, _) in enumerate(itertools.product(APPS, range(2))):
        order = world.order(spawn(apps[app], number % 3, SIZE, Boot.RESTORED), f"demo-{number}")
        result = settled(world, order)  # type: ignore[arg-type]
        if result.standing is not Standing.DONE:
            raise RuntimeError(f"{order.vm}: {result.error}")
        say(f"guest {order.vm} on {order.host}")


def change_load(stop: threading.Event) -> None:
    """Each application has its own hour of the day; every guest is asked anew every few seconds."""
    enter_fabric()
    random.seed(7)
    begun = time.monotonic()
    while not stop.wait(3.0):
        day = (time.monotonic() - begun) / DAY_S
        for number, app in enumerate(APPS):
            level = 14.0 + 12.0 * math.sin(2.0 * math.pi * (day + number / 3.0))
            for address in known_addresses(app):
                burn = max(0, round(level + random.uniform(-4.0, 4.0)))
                try:
                    get(address, f"/cgi-bin/load?cpu+{burn}", 2.0)
                except OSError:
                    continue  # it moves, or it has gone


def known_addresses(app: str) -> list[str]:
    """Of the guests that the balancer knows."""
    traffic = HaproxyTraffic(str(STATE / "lb/admin.sock"))
    return [server.address for server in traffic.servers("app" if app == "shop" else app).values()]


def intro(ticks: int, tick_s: float) -> str:
    """What is to be seen."""
    return f"""
The frozen policy (HAM) is in charge of six guests of three applications on three libvirt hosts, in mode auto: {ticks}
ticks of {tick_s:g} s. Each application is asked for more and less in turn, a day in {DAY_S:g} s, and shop serves
requests through HAProxy all the while. A tick says what was decided; every action says from where, to where and why.
"""


def hosts_as_seen(view: View, served: Load) -> str:
    """A line for each host: what runs there, and how busy it is; in percent of one core."""
    state, inventory = view.seen.state, view.seen.inventory
    lines = []
    for slot, host in enumerate(inventory.hosts):
        on = HostState(int(state.hosts.state[slot])).name.lower().replace("_", " ")
        here = [v for v in inventory.vm_slot.values() if state.vms.host[v] == slot]
        guests = ", ".join(f"{inventory.vms[v].name} {state.vms.usage[v, 0] / CORE_MHZ:.0%}" for v in here)
        busy = state.hosts.usage[slot, 0] / max(float(state.hosts.capacity[slot, 0]), 1.0)
        waits = float(state.hosts.contention[slot])
        lines.append(f"         {host.name} {on:<8} {busy:4.0%} CPU, waits {waits:3.0%}  {guests}")
    lines.append(f"         {served.sent:,} requests of shop, {len(served.failed)} failed")
    return "\n".join(lines)


def show(running: Running, served: Load, over: threading.Event) -> None:
    """The hosts after each tick."""
    shown = None
    while not over.wait(0.2):
        view = running.controller.view
        if view is not None and view is not shown:
            shown = view
            say(hosts_as_seen(view, served))


def summary(running: Running) -> str:
    """What was done, by kind and outcome."""
    plans = running.service.journal.plans(limit=1000)
    counts = Counter((a.order.kind.name.lower(), a.state.value) for plan in plans for a in plan.actions)
    lines = [f"{kind:>10} {state:<12} {count}" for (kind, state), count in sorted(counts.items())]
    return "\n".join(lines) or "         nothing had to be done"


def stop(running: Running) -> None:
    """After the tick that is being played."""
    running.stopping.set()
    running.woken.set()


def play(ticks: int, tick_s: float, limit_s: float) -> int:
    """The whole of it; 0 = it went as it should."""
    began = time.monotonic()
    with raise_testbed(3) as testbed, tempfile.TemporaryDirectory(prefix="foreshade-demo-") as folder:
        testbed.sweep()
        testbed.park()
        say(script("status").strip())
        bmc = Bmc(
            dict.fromkeys(testbed.hosts, "On"),
            lambda host, kind: script("start" if kind == "On" else "kill", host[1:]) and None,
        )
        path = Path(folder) / "foreshade.yaml"
        config = {
            "cluster": "testbed",
            "state_dir": folder,
            "mode": "auto",
            "libvirt": settings(testbed, bmc, tick_s),
            "guard": {"vm_cooldown_s": 6 * tick_s, "stale_after_s": 6 * tick_s},
            "log": {"level": "info", "format": "text"},
        }
        path.write_text(yaml.safe_dump(config))
        start_log("info", "text")
        running = assemble(load_config(path, {}))
        place_guests(running)
        say(intro(ticks, tick_s))
        over, done = threading.Event(), []
        threading.Thread(target=change_load, args=(over,), daemon=True).start()
        limit = threading.Timer(limit_s, stop, (running,))
        limit.daemon = True
        with Load(5.0) as served:

            def beside(running: Running) -> Callable[[], None]:
                threading.Thread(target=show, args=(running, served, over), daemon=True).start()
                return lambda: done.append(summary(running))

            try:
                limit.start()
                played = run(running, ticks=ticks, beside=[beside])
            finally:
                over.set()
                limit.cancel()
        bmc.close()
        say(f"\n{played} ticks in {time.monotonic() - began:.0f} s. Actions:\n{done[0]}")
        say(f"{served.sent:,} requests of shop, {len(served.failed)} failed. Guests now:")
        for name, host in sorted(testbed.running().items()):
            say(f"         {name} on {host}")
        testbed.sweep()
    return 0


def main() -> int:
    """Arguments and the play."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--ticks", type=int, default=18)
    words.add_argument("--tick-s", type=float, default=10.0)
    words.add_argument("--limit-s", type=float, default=240.0, help="of the controlled part")
    said = words.parse_args()
    if os.geteuid() != 0:
        say("live-demo: expected root, for namespaces and libvirtd; found another user")
        return 2
    return play(said.ticks, said.tick_s, said.limit_s)


if __name__ == "__main__":
    sys.exit(main())
