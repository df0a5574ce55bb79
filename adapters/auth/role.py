"""Roles and scopes: what a caller may do, and on which part of the surface."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum


class Role(IntEnum):
    """A higher role may do all that a lower one may."""

    VIEWER = 1  # sees everything but secrets
    OPERATOR = 2  # also approves, cancels, applies, pauses, drains, plans maintenance
    ADMIN = 3  # also rules, policies, tokens, webhooks, the mode, reads the audit

    @property
    def word(self) -> str:
        """As written in tokens, claims and configuration."""
        return self.name.lower()

    @classmethod
    def of(cls, word: str) -> Role:
        """The role of a word.

        Raises:
            ValueError: there is none.

        """
        for role in cls:
            if role.word == word:
                return role
        raise ValueError(f"expected a role of {', '.join(role.word for role in cls)}, found {word!r}")


class Scope(StrEnum):
    """A part of the surface; a token can be held to some of them."""

    INVENTORY = "inventory"  # clusters, racks, hosts, VMs, applications, templates, rental
    FORECASTS = "forecasts"  # forecasts, anomalies, hazards, profiles, history
    PLANS = "plans"  # candidates, explanations, plans, shadows, mode, pause
    MAINTENANCE = "maintenance"
    RULES = "rules"  # rules and policies
    AUDIT = "audit"
    EVENTS = "events"  # the stream and webhooks
    METRICS = "metrics"
    TOKENS = "tokens"

    @classmethod
    def of(cls, word: str) -> Scope:
        """The scope of a word.

        Raises:
            ValueError: there is none.

        """
        if word not in list(cls):
            raise ValueError(f"expected scopes of {', '.join(cls)}, found {word!r}")
        return cls(word)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks."""

    name: str  # of the token, or subject of the OIDC token
    role: Role
    scopes: frozenset[Scope] | None = None  # None = all
    by: str = "token"  # or "oidc"

    def may(self, role: Role, scope: Scope) -> bool:
        """Whether a route that wants ``role`` and belongs to ``scope`` is open to them."""
        return self.role >= role and (self.scopes is None or scope in self.scopes)
