"""The single environment: spaces, seeds, masks, money, and that what it plans the world takes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from foreshade import _core
from foreshade.envs.candidates import CandidateKnobs
from foreshade.envs.datacenter import COST_TERMS, DataCenterEnv
from foreshade.envs.decision import Decision
from foreshade.envs.errors import ActionError, InputError
from foreshade.envs.features import Schema
from foreshade.envs.native_schema import column_table, native_schema
from foreshade.envs.registration import ENV_ID
from foreshade.envs.simulated import SimulatedWorld
from tests import tiny_world
from tests.decision_worlds import ALL, SHORT, random_valid, tiny, world


def choose(rng: np.random.Generator, env: DataCenterEnv) -> np.int64:
    return random_valid(rng, env.action_masks()[None])[0]


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return all(np.array_equal(a[key], b[key]) for key in ("context", "candidates", "mask"))


def test_gymnasium_finds_the_environment_and_its_checker_has_no_complaint() -> None:
    env = gymnasium.make(
        ENV_ID, scenario="enterprise", decision=Decision(candidates=CandidateKnobs(decisions=4))
    )
    check_env(env.unwrapped, skip_render_check=True)
    env.close()


def test_stable_baselines3_has_no_complaint_of_the_flattened_environment() -> None:
    checker = pytest.importorskip("stable_baselines3.common.env_checker")
    checker.check_env(gymnasium.wrappers.FlattenObservation(DataCenterEnv(world=tiny(), decision=SHORT)))


@pytest.mark.parametrize("name", ALL)
def test_everything_chosen_is_taken_by_the_world_and_every_number_is_in_bounds(name: str) -> None:
    env = DataCenterEnv(world=world(name), decision=SHORT)
    rng = np.random.default_rng(5)
    seen, _ = env.reset(seed=11)
    kinds, refused, actions = set(), [], 0
    for _ in range(4_000):
        assert env.observation_space.contains(seen), _outside(env, seen)
        assert env.action_masks()[0]
        assert env.action_masks()[env.preferred]
        index = choose(rng, env)
        kinds.add(env.describe(int(index))["kind"])
        seen, reward, terminated, truncated, info = env.step(index)
        assert np.isfinite(reward)
        assert not terminated
        assert not info["invalid_action"]
        refused += info["refused"]
        actions += len(info["plan"])
        if truncated:
            seen, _ = env.reset()
    assert refused == []
    assert actions > 100
    rare = {"planetlab": {"place", "shrink"}, "bitbrains": {"place", "shrink"}}
    kinds_of_all = {"wait", "place", "migrate", "drain", "power_on", "power_off", "grow", "shrink"}
    assert kinds_of_all - kinds <= rare.get(name, set())


def _outside(env: DataCenterEnv, seen: dict[str, Any]) -> list[str]:
    schema = env.schema
    found = [
        f"{c.name}: {x}"
        for c, x in zip(schema.context, seen["context"], strict=True)
        if not c.low <= x <= c.high
    ]
    for row in seen["candidates"]:
        found += [
            f"{c.name}: {x}" for c, x in zip(schema.candidate, row, strict=True) if not c.low <= x <= c.high
        ]
    return found


def test_no_drain_is_offered_of_a_host_that_holds_only_what_this_tick_put_there() -> None:
    env = DataCenterEnv(world=tiny())
    env.reset(seed=1)
    placed = 0
    for _ in range(3):
        rows = [env.describe(int(i)) for i in np.flatnonzero(env.action_masks())]
        plans = [k for k, row in enumerate(rows) if row["kind"] == "plan"]
        env.step(int(np.flatnonzero(env.action_masks())[plans[-1]]) if plans else 0)
        placed += bool(plans)
        shown = [env.describe(int(i)) for i in np.flatnonzero(env.action_masks())]
        assert all(row["actions"] > 0 for row in shown if row["kind"] == "drain")
        env.step(0)
    assert placed > 0


def test_the_same_seed_gives_the_same_run() -> None:
    runs = []
    for _ in range(2):
        env = DataCenterEnv(world=tiny(), decision=SHORT)
        rng, rows = np.random.default_rng(0), []
        seen, _ = env.reset(seed=3)
        for _ in range(300):
            seen, reward, _, truncated, info = env.step(choose(rng, env))
            rows.append((seen, reward, truncated, info))
            if truncated:
                seen, _ = env.reset()
        runs.append(rows)
    for (a, reward_a, end_a, info_a), (b, reward_b, end_b, info_b) in zip(*runs, strict=True):
        assert same(a, b)
        assert (reward_a, end_a, info_a) == (reward_b, end_b, info_b)


def test_another_seed_gives_another_run_and_the_series_goes_on_without_one() -> None:
    env = DataCenterEnv(world=tiny(), decision=SHORT)
    first, _ = env.reset(seed=3)
    second, _ = env.reset()
    other, _ = env.reset(seed=4)
    again, _ = env.reset(seed=3)
    after, _ = env.reset()
    assert same(first, again)
    assert same(second, after)
    assert not same(first, second)
    assert not same(first, other)


def test_a_masked_row_acts_as_wait_and_is_flagged() -> None:
    one, two = (DataCenterEnv(world=tiny(), decision=SHORT) for _ in range(2))
    one.reset(seed=1)
    two.reset(seed=1)
    masked = int(np.flatnonzero(~one.action_masks())[0])
    seen, reward, _, _, info = one.step(masked)
    expected, paid, _, _, plain = two.step(0)
    assert same(seen, expected)
    assert reward == paid
    assert (info.pop("invalid_action"), plain.pop("invalid_action")) == (True, False)
    assert info == plain


def test_a_tick_is_paid_once_and_in_money() -> None:
    env = DataCenterEnv(world=tiny(), decision=Decision(candidates=CandidateKnobs(decisions=3)))
    env.reset(seed=0)
    rewards, infos = [], []
    for _ in range(3):
        index = int(np.flatnonzero(env.action_masks())[-1])
        _, reward, _, _, info = env.step(index)
        rewards.append(reward)
        infos.append(info)
    assert rewards[:2] == [0.0, 0.0]
    assert [info["discount"] for info in infos] == [1.0, 1.0, 0.99]
    assert [len(info["plan"]) > 0 for info in infos] == [False, False, True]
    assert tuple(infos[2]["terms"]) == COST_TERMS
    idle_usd = 3 * 22.6e-3 * _mean_usd_kwh(env) * 300 / 3600  # three hosts of 22.6 W, not the rented one
    assert rewards[2] == pytest.approx(-sum(infos[2]["terms"].values()) / idle_usd, rel=1e-3)


def _mean_usd_kwh(env: DataCenterEnv) -> float:
    return float(np.mean(env._site.economy.usd_kwh))


def test_it_is_truncated_where_the_workload_ends_and_never_terminated() -> None:
    env = DataCenterEnv(world=tiny())
    env.reset(seed=0, options={"start_tick": 57})
    ends = [env.step(0)[2:4] for _ in range(3)]
    assert ends == [(False, False), (False, False), (False, True)]
    with pytest.raises(ActionError, match="call reset first"):
        env.step(0)


def test_hidden_demand_beyond_what_is_allocated_changes_no_observation() -> None:
    load = [tiny_world.workload([9_800.0, 9_800.0, 9_800.0], memory=8_000.0) for _ in range(2)]
    plain, hidden = (
        DataCenterEnv(world=SimulatedWorld(tiny_world.scenario(3), each), decision=Decision(placed=True))
        for each in load
    )
    rng = np.random.default_rng(0)
    for env in (plain, hidden):
        env.reset(seed=0)
    costs = []
    for step in range(60):
        if step == 5:
            hidden.world._simulator.perturb_hidden_demand(1.5)  # type: ignore[attr-defined]
        index = random_valid(rng, plain.action_masks()[None])[0]
        if plain.describe(int(index))["kind"] not in ("migrate", "drain", "plan", "sleep", "power_on"):
            index = np.int64(0)  # other allocations, and what a new VM holds, would show it
        seen, *_, info = plain.step(index)
        found, *_, more = hidden.step(index)
        assert same(seen, found)
        costs.append((sum(info["terms"].values()), sum(more["terms"].values())))
    assert sum(cost for cost, _ in costs) < sum(cost for _, cost in costs)


@pytest.mark.parametrize("name", ALL)
def test_what_is_booked_is_what_the_world_shows_after_executing(name: str) -> None:
    env = DataCenterEnv(world=world(name), decision=SHORT)
    rng = np.random.default_rng(2)
    env.reset(seed=2)
    checked = 0
    for _ in range(600):
        index = int(choose(rng, env))
        if env.describe(index)["kind"] in ("release", "spawn", "microvm", "shadow", "shift"):
            continue  # those end or begin VMs within the tick
        plan = env._proposer.plan()
        if index == 0 and plan:
            booked = env._state.copy()
            simulator = env.world._simulator  # type: ignore[attr-defined]
            simulator.execute([_core.Action(*action) for action in plan])
            shown = _core.ClusterState()
            simulator.prepare(shown)
            simulator.observe(shown)
            assert np.array_equal(booked.hosts.allocated, shown.hosts.allocated)
            assert np.array_equal(booked.vms.allocation, shown.vms.allocation)
            assert np.array_equal(booked.vms.host, shown.vms.host)
            assert np.array_equal(booked.vms.destination, shown.vms.destination)
            assert np.array_equal(booked.hosts.arriving, shown.hosts.arriving)
            checked += 1
            env.reset()
            continue
        if env.step(index)[3]:
            env.reset()
    assert checked > 20


def test_the_schema_is_a_value_with_bounds_that_survives_json() -> None:
    schema = native_schema(8)
    assert Schema.from_dict(schema.to_dict()) == schema
    assert hash(Schema.from_dict(schema.to_dict())) == hash(schema)
    assert schema != native_schema(9)
    assert all(c.low < c.high for c in (*schema.context, *schema.candidate))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (lambda: Decision(episode_ticks=(5, 2)), "episode_ticks: expected 1 <= least <= most"),
        (lambda: DataCenterEnv("cloudsim"), "expected engine foreshade for an environment, got cloudsim"),
        (lambda: DataCenterEnv(world=tiny(), render_mode="svg"), "expected ansi, rgb_array or human"),
        (lambda: DataCenterEnv(world=tiny()).reset(options={"tick": 3}), "expected start_tick, got 'tick'"),
        (lambda: DataCenterEnv(world=tiny()).reset(options={"start_tick": 60}), "from 0 to 59, got 60"),
        *(
            (
                lambda at=at: DataCenterEnv(world=tiny()).reset(options={"start_tick": at}),
                f"0 to 59, got {at!r}",
            )
            for at in ("a", 1.5, True)
        ),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(asked: Any, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        asked()
    assert "\n" not in str(caught.value)


def test_what_is_no_row_is_refused() -> None:
    env = DataCenterEnv(world=tiny(), decision=SHORT)
    env.reset(seed=0)
    with pytest.raises(ActionError, match="expected a row from 0 to 63, got 64"):
        env.step(64)


def test_text_and_picture_show_every_host_and_the_last_plan() -> None:
    pytest.importorskip("PIL")
    env = DataCenterEnv(world=tiny(), decision=SHORT, render_mode="ansi")
    env.reset(seed=0)
    env.step(env.preferred)
    env.step(0)
    shown = env.render()
    assert [line.split()[2:4] for line in shown.splitlines()[1:-1]] == [["host", str(h)] for h in range(4)]
    assert shown.splitlines()[-1].startswith("last plan: ")
    env.render_mode = "rgb_array"
    frame = env.render()
    assert frame.dtype == np.uint8
    assert frame.ndim == 3
    assert len(np.unique(frame.reshape(-1, 3), axis=0)) > 4
    env.step(0)
    assert not np.array_equal(frame, env.render())


def test_a_window_shows_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "SDL_VIDEODRIVER", "dummy")
    pytest.importorskip("pygame")
    env = DataCenterEnv(world=tiny(), decision=SHORT, render_mode="human")
    env.reset(seed=0)
    env.step(0)
    assert env._window._surface.get_width() == 1000
    env.close()


def test_the_document_shows_the_columns_as_they_are() -> None:
    shown = (Path(__file__).parents[1] / "docs" / "environment.md").read_text(encoding="utf-8")
    schema = native_schema()
    assert column_table(schema.context) in shown
    assert column_table(schema.candidate) in shown
