"""Plays scenarios with agents, one process per job, and gathers the results."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

from foreshade.adapters.app.results import RunResult
from foreshade.agents.baselines.registry import AgentFiles, make_agent
from foreshade.agents.cloudsim_episode import play_cloudsim
from foreshade.agents.episode import play
from foreshade.agents.rules.rules import Decider
from foreshade.envs.data_centre import cut
from foreshade.envs.errors import InputError
from foreshade.envs.forecast.cache import LIMIT_VARIABLE, cache_folder, cache_limit_bytes
from foreshade.envs.forecast.event import ScheduledEvent
from foreshade.envs.forecast.table import (
    Forecast,
    known_forecast,
    precompute,
    table_bytes,
    table_files,
)
from foreshade.envs.scenarios.schema import Scenario
from foreshade.envs.scenarios.what_if import WhatIf
from foreshade.envs.simulated import SimulatedWorld
from foreshade.envs.workloads.of_scenario import Loaded, workload_of
from foreshade.envs.workloads.planetlab import PercentDay
from foreshade.envs.workloads.selection import OUTSIDE_WINDOW

Progress = Callable[[int, int], None]  # ticks played of ticks asked for
Say = Callable[[str], None]  # one line for the person at the screen


@dataclass(frozen=True, slots=True)
class Job:
    """One run: an agent with a seed."""

    agent: str
    seed: int
    anomalies: bool = False  # whether detectors run beside the world
    files: AgentFiles | None = None  # that it is made from; None = those of the package


def evaluate(
    scenario: Scenario,
    workload_spec: str | None,
    agents: Sequence[str],
    seeds: Sequence[int],
    jobs: int,
    on_progress: Progress,
    *,
    anomalies: bool = False,
    forecast: str | None = None,
    files: AgentFiles | None = None,
    say: Say = lambda _: None,
    changed: WhatIf | None = None,
    events: Sequence[ScheduledEvent] | None = None,
) -> list[RunResult]:
    """Play every agent with every seed; results in the order of seeds, then agents.

    Args:
        scenario: what to play; its engine decides the physics.
        workload_spec: instead of the scenario's own workload; None = the scenario's.
        agents: labels as on the command line.
        seeds: of failures, of generated workloads and of samples.
        jobs: processes; 1 plays in this one.
        on_progress: told the ticks played and the ticks to play, from this process.
        anomalies: run anomaly detectors beside the world and show agents what they say.
        files: that agents are made from; None = those of the package.
        forecast: none, table or online; None = table where the scenario's engine shows forecasts.
        say: told once where a table is made first, which takes time.
        changed: a what-if of ``scenario``; every run is then played again under it, after the others.
        events: that people announced, beside those of the workload; tables of forecasts know them.

    Raises:
        InputError: an agent is unknown or its file does not verify, the workload or its forecasts cannot be
            had, or the engine has no detectors.

    """
    for label in agents:
        make_agent(label, files)  # a wrong label or file is found before any workload is read
        if agents.count(label) > 1:
            raise InputError(f"--agent: expected each agent once, found {label} again")
    if files is not None:
        files.check(agents)
    if jobs < 1:
        raise InputError(f"--jobs: expected at least 1, found {jobs}")
    if anomalies and scenario.engine == "cloudsim":
        raise InputError("--anomalies: expected the engine foreshade, found cloudsim")
    shown = forecast_of(scenario, forecast)
    if events and shown != "table":
        raise InputError(f"--events: expected forecasts from a table, which know of events, found {shown}")
    workloads = workloads_of(scenario, workload_spec, seeds)
    for line in dict.fromkeys(filter(None, map(_left_out, workloads.values()))):
        say(line)
    if events:
        workloads = {seed: _told(loaded, events) for seed, loaded in workloads.items()}
    runs = [Job(agent, seed, anomalies, files) for seed in seeds for agent in agents]
    if changed is None:
        return play_jobs(scenario, workloads, runs, shown, jobs, on_progress, say)
    plain = play_jobs(scenario, workloads, runs, shown, jobs, lambda k, n: on_progress(k, 2 * n), say)
    other = play_jobs(
        changed.scenario,
        _changed_workloads(workloads, changed),
        runs,
        shown,
        jobs,
        lambda k, n: on_progress(n + k, 2 * n),
        say,
    )
    return plain + [replace(result, what_if=changed.said) for result in other]


def play_jobs(
    scenario: Scenario,
    workloads: Mapping[int, Loaded],
    runs: Sequence[Job],
    shown: Forecast,
    jobs: int,
    on_progress: Progress,
    say: Say,
) -> list[RunResult]:
    """Play every run on the workload of its seed, in so many processes; results in the same order."""
    if shown == "table":
        make_tables(scenario, workloads, on_progress, say)
    total = sum(_ticks(scenario, workloads[run.seed]) for run in runs)
    if jobs == 1 or len(runs) == 1:
        played = 0
        results = []
        for run in runs:
            before = played

            def tick(k: int, before: int = before) -> None:
                on_progress(before + k, total)

            results.append(_run(scenario, workloads[run.seed], run, shown, tick))
            played += _ticks(scenario, workloads[run.seed])
            on_progress(played, total)
        return results
    return _run_in_processes(scenario, workloads, runs, shown, min(jobs, len(runs)), on_progress, total)


def workloads_of(scenario: Scenario, spec: str | None, seeds: Sequence[int]) -> dict[int, Loaded]:
    """The workload of each seed; one that no seed changes is read once."""
    first = workload_of(scenario, spec, seeds[0])
    found = {seeds[0]: first}
    for seed in seeds[1:]:
        found[seed] = workload_of(scenario, spec, seed) if first.seeded else first
    return found


def _left_out(loaded: Loaded) -> str:
    """The VMs that were not asked to be left out and are all the same, in a line; empty if there are none."""
    counts = {} if isinstance(loaded.played, PercentDay) else loaded.played.defects
    why = {
        kind.removeprefix("dropped_").replace("_", " "): count
        for kind, count in counts.items()
        if kind.startswith("dropped_") and kind != OUTSIDE_WINDOW
    }
    listed = ", ".join(f"{count:,} {reason}" for reason, count in why.items())
    return f"workload: {loaded.spec}: left out: {listed}" if why else ""


def _told(loaded: Loaded, events: Sequence[ScheduledEvent]) -> Loaded:
    """The workload with further events that are known of it."""
    if isinstance(loaded.played, PercentDay):
        return loaded
    return replace(loaded, played=replace(loaded.played, events=(*loaded.played.events, *events)))


def _changed_workloads(workloads: Mapping[int, Loaded], changed: WhatIf) -> dict[int, Loaded]:
    """What the changed world plays; one that all seeds share stays one."""
    by_id = {
        id(loaded): loaded
        if isinstance(loaded.played, PercentDay)
        else replace(loaded, played=changed.workload(loaded.played))
        for loaded in workloads.values()
    }
    return {seed: by_id[id(loaded)] for seed, loaded in workloads.items()}


def forecast_of(scenario: Scenario, said: str | None) -> Forecast:
    """What the state will show, from the command line's word or by default.

    Raises:
        InputError: an unknown word, or the scenario's engine shows no forecasts.

    """
    able = scenario.engine != "cloudsim"
    if said is None:
        return "table" if able else "none"
    known = known_forecast(said)
    if known != "none" and not able:
        raise InputError(f"--forecast {said}: scenario {scenario.name} shows no forecasts, expected none")
    return known


def make_tables(scenario: Scenario, workloads: Mapping[int, Loaded], on_progress: Progress, say: Say) -> None:
    """Make the tables that the cache does not have, before the runs that share them begin."""
    asked = [
        (loaded.spec, loaded.played, cut(loaded.played, scenario.n_ticks))
        for loaded in {id(loaded): loaded for loaded in workloads.values()}.values()
        if not isinstance(loaded.played, PercentDay)
    ]
    sizes = [table_bytes(played, n_ticks) for _, played, n_ticks in asked]
    limit = cache_limit_bytes()
    if sizes and max(sizes) <= limit < sum(sizes):
        say(
            f"forecasts: the {len(sizes)} tables of these runs take {sum(sizes) / 2**30:.3g} GiB together, and"
            f" {LIMIT_VARIABLE} leaves them {limit / 2**30:.3g}: those made first are made again when they are played"
        )
    for spec, played, n_ticks in asked:
        if table_files(played, n_ticks, cache_folder()).exist(quantiles=True):
            continue
        say(
            f"forecasts: making the table of {spec} once, {n_ticks} ticks of {played.n_series} series,"
            f" {table_bytes(played, n_ticks) / 1e6:.0f} MB in {cache_folder()}; --forecast none goes without"
        )
        precompute(played, n_ticks, cache_folder(), on_tick=on_progress)


def _ticks(scenario: Scenario, loaded: Loaded) -> int:
    return min(scenario.n_ticks or loaded.played.n_ticks, loaded.played.n_ticks)


def _run(
    scenario: Scenario, loaded: Loaded, job: Job, forecast: Forecast, on_tick: Callable[[int], None]
) -> RunResult:
    agent = make_agent(job.agent, job.files)
    played = loaded.played
    wall = time.perf_counter()
    if isinstance(played, PercentDay):
        cpu = time.process_time()
        metrics, n_hosts = play_cloudsim(scenario, played, agent, job.seed, on_tick)
        n_vms = len(played.names)
    else:
        world = SimulatedWorld(
            scenario,
            played,
            job.seed,
            power_managed=agent.power_managed,
            anomalies=job.anomalies,
            forecast=forecast,
        )
        cpu = time.process_time()
        metrics = play(world, agent, job.seed, on_tick)
        n_vms = len(played.vms)
        n_hosts = scenario.n_hosts + scenario.n_rented
    return RunResult(
        agent=job.agent,
        scenario=scenario.name,
        variant=scenario.variant,
        workload=loaded.spec,
        seed=job.seed,
        hosts=n_hosts,
        vms=n_vms,
        cpu_s=time.process_time() - cpu,
        wall_s=time.perf_counter() - wall,
        metrics=metrics,
        start=scenario.start,
        forecast=forecast,
        decisions=replace(agent.tally.summary(), outcomes=agent.outcomes)
        if isinstance(agent, Decider)
        else None,
        components=tuple(m.name for m in agent.managers) if isinstance(agent, Decider) else (),
    )


class _Worker:
    """What a worker process reads once: scenario and workloads, and the counter of ticks it adds to."""

    scenario: Scenario
    workloads: Mapping[int, Loaded]
    forecast: Forecast
    ticks: Synchronized[int]


def _start_worker(path: str, ticks: Synchronized[int]) -> None:
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # a terminal's Ctrl-C reaches all: the parent ends its workers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with Path(path).open("rb") as file:
        held = pickle.load(file)  # noqa: S301  written by the parent just now
    _Worker.scenario, _Worker.workloads, _Worker.forecast = held
    _Worker.ticks = ticks


def _end_with_parent() -> None:
    """End this worker when its parent is gone, killed before it could: nobody would read its results."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(job: Job) -> RunResult:
    def tick(_: int) -> None:
        with _Worker.ticks.get_lock():
            _Worker.ticks.value += 1

    return _run(_Worker.scenario, _Worker.workloads[job.seed], job, _Worker.forecast, tick)


