"""The vector environments: the same numbers as the single one, and what their users rely on."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

from foreshade.agents.rules.policy import RulesPolicy
from foreshade.envs.batch import Batch
from foreshade.envs.datacenter import DataCenterEnv
from foreshade.envs.errors import ActionError, InputError
from foreshade.envs.gym_vector import DataCenterVectorEnv
from foreshade.envs.registration import ENV_ID
from tests.decision_worlds import ALL, SHORT, random_valid, tiny, world

pytest.importorskip("stable_baselines3")

from stable_baselines3.common.vec_env import VecEnv

from foreshade.envs.vector import DataCenterVecEnv, flat_space

N = 4


@pytest.mark.parametrize("shaping_h", [0.0, 2.0])
@pytest.mark.parametrize("name", ALL)
def test_single_and_vector_agree_bit_for_bit_over_ten_thousand_valid_steps(
    name: str, shaping_h: float
) -> None:
    from dataclasses import replace  # noqa: PLC0415

    said = replace(SHORT, shaping_h=shaping_h)
    steps = 10_000 // N if shaping_h == 0.0 else 500 // N
    vector = DataCenterVecEnv([world(name)], N, decision=said, seed=7)
    singles = [
        gymnasium.wrappers.FlattenObservation(DataCenterEnv(world=world(name), decision=said))
        for _ in range(N)
    ]
    rng = np.random.default_rng(1)
    shown = vector.reset()
    for i, env in enumerate(singles):
        np.testing.assert_array_equal(env.reset(seed=7 + i)[0], shown[i])
    episodes = 0
    for _ in range(steps):
        (masks,) = vector.env_method("action_masks")
        actions = random_valid(rng, masks)
        shown, rewards, dones, infos = vector.step(actions)
        for i, env in enumerate(singles):
            seen, reward, _, truncated, info = env.step(actions[i])
            assert np.float32(reward) == rewards[i]
            assert truncated == dones[i]
            assert np.float32(info["discount"]) == vector.discounts[i]
            assert info["invalid_action"] == bool(vector.invalid[i])
            if truncated:
                np.testing.assert_array_equal(infos[i]["terminal_observation"], seen)
                seen, _ = env.reset()
                episodes += 1
            np.testing.assert_array_equal(seen, shown[i])
    assert episodes > (20 if shaping_h == 0.0 else 0)


def test_a_masked_row_acts_as_wait_and_is_flagged_in_the_vector_too() -> None:
    one, two = (DataCenterVecEnv([tiny()], 2, decision=SHORT, seed=1) for _ in range(2))
    one.reset()
    two.reset()
    masked = np.array([int(np.flatnonzero(~mask)[0]) for mask in one.env_method("action_masks")[0]])
    shown, rewards, *_ = one.step(masked)
    expected, paid, *_ = two.step(np.zeros(2, int))
    np.testing.assert_array_equal(shown, expected)
    np.testing.assert_array_equal(rewards, paid)
    assert one.invalid.tolist() == [1, 1]
    assert two.invalid.tolist() == [0, 0]


@pytest.mark.parametrize("threads", [1, 3])
def test_the_same_seed_gives_the_same_run_whatever_the_threads(threads: int) -> None:
    def play(threads: int) -> list[np.ndarray]:
        env = DataCenterVecEnv([tiny(), world("enterprise")], 5, decision=SHORT, seed=9, threads=threads)
        rows = [env.reset().copy()]
        for _ in range(100):
            shown, rewards, *_ = env.step(env.preferred())
            rows += [shown.copy(), rewards.copy()]
        return rows

    for a, b in zip(play(1), play(threads), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_seed_is_for_the_next_reset_and_then_the_episodes_go_on() -> None:
    env = DataCenterVecEnv([tiny()], 3, decision=SHORT)
    env.seed(5)
    first = env.reset().copy()
    second = env.reset().copy()
    env.seed(6)
    other = env.reset().copy()
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(other[:2], first[1:])


def test_the_observation_before_a_step_is_not_written_over() -> None:
    env = DataCenterVecEnv([tiny()], 2, decision=SHORT)
    before = env.reset()
    kept = before.copy()
    after, *_ = env.step(env.preferred())
    np.testing.assert_array_equal(before, kept)
    assert not np.array_equal(after, kept)


def test_half_precision_holds_the_same_numbers_rounded() -> None:
    full = DataCenterVecEnv([tiny()], 2, decision=SHORT)
    half = DataCenterVecEnv([tiny()], 2, decision=SHORT, dtype=np.float16)
    assert half.observation_space.dtype == np.float16
    np.testing.assert_array_equal(half.reset(), full.reset().astype(np.float16))
    for _ in range(40):
        actions = full.preferred()
        seen, *_, infos = half.step(actions)
        expected, *_, full_infos = full.step(actions)
        assert seen.dtype == np.float16
        np.testing.assert_array_equal(seen, expected.astype(np.float16))
        assert [bool(info) for info in infos] == [bool(info) for info in full_infos]


def test_an_episode_that_ends_is_told_with_its_money_and_its_actions() -> None:
    env = DataCenterVecEnv([tiny()], 2, decision=SHORT)
    env.reset()
    rewards, told = np.zeros(2), None
    while told is None:
        _, paid, dones, infos = env.step(env.preferred())
        rewards += paid
        assert infos[1] is infos[0] or dones.any()
        told = infos[0] if dones[0] else None
    assert set(told) == {"terminal_observation", "TimeLimit.truncated", "episode", "terms", "actions"}
    assert told["TimeLimit.truncated"]
    assert told["episode"]["r"] == pytest.approx(rewards[0], rel=1e-5)
    assert sum(told["actions"].values()) == told["episode"]["l"]
    assert told["terms"]["energy"] > 0


def test_ppo_learns_on_it_and_leaves_the_rewards_alone() -> None:
    from stable_baselines3 import PPO  # noqa: PLC0415

    env = DataCenterVecEnv([tiny()], 4, decision=SHORT)
    assert isinstance(env, VecEnv)
    model = PPO("MlpPolicy", env, n_steps=32, batch_size=64, n_epochs=1, device="cpu", seed=0)
    model.learn(256)
    assert model.num_timesteps == 256


@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")
def test_stable_baselines3_writes_to_no_observation() -> None:
    from stable_baselines3 import PPO  # noqa: PLC0415

    class Guarded(DataCenterVecEnv):
        def guarded(self) -> np.ndarray:
            return self._batch.observations  # those that cannot be written to

        def reset(self) -> np.ndarray:
            super().reset()
            return self.guarded()

        def step_wait(self):
            _, *rest = super().step_wait()
            return self.guarded(), *rest

    model = PPO(
        "MlpPolicy", Guarded([tiny()], 4, decision=SHORT), n_steps=32, n_epochs=1, device="cpu", seed=0
    )
    model.learn(128)
    assert model._last_obs is not None
    assert not model._last_obs.flags.writeable


def test_gymnasium_makes_the_native_vector_environment() -> None:
    env = gymnasium.make_vec(
        ENV_ID, num_envs=3, vectorization_mode="vector_entry_point", worlds=[tiny()], decision=SHORT
    )
    assert isinstance(env.unwrapped, DataCenterVectorEnv)
    flat = DataCenterVecEnv([tiny()], 3, decision=SHORT, seed=4)
    shown = flat.reset()
    seen, _ = env.reset(seed=4)
    with pytest.raises(ValueError, match="read-only"):
        seen["candidates"][0, 0, 0] = 1.0
    ended = 0
    for _ in range(200):
        assert env.observation_space.contains(seen)
        np.testing.assert_array_equal(
            np.concatenate([x.reshape(3, -1) for x in seen.values()], axis=1), shown
        )
        actions = flat.preferred()
        shown, _, dones, infos = flat.step(actions)
        seen, _, terminated, truncated, told = env.step(actions)
        np.testing.assert_array_equal(truncated, dones)
        assert not terminated.any()
        for i in np.flatnonzero(dones):
            last = np.concatenate([x.ravel() for x in told["final_obs"][i].values()])
            np.testing.assert_array_equal(last, infos[i]["terminal_observation"])
            ended += 1
    assert ended > 0


def test_the_flat_space_is_the_flattened_dict_space() -> None:
    env = gymnasium.wrappers.FlattenObservation(DataCenterEnv(world=tiny()))
    assert flat_space(env.unwrapped.schema) == env.observation_space


def test_the_rules_policy_plays_what_is_preferred() -> None:
    vector = DataCenterVecEnv([tiny()], 3, decision=SHORT)
    policy = RulesPolicy(vector.schema)
    shown = vector.reset()
    for _ in range(50):
        actions, _ = policy.predict(shown)
        np.testing.assert_array_equal(actions, vector.preferred())
        shown, *_ = vector.step(actions)
    single = DataCenterEnv(world=tiny(), decision=SHORT)
    seen, _ = single.reset(seed=0)
    for _ in range(50):
        action, _ = policy.predict(seen)
        assert action == single.preferred
        seen, *_, truncated, _ = single.step(action)
        if truncated:
            seen, _ = single.reset()


def test_what_cannot_be_used_is_said_in_one_line() -> None:
    with pytest.raises(InputError, match="expected float32 or float16, got float64"):
        Batch([tiny()], 1, SHORT, dtype=np.float64)
    with pytest.raises(InputError, match="expected at least one environment"):
        DataCenterVecEnv([tiny()], 0)
    env = DataCenterVecEnv([tiny()], 2, decision=SHORT)
    env.reset()
    with pytest.raises(ActionError, match="expected 2 rows from 0 to 63"):
        env.step(np.array([0, 64]))
    with pytest.raises(InputError, match="expected action_masks"):
        env.env_method("render")
