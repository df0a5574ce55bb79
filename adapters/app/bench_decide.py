"""``foreshade bench decide``: decisions per second of the native environments.

The plant is that of ``bench step``, with every kind of action allowed. A tick is as many decisions as asked
for, the last of them ``wait``: what the rules take, whole plans and drains included, and where they would wait
earlier the candidate of one action that they mind least; where there is none, ``wait`` comes earlier.
Measured twice: with the candidates that environments have by default, and with single candidates alone; each over
whole episodes, resets and the dear first ticks of the layout included, as a training run plays them.
What a whole tick takes, the world's part included, stands beside it: the median and the longest of all, with
forecasts in the state where asked for.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from foreshade import _core
from foreshade.adapters.app.bench_step import TICKS, bench_plant
from foreshade.envs.candidates import DEFAULT, CandidateKnobs
from foreshade.envs.decision import Decision
from foreshade.envs.forecast.table import known_forecast
from foreshade.envs.model.action import ActionKind
from foreshade.envs.native_schema import native_schema
from foreshade.envs.site import native_site, site_of_data_centre

EPISODE_TICKS = TICKS // 2  # so that one can begin anywhere in the first half of the demand
WARM_UP_TICKS = 3  # of the shares
#: Column of log2(1 + actions): 1 of a candidate of one action.
ACTIONS = [name for name, *_ in _core.candidate_columns()].index("actions")


def measure(
    hosts: int,
    vms: int,
    envs: int,
    threads: int,
    k: int,
    decisions: int,
    seconds: float,
    forecast: str = "none",
) -> dict[str, float | str]:
    """Decisions per second, and each part's share of a tick with single candidates.

    ``decisions_per_s`` is over as many ticks as whole episodes have, at least one in every environment, and as many
    more as ``seconds`` ask for (half of them for each of the two); the median and the best of the rounds in which
    each environment plays about a tick stand beside it. Environments take their ticks in different numbers of
    decisions: what those that are ahead begin of the next episode counts in the place of what others have left.
    CPU time, or wall time with several threads; choosing among the candidates falls outside the clock. The
    shares are of single environments whose parts are called one by one, in the same process.

    Raises:
        InputError: an unknown forecast.

    """
    kind = known_forecast(forecast)
    plant, spec = bench_plant(hosts, vms, 0.0, list(range(len(ActionKind))), forecast=kind)
    site = native_site(site_of_data_centre(spec, frozenset(ActionKind), TICKS, np.zeros(vms, np.float32)))
    default = Decision(
        candidates=DEFAULT.model_copy(update={"k": k, "decisions": decisions}),
        random_start=True,
        placed=True,
        episode_ticks=(EPISODE_TICKS, EPISODE_TICKS),
    )
    singles = replace(default, candidates=CandidateKnobs(k=k, decisions=decisions, plans=()))
    told: dict[str, float | str] = {
        "hosts": hosts,
        "vms": vms,
        "envs": envs,
        "threads": threads,
        "k": k,
        "decisions_per_tick": decisions,
        "episode_ticks": EPISODE_TICKS,
        "forecast": kind,
    }
    for name, said in (("", default), ("_singles", singles)):
        rates, overall, a_tick, lasted, episodes = _rates(plant, site, said, envs, threads, seconds / 2)
        told[f"episodes{name}"] = episodes
        told[f"decisions_per_s{name}"] = overall
        told[f"median_decisions_per_s{name}"] = float(np.median(rates))
        told[f"best_decisions_per_s{name}"] = max(rates)
        told[f"decisions_per_tick_played{name}"] = a_tick
        told[f"median_tick_ms{name}"] = 1e3 * float(np.median(lasted))
        told[f"longest_tick_ms{name}"] = 1e3 * max(lasted)
    shares = _shares(plant, site, singles, min(envs, 64))
    return told | {f"share_{part}_singles": share for part, share in shares.items()}


def _rates(
    plant: _core.Plant, site: _core.Site, said: Decision, envs: int, threads: int, seconds: float
) -> tuple[list[float], float, float, list[float], int]:
    """Decisions per second of each round and of all together, decisions per tick, seconds of a tick in each round.

    And how many whole episodes' ticks that were.
    """
    decisions = said.candidates.decisions
    batch = _core.DecisionBatch(
        (plant,), (site,), said.candidates.native(), said.episode_knobs(), envs, 0, threads
    )
    schema = native_schema(said.k)
    shown = tuple(np.zeros((envs, schema.size), np.float32) for _ in range(2))
    batch.keep(shown)
    rewards, discounts = np.zeros((2, envs), np.float32)
    dones, invalid = np.zeros((2, envs), np.uint8)
    clock = time.perf_counter if threads > 1 else time.process_time
    begin = clock()
    batch.reset(shown[0])
    took = clock() - begin  # of the first round; later resets are part of a step
    spent, done, ticks, step, made = 0.0, 0, 0, 0, np.zeros(envs, np.int64)
    rates: list[float] = []
    lasted: list[float] = []
    episodes = envs
    while ticks < episodes * EPISODE_TICKS:
        decided, before = 0, ticks
        while ticks - before < envs:  # a round is as many ticks as there are environments
            _, rows, mask = schema.split(shown[step % 2])
            actions = best_beside_wait(rows, mask, made < decisions - 1)
            step += 1
            begin = clock()
            batch.step(actions, shown[step % 2], None, rewards, discounts, dones, invalid)
            took += clock() - begin
            decided += envs
            ticked = discounts < 1.0
            made = np.where(ticked, 0, made + 1)
            ticks += int(ticked.sum())
        lasted.append(took / (ticks - before))
        rates.append(decided / took)
        spent += took
        done += decided
        took = 0.0
        if ticks >= episodes * EPISODE_TICKS and spent < seconds:
            episodes += envs
    return rates, done / spent, done / ticks, lasted, episodes


def best_beside_wait(
    rows: npt.NDArray[np.float32], mask: npt.NDArray[np.float32], may: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int64]:
    """Row of the rules' choice in each environment, where they wait the best of one action, else ``wait``."""
    preference, actions = rows[..., 0], rows[..., ACTIONS]
    liked = np.where((mask > 0.0) & ((preference > 0.0) | (actions == 1.0)), preference, -np.inf)
    liked[:, 0] = -np.inf
    best = liked.argmax(axis=1)
    return np.where(may & np.isfinite(liked[np.arange(len(liked)), best]), best, 0).astype(np.int64)


