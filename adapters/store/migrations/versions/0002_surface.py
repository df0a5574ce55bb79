"""Schema 2: what the operators' surface keeps.

The audit of schema 1 was never written to by any release; it makes room for the one that is chained by hashes. All
else is added, so that a controller of schema 1 can go on beside one of schema 2 until it is replaced.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Float,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Text,
)

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables."""
    op.drop_table("audit")
    op.create_table(
        "audit",
        Column("seq", BigInteger, nullable=False, autoincrement=False),
        Column("time_s", Float(53), nullable=False),
        Column("actor", String(255), nullable=False),
        Column("role", String(16), nullable=False),
        Column("action", String(64), nullable=False),
        Column("target", Text, nullable=False),
        Column("outcome", String(16), nullable=False),
        Column("request", String(64), nullable=False),
        Column("detail", JSON, nullable=False),
        Column("previous", String(64), nullable=False),
        Column("hash", String(64), nullable=False),
        PrimaryKeyConstraint("seq", name="pk_audit"),
    )
    op.create_index("ix_audit_action", "audit", ["action"])
    op.create_table(
        "tokens",
        Column("id", String(16), nullable=False),
        Column("name", String(100), nullable=False),
        Column("digest", String(64), nullable=False),
        Column("role", String(16), nullable=False),
        Column("scopes", JSON(none_as_null=True)),
        Column("created_s", Float(53), nullable=False),
        Column("expires_s", Float(53), nullable=False),
        Column("revoked_s", Float(53)),
        PrimaryKeyConstraint("id", name="pk_tokens"),
    )
    op.create_table(
        "answers",
        Column("key", String(64), nullable=False),
        Column("fingerprint", String(64), nullable=False),
        Column("begun_s", Float(53), nullable=False),
        Column("status", Integer, nullable=False),
        Column("media_type", String(100), nullable=False),
        Column("body", LargeBinary, nullable=False),
        PrimaryKeyConstraint("key", name="pk_answers"),
    )
    op.create_index("ix_answers_begun_s", "answers", ["begun_s"])
    op.create_table(
        "artefacts",
        Column("kind", String(16), nullable=False),
        Column("name", String(64), nullable=False),
        Column("sha256", String(64), nullable=False),
        Column("data", LargeBinary, nullable=False),
        Column("added_s", Float(53), nullable=False),
        Column("added_by", String(255), nullable=False),
        Column("about", JSON, nullable=False),
        PrimaryKeyConstraint("kind", "name", name="pk_artefacts"),
    )
    op.create_table(
        "activations",
        Column("kind", String(16), nullable=False),
        Column("number", Integer, nullable=False, autoincrement=False),
        Column("name", String(64), nullable=False),
        Column("sha256", String(64), nullable=False),
        Column("at_s", Float(53), nullable=False),
        Column("by", String(255), nullable=False),
        PrimaryKeyConstraint("kind", "number", name="pk_activations"),
    )
    op.create_table(
        "calendars",
        Column("name", String(64), nullable=False),
        Column("kind", String(16), nullable=False),
        Column("text", Text, nullable=False),
        Column("added_s", Float(53), nullable=False),
        Column("added_by", String(255), nullable=False),
        PrimaryKeyConstraint("name", name="pk_calendars"),
    )
