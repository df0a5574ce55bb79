"""Returns and advantages when the discount belongs to ticks: worked by hand, and what must not matter."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from gymnasium import spaces  # noqa: E402

from foreshade.training.buffer import TickRolloutBuffer  # noqa: E402


def filled(
    rewards, discounts, values, last_value, starts=None, done=0.0, bootstrap=None, lam=0.5, dtype=np.float32
):
    """A buffer of one environment; ``bootstrap`` is the value of the terminal observation at each step."""
    n = len(rewards)
    buffer = TickRolloutBuffer(
        n, spaces.Box(-9, 9, (2,), dtype), spaces.Discrete(3), "cpu", gae_lambda=lam, n_envs=1
    )
    starts = starts or [0.0] * n
    bootstrap = bootstrap or [0.0] * n
    for t in range(n):
        one = lambda x: torch.tensor([float(x)])  # noqa: E731
        buffer.add_step(
            torch.full((1, 2), float(t)), torch.tensor([t % 3]), one(rewards[t]), one(discounts[t]),
            one(starts[t]), one(values[t]), one(-1.0), one(bootstrap[t]),
        )  # fmt: skip
    buffer.compute_returns_and_advantage(torch.tensor([float(last_value)]), np.array([done]))
    return buffer


def advantages(buffer):
    return buffer.tensors["advantages"][:, 0].tolist()


def test_advantages_of_two_ticks_by_hand() -> None:
    # A decision that costs 1 and the wait that costs 2; a second wait costs 4. Then the value is -8.
    buffer = filled([-1, -2, -4], [1, 0.9, 0.9], [-10, -9, -11], -8)
    wait_2 = -4 + 0.9 * -8 + 11  # -0.2
    wait_1 = -2 + 0.9 * -11 + 9 + 0.9 * 0.5 * wait_2  # -2.9 - 0.09
    first = -1 + -9 + 10 + wait_1  # the trace does not decay within a tick
    np.testing.assert_allclose(advantages(buffer), [first, wait_1, wait_2], rtol=1e-6)
    np.testing.assert_allclose(
        buffer.tensors["returns"][:, 0], [first - 10, wait_1 - 9, wait_2 - 11], rtol=1e-6
    )


def test_return_is_the_sum_discounted_by_ticks() -> None:
    buffer = filled([-1, -2, -3, -4], [1, 0.9, 1, 0.9], [0, 0, 0, 0], 0, lam=1.0)
    np.testing.assert_allclose(buffer.tensors["returns"][0], -1 - 2 + 0.9 * (-3 - 4), rtol=1e-6)


@pytest.mark.parametrize("lam", [0.0, 0.5, 0.95, 1.0])
def test_inserted_no_ops_change_no_return_and_no_advantage(lam: float) -> None:
    plain = filled([-1, -2, -4], [1, 0.9, 0.9], [-10, -9, -11], -8, lam=lam)
    # Three decisions that do nothing before the first wait: the state, hence its value, stays what it was.
    padded = filled([-1, 0, 0, 0, -2, -4], [1, 1, 1, 1, 0.9, 0.9], [-10, -9, -9, -9, -9, -11], -8, lam=lam)
    kept = np.array(advantages(padded))[[0, 4, 5]]
    np.testing.assert_allclose(kept, advantages(plain), rtol=1e-5, atol=1e-5)
    returns = padded.tensors["returns"][:, 0].numpy()
    if lam == 1.0:  # a no-op's own return is the state's: putting a cost off by no-ops never makes it smaller
        np.testing.assert_allclose(returns[1:4], returns[4], rtol=1e-6)


def test_truncation_adds_the_discounted_value_of_the_terminal_observation() -> None:
    buffer = filled([-2, -3], [0.9, 0.9], [-5, -6], -7, starts=[1, 1], bootstrap=[-20, 0])
    second = -3 + 0.9 * -7 + 6
    first = -2 + 0.9 * -20 + 5  # nothing of the next episode
    np.testing.assert_allclose(advantages(buffer), [first, second], rtol=1e-6)


def test_termination_adds_nothing() -> None:
    buffer = filled([-2, -3], [0.9, 0.9], [-5, -6], -7, starts=[1, 1], done=1.0)
    np.testing.assert_allclose(advantages(buffer), [-2 + 5, -3 + 6], rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_minibatches_hold_every_transition_once_in_the_dtype_of_the_space(dtype: type) -> None:
    buffer = filled(range(6), [1] * 6, range(6), 0, dtype=dtype)
    torch.manual_seed(0)
    batches = list(buffer.get(4))
    assert [len(batch.actions) for batch in batches] == [4, 2]
    assert batches[0].observations.numpy().dtype == dtype
    seen = torch.cat([batch.observations[:, 0] for batch in batches]).tolist()
    assert sorted(seen) == [0, 1, 2, 3, 4, 5]
    assert seen != sorted(seen)
    for batch in batches:  # rows belong together
        torch.testing.assert_close(batch.old_values, batch.observations[:, 0].float())
        torch.testing.assert_close(batch.actions, batch.observations[:, 0].long() % 3)
