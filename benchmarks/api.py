"""The API under load beside a controller of 1,000 hosts and 10,000 VMs: latency, the tick's price, memory.

    python benchmarks/api.py                 # 200 requests/s and 50 streams, phases with and without in turn
    python benchmarks/api.py --rate 50 --streams 10 --ticks 2

The load comes from a process of its own; ticks are timed by the controller's own stopwatch, phases with load and
without alternate in one run, and their medians are compared. On a machine that others use too a duration says little:
beside it stand its CPU time, the duration without waits for a CPU, and the CPU time of a request. Latencies are
given once more for the half seconds in which our processes hardly waited for a CPU.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

PATHS = [
    "/v1/vms?limit=100", "/v1/vms?limit=100&state=running&min_contention=0.01", "/v1/vms?limit=50&name=web",
    "/v1/hosts?limit=100", "/v1/hosts?limit=100&min_utilisation=0.3", "/v1/hosts?limit=50&rack={rack}",
    "/v1/vms?limit=100&host={host}", "/v1/applications?limit=50", "/v1/heatmap", "/v1/cluster",
    "/v1/forecasts?kind=host&name={host}", "/v1/racks",
]  # fmt: skip
_MAIN = "from foreshade.adapters.app.cli import main; main()"
BIG = Path(__file__).with_name("big_site.yaml")
CONNECTIONS = 40
CALM = 0.1  # waits for a CPU, of all threads together, in a second
LISTS = ("/v1/vms", "/v1/hosts", "/v1/applications", "/v1/racks")


class Controller:
    """``foreshade control`` on a site, the big one unless told."""

    def __init__(self, interval_s: float, site: Path = BIG, vms: int = 10_000) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="foreshade-api-"))
        config = {
            "cluster": "big",
            "state_dir": str(self.folder),
            "mode": "auto",
            "simulated": {
                "scenario": str(site),
                "workload": f"generated:enterprise?vms={vms}&days=1",
                "acceleration": 300.0 / interval_s,
                "forecast": "online",
            },
            "api": {"port": 0, "rate": {"per_s": 1e6, "burst": 1e6}},
            "log": {"level": "warning"},
        }
        path = self.folder / "control.yaml"
        path.write_text(json.dumps(config))  # JSON is YAML
        command = [sys.executable, "-c", _MAIN, "control", "--config", str(path)]
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(command, stderr=log, start_new_session=True)
        self.url = self._address()
        making = [sys.executable, "-c", _MAIN, "token", "create", "bench", "--role", "admin"]
        made = subprocess.run([*making, "--config", str(path)], stdout=subprocess.PIPE, text=True, check=True)
        self.token = made.stdout.strip()

    def _address(self) -> str:
        for _ in range(3000):
            found = re.search(r"foreshade: (http://\S+?)/ ", (self.folder / "log").read_text())
            if found:
                return found[1]
            if self.process.poll() is not None:
                raise SystemExit((self.folder / "log").read_text()[-2000:])
            time.sleep(0.1)
        raise SystemExit("no address within 300 s")

    def get(self, path: str) -> dict:
        headers = {"Authorization": f"Bearer {self.token}"}
        return httpx.get(self.url + path, headers=headers, timeout=60.0).json()

    def wait_ticks(self, count: int) -> tuple[list[float], list[float], list[float]]:
        """Durations of the next ticks; the loop's CPU time in each; durations without waits for a CPU."""
        seen = self._last()
        durations: list[float] = []
        cpu: list[float] = []
        net: list[float] = []
        before = self.loop_s()
        while len(durations) < count:
            time.sleep(0.3)
            for moment in self.get("/v1/history?ticks=20")["items"]:
                if moment["tick"] > seen and moment["hosts_on"] is not None:
                    seen = moment["tick"]
                    durations.append(sum(moment["seconds"].values()))
                    now = self.loop_s()
                    cpu.append(now[0] - before[0])
                    net.append(durations[-1] - (now[1] - before[1]))
                    before = now
        return durations, cpu, net

    def loop_s(self) -> tuple[float, float]:
        """Seconds that the thread that ticks had a CPU, and that it waited for one."""
        pid = self.process.pid
        had, waited = Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[:2]
        return int(had) / 1e9, int(waited) / 1e9

    def others_s(self) -> float:
        """CPU seconds of all other threads: the API's, for the most part."""
        pid, had = self.process.pid, 0
        for task in Path(f"/proc/{pid}/task").iterdir():
            if task.name != str(pid):
                had += int((task / "schedstat").read_text().split()[0])
        return had / 1e9

    def _last(self) -> int:
        items = self.get("/v1/history?ticks=1")["items"]
        return items[-1]["tick"] if items else -1

    def memory_mib(self) -> float:
        """Resident memory of the process."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024.0

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(30.0)
        except subprocess.TimeoutExpired:
            self.process.kill()


class Client:
    """One connection that is kept; as little of HTTP/1.1 as costs the load's own process little."""

    def __init__(self, host: str, port: int, token: str) -> None:
        self._host, self._port = host, port
        self._head = f"HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"

    async def open(self) -> None:
        self.reader, self._writer = await asyncio.open_connection(self._host, self._port, limit=1 << 22)

    def ask(self, path: str) -> None:
        self._writer.write(f"GET {path} {self._head}".encode())

    async def get(self, path: str) -> tuple[int, bytes]:
        self.ask(path)
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
        return int(head[9:12]), await self.reader.readexactly(length)


