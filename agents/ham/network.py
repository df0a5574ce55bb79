"""The networks of HAM: one that scores candidates, one that values a state; both see a set.

Every candidate passes the same layers and meets the others only through a sum (Zaheer et al., *Deep Sets*,
NeurIPS 2017) or, on request, through attention (Lee et al., *Set Transformer*, ICML 2019), so permuting the
candidates permutes their logits and any number of hosts has the same network. With ``e_k`` the encoded
candidate, ``m_k`` its mask and ``c`` the encoded context,

    e_k     = relu(W x_k + b)                                  (+ attention over the unmasked)
    s       = [relu(V c + d) | Σ_k m_k e_k / K]
    logit_k = preference_k / τ + u · relu(A e_k + B s + a)

``u`` is zero at the start: an untrained HAM ranks the candidates as the rules do, to the last bit, because
τ is a power of two and so the division is exact. A masked candidate's logit is ``MASKED``.

This module needs torch; ``frozen_network`` holds the same arithmetic in NumPy.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from foreshade.envs.errors import InputError
from foreshade.envs.features import Schema

#: Logit of a masked candidate: finite, so that 0 x log-probability is 0 and not NaN; its probability is 0.
MASKED = -1e9


class SetAttention(nn.Module):
    """One head of scaled dot-product attention over the unmasked candidates, added to what it reads."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.query = nn.Linear(hidden, hidden, bias=False)
        self.key = nn.Linear(hidden, hidden, bias=False)
        self.value = nn.Linear(hidden, hidden, bias=False)
        self.scale = 1.0 / math.sqrt(hidden)

    def forward(self, encoded: Tensor, mask: Tensor) -> Tensor:
        """(B, K, H) and (B, K) bool to (B, K, H)."""
        weight = self.query(encoded) @ self.key(encoded).transpose(1, 2) * self.scale
        weight = torch.softmax(weight.masked_fill(~mask[:, None, :], MASKED), dim=2)
        attended: Tensor = encoded + weight @ self.value(encoded)
        return attended


class SetEncoder(nn.Module):
    """Encodes each candidate, and sums the unmasked ones up beside the context."""

    def __init__(self, schema: Schema, hidden: int, *, attention: bool) -> None:
        super().__init__()
        self.candidate = nn.Linear(len(schema.candidate), hidden)
        self.context = nn.Linear(len(schema.context), hidden)
        self.attention = SetAttention(hidden) if attention else None

    def forward(self, context: Tensor, candidates: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Encoded candidates (B, K, H) and the summary of the whole set (B, 2 H)."""
        encoded = torch.relu(self.candidate(candidates))
        if self.attention is not None:
            encoded = self.attention(encoded, mask)
        pooled = (encoded * mask[:, :, None]).sum(dim=1) / mask.shape[1]
        return encoded, torch.cat([torch.relu(self.context(context)), pooled], dim=1)


class Actor(nn.Module):
    """Scores candidates; the only network that is exported."""

    def __init__(self, schema: Schema, hidden: int, temperature: float, *, attention: bool) -> None:
        super().__init__()
        if temperature <= 0 or math.frexp(temperature)[0] != 0.5:
            raise InputError(
                f"temperature: expected a power of two, so that dividing by it is exact, got {temperature}"
            )
        self.inverse_temperature = 1.0 / temperature
        self.encoder = SetEncoder(schema, hidden, attention=attention)
        self.joint = nn.Linear(hidden, hidden)
        self.summary = nn.Linear(2 * hidden, hidden, bias=False)
        self.score = nn.Linear(hidden, 1, bias=False)
        nn.init.zeros_(self.score.weight)

    def forward(self, context: Tensor, candidates: Tensor, mask: Tensor) -> Tensor:
        """Logits (B, K)."""
        encoded, summary = self.encoder(context, candidates, mask)
        joint = torch.relu(self.joint(encoded) + self.summary(summary)[:, None, :])
        logits = candidates[:, :, 0] * self.inverse_temperature + self.score(joint).squeeze(2)
        masked: Tensor = logits.masked_fill(~mask, MASKED)
        return masked


class Critic(nn.Module):
    """Values a state, by a set encoder of its own: it can be trained while the actor stands still."""

    def __init__(self, schema: Schema, hidden: int, *, attention: bool) -> None:
        super().__init__()
        self.encoder = SetEncoder(schema, hidden, attention=attention)
        self.joint = nn.Linear(2 * hidden, hidden)

    def forward(self, context: Tensor, candidates: Tensor, mask: Tensor) -> Tensor:
        """What the last, linear layer reads (B, H)."""
        _, summary = self.encoder(context, candidates, mask)
        return torch.relu(self.joint(summary))


class CandidateScorer(nn.Module):
    """Both networks on the flat observation, in the form that stable-baselines3 calls an extractor."""

    def __init__(
        self, schema: Schema, hidden: int = 32, temperature: float = 0.25, *, attention: bool = False
    ) -> None:
        super().__init__()
        self.n_context, self.n_candidate, self.k = len(schema.context), len(schema.candidate), schema.k
        self.actor = Actor(schema, hidden, temperature, attention=attention)
        self.critic = Critic(schema, hidden, attention=attention)
        self.latent_dim_pi = schema.k
        self.latent_dim_vf = hidden

    def split(self, flat: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Context (B, G), candidates (B, K, F) and mask (B, K) bool of flat observations (B, size)."""
        n_rows = self.k * self.n_candidate
        context, rows, mask = flat.split([self.n_context, n_rows, self.k], dim=1)
        return context, rows.reshape(-1, self.k, self.n_candidate), mask > 0

    def forward(self, flat: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, K) and the critic's last hidden layer (B, H)."""
        parts = self.split(flat)
        return self.actor(*parts), self.critic(*parts)

    def forward_actor(self, flat: Tensor) -> Tensor:
        """Logits (B, K)."""
        logits: Tensor = self.actor(*self.split(flat))
        return logits

    def forward_critic(self, flat: Tensor) -> Tensor:
        """The critic's last hidden layer (B, H)."""
        hidden: Tensor = self.critic(*self.split(flat))
        return hidden
