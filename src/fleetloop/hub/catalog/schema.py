"""The catalog's tables. Whoever changes one adds a migration: see `migrations/`."""

import sqlalchemy as sa
from sqlalchemy import Column, Float, Table, Text

LAYOUT = "0004"
"""By which these tables go: the newest migration."""

# SQLite has one kind of integer, and numbers rows by themselves only under that name.
Integer = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
METADATA = sa.MetaData()
EVENTS = Table(
    "events",
    METADATA,
    Column("seq", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("ref", Text, nullable=False),
    Column("data", sa.JSON, nullable=False),
    sqlite_autoincrement=True,
)
EPISODES = Table(
    "episodes",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("seq", Integer, nullable=False, unique=True),
    Column("hash", Text, nullable=False),
    Column("task", Text, nullable=False, index=True),
    # What holds after all annotations; the event keeps what was recorded.
    Column("outcome", Text, nullable=False, index=True),
    Column("judge", Text, nullable=False),
    Column("excluded", sa.Boolean, nullable=False, default=False),
    Column("quality", Float),
    # By these retention goes: see `rows.py` and `retention.py`.
    Column("kind", Text, nullable=False, server_default="unknown"),
    Column("bytes", sa.BigInteger, nullable=False, server_default="0"),
    Column("received_wall_s", Float),
    Column("tombstone", Integer),
)
# Tombstones whose episode's object is still there. No part of the history: what is there can be looked up.
REMOVALS = Table(
    "removals",
    METADATA,
    Column("episode", Text, primary_key=True),
    Column("seq", Integer, nullable=False),
    Column("wall_s", Float, nullable=False),
)
ANNOTATIONS = Table(
    "annotations",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("episode", Text, nullable=False, index=True),
    Column("seq", Integer, nullable=False),
    Column("data", sa.JSON, nullable=False),
)
RELEASES = Table(
    "releases",
    METADATA,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("key", Text, nullable=False, unique=True),
    Column("manifest", sa.JSON, nullable=False),
    Column("collected_wall_s", Float, index=True),
)
CHANNELS = Table(
    "channels", METADATA, Column("name", Text, primary_key=True), Column("version", Integer, nullable=False)
)
STEERING = Table("steering", METADATA, Column("name", Text, primary_key=True), Column("data", sa.JSON, nullable=False))
LEASES = Table(
    "leases",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("fence", Integer, nullable=False),
    Column("until", Float, nullable=False),
)
ROBOTS = Table(
    "robots",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("registration", sa.JSON, nullable=False),
)
ATTENDED = Table(
    "attended",
    METADATA,
    Column("robot", Text, primary_key=True),
    Column("pool", Text, nullable=False),
    Column("attendant", Text, nullable=False),
)
TOKENS = Table(
    "tokens",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("hash", Text, nullable=False, unique=True),
    Column("data", sa.JSON, nullable=False),
)
HISTORY = (EVENTS, EPISODES, ANNOTATIONS, RELEASES, CHANNELS, STEERING, TOKENS)
"""What a catalog that is made anew has as the one before it had it."""

# Alembic's own, and so in no metadata that it compares.
VERSION = Table("alembic_version", sa.MetaData(), Column("version_num", sa.String(32), primary_key=True))
