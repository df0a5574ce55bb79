"""Learning from an expert what each candidate saves against the rules' choice.

Returns of whole episodes drown single decisions: a VM that stands elsewhere changes every later choice. Here a
decision is judged by itself, with everything else alike. The learner plays, the expert says in some of the states
that it comes to what candidates would cost, and the logits are fitted so that their difference to the rules' choice
is what is saved, in rounds, each on everything labelled so far (Ross & Bagnell, *Reinforcement and Imitation Learning
via Interactive No-Regret Learning*, 2014, whose AggreVaTe this is). The loss is Huber's: savings have heavy tails.

Where nothing is known to be saved the rules decide: ``evaluation.least_gains`` are tried on the validation's
episodes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.vec_env.base_vec_env import VecEnv
from torch import Tensor

from foreshade.agents.ham.policy import HamPolicy
from foreshade.envs.errors import InputError
from foreshade.envs.features import F32
from foreshade.training.config import ImitationConfig
from foreshade.training.evaluation import preferred

Progress = Callable[[int, int], None]


class Expert(Protocol):
    """Knows what candidates lead to, at a price."""

    def costs(
        self, env: VecEnv, i: int, flat: F32, rules: int, rng: np.random.Generator
    ) -> tuple[npt.NDArray[np.int64], F32]:
        """Some candidates (m,) of environment ``i``, the rules' choice first, and their costs (m, n_futures).

        ``flat`` (size,) is what the environment shows, which is left as it is.
        """
        ...


@dataclass(frozen=True, slots=True)
class Labelled:
    """States and what some of their candidates save; padded with candidate -1 to the most that a state has."""

    observations: F32  # (n, size)
    candidates: npt.NDArray[np.int64]  # (n, m) the first is the rules' choice
    gains: F32  # (n, m, n_futures) cost of the rules' choice less the candidate's; 0 where padded
    environment: npt.NDArray[np.int64]  # (n,) which of the batch's
    low: F32  # (G + F,) smallest value of each column in all that was shown, the context's first
    high: F32  # (G + F,) largest

    def __len__(self) -> int:
        return len(self.observations)

    def save(self, path: Path) -> None:
        """Write a file whole or not at all."""
        part = path.with_suffix(".part")
        with part.open("wb") as out:
            np.savez_compressed(out, **{field.name: getattr(self, field.name) for field in fields(self)})
        part.replace(path)

    @classmethod
    def load(cls, path: Path) -> Labelled:
        """Read what ``save`` wrote.

        Raises:
            InputError: no such file, or another's.

        """
        try:
            with np.load(path, allow_pickle=False) as said:
                return cls(**{field.name: said[field.name] for field in fields(cls)})
        except (OSError, ValueError, KeyError) as error:
            raise InputError(
                f"{path}: expected labelled states ({error}): remove it to label anew"
            ) from error

    @classmethod
    def together(cls, parts: list[Labelled]) -> Labelled:
        """One after the other."""
        most = max(part.candidates.shape[1] for part in parts)
        return cls(
            np.concatenate([part.observations for part in parts]),
            np.concatenate([_widened(part.candidates, most, -1) for part in parts]),
            np.concatenate([_widened(part.gains, most, 0) for part in parts]),
            np.concatenate([part.environment for part in parts]),
            np.min([part.low for part in parts], axis=0),
            np.max([part.high for part in parts], axis=0),
        )


def _widened(array: npt.NDArray[Any], most: int, value: float) -> npt.NDArray[Any]:
    more = [(0, 0), (0, most - array.shape[1]), *[(0, 0)] * (array.ndim - 2)]
    return np.pad(array, more, constant_values=value)


def label(
    policy: HamPolicy, env: VecEnv, expert: Expert, config: ImitationConfig, seed: int,
    on_progress: Progress | None = None,
) -> Labelled:  # fmt: skip
    """Play, and ask the expert in ``config.states`` states drawn at random.

    Now and then a step takes a candidate at random, so that states beside the way are seen too.
    """
    rng = np.random.default_rng(seed)
    schema = policy.network["schema"]
    rules_of = preferred(schema)
    env.seed(seed)
    observation = np.asarray(env.reset(), np.float32)
    found: list[tuple[F32, npt.NDArray[np.int64], F32, int]] = []
    low, high = policy.range_low.clone(), policy.range_high.clone()
    policy.range_low.fill_(torch.inf)
    policy.range_high.fill_(-torch.inf)
    while len(found) < config.states:
        shown = torch.as_tensor(observation, device=policy.device)
        policy.widen_range(shown)
        rules = rules_of(observation)
        for i in np.flatnonzero(rng.random(env.num_envs) < config.share)[: config.states - len(found)]:
            rows, costs = expert.costs(env, int(i), observation[i], int(rules[i]), rng)
            if len(rows) > 1:
                found.append((observation[i].copy(), rows, costs[0] - costs, int(i)))
                if on_progress is not None:
                    on_progress(len(found), config.states)
        with torch.no_grad():
            chosen = _careful(policy.logits(shown).cpu().numpy(), rules, config.least_gain)
        masks = schema.split(observation)[2] > 0
        for i in np.flatnonzero(rng.random(env.num_envs) < config.stray):
            chosen[i] = rng.choice(np.flatnonzero(masks[i]))
        observation = np.asarray(env.step(chosen)[0], np.float32)
    seen = policy.range_low.cpu().numpy().copy(), policy.range_high.cpu().numpy().copy()
    torch.minimum(policy.range_low, low, out=policy.range_low)
    torch.maximum(policy.range_high, high, out=policy.range_high)
    most = max(len(rows) for _, rows, _, _ in found)
    return Labelled(
        np.stack([flat for flat, *_ in found]),
        np.concatenate([_widened(rows[None], most, -1) for _, rows, _, _ in found]),
        np.concatenate([_widened(gains[None], most, 0) for _, _, gains, _ in found]).astype(np.float32),
        np.array([i for *_, i in found], np.int64),
        *seen,
    )


def _careful(logits: F32, rules: npt.NDArray[np.intp], least_gain: float) -> npt.NDArray[np.intp]:
    best = logits.argmax(axis=1)
    rows = np.arange(len(logits))
    return np.where(logits[rows, best] - logits[rows, rules] > least_gain, best, rules)


def fit(policy: HamPolicy, labelled: Labelled, config: ImitationConfig, seed: int) -> dict[str, float]:
    """Fit the actor, from what it started as, to everything labelled; the critic is left alone.

    A tenth of the states is held back, and the weights that say most about it are kept.

    Returns:
        Mean loss of the states held back, before and after; and the share of their variance that is explained.

    """
    torch.manual_seed(seed)
    actor = policy.scorer.actor
    actor.load_state_dict(policy.start.state_dict())
    optimiser = torch.optim.AdamW(
        actor.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    states = torch.as_tensor(labelled.observations, device=policy.device)
    candidates = torch.as_tensor(labelled.candidates, device=policy.device)
    gains = torch.as_tensor(labelled.gains.mean(axis=2), device=policy.device).clamp(
        -config.most_gain, config.most_gain
    )
    if config.kinds:
        allowed = _of_kinds(policy, states, config.kinds).gather(1, candidates.clamp(min=0))
        gains = torch.where(allowed, gains, -config.unwanted)
    order = torch.randperm(len(states), device=policy.device)
    kept, held = order[len(order) // 10 :], order[: max(1, len(order) // 10)]

    def loss_of(rows: Tensor) -> Tensor:
        known = candidates[rows] >= 0
        logits = policy.logits(states[rows]).gather(1, candidates[rows].clamp(min=0))
        saved = logits - logits[:, :1]
        losses = torch.nn.functional.huber_loss(saved, gains[rows], reduction="none", delta=config.huber)
        known[:, 0] = False  # the rules' choice saves nothing against itself
        return (losses * known).sum() / known.sum().clamp(min=1)

    def judged() -> float:
        with torch.no_grad():
            return float(loss_of(held))

    before = best = judged()
    weights = {name: value.clone() for name, value in actor.state_dict().items()}
    policy.set_training_mode(True)
    for _ in range(config.n_epochs):
        for rows in kept[torch.randperm(len(kept), device=policy.device)].split(config.batch_size):
            loss = loss_of(rows)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(actor.parameters(), 1.0)
            optimiser.step()
        now = judged()
        if now < best:
            best = now
            weights = {name: value.clone() for name, value in actor.state_dict().items()}
    policy.set_training_mode(False)
    actor.load_state_dict(weights)
    return {"loss_before": before, "loss": best, "states": float(len(states))}


def _of_kinds(policy: HamPolicy, states: Tensor, kinds: tuple[str, ...]) -> Tensor:
    """(n, K) whether each candidate is of one of the kinds, by its flags."""
    names = [column.name for column in policy.network["schema"].candidate]
    unknown = [kind for kind in kinds if kind not in names]
    if unknown:
        raise InputError(f"imitation.kinds: expected kinds of candidates, found {', '.join(unknown)}")
    flags = policy.scorer.split(states)[1][:, :, [names.index(kind) for kind in kinds]]
    flagged: Tensor = flags.amax(dim=2) > 0
    return flagged


def learn(
    policy: HamPolicy, env: VecEnv, expert: Expert, config: ImitationConfig, seed: int, folder: Path,
    *, on_round: Callable[[int, dict[str, float]], None] | None = None, on_progress: Progress | None = None,
) -> dict[str, float]:  # fmt: skip
    """All rounds: label, fit. Labels are kept in ``folder``, and a round that is there is not labelled again.

    What a round does follows from the seed and the labels before it alone, so a run that was interrupted goes on
    as if it had not been.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts: list[Labelled] = []
    said: dict[str, float] = {}
    done = config.states * config.rounds

    def progress(round_: int) -> Progress | None:
        if on_progress is None:
            return None
        return lambda now, _: on_progress(round_ * config.states + now, done)

    for round_ in range(config.rounds):
        path = folder / f"round-{round_:03d}.npz"
        if not path.exists():
            label(policy, env, expert, config, seed + round_, progress(round_)).save(path)
        parts.append(Labelled.load(path))
        for ours, theirs, wider in (
            (policy.range_low, parts[-1].low, torch.minimum),
            (policy.range_high, parts[-1].high, torch.maximum),
        ):
            wider(ours, torch.as_tensor(theirs, device=policy.device), out=ours)
        said = fit(policy, Labelled.together(parts), config, seed + round_)
        if on_round is not None:
            on_round(round_, said)
    return said
