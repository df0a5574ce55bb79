"""Tables of the operators' surface: the audit, tokens, answers by idempotency key, rules and policies, baselines."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, Float, Integer, LargeBinary, String, Table, Text

from foreshade.adapters.store.schema import metadata

audit = Table(
    "audit",
    metadata,
    Column(
        "seq", BigInteger, primary_key=True, autoincrement=False
    ),  # given by the writer: the chain's own number
    Column("time_s", Float(53), nullable=False),
    Column("actor", String(255), nullable=False),
    Column("role", String(16), nullable=False),
    Column("action", String(64), nullable=False, index=True),
    Column("target", Text, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("request", String(64), nullable=False),
    Column("detail", JSON, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("name", String(100), nullable=False),
    Column("digest", String(64), nullable=False),  # SHA-256; the text is nowhere
    Column("role", String(16), nullable=False),
    Column("scopes", JSON(none_as_null=True)),  # null = all
    Column("created_s", Float(53), nullable=False),
    Column("expires_s", Float(53), nullable=False),
    Column("revoked_s", Float(53)),
)

answers = Table(
    "answers",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("begun_s", Float(53), nullable=False, index=True),
    Column("status", Integer, nullable=False),  # 0 = still at work
    Column("media_type", String(100), nullable=False),
    Column("body", LargeBinary, nullable=False),
)

artefacts = Table(
    "artefacts",
    metadata,
    Column("kind", String(16), primary_key=True),  # rules or policy
    Column("name", String(64), primary_key=True),
    Column("sha256", String(64), nullable=False),
    Column("data", LargeBinary, nullable=False),  # YAML, or a zip of a frozen policy's files
    Column("added_s", Float(53), nullable=False),
    Column("added_by", String(255), nullable=False),
    Column("about", JSON, nullable=False),
)

activations = Table(
    "activations",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),  # from 1; the highest is in force
    Column("name", String(64), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("at_s", Float(53), nullable=False),
    Column("by", String(255), nullable=False),
)

calendars = Table(
    "calendars",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("kind", String(16), nullable=False),  # ical or weekly
    Column("text", Text, nullable=False),
    Column("added_s", Float(53), nullable=False),
    Column("added_by", String(255), nullable=False),
)

baselines = Table(
    "baselines",
    metadata,
    Column("cluster", String(128), primary_key=True),
    Column("at_s", Float(53), nullable=False),
    Column("data", LargeBinary, nullable=False),  # zlib of JSON: homes of VMs, hosts that would be on
)
