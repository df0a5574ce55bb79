"""The API under load beside a controller of 1,000 hosts and 10,000 VMs: latency, the tick's price, memory.

    python benchmarks/api.py                 # 200 requests/s and 50 streams, phases with and without in turn
    python benchmarks/api.py --rate 50 --streams 10 --ticks 2

The load comes from a process of its own; ticks are timed by the controller's own stopwatch, phases with load and
without alternate in one run, and their medians are compared. On a machine that others use too, the loop's CPU time in
these phases says more than its duration: both are given, and so is the CPU time that a request costs.
"""

from __future__ import annotations

import argparse
import asyncio
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
LISTS = ("/v1/vms", "/v1/hosts", "/v1/applications", "/v1/racks")


class Controller:
    """``foreshade control`` on the big site."""

    def __init__(self, interval_s: float) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="foreshade-api-"))
        site = Path(__file__).with_name("big_site.yaml")
        config = {
            "cluster": "big",
            "state_dir": str(self.folder),
            "mode": "auto",
            "simulated": {
                "scenario": str(site),
                "workload": "generated:enterprise?vms=10000&days=1",
                "acceleration": 300.0 / interval_s,
                "forecast": "online",
            },
            "api": {"port": 0, "rate": {"per_s": 1e6, "burst": 1e6}},
            "log": {"level": "warning"},
        }
        path = self.folder / "control.yaml"
        path.write_text(json.dumps(config))  # JSON is YAML
        command = [sys.executable, "-c", _MAIN, "control", "--config", str(path)]
        self.process = subprocess.Popen(command, stderr=(self.folder / "log").open("wb"))
        self.url, self.token = self._address()

    def _address(self) -> tuple[str, str]:
        for _ in range(3000):
            found = re.search(r"(http://\S+?)/#token=(\S+)", (self.folder / "log").read_text())
            if found:
                return found[1], found[2]
            if self.process.poll() is not None:
                raise SystemExit((self.folder / "log").read_text()[-2000:])
            time.sleep(0.1)
        raise SystemExit("no address within 300 s")

    def get(self, path: str) -> dict:
        headers = {"Authorization": f"Bearer {self.token}"}
        return httpx.get(self.url + path, headers=headers, timeout=60.0).json()

    def wait_ticks(self, count: int) -> tuple[list[float], list[float]]:
        """Durations of the next ticks, and the loop's CPU time from one to the next."""
        seen = self._last()
        durations: list[float] = []
        cpu: list[float] = []
        before = self.cpu_s(loop=True)
        while len(durations) < count:
            time.sleep(0.3)
            for moment in self.get("/v1/history?ticks=20")["items"]:
                if moment["tick"] > seen and moment["hosts_on"] is not None:
                    seen = moment["tick"]
                    durations.append(sum(moment["seconds"].values()))
                    cpu.append(self.cpu_s(loop=True) - before)
                    before += cpu[-1]
        return durations, cpu

    def cpu_s(self, *, loop: bool = False) -> float:
        """CPU time of the process so far, or of the thread that ticks."""
        pid = self.process.pid
        path = Path(f"/proc/{pid}/task/{pid}/stat" if loop else f"/proc/{pid}/stat")
        user, system = path.read_text().rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

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


