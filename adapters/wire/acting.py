"""What people send when they act, and what they see of tokens, audit, rules, policies and webhooks."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from foreshade.adapters.wire.value import Reason, Request, Value

RoleName = Literal["viewer", "operator", "admin"]
ScopeName = Literal[
    "inventory", "forecasts", "plans", "maintenance", "rules", "audit", "events", "metrics", "tokens"
]
ModeName = Literal["observe", "advise", "auto"]


class Why(Request):
    """Body of what acts on one thing."""

    reason: Reason = ""
    dry_run: bool = False  # say what would be done, and do nothing


class ModeChange(Request):
    """How far the controller shall go by itself."""

    mode: ModeName
    reason: Reason = ""
    dry_run: bool = False


class TokenRequest(Request):
    """A token to be made."""

    name: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
    role: RoleName
    lifetime: Annotated[str, Field(pattern=r"^[1-9][0-9]{0,6}[smhd]$")] = "30d"  # 15m, 12h, 30d; at most 366d
    scopes: Annotated[list[ScopeName] | None, Field(min_length=1)] = None  # null = all


class TokenView(Value):
    """A token without its secret."""

    id: str
    name: str
    role: RoleName
    scopes: tuple[str, ...] | None
    created: datetime
    expires: datetime
    revoked: datetime | None


class TokenMade(Value):
    """A new token; its text is shown this once."""

    token: str
    record: TokenView


class Whoami(Value):
    """Who asks."""

    name: str
    role: RoleName
    scopes: tuple[str, ...] | None
    by: str


class AuditEntry(Value):
    """One entry of the audit."""

    seq: int
    time: datetime
    actor: str
    role: str
    action: str
    target: str
    outcome: str
    request: str
    detail: Mapping[str, Any]
    previous: str
    hash: str


class AuditVerdict(Value):
    """What a verification of the whole chain came to."""

    whole: bool
    entries: int
    head: str
    error: str


class ArtefactView(Value):
    """Rules or a policy that can be activated."""

    name: str
    sha256: str
    added: datetime | None
    added_by: str
    active: bool
    about: Mapping[str, Any]


class ActivationView(Value):
    """What was put in force."""

    number: int
    name: str
    sha256: str
    at: datetime
    by: str


class Verified(Value):
    """What a verification of rules or of a policy found."""

    name: str
    verified: bool
    error: str
    about: Mapping[str, Any]


class WebhookView(Value):
    """A receiver of events and how it fares; its secret is nowhere to be read."""

    name: str
    url: str
    events: tuple[str, ...]
    sent: int
    given_up: int
    waiting: int
    last_error: str
