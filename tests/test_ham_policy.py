"""The scoring policy: where it starts, what it can never choose, what permuting and padding do to it."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from gymnasium import spaces  # noqa: E402
from stable_baselines3.common.utils import ConstantSchedule  # noqa: E402

from foreshade.agents.ham.network import MASKED, Actor  # noqa: E402
from foreshade.agents.ham.policy import HamPolicy  # noqa: E402
from foreshade.envs.errors import InputError  # noqa: E402
from foreshade.envs.features import Column, Schema  # noqa: E402


def schema_of(k: int, n_candidate: int = 5, n_context: int = 3) -> Schema:
    names = ["preference", *(f"x{i}" for i in range(1, n_candidate))]
    return Schema(
        tuple(Column(f"c{i}", "1", -1, 1, "") for i in range(n_context)),
        tuple(Column(name, "1", -1, 1, "") for name in names),
        k,
    )


SCHEMA = schema_of(16)


def policy_of(schema: Schema = SCHEMA, dtype: type = np.float32, **options) -> HamPolicy:
    torch.manual_seed(1)
    space = spaces.Box(-10, 10, (schema.size,), dtype)
    return HamPolicy(space, spaces.Discrete(schema.k), ConstantSchedule(1e-3), schema=schema, **options)


def observations(n: int, schema: Schema = SCHEMA, seed: int = 0, dtype: type = np.float32) -> np.ndarray:
    """Random ones; half of the rows have preferences that tie or differ in the last bit only."""
    rng = np.random.default_rng(seed)
    flat = rng.normal(0, 2, (n, schema.size)).astype(dtype)
    _, candidates, mask = schema.split(flat)
    base = rng.normal(0, 2, (n // 2, 1)).astype(dtype)
    steps = rng.integers(0, 3, (n // 2, schema.k))
    near = np.where(steps == 0, base, np.nextafter(base, dtype(np.inf)))
    candidates[: n // 2, :, 0] = np.where(steps == 2, np.nextafter(base, dtype(-np.inf)), near)
    mask[:] = rng.random((n, schema.k)) < 0.5
    mask[:, 0] = 1
    return flat


def preferred(flat: np.ndarray, schema: Schema = SCHEMA) -> np.ndarray:
    _, candidates, mask = schema.split(flat)
    return np.where(mask > 0, candidates[:, :, 0], -np.inf).argmax(axis=1)


def trained(policy: HamPolicy) -> HamPolicy:
    """The zero layer away from zero, as after training."""
    torch.nn.init.normal_(policy.scorer.actor.score.weight)
    return policy


@pytest.mark.parametrize("attention", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_untrained_choice_is_the_rules_choice_to_the_last_bit(dtype: type, attention: bool) -> None:
    flat = observations(5000, dtype=dtype)
    chosen, _ = policy_of(dtype=dtype, attention=attention).predict(flat, deterministic=True)
    np.testing.assert_array_equal(chosen, preferred(flat))


@pytest.mark.parametrize("attention", [False, True])
def test_permuting_candidates_permutes_logits_and_keeps_the_value(attention: bool) -> None:
    policy = trained(policy_of(attention=attention))
    flat = observations(64)
    order = np.random.default_rng(3).permutation(SCHEMA.k)
    context, candidates, mask = SCHEMA.split(flat)
    permuted = np.concatenate([context, candidates[:, order].reshape(64, -1), mask[:, order]], axis=1)
    with torch.no_grad():
        first, second = (policy.logits(torch.from_numpy(x)) for x in (flat, permuted))
        values = [policy.predict_values(torch.from_numpy(x)) for x in (flat, permuted)]
    assert (first[:, 1:] != first[:, :-1]).any()
    torch.testing.assert_close(first[:, order], second, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(values[0], values[1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("attention", [False, True])
def test_what_a_masked_candidate_holds_changes_nothing(attention: bool) -> None:
    policy = trained(policy_of(attention=attention))
    flat = observations(64)
    other = flat.copy()
    _, candidates, mask = SCHEMA.split(other)
    candidates[mask == 0] = 7.0
    with torch.no_grad():
        first, second = (policy.logits(torch.from_numpy(x)) for x in (flat, other))
    torch.testing.assert_close(first, second)
    assert (first[torch.from_numpy(mask == 0)] == MASKED).all()


def test_a_masked_candidate_is_never_drawn() -> None:
    policy = trained(policy_of())
    flat = observations(200)
    _, candidates, mask = SCHEMA.split(flat)
    candidates[:, :, 0] = np.where(mask > 0, -10, 10)  # the masked ones look best
    for _ in range(50):
        drawn, _ = policy.predict(flat, deterministic=False)
        assert (mask[np.arange(200), drawn] > 0).all()


def test_draws_follow_the_softmax_of_the_logits() -> None:
    schema = schema_of(4)
    policy = trained(policy_of(schema))
    flat = observations(2, schema)[1:]
    _, _, mask = schema.split(flat)
    mask[:] = [1, 1, 0, 1]
    with torch.no_grad():
        expected = torch.softmax(policy.logits(torch.from_numpy(flat)), dim=1)[0].numpy()
    drawn, _ = policy.predict(np.repeat(flat, 200_000, axis=0), deterministic=False)
    np.testing.assert_allclose(np.bincount(drawn, minlength=4) / 200_000, expected, atol=0.005)


def test_saved_policy_is_read_back_with_its_schema(tmp_path) -> None:
    policy = trained(policy_of(attention=True))
    policy.save(tmp_path / "policy.zip")
    again = HamPolicy.load(tmp_path / "policy.zip")
    flat = torch.from_numpy(observations(32))
    assert again.network == policy.network
    with torch.no_grad():
        torch.testing.assert_close(again.logits(flat), policy.logits(flat))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match=r"observation space: expected \(99,\).*got \(3,\)"):
        HamPolicy(spaces.Box(-1, 1, (3,)), spaces.Discrete(SCHEMA.k), ConstantSchedule(1e-3), schema=SCHEMA)
    with pytest.raises(InputError, match=r"action space: expected Discrete\(16\)"):
        HamPolicy(
            spaces.Box(-1, 1, (SCHEMA.size,)), spaces.Discrete(3), ConstantSchedule(1e-3), schema=SCHEMA
        )
    with pytest.raises(InputError, match=r"temperature: expected a power of two.*0\.3"):
        Actor(SCHEMA, 32, 0.3, attention=False)