def load(url: str, token: str, rate: float, streams: int, running, results) -> None:
    """Requests at a steady rate and open streams, until ``running`` is cleared."""

    async def main() -> None:
        headers = {"Authorization": f"Bearer {token}"}
        limits = httpx.Limits(max_connections=400, max_keepalive_connections=400)
        times: list[tuple[str, float, int]] = []
        told = [0]
        async with httpx.AsyncClient(base_url=url, headers=headers, limits=limits, timeout=60.0) as http:
            hosts = (await http.get("/v1/hosts?limit=200")).json()["items"]
            racks = (await http.get("/v1/racks?limit=50")).json()["items"]

            async def one(number: int) -> None:
                path = PATHS[number % len(PATHS)].format(
                    host=hosts[number * 7 % len(hosts)]["name"], rack=racks[number * 3 % len(racks)]["name"]
                )
                begun = time.perf_counter()
                response = await http.get(path)
                times.append((path, time.perf_counter() - begun, response.status_code))

            async def listen() -> None:
                async with http.stream("GET", "/v1/events", timeout=None) as response:
                    async for line in response.aiter_lines():
                        told[0] += line.startswith("id:")

            listeners = [asyncio.ensure_future(listen()) for _ in range(streams)]
            tasks, number, begun = [], 0, time.perf_counter()
            while running.is_set():
                tasks.append(asyncio.ensure_future(one(number)))
                number += 1
                await asyncio.sleep(max(0.0, begun + number / rate - time.perf_counter()))
            await asyncio.gather(*tasks, return_exceptions=True)
            seconds = time.perf_counter() - begun
            for listener in listeners:
                listener.cancel()
            await asyncio.gather(*listeners, return_exceptions=True)
        results.put((times, seconds, told[0]))

    asyncio.run(main())


def measure(rate: float, streams: int, ticks: int, rounds: int, interval_s: float) -> dict:
    """Phases in turn; what they gave."""
    controller = Controller(interval_s)
    try:
        controller.wait_ticks(2)
        phases = {
            False: ([], [], []),
            True: ([], [], []),
        }  # durations, the loop's CPU, the others' CPU a second
        times, seconds, told = [], 0.0, 0
        for loaded in [False, True] * rounds:
            if loaded:
                context = multiprocessing.get_context("spawn")
                running, results = context.Event(), context.Queue()
                running.set()
                worker = context.Process(
                    target=load, args=(controller.url, controller.token, rate, streams, running, results)
                )
                worker.start()
                time.sleep(2.0)
            since, others = time.perf_counter(), controller.cpu_s() - controller.cpu_s(loop=True)
            durations, cpu = controller.wait_ticks(ticks)
            others = controller.cpu_s() - controller.cpu_s(loop=True) - others
            for kept, found in zip(
                phases[loaded], (durations, cpu, [others / (time.perf_counter() - since)]), strict=True
            ):
                kept += found
            if loaded:
                running.clear()
                found, took, heard = results.get(timeout=120.0)
                worker.join()
                times += found
                seconds += took
                told += heard
        without, with_load = phases[False], phases[True]
        request_cpu_s = (statistics.mean(with_load[2]) - statistics.mean(without[2])) / (len(times) / seconds)
        lists = sorted(t for path, t, _ in times if path.split("?")[0] in LISTS)
        every = sorted(t for _, t, _ in times)
        cluster = controller.get("/v1/cluster")
        return {
            "hosts": cluster["hosts"],
            "vms": cluster["vms"],
            "requests": len(times),
            "not_200": sum(status != 200 for _, _, status in times),
            "requests_per_s": round(len(times) / seconds, 1),
            "streams": streams,
            "events_told": told,
            "list_and_filter_ms": _spread(lists),
            "all_requests_ms": _spread(every),
            "request_cpu_ms": round(1000.0 * request_cpu_s, 3),
            "tick_s_without": [round(t, 2) for t in without[0]],
            "tick_s_with_load": [round(t, 2) for t in with_load[0]],
            "tick_ratio_of_medians": round(_median(with_load[0]) / _median(without[0]), 3),
            "tick_cpu_s_without": [round(t, 2) for t in without[1]],
            "tick_cpu_s_with_load": [round(t, 2) for t in with_load[1]],
            "tick_cpu_ratio_of_medians": round(_median(with_load[1]) / _median(without[1]), 3),
            "memory_mib": round(controller.memory_mib(), 1),
            "load_average": os.getloadavg()[0],
        }
    finally:
        controller.stop()


_median = statistics.median


def _spread(ordered: list[float]) -> dict[str, float]:
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