def _shares(
    plant: _core.Plant, site: _core.Site, said: Decision, envs: int, ticks: int = 8
) -> dict[str, float]:
    """Of a tick's time: playing it, observing it, proposing at its start, booking choices, writing rows."""
    schema = native_schema(said.k)
    row = np.zeros((1, schema.size), np.float32)
    spent: Counter[str] = Counter()

    def timed(part: str, call: object, *given: object) -> None:
        begin = time.perf_counter()
        call(*given)  # type: ignore[operator]
        spent[part] += time.perf_counter() - begin  # type: ignore[assignment]

    stages = []
    for env in range(envs):
        simulator, state = _core.Simulator(plant, env), _core.ClusterState()
        simulator.reset(env, env * 131 % (TICKS // 2))
        simulator.schedule()
        simulator.prepare(state)
        stages.append((simulator, state, _core.Proposer(site, said.candidates.native())))
    for tick in range(ticks + WARM_UP_TICKS):
        if tick == WARM_UP_TICKS:
            spent.clear()
        for simulator, state, proposer in stages:
            timed("observe", simulator.observe, state)
            timed("propose", proposer.observe, state)
            timed("write", proposer.write, row[0])
            for _ in range(said.candidates.decisions - 1):
                _, rows, mask = schema.split(row)
                index = int(best_beside_wait(rows, mask, np.ones(1, bool))[0])
                if index == 0:
                    break
                timed("choose", proposer.choose, index)
                timed("write", proposer.write, row[0])
            simulator.execute([_core.Action(*action) for action in proposer.plan()])
            timed("simulate", simulator.advance)
    total = sum(spent.values())
    return {part: spent[part] / total for part in ("simulate", "observe", "propose", "choose", "write")}
