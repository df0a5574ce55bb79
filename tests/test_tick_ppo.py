"""PPO on a decision problem whose optimum is known."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from stable_baselines3 import PPO  # noqa: E402

from foreshade.agents.ham.policy import HamPolicy  # noqa: E402
from foreshade.envs.errors import InputError  # noqa: E402
from foreshade.training.ppo import TickPPO  # noqa: E402
from tests.toy_centre import SCHEMA, ToyCentre  # noqa: E402


def ppo(env: ToyCentre, **options) -> TickPPO:
    torch.set_num_threads(1)
    settings = {"n_steps": 64, "batch_size": 256, "learning_rate": 3e-3, "seed": 0, "device": "cpu"}
    return TickPPO(HamPolicy, env, policy_kwargs={"schema": SCHEMA}, **{**settings, **options})


def excess(model: TickPPO, n: int = 64) -> float:
    """Mean cost above the least, of the arg-max policy on episodes that were not trained on."""
    env = ToyCentre(n)
    env.seed(10_000)
    observation = env.reset()
    over = np.full(n, np.nan)
    while np.isnan(over).any():
        chosen, _ = model.predict(observation, deterministic=True)
        observation, _, dones, infos = env.step(chosen)
        for i in np.flatnonzero(dones & np.isnan(over)):
            over[i] = sum(infos[i]["terms"].values()) - infos[i]["best"]
    assert env.invalid == 0
    return float(over.mean())


def test_learns_what_the_rules_do_not_know() -> None:
    env = ToyCentre(16, dtype=np.float16)
    model = ppo(env, kl_to_start=0.02, critic_warmup=1)
    before = excess(model)
    model.learn(40_000)
    assert env.invalid == 0
    assert excess(model) < 0.15 * before


def test_actor_stands_still_while_the_critic_warms_up() -> None:
    model = ppo(ToyCentre(4), critic_warmup=2)
    start = {k: v.clone() for k, v in model.policy.state_dict().items()}
    model.learn(2 * 256)
    warm = model.policy.state_dict()
    moved = {k for k, v in start.items() if not torch.equal(v, warm[k])}
    assert any(".critic." in k for k in moved)
    assert not any(".actor." in k for k in moved)
    model.learn(256, reset_num_timesteps=False)
    assert not torch.equal(
        model.policy.state_dict()["mlp_extractor.actor.score.weight"],
        start["mlp_extractor.actor.score.weight"],
    )


def test_a_heavy_penalty_keeps_the_actor_at_its_start() -> None:
    distance = {}
    for weight in (0.0, 100.0):
        model = ppo(ToyCentre(8), critic_warmup=0, kl_to_start=weight)
        model.learn(4 * 512)
        observation = torch.from_numpy(ToyCentre(256).reset())
        parts = model.ham.scorer.split(observation)
        with torch.no_grad():
            ours, start = (
                torch.log_softmax(net(*parts), 1) for net in (model.ham.scorer.actor, model.ham.start)
            )
        distance[weight] = float((ours.exp() * (ours - start)).sum(1).mean())
    assert distance[100.0] < 0.2 * distance[0.0]


def test_range_of_training_is_that_of_the_unmasked(monkeypatch: pytest.MonkeyPatch) -> None:
    model = ppo(ToyCentre(4))
    model.learn(256)
    columns = [c.name for c in (*SCHEMA.context, *SCHEMA.candidate)]
    low, high = (
        dict(zip(columns, t.tolist(), strict=True)) for t in (model.ham.range_low, model.ham.range_high)
    )
    observations = model.buffer.flat("observations").numpy()
    _, candidates, mask = SCHEMA.split(observations)
    for i, column in enumerate(SCHEMA.candidate):
        assert low[column.name] == candidates[:, :, i][mask > 0].min()
        assert high[column.name] == candidates[:, :, i][mask > 0].max()
    assert high["jobs left"] == observations[:, 0].max()


def test_model_is_saved_and_goes_on(tmp_path) -> None:
    model = ppo(ToyCentre(4), critic_warmup=0)
    model.learn(256)
    model.save(tmp_path / "model.zip")
    again = TickPPO.load(tmp_path / "model.zip", env=ToyCentre(4), device="cpu")
    observation = ToyCentre(32).reset()
    np.testing.assert_array_equal(
        again.predict(observation, deterministic=True)[0], model.predict(observation, deterministic=True)[0]
    )
    again.learn(256, reset_num_timesteps=False)
    assert again.num_timesteps == 512


def test_stock_ppo_trains_the_same_policy() -> None:
    model = PPO(
        HamPolicy, ToyCentre(4), n_steps=64, batch_size=64, gamma=1.0, policy_kwargs={"schema": SCHEMA},
        device="cpu",
    )  # fmt: skip
    model.learn(256)
    assert model.num_timesteps == 256


def test_what_cannot_be_trained_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"batch_size: expected a divisor of the rollout's 256 decisions, got 100"
    ):
        ppo(ToyCentre(4), batch_size=100)
    env = ToyCentre(2)
    env.discounts = None
    with pytest.raises(InputError, match="expected a vector environment with `discounts`"):
        ppo(env)
