"""The catalog as it first was."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "events",
        sa.Column("seq", sa.Integer, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("ref", sa.Text, nullable=False),
        sa.Column("data", sa.JSON, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "episodes",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("seq", sa.Integer, nullable=False, unique=True),
        sa.Column("hash", sa.Text, nullable=False),
        sa.Column("task", sa.Text, nullable=False, index=True),
        sa.Column("outcome", sa.Text, nullable=False, index=True),
        sa.Column("judge", sa.Text, nullable=False),
        sa.Column("excluded", sa.Boolean, nullable=False),
        sa.Column("quality", sa.Float),
    )
    op.create_table(
        "annotations",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("episode", sa.Text, nullable=False, index=True),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("data", sa.JSON, nullable=False),
    )
    op.create_table(
        "releases",
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("key", sa.Text, nullable=False, unique=True),
        sa.Column("manifest", sa.JSON, nullable=False),
    )
    op.create_table(
        "channels", sa.Column("name", sa.Text, primary_key=True), sa.Column("version", sa.Integer, nullable=False)
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("until", sa.Float, nullable=False),
    )
    op.create_table(
        "robots", sa.Column("name", sa.Text, primary_key=True), sa.Column("registration", sa.JSON, nullable=False)
    )
    op.create_table(
        "attended",
        sa.Column("robot", sa.Text, primary_key=True),
        sa.Column("pool", sa.Text, nullable=False),
        sa.Column("attendant", sa.Text, nullable=False),
    )
    op.create_table(
        "tokens",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("hash", sa.Text, nullable=False, unique=True),
        sa.Column("data", sa.JSON, nullable=False),
    )
