"""Kills and freezes of a leader on a real PostgreSQL: does one standby take over, in time, and act alone?

    PYTHONPATH=. python benchmarks/standby.py --kills 50 --freezes 50
    PYTHONPATH=. python benchmarks/standby.py --kills 3 --freezes 3 --json

Two processes hold a lease of 2 s in turn on one database; whoever leads journals plans of orders and carries them
out with the controller's own executor, journal, lease, keeper of the lease and fence. The world is a file to which
each order's effect is appended by whoever calls, with its epoch: what stands there twice was doubled, what stands
there under an epoch that was over when it arrived is a late call. A killed leader is replaced by a new process; a
frozen one (SIGSTOP longer than lease and call timeout) is woken again and must find out by itself.

PostgreSQL is started by this script on a socket in a folder of its own (Debian: apt-get install
postgresql), as the user `postgres` where it runs as root.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from foreshade.adapters import executor as executing
from foreshade.adapters.app.lease_keeper import keep_lease
from foreshade.adapters.executor import ExecutorKnobs, PlanExecutor
from foreshade.adapters.store.journal import StoreJournal
from foreshade.adapters.store.lease import Lease
from foreshade.adapters.store.store import Store
from foreshade.agents.plan import Mode, PlannedAction, PlanRecord, PlanState
from foreshade.envs.errors import FenceError, ForeshadeError
from foreshade.envs.model.action import ActionKind
from foreshade.envs.order import Order, Result, Standing
from tests.postgres import Postgres

LEASE_S, CALL_TIMEOUT_S, TICK_S, CALL_S = 2.0, 1.0, 0.3, 0.1
IDLE_S = 0.8  # of a transaction that stands still, before the server ends it
ORDERS = 4
_HERE = Path(__file__).resolve().parents[1]


class FileWorld:
    """Orders that are done once a line says so; a call takes a while before its effect."""

    def __init__(self, path: Path, epoch) -> None:
        self.path, self._epoch = path, epoch

    @property
    def clock(self):
        return self

    def now_s(self) -> float:
        return time.time()

    def _lines(self):
        text = self.path.read_text() if self.path.exists() else ""
        return [json.loads(line) for line in text.splitlines()]

    def carry_out(self, order, _timeout_s):

        epoch = self._epoch()
        time.sleep(CALL_S)  # a frozen process stands here, between the fence and the effect
        if not any(line["key"] == order.key for line in self._lines()):
            with self.path.open("a") as file:
                file.write(
                    json.dumps({"key": order.key, "epoch": epoch, "at": time.time(), "pid": os.getpid()})
                    + "\n"
                )
        return Result(Standing.DONE)

    def standing(self, order):

        return (
            Standing.DONE if any(line["key"] == order.key for line in self._lines()) else Standing.UNTOUCHED
        )

    def compensate(self, _order, _timeout_s):

        return Result(Standing.UNTOUCHED)


def work(url: str, folder: Path, holder: str) -> None:
    """One controller: waits for the lease, outwaits the holder before, then ticks until it loses it."""
    log = (folder / f"{holder}.log").open("a", buffering=1)

    def say(what: str, **more) -> None:
        log.write(json.dumps({"what": what, "at": time.time(), "holder": holder, **more}) + "\n")

    store = Store(url, idle_s=IDLE_S)
    keepers: list[Callable[[], None]] = []
    while True:
        lease = Lease(store, "bench", length_s=LEASE_S, holder=f"{holder}:elsewhere")
        say("waits")
        try:
            starved_s = waits_for_cpu_s()
            while not lease.acquire():
                time.sleep(0.05)
                starved_s = waits_for_cpu_s()
            keepers.append(keep_lease(lease, LEASE_S))
            until = time.monotonic() + (CALL_TIMEOUT_S if lease.waited_for else 0.0)
            say("acquired", epoch=lease.epoch, waited=lease.waited_for)
            time.sleep(max(0.0, until - time.monotonic()))
            say("leads", epoch=lease.epoch, starved_s=waits_for_cpu_s() - starved_s)
            world = FileWorld(folder / "world.jsonl", lambda lease=lease: lease.epoch)
            journal = StoreJournal(store, wall_s=time.time, fence=lease.fence_in)
            knobs = ExecutorKnobs(
                call_timeout_s=CALL_TIMEOUT_S, attempts=1, at_once=ORDERS, at_once_per_host=ORDERS
            )
            executor = PlanExecutor(world, journal, knobs, sleep=time.sleep, fence=lease.fence)
            tick = 0
            while True:
                begun = time.monotonic()
                lease.renew()
                settled = executor.settle(lambda: SEEN)
                plan_id = journal.new_id()
                orders = [
                    Order(f"{plan_id}-{k}", ActionKind.MIGRATE, vm=f"vm-{plan_id}-{k}", host="b", source="a")
                    for k in range(ORDERS)
                ]
                plan = PlanRecord(
                    plan_id, tick, time.time(), Mode.AUTO, "bench", tuple(map(PlannedAction, orders))
                )
                journal.add(plan)
                approved = plan.to(PlanState.APPROVED, "", "bench")
                journal.step_plan(approved, plan.state, time.time())
                executor.carry_out(approved, lambda: SEEN)
                if settled:
                    say("settled", tick=tick, epoch=lease.epoch, settled=dict(settled))
                tick += 1
                time.sleep(max(0.0, TICK_S - (time.monotonic() - begun)))
        except FenceError as error:
            say("fenced", error=str(error))
        except ForeshadeError as error:
            say("error", error=str(error))
            time.sleep(0.1)
        finally:
            while keepers:
                keepers.pop()()


def waits_for_cpu_s() -> float:
    """How long this thread was ready to run and had no CPU, as the kernel counts it."""
    return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9


class _Anything:
    """What the executor's fresh check looks at: nothing of this world is ever stale."""