def _run_in_processes(
    scenario: Scenario,
    workloads: Mapping[int, Loaded],
    runs: Sequence[Job],
    forecast: Forecast,
    jobs: int,
    on_progress: Progress,
    total: int,
) -> list[RunResult]:
    # spawn, not fork: the parent's reader threads would leave locks held in a forked child.
    context = multiprocessing.get_context("spawn")
    ticks = context.Value("q", 0)
    with tempfile.TemporaryDirectory(prefix="foreshade-") as folder:
        path = Path(folder) / "workloads.pickle"
        path.write_bytes(pickle.dumps((scenario, workloads, forecast), protocol=5))
        others = multiprocessing.active_children()
        pool = ProcessPoolExecutor(jobs, context, _start_worker, (str(path), ticks))
        try:
            futures = [pool.submit(_work, run) for run in runs]
            waiting = set(futures)
            while waiting:
                done, waiting = wait(waiting, timeout=0.2)
                on_progress(ticks.value, total)
                for future in done:
                    future.result()
            return [future.result() for future in futures]
        except (
            BaseException
        ):  # an error or Ctrl-C ends it at once: the pool would play all that is left first
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in multiprocessing.active_children():
                if worker not in others:
                    worker.terminate()
            raise
        finally:
            pool.shutdown()
