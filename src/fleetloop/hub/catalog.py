"""The catalog: what the hub knows, in a database. SQLite by default; every commit is on the disk when it returns."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, Float, Integer, Table, Text

from fleetloop.core.errors import DiskTrouble, HubUnavailable
from fleetloop.core.hub import Event, LearnerLease

SCHEMA_VERSION = 1

_schema = sa.MetaData()
_events = Table(
    "events",
    _schema,
    Column("seq", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("ref", Text, nullable=False),
    Column("data", sa.JSON, nullable=False),
    sqlite_autoincrement=True,
)
_episodes = Table(
    "episodes",
    _schema,
    Column("id", Text, primary_key=True),
    Column("seq", Integer, nullable=False, unique=True),
    Column("hash", Text, nullable=False),
    Column("task", Text, nullable=False, index=True),
    # What holds after all annotations; the event keeps what was recorded.
    Column("outcome", Text, nullable=False, index=True),
    Column("judge", Text, nullable=False),
    Column("excluded", sa.Boolean, nullable=False, default=False),
    Column("quality", Float),
)
_annotations = Table(
    "annotations",
    _schema,
    Column("id", Text, primary_key=True),
    Column("episode", Text, nullable=False, index=True),
    Column("seq", Integer, nullable=False),
    Column("data", sa.JSON, nullable=False),
)
_releases = Table(
    "releases",
    _schema,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("key", Text, nullable=False, unique=True),
    Column("manifest", sa.JSON, nullable=False),
)
_channels = Table(
    "channels", _schema, Column("name", Text, primary_key=True), Column("version", Integer, nullable=False)
)
_leases = Table(
    "leases",
    _schema,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("fence", Integer, nullable=False),
    Column("until", Float, nullable=False),
)
_robots = Table(
    "robots",
    _schema,
    Column("name", Text, primary_key=True),
    Column("registration", sa.JSON, nullable=False),
)
_attended = Table(
    "attended",
    _schema,
    Column("robot", Text, primary_key=True),
    Column("pool", Text, nullable=False),
    Column("attendant", Text, nullable=False),
)
_tokens = Table(
    "tokens",
    _schema,
    Column("id", Text, primary_key=True),
    Column("hash", Text, nullable=False, unique=True),
    Column("data", sa.JSON, nullable=False),
)

Row = Mapping[str, Any]


class Catalog:
    """Transactions on the catalog. Writers come one at a time, so that the order of `seq` is the order of commits."""

    def __init__(self, path: Path) -> None:
        self._engine = sa.create_engine(f"sqlite:///{path}", pool_size=8, max_overflow=64)
        self._writer = Lock()  # fairer than SQLite's own waiting
        self._writing = self._engine.execution_options(begin="BEGIN IMMEDIATE")
        sa.event.listen(self._engine, "connect", _configure)
        sa.event.listen(self._engine, "begin", _begin)
        try:
            self._prepare(path)
        except sa.exc.DatabaseError as error:
            raise DiskTrouble(str(path), f"is no usable catalog ({error.orig})", "choose another directory") from error

    def _prepare(self, path: Path) -> None:
        with self._writing.begin() as connection:
            found = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
            if found not in (0, SCHEMA_VERSION):
                raise DiskTrouble(
                    str(path), f"has the layout {found}, not {SCHEMA_VERSION}", "use the FleetLoop that wrote it"
                )
            _schema.create_all(connection)
            connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")

    @contextmanager
    def reading(self) -> Iterator["Records"]:
        """One consistent view. Raises HubUnavailable if the database fails."""
        with _available(), self._engine.begin() as connection:
            yield Records(connection)

    @contextmanager
    def writing(self) -> Iterator["Records"]:
        """All or nothing; durable when it returns. Raises HubUnavailable if the database fails."""
        with self._writer, _available(), self._writing.begin() as connection:
            yield Records(connection)

    def close(self) -> None:
        self._engine.dispose()


class Records:
    """What can be read and written within one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    # ------------------------------------------------------------------ experience

    def add_event(self, kind: str, ref: str, data: Row, seq: int | None = None) -> int:
        """Returns its number: `seq` if one is given, else the next."""
        values = {"kind": kind, "ref": ref, "data": dict(data)} | ({} if seq is None else {"seq": seq})
        result = self._connection.execute(_events.insert().values(values))
        return int(result.inserted_primary_key.seq)  # type: ignore[union-attr]

    def events(self, after: int, limit: int) -> Sequence[Event]:
        query = _events.select().where(_events.c.seq > after).order_by(_events.c.seq).limit(limit)
        return [Event(row.seq, row.kind, row.ref, row.data) for row in self._connection.execute(query)]

    def newest_event(self) -> int:
        return int(self._connection.scalar(sa.select(sa.func.max(_events.c.seq))) or 0)

    def add_episode(self, data: Row, seq: int | None = None) -> int:
        seq = self.add_event("episode", data["id"], data, seq)
        kept = {name: data[name] for name in ("id", "hash", "task", "outcome", "judge")}
        self._connection.execute(_episodes.insert().values(seq=seq, **kept))
        return seq

    def episode(self, id: str) -> Row | None:
        return next(iter(self._episode_rows(_episodes.c.id == id, limit=1)), None)

    def episodes(self, task: str, outcome: str, limit: int) -> Sequence[Row]:
        wanted = sa.and_(
            sa.true() if not task else _episodes.c.task == task,
            sa.true() if not outcome else _episodes.c.outcome == outcome,
        )
        return self._episode_rows(wanted, limit)

    def count_episodes(self) -> int:
        return int(self._connection.scalar(sa.select(sa.func.count()).select_from(_episodes)) or 0)

    def _episode_rows(self, wanted: sa.ColumnElement[bool], limit: int) -> Sequence[Row]:
        joined = sa.select(_episodes, _events.c.data).join(_events, _events.c.seq == _episodes.c.seq)
        query = joined.where(wanted).order_by(_episodes.c.seq.desc()).limit(limit)
        return [_episode_row(dict(row)) for row in self._connection.execute(query).mappings()]

    def judge_episode(self, id: str, **values: Any) -> None:
        """Keep what holds after all annotations."""
        self._connection.execute(_episodes.update().where(_episodes.c.id == id).values(**values))

    def add_annotation(self, id: str, episode: str, data: Row, seq: int | None = None) -> int:
        seq = self.add_event("annotation", id, data, seq)
        self._connection.execute(_annotations.insert().values(id=id, episode=episode, seq=seq, data=dict(data)))
        return seq

    def annotation(self, id: str) -> tuple[int, Row] | None:
        row = self._connection.execute(_annotations.select().where(_annotations.c.id == id)).one_or_none()
        return (row.seq, row.data) if row else None

    def annotations(self, episode: str) -> Sequence[Row]:
        query = sa.select(_annotations.c.data).where(_annotations.c.episode == episode).order_by(_annotations.c.seq)
        return self._connection.scalars(query).all()

    # ------------------------------------------------------------------ releases

    def lease(self, name: str) -> LearnerLease | None:
        row = self._connection.execute(_leases.select().where(_leases.c.name == name)).one_or_none()
        return LearnerLease(row.holder, row.fence, row.until) if row else None

    def set_lease(self, name: str, lease: LearnerLease) -> None:
        self._connection.execute(_leases.delete().where(_leases.c.name == name))
        values = {"name": name, "holder": lease.holder, "fence": lease.fence, "until": lease.until}
        self._connection.execute(_leases.insert().values(values))

    def add_release(self, version: int, key: str, manifest: Row) -> None:
        self._connection.execute(_releases.insert().values(version=version, key=key, manifest=dict(manifest)))

    def release(self, version: int) -> Row | None:
        return self._connection.scalar(sa.select(_releases.c.manifest).where(_releases.c.version == version))

    def release_by_key(self, key: str) -> Row | None:
        return self._connection.scalar(sa.select(_releases.c.manifest).where(_releases.c.key == key))

    def releases(self, limit: int) -> Sequence[Row]:
        query = sa.select(_releases.c.manifest).order_by(_releases.c.version.desc()).limit(limit)
        return self._connection.scalars(query).all()

    def newest_version(self) -> int:
        return int(self._connection.scalar(sa.select(sa.func.max(_releases.c.version))) or 0)

    def channel(self, name: str) -> int:
        """The version that the channel points to; 0 before the first."""
        return int(self._connection.scalar(sa.select(_channels.c.version).where(_channels.c.name == name)) or 0)

    def move_channel(self, name: str, version: int) -> None:
        self._connection.execute(_channels.delete().where(_channels.c.name == name))
        self._connection.execute(_channels.insert().values(name=name, version=version))

    def contents(self) -> Mapping[str, Sequence[Row]]:
        """Every row of experience and releases, by table and in the order of the tables' keys."""
        return {
            table.name: [dict(row) for row in self._connection.execute(table.select().order_by(key)).mappings()]
            for table, key in (
                (_events, _events.c.seq),
                (_episodes, _episodes.c.seq),
                (_annotations, _annotations.c.seq),
                (_releases, _releases.c.version),
                (_channels, _channels.c.name),
            )
        }

    # ------------------------------------------------------------------ fleet

    def add_robot(self, name: str, registration: Row) -> None:
        self._connection.execute(_robots.delete().where(_robots.c.name == name))
        self._connection.execute(_robots.insert().values(name=name, registration=dict(registration)))

    def robots(self) -> Sequence[Row]:
        return self._connection.scalars(sa.select(_robots.c.registration).order_by(_robots.c.name)).all()

    def attended(self) -> Sequence[tuple[str, str, str]]:
        """(robot, pool, attendant) of every attention lease."""
        rows = self._connection.execute(_attended.select().order_by(_attended.c.robot))
        return [(row.robot, row.pool, row.attendant) for row in rows]

    def set_attended(self, rows: Sequence[tuple[str, str, str]]) -> None:
        self._connection.execute(_attended.delete())
        for robot, pool, attendant in rows:
            self._connection.execute(_attended.insert().values(robot=robot, pool=pool, attendant=attendant))

    # ------------------------------------------------------------------ tokens

    def add_token(self, id: str, hash: str, data: Row) -> None:
        self._connection.execute(_tokens.insert().values(id=id, hash=hash, data=dict(data)))

    def change_token(self, id: str, data: Row) -> None:
        self._connection.execute(_tokens.update().where(_tokens.c.id == id).values(data=dict(data)))

    def tokens(self) -> Sequence[Row]:
        return self._connection.scalars(sa.select(_tokens.c.data)).all()

    def token(self, hash: str) -> Row | None:
        return self._connection.scalar(sa.select(_tokens.c.data).where(_tokens.c.hash == hash))


def _episode_row(row: Row) -> Row:
    standing = {name: row[name] for name in ("seq", "outcome", "judge", "excluded", "quality")}
    recorded = {f"recorded_{name}": row["data"][name] for name in ("outcome", "judge")}
    return {**row["data"], **recorded, **standing}


def _configure(connection: Any, _: object) -> None:
    connection.isolation_level = None  # transactions are begun by `_begin`, not by the driver's guess
    for setting in ("journal_mode = WAL", "synchronous = FULL", "busy_timeout = 10000"):
        connection.execute(f"PRAGMA {setting}")


def _begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))


@contextmanager
def _available() -> Iterator[None]:
    try:
        yield
    except sa.exc.OperationalError as error:
        raise HubUnavailable("hub catalog", f"can't serve now ({error.orig})", "look at the hub's disk") from error