class Calm:
    """Half seconds in which neither the served process nor the load's waited much for a CPU that others had."""

    def __init__(self, pid: int) -> None:
        self._pids = (pid, os.getpid())
        self._since, self._waited = time.perf_counter(), self._waits()
        self.spans: list[tuple[float, float]] = []

    def _waits(self) -> int:
        found = 0
        for pid in self._pids:
            for task in Path(f"/proc/{pid}/task").iterdir():
                with contextlib.suppress(OSError):  # it has ended
                    found += int((task / "schedstat").read_text().split()[1])
        return found

    async def watch(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            now, waited = time.perf_counter(), self._waits()
            if waited - self._waited < CALM * 1e9 * (now - self._since):
                self.spans.append((self._since, now))
            self._since, self._waited = now, waited

    def within(self, at: float) -> bool:
        return any(begin <= at < end for begin, end in self.spans)


def load(url: str, token: str, pid: int, rate: float, streams: int, running, results) -> None:
    """Requests at a steady rate and open streams, until ``running`` is cleared."""

    async def main() -> None:
        said = httpx.URL(url)
        times: list[tuple[str, float, int, float]] = []
        told = [0]
        clients = [Client(said.host, said.port, token) for _ in range(CONNECTIONS + streams)]
        for client in clients:
            await client.open()
        free: asyncio.LifoQueue[Client] = asyncio.LifoQueue()
        for client in clients[:CONNECTIONS]:
            free.put_nowait(client)
        hosts = json.loads((await clients[0].get("/v1/hosts?limit=200"))[1])["items"]
        racks = json.loads((await clients[0].get("/v1/racks?limit=50"))[1])["items"]

        async def one(number: int) -> None:
            path = PATHS[number % len(PATHS)].format(
                host=hosts[number * 7 % len(hosts)]["name"], rack=racks[number * 3 % len(racks)]["name"]
            )
            begun = time.perf_counter()  # waiting for a free connection counts
            client = await free.get()
            status, _ = await client.get(path)
            free.put_nowait(client)
            times.append((path, time.perf_counter() - begun, status, begun))

        async def listen(client: Client) -> None:
            client.ask("/v1/events")
            while data := await client.reader.read(1 << 16):
                told[0] += data.count(b"\nevent: ")

        calm = Calm(pid)
        watching = asyncio.ensure_future(calm.watch())
        listeners = [asyncio.ensure_future(listen(client)) for client in clients[CONNECTIONS:]]
        tasks, number, begun = [], 0, time.perf_counter()
        while running.is_set():
            tasks.append(asyncio.ensure_future(one(number)))
            number += 1
            await asyncio.sleep(max(0.0, begun + number / rate - time.perf_counter()))
        await asyncio.gather(*tasks)
        seconds = time.perf_counter() - begun
        for task in [watching, *listeners]:
            task.cancel()
        await asyncio.gather(watching, *listeners, return_exceptions=True)
        found = [(path, took, status, calm.within(at)) for path, took, status, at in times]
        results.put((found, seconds, told[0]))

    asyncio.run(main())


class Phase:
    """What was measured with load, or without."""

    def __init__(self) -> None:
        self.durations: list[float] = []
        self.cpu: list[float] = []
        self.net: list[float] = []
        self._others, self._seconds = 0.0, 0.0

    def add(self, controller: Controller, ticks: int) -> None:
        others, since = controller.others_s(), time.perf_counter()
        found = controller.wait_ticks(ticks)
        for kept, more in zip((self.durations, self.cpu, self.net), found, strict=True):
            kept.extend(more)
        self._others += controller.others_s() - others
        self._seconds += time.perf_counter() - since

    @property
    def api(self) -> float:
        """CPU seconds a second of all threads but the loop's."""
        return self._others / self._seconds


def measure(rate: float, streams: int, ticks: int, rounds: int, interval_s: float) -> dict:
    """Phases in turn; what they gave."""
    controller = Controller(interval_s)
    try:
        controller.wait_ticks(2)
        phases = {False: Phase(), True: Phase()}
        times, seconds, told = [], 0.0, 0
        for loaded in [False, True] * rounds:
            if loaded:
                context = multiprocessing.get_context("spawn")
                running, results = context.Event(), context.Queue()
                running.set()
                said = (controller.url, controller.token, controller.process.pid, rate, streams)
                worker = context.Process(target=load, args=(*said, running, results))
                worker.start()
                time.sleep(2.0)
            phases[loaded].add(controller, ticks)
            if loaded:
                running.clear()
                found, took, heard = results.get(timeout=120.0)
                worker.join()
                times += found
                seconds += took
                told += heard
        without, with_load = phases[False], phases[True]
        lists = [(t, calm) for path, t, _, calm in times if path.split("?")[0] in LISTS]
        cluster = controller.get("/v1/cluster")
        return {
            "hosts": cluster["hosts"],
            "vms": cluster["vms"],
            "requests": len(times),
            "not_200": sum(status != 200 for _, _, status, _ in times),
            "requests_per_s": round(len(times) / seconds, 1),
            "streams": streams,
            "events_told": told,
            "list_and_filter_ms": _spread([t for t, _ in lists]),
            "calm_share": round(sum(calm for _, calm in lists) / len(lists), 2),
            "list_and_filter_ms_while_calm": _spread([t for t, calm in lists if calm]),
            "request_cpu_ms": round(1000.0 * (with_load.api - without.api) / (len(times) / seconds), 3),
            "tick_s": _beside(without.durations, with_load.durations),
            "tick_cpu_s": _beside(without.cpu, with_load.cpu),
            "tick_s_without_waits_for_a_cpu": _beside(without.net, with_load.net),
            "memory_mib": round(controller.memory_mib(), 1),
            "load_average": os.getloadavg()[0],
        }
    finally:
        controller.stop()


def _beside(without: list[float], with_load: list[float]) -> dict:
    return {
        "without": [round(t, 2) for t in without],
        "with_load": [round(t, 2) for t in with_load],
        "ratio_of_medians": round(statistics.median(with_load) / statistics.median(without), 3),
    }


def _spread(values: list[float]) -> dict[str, float]:
    if not values:
        return {}
    ordered = sorted(values)
    at = lambda share: round(1000.0 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2)  # noqa: E731
    return {"median": at(0.5), "p95": at(0.95), "p99": at(0.99), "most": at(1.0)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--streams", type=int, default=50)
    parser.add_argument("--ticks", type=int, default=2, help="in each phase")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--interval", type=float, default=12.0, help="seconds between ticks")
    said = parser.parse_args()
    print(json.dumps(measure(said.rate, said.streams, said.ticks, said.rounds, said.interval), indent=1))


if __name__ == "__main__":
    main()
