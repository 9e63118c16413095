"""Run by alembic, on the connection that it was handed (see `__init__.py`)."""

from alembic import context

from fleetloop.hub.catalog.schema import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
context.run_migrations()
