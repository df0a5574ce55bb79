"""Bearer tokens: random, shown once, kept as a hash, with a role, scopes and an end.

The text is ``foreshade_ID_SECRET``: the prefix lets secret scanners find a leaked one, ID (16 hex digits) finds its
row without a search, SECRET is 256 random bits. What is kept is SHA-256 of the whole text: a slow hash defends
passwords that people choose, and would only help whoever floods us with guesses of 256 random bits.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from foreshade.adapters.auth.role import Principal, Role, Scope
from foreshade.envs.errors import InputError

PREFIX = "foreshade"
_FORM = re.compile(rf"{PREFIX}_([0-9a-f]{{16}})_([A-Za-z0-9_-]{{43}})")
#: The longest that a token may live: a leaked one ends by itself.
LONGEST = timedelta(days=366)


class DeniedError(Exception):
    """A credential that is not taken; the message is for the log and names no part of the secret."""


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """What is kept of a token."""

    id: str
    name: str  # who holds it, as the audit shows it
    digest: str  # SHA-256 of the whole text, hex
    role: Role
    scopes: frozenset[Scope] | None  # None = all
    created: datetime
    expires: datetime
    revoked: datetime | None = None

    @property
    def principal(self) -> Principal:
        """Who holds it."""
        return Principal(self.name, self.role, self.scopes)


class TokenStore(Protocol):
    """Where records lie. Calls are atomic; each raises ``WorldError`` where the store does not answer."""

    def add(self, record: TokenRecord) -> None:
        """Keep one more; its id is new."""
        ...

    def get(self, token_id: str) -> TokenRecord | None:
        """The record of an id; None = there is none."""
        ...

    def all(self) -> list[TokenRecord]:
        """Every record, revoked and expired ones too, the oldest first."""
        ...

    def revoke(self, token_id: str, when: datetime) -> bool:
        """End it now; False = there is none, or it was revoked before."""
        ...


class MemoryTokens:
    """Tokens of one process; they end with it."""

    def __init__(self) -> None:
        self._records: dict[str, TokenRecord] = {}

    def add(self, record: TokenRecord) -> None:
        """Keep one more."""
        self._records[record.id] = record

    def get(self, token_id: str) -> TokenRecord | None:
        """The record of an id."""
        return self._records.get(token_id)

    def all(self) -> list[TokenRecord]:
        """Every record."""
        return list(self._records.values())

    def revoke(self, token_id: str, when: datetime) -> bool:
        """End it now."""
        record = self._records.get(token_id)
        if record is None or record.revoked is not None:
            return False
        fields = {name: getattr(record, name) for name in TokenRecord.__slots__}
        self._records[token_id] = TokenRecord(**{**fields, "revoked": when})
        return True


def mint(
    name: str,
    role: Role,
    lifetime: timedelta,
    now: datetime,
    scopes: frozenset[Scope] | None = None,
) -> tuple[str, TokenRecord]:
    """A new token: its text, to be shown once, and what is kept.

    Raises:
        InputError: the lifetime is not above 0 and at most ``LONGEST``, or the name is empty or no single line.

    """
    if not timedelta(0) < lifetime <= LONGEST:
        raise InputError(f"token {name}: expected a lifetime above 0 and at most 366 days, found {lifetime}")
    if not name.strip() or not name.isprintable() or len(name) > 100:
        raise InputError(f"token: expected a name of 1 to 100 printable characters, found {name[:100]!r}")
    token_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    text = f"{PREFIX}_{token_id}_{secret}"
    return text, TokenRecord(token_id, name, digest_of(text), role, scopes, now, now + lifetime)


def digest_of(text: str) -> str:
    """What is kept of a token's text."""
    return hashlib.sha256(text.encode()).hexdigest()


def is_token(text: str) -> bool:
    """Whether a bearer credential has the form of our tokens; others are OIDC's."""
    return text.startswith(PREFIX + "_")


def verify(text: str, store: TokenStore, now: datetime) -> Principal:
    """Who holds a token.

    Raises:
        DeniedError: no such token, or it was revoked, or has expired.

    """
    form = _FORM.fullmatch(text)
    record = store.get(form[1]) if form else None
    # Compared also where there is no record, so that an id's existence does not show in the time.
    same = hmac.compare_digest(record.digest if record else digest_of(""), digest_of(text))
    if record is None or not same:
        raise DeniedError("no such token")
    if record.revoked is not None:
        raise DeniedError(f"token {record.id} ({record.name}) was revoked at {_iso(record.revoked)}")
    if now >= record.expires:
        raise DeniedError(f"token {record.id} ({record.name}) expired at {_iso(record.expires)}")
    return record.principal


def _iso(when: datetime) -> str:
    return when.astimezone(UTC).isoformat(timespec="seconds")


_SPAN = re.compile(r"([1-9][0-9]*)([smhd])")
_UNIT = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def span(text: str) -> timedelta:
    """A length of time as people write it: 90s, 15m, 12h, 30d.

    Raises:
        InputError: it is written in another way.

    """
    form = _SPAN.fullmatch(text.strip())
    if form is None or len(form[1]) > 8:
        raise InputError(f"lifetime: expected a time such as 15m, 12h or 30d, found {text!r}")
    return timedelta(**{_UNIT[form[2]]: int(form[1])})


def redact(text: str) -> str:
    """A text without the secrets of our tokens and of bearer headers, for logs and errors."""
    text = _FORM.sub(lambda form: f"{PREFIX}_{form[1]}_…", text)
    return re.sub(r"(?i)(bearer\s+)(?!foreshade_)[A-Za-z0-9._~+/=-]{8,}", r"\1…", text)
