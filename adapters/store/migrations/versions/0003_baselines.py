"""Schema 3: what nobody's acting is reckoned from. Only adds, so that schemas 1 and 2 go on beside it.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Float, LargeBinary, PrimaryKeyConstraint, String

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "baselines",
        Column("cluster", String(128), nullable=False),
        Column("at_s", Float(53), nullable=False),
        Column("data", LargeBinary, nullable=False),
        PrimaryKeyConstraint("cluster", name="pk_baselines"),
    )
