"""What retention goes by, and tombstones."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

EVENTS = sa.table("events", sa.column("seq", sa.Integer), sa.column("data", sa.JSON))
EPISODES = sa.table(
    "episodes", sa.column("seq", sa.Integer), sa.column("kind", sa.Text), sa.column("bytes", sa.BigInteger)
)


def upgrade() -> None:
    # When an episode of before was received is not known: its age makes none go.
    for column in (
        sa.Column("kind", sa.Text, nullable=False, server_default="unknown"),
        sa.Column("bytes", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("received_wall_s", sa.Float),
        sa.Column("tombstone", sa.Integer),
    ):
        op.add_column("episodes", column)
    op.create_table(
        "removals",
        sa.Column("episode", sa.Text, primary_key=True),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("wall_s", sa.Float, nullable=False),
    )
    purpose, human = EVENTS.c.data["purpose"].as_string(), EVENTS.c.data["frames_human"].as_integer()
    kind = sa.case((purpose != "online", purpose), (human > 0, "correction"), else_="autonomous")
    recorded = EVENTS.c.seq == EPISODES.c.seq
    op.execute(
        EPISODES.update().values(
            kind=sa.select(kind).where(recorded).scalar_subquery(),
            bytes=sa.select(EVENTS.c.data["bytes"].as_integer()).where(recorded).scalar_subquery(),
        )
    )
    if op.get_bind().dialect.name == "sqlite":
        op.execute("PRAGMA user_version = 2")  # by which a FleetLoop from before refuses it
