"""HAM as a policy of stable-baselines3: ``PPO(HamPolicy, env, policy_kwargs={"schema": env.schema})``."""

from __future__ import annotations

import copy
from typing import Any, cast

import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import CategoricalDistribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn

from foreshade.agents.ham.network import Actor, CandidateScorer
from foreshade.envs.errors import InputError
from foreshade.envs.features import Schema


class CandidateDistribution(CategoricalDistribution):
    """A categorical distribution that decides on the logits themselves.

    Normalising rounds logits that differ in their last bits to one probability, and then the arg-max is no
    longer the rules'. Drawing by the largest of logit plus Gumbel noise, which is below 17 in float32, can
    never reach a masked candidate.
    """

    logits: Tensor  # (B, K) as the network wrote them

    def proba_distribution_net(self, latent_dim: int) -> nn.Module:
        """Nothing stands between the scores and the logits."""
        del latent_dim
        return nn.Identity()

    def proba_distribution(self, action_logits: Tensor) -> CandidateDistribution:
        """Take the logits (B, K)."""
        self.logits = action_logits
        super().proba_distribution(action_logits)
        return self

    def sample(self) -> Tensor:
        """(B,) drawn candidates."""
        noise = -torch.log(-torch.log(torch.rand_like(self.logits)))
        return torch.argmax(self.logits + noise, dim=1)

    def mode(self) -> Tensor:
        """(B,) best candidates; of equal ones the first."""
        return torch.argmax(self.logits, dim=1)


class HamPolicy(ActorCriticPolicy):
    """Scores candidates and values states; reads the mask out of the flat observation itself.

    Args:
        observation_space: flat, of the schema's size, float32 or float16.
        action_space: Discrete(k).
        lr_schedule: learning rate by the progress that remains.
        schema: of the observation.
        hidden: width of the layers.
        temperature: τ, a power of two, in units of the preference.
        attention: let candidates see each other before they are summed.
        optimizer_class: torch optimiser.
        optimizer_kwargs: its arguments besides the learning rate.

    Raises:
        InputError: a space that is not the schema's.

    """

    range_low: Tensor  # (G + F,) smallest value seen in training, per column; inf before any
    range_high: Tensor  # (G + F,) largest

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        *,
        schema: Schema,
        hidden: int = 32,
        temperature: float = 0.25,
        attention: bool = False,
        optimizer_class: type[torch.optim.Optimizer] = torch.optim.Adam,
        optimizer_kwargs: dict[str, Any] | None = None,
        use_sde: bool = False,
    ) -> None:
        if observation_space.shape != (schema.size,):
            raise InputError(
                f"HAM: observation space: expected ({schema.size},) as the schema has it, "
                f"got {observation_space.shape}"
            )
        if not isinstance(action_space, spaces.Discrete) or action_space.n != schema.k:
            raise InputError(f"HAM: action space: expected Discrete({schema.k}), got {action_space}")
        if use_sde:
            raise InputError("HAM: use_sde: expected False, its actions are discrete")
        self._network: dict[str, Any] = {
            "schema": schema,
            "hidden": hidden,
            "temperature": temperature,
            "attention": attention,
        }
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            ortho_init=False,  # it would overwrite the layer that starts at zero
            optimizer_class=optimizer_class,
            optimizer_kwargs={"eps": 1e-5} if optimizer_kwargs is None else optimizer_kwargs,
        )

    @property
    def network(self) -> dict[str, Any]:
        """How the network is built: schema, hidden, temperature, attention."""
        return dict(self._network)

    @property
    def scorer(self) -> CandidateScorer:
        """The networks."""
        return cast(CandidateScorer, self.mlp_extractor)

    @property
    def start(self) -> Actor:
        """The actor as it was before it was trained: what the KL penalty is to, and what ships at worst."""
        return self.start_actor

    def remember_start(self) -> None:
        """Make the present actor the start."""
        self.start.load_state_dict(self.scorer.actor.state_dict())

    def widen_range(self, observation: Tensor) -> None:
        """Take flat observations (B, size) into the range of each column that was trained on.

        What masked candidates hold is left out. Columns are in the schema's order, the context's first.
        """
        context, candidates, mask = self.scorer.split(observation)
        allowed = candidates[mask]
        low = torch.cat([context.amin(dim=0), allowed.amin(dim=0)]).float()
        high = torch.cat([context.amax(dim=0), allowed.amax(dim=0)]).float()
        torch.minimum(self.range_low, low, out=self.range_low)
        torch.maximum(self.range_high, high, out=self.range_high)

    def logits(self, observation: Tensor) -> Tensor:
        """(B, K) of flat observations (B, size)."""
        return self.scorer.forward_actor(observation.float())

    def _build_mlp_extractor(self) -> None:
        scorer = CandidateScorer(**self._network).to(self.device)
        self.mlp_extractor = scorer  # type: ignore[assignment]
        self.start_actor = copy.deepcopy(scorer.actor).requires_grad_(False)
        n_columns = scorer.n_context + scorer.n_candidate
        self.register_buffer("range_low", torch.full((n_columns,), torch.inf, device=self.device))
        self.register_buffer("range_high", torch.full((n_columns,), -torch.inf, device=self.device))

    def _build(self, lr_schedule: Schedule) -> None:
        self.action_dist = CandidateDistribution(self._network["schema"].k)
        super()._build(lr_schedule)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        kept = ("observation_space", "action_space", "lr_schedule", "optimizer_class", "optimizer_kwargs")
        theirs = super()._get_constructor_parameters()
        return {key: theirs[key] for key in kept} | self._network
