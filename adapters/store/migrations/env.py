"""Alembic's entry: the connection is handed in by ``foreshade.adapters.store.upgrade``."""

from alembic import context

from foreshade.adapters.store import surface_tables  # noqa: F401  its tables are of the same metadata
from foreshade.adapters.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    compare_type=True,
    render_as_batch=True,
    transaction_per_migration=False,
)
context.run_migrations()
