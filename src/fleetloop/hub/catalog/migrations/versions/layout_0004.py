"""Releases whose weights the hub has let go."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("releases", sa.Column("collected_wall_s", sa.Float))
    op.create_index("ix_releases_collected_wall_s", "releases", ["collected_wall_s"])
    if op.get_bind().dialect.name == "sqlite":
        op.execute("PRAGMA user_version = 4")  # by which a FleetLoop from before refuses it