SEEN = _Anything()


def _nothing_stale() -> None:
    executing.stale = lambda *_: ""
    executing.dependencies = lambda orders, *_: [() for _ in orders]


def start(url: str, folder: Path, holder: str) -> subprocess.Popen:
    command = [sys.executable, __file__, "--worker", url, str(folder), holder]
    with (folder / f"{holder}.err").open("a") as errors:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors, cwd=_HERE)


def lines(path: Path) -> list[dict]:
    found = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue  # a torn last line of a process that was killed
    return found


def leader(folder: Path) -> tuple[str, int, float, float] | None:
    """Holder, epoch, begin of the first tick of the newest leader, and how long it had no CPU until then."""
    every = [line for path in folder.glob("*.log") for line in lines(path)]
    acquired = [line for line in every if line["what"] == "acquired"]
    if not acquired:
        return None
    newest = max(acquired, key=lambda line: line["epoch"])
    leads = [line for line in every if line["what"] == "leads" and line["epoch"] == newest["epoch"]]
    return (newest["holder"], newest["epoch"], leads[0]["at"], leads[0]["starved_s"]) if leads else None


def wait_for_standby(folder: Path, running: dict, leading: str, patience_s: float = 180.0) -> None:
    """Until some other process waits for the lease: without one there is nobody to take over."""
    until = time.monotonic() + patience_s
    while time.monotonic() < until:
        for name in running:
            last = lines(folder / f"{name}.log")[-1:]
            if name != leading and last and last[0]["what"] == "waits":
                return
        time.sleep(0.05)
    raise SystemExit(f"no standby within {patience_s} s: {folder}")


def wait_for(folder: Path, epoch: int, patience_s: float = 60.0) -> tuple[str, int, float, float]:
    until = time.monotonic() + patience_s
    while time.monotonic() < until:
        found = leader(folder)
        if found is not None and found[1] > epoch:
            return found
        time.sleep(0.1)
    raise SystemExit(f"no leader after epoch {epoch} within {patience_s} s: {folder}")


def measure(kills: int, freezes: int, seed: int = 0) -> dict:
    """Play all of it; what came of it."""
    rng = random.Random(seed)
    rounds = ["kill"] * kills + ["freeze"] * freezes
    rng.shuffle(rounds)
    folder = Path(tempfile.mkdtemp(prefix="foreshade-standby-"))
    with Postgres() as postgres:
        url = postgres.url
        names, running = iter(f"c{k}" for k in range(10_000)), {}
        for _ in range(2):
            name = next(names)
            running[name] = start(url, folder, name)
        takeovers: dict[str, list[Takeover]] = {"kill": [], "freeze": []}
        _, epoch, *_ = wait_for(folder, 0)
        load_before = os.getloadavg()[0]
        try:
            for number, what in enumerate(rounds):
                print(f"\r{number}/{len(rounds)}", end="", file=sys.stderr, flush=True)
                while True:
                    found = wait_for(folder, epoch - 1)
                    holder, epoch, *_ = found
                    wait_for_standby(folder, running, holder)
                    time.sleep(rng.uniform(0.2, 0.8))
                    if leader(folder) == found:
                        break  # nothing has changed hands meanwhile
                victim = running[holder]
                expires = postgres.ask("SELECT expires_s FROM leases")
                at = time.time()
                victim.send_signal(signal.SIGKILL if what == "kill" else signal.SIGSTOP)
                expires = max(float(expires), float(postgres.ask("SELECT expires_s FROM leases")))
                _, epoch, ticked, starved_s = wait_for(folder, epoch)
                takeovers[what].append(Takeover(ticked - at, ticked - (expires + CALL_TIMEOUT_S), starved_s))
                if what == "kill":
                    victim.wait()
                    del running[holder]
                    name = next(names)
                    running[name] = start(url, folder, name)
                else:
                    time.sleep(rng.uniform(0.0, 1.0))  # before the new leader looks, or after it has given up
                    victim.send_signal(signal.SIGCONT)
            time.sleep(3 * (LEASE_S + CALL_TIMEOUT_S))  # late calls are found in the ticks after
        finally:
            for process in running.values():
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait()
            print(file=sys.stderr)
        found = verdict(postgres, folder, takeovers)
        return found | {"load_average": [round(load_before, 1), round(os.getloadavg()[0], 1)]}


class Takeover(NamedTuple):
    """One change of leaders, seconds."""

    whole_s: float  # from the signal until the next leader's first tick
    beyond_s: float  # what of it came after lease and call timeout
    starved_s: float  # what of that the next leader was ready to run and had no CPU


def verdict(postgres, folder: Path, takeovers: dict[str, list[Takeover]]) -> dict:
    """What the world, the journal and the logs say together."""
    effects = lines(folder / "world.jsonl")
    keys = [line["key"] for line in effects]
    acquired = sorted(
        (line["epoch"], line["at"])
        for path in folder.glob("*.log")
        for line in lines(path)
        if line["what"] == "acquired"
    )
    ends = {epoch: at for (epoch, _), (_, at) in pairwise(acquired)}  # when the next one began
    stale = {line["key"] for line in effects if line["at"] > ends.get(line["epoch"], float("inf"))}
    counted = set(postgres.ask_all("SELECT action_key FROM events WHERE kind = 'late'"))
    states = dict(postgres.ask_all("SELECT key, state FROM actions", columns=2))
    done = {key for key, state in states.items() if state == "succeeded"}
    given_up = {
        key for key, state in states.items() if state in ("abandoned", "failed", "superseded", "compensated")
    }
    under_way = [key for key, state in states.items() if state == "ongoing"]
    never_begun = [key for key, state in states.items() if state == "pending"]
    seen = set(keys)
    # A late call that arrived before the next leader looked was simply found done; the others must be counted.
    unseen_late = {key for key in stale if key in given_up}
    fenced = sum(line["what"] == "fenced" for path in folder.glob("*.log") for line in lines(path))
    ticks = {what: [max(0.0, t.beyond_s) / TICK_S for t in found] for what, found in takeovers.items()}
    with_cpu = {
        what: [max(0.0, t.beyond_s - t.starved_s) / TICK_S for t in found]
        for what, found in takeovers.items()
    }
    return {
        "kills": len(takeovers["kill"]),
        "freezes": len(takeovers["freeze"]),
        "leaders": len(acquired),
        "orders": len(states),
        "effects": len(keys),
        "doubled": len(keys) - len(seen),
        "lost": len(done - seen),  # said done, and the world shows nothing
        "unjournalled": len(seen - set(states)),
        "under_way_at_the_end": len(under_way),  # of the last leader's tick, which is killed with the run
        "never_begun": len(never_begun),  # journalled by a leader that was stopped before it began them
        "late_calls": len(stale),
        "late_counted": len(counted),
        "late_missed": len(unseen_late - counted),
        "given_up_and_done_uncounted": len((given_up & seen) - counted),
        "fenced": fenced,
        "takeover_s": {w: _spread([t.whole_s for t in v]) for w, v in takeovers.items()},
        "ticks_after_lease_and_call_timeout": {w: _spread(v) for w, v in ticks.items()},
        "the_same_without_waits_for_a_cpu": {w: _spread(v) for w, v in with_cpu.items()},
        "settings": {"lease_s": LEASE_S, "call_timeout_s": CALL_TIMEOUT_S, "tick_s": TICK_S},
    }


def _spread(values: list[float]) -> dict[str, float]:
    if not values:
        return {}
    ordered = sorted(values)
    return {
        "median": round(ordered[len(ordered) // 2], 3),
        "p95": round(ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))], 3),
        "most": round(ordered[-1], 3),
    }


def main() -> None:
    if len(sys.argv) > 1 and sys.argv[1] == "--worker":
        _nothing_stale()
        work(sys.argv[2], Path(sys.argv[3]), sys.argv[4])
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--freezes", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    said = parser.parse_args()
    found = measure(said.kills, said.freezes, said.seed)
    if said.json:
        print(json.dumps(found, indent=1))
        return
    for key, value in found.items():
        print(f"{key:36} {value}")


if __name__ == "__main__":
    main()
