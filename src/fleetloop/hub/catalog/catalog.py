"""The catalog: what the hub knows, in a database. SQLite by default; every commit is on the disk when it returns."""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any

import sqlalchemy as sa

from fleetloop.core.errors import HubUnavailable
from fleetloop.core.hub import Event, LearnerLease
from fleetloop.hub.catalog.database import Place, available, create_tables, layout_of, open_engine, other_layout, usable
from fleetloop.hub.catalog.holdings import Holdings
from fleetloop.hub.catalog.members import Members
from fleetloop.hub.catalog.rows import kind_of
from fleetloop.hub.catalog.schema import (
    ANNOTATIONS,
    CHANNELS,
    EPISODES,
    EVENTS,
    LAYOUT,
    LEASES,
    RELEASES,
    REMOVALS,
)
from fleetloop.hub.catalog.standings import Standings

CATALOG = "catalog.sqlite"
"""In the hub's directory."""

HUB = "hub"
"""The lease whose holder is the hub that may write."""

TURN = 0x7475726E
"""The advisory lock of whoever writes; unlike a table's it is in no vacuum's way. The number has no meaning."""

FOR_EVER = -1.0
COLLECTED = RELEASES.c.collected_wall_s.name
Row = Mapping[str, Any]

# What every episode asks, put together once: that costs more than asking it.
_ADD_EVENT, _ADD_EPISODE = EVENTS.insert(), EPISODES.insert()
_PLACE = sa.select(EPISODES.c.seq, EPISODES.c.hash).where(EPISODES.c.id == sa.bindparam("id"))
_CHANNEL = sa.select(CHANNELS.c.version).where(CHANNELS.c.name == sa.bindparam("name"))
_NEWEST_RELEASES = sa.select(RELEASES).order_by(RELEASES.c.version.desc()).limit(sa.bindparam("limit"))


class Catalog:
    """Transactions on the catalog. Writers come one at a time, so that the order of `seq` is the order of commits."""

    def __init__(self, place: Place) -> None:
        """`place` holds a catalog of this layout, or nothing yet.

        Raises:
            DiskTrouble: if it can't be read, or has another layout: `migrations.bring_up_to_date` mends an older one.
        """
        self._engine = open_engine(place)
        self._writer = Lock()  # fairer than SQLite's own waiting
        self._writing = self._engine.execution_options(begin="BEGIN IMMEDIATE")
        self._alone = self._engine.dialect.name == "sqlite"  # its file is locked, and nobody else's transaction runs
        self._holder = ""
        with usable(place), self._writing.begin() as connection:
            found = layout_of(connection)
            if found is None:
                create_tables(connection)
            elif found != LAYOUT:
                raise other_layout(place, found, "start the hub once: it brings its catalog up to date")

    @contextmanager
    def reading(self) -> Iterator["Records"]:
        """One consistent view. Raises HubUnavailable if the database fails."""
        with available(), self._engine.begin() as connection:
            if not self._alone:  # SQLite's transactions are such by themselves
                connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield Records(connection)

    @contextmanager
    def writing(self, wait_s: float = FOR_EVER) -> Iterator["Records"]:
        """All or nothing; durable when it returns.

        Raises HubUnavailable if the database fails, or if other writers leave it no turn within `wait_s` real seconds:
        they write objects meanwhile, to a store that may be slow.
        """
        if not self._writer.acquire(timeout=wait_s):
            raise HubUnavailable("hub catalog", f"is written to for {wait_s:g} s and longer", "is the store slow?")
        try:
            with available(), self._writing.begin() as connection:
                records = Records(connection)
                if not self._alone:  # two could write at once, and commit in another order
                    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(TURN)))
                    self._check_holder(records)
                yield records
        finally:
            self._writer.release()

    def take_over(self) -> None:
        """Be the hub that writes: of those that were before, none can any more. Raises HubUnavailable."""
        with self.writing() as records:
            records.set_lease(HUB, LearnerLease(holder := secrets.token_hex(8), 0, 0.0))
        self._holder = holder

    def _check_holder(self, records: "Records") -> None:
        now = records.lease(HUB) if self._holder else None
        if self._holder and (now is None or now.holder != self._holder):
            raise HubUnavailable("hub catalog", "belongs to another hub now", "stop this one")

    def close(self) -> None:
        self._engine.dispose()


class Records:
    """What can be read and written within one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    # ------------------------------------------------------------------ experience

    def add_event(self, kind: str, ref: str, data: Row, seq: int | None = None) -> int:
        """Returns its number: `seq` if one is given, else the next."""
        values = {"kind": kind, "ref": ref, "data": data} | ({} if seq is None else {"seq": seq})
        result = self._connection.execute(_ADD_EVENT, values)
        return int(result.inserted_primary_key.seq)  # type: ignore[union-attr]

    def events(self, after: int, limit: int) -> Sequence[Event]:
        """An episode that has a tombstone by now says so from its first event on: nobody need fetch it any more."""
        buried = sa.select(EPISODES.c.seq, EPISODES.c.tombstone).where(EPISODES.c.tombstone.is_not(None)).subquery()
        joined = sa.select(EVENTS, buried.c.tombstone).outerjoin(buried, buried.c.seq == EVENTS.c.seq)
        query = joined.where(EVENTS.c.seq > after).order_by(EVENTS.c.seq).limit(limit)
        return [
            Event(row.seq, row.kind, row.ref, row.data | ({"tombstone": row.tombstone} if row.tombstone else {}))
            for row in self._connection.execute(query)
        ]

    def newest_event(self) -> int:
        return int(self._connection.scalar(sa.select(sa.func.max(EVENTS.c.seq))) or 0)

    def add_episode(self, data: Row, seq: int | None = None) -> int:
        seq = self.add_event("episode", data["id"], data, seq)
        kept = {name: data[name] for name in ("id", "hash", "task", "outcome", "judge", "bytes")}
        kept |= {"kind": kind_of(data), "received_wall_s": data.get("received_wall_s")}
        self._connection.execute(_ADD_EPISODE, {"seq": seq, **kept})
        return seq

    def episode(self, id: str) -> Row | None:
        return next(iter(self._episode_rows(EPISODES.c.id == id, limit=1)), None)

    def place(self, id: str) -> tuple[int, str] | None:
        """The event and the hash of an episode."""
        row = self._connection.execute(_PLACE, {"id": id}).first()
        return (row.seq, row.hash) if row else None

    def episodes(self, task: str, outcome: str, limit: int) -> Sequence[Row]:
        """Newest first, without those that have a tombstone."""
        wanted = sa.and_(
            EPISODES.c.tombstone.is_(None),
            sa.true() if not task else EPISODES.c.task == task,
            sa.true() if not outcome else EPISODES.c.outcome == outcome,
        )
        return self._episode_rows(wanted, limit)

    def count_episodes(self) -> int:
        """Without those that have a tombstone."""
        living = sa.select(sa.func.count()).select_from(EPISODES).where(EPISODES.c.tombstone.is_(None))
        return int(self._connection.scalar(living) or 0)

    def _episode_rows(self, wanted: sa.ColumnElement[bool], limit: int) -> Sequence[Row]:
        joined = sa.select(EPISODES, EVENTS.c.data).join(EVENTS, EVENTS.c.seq == EPISODES.c.seq)
        query = joined.where(wanted).order_by(EPISODES.c.seq.desc()).limit(limit)
        return [_episode_row(dict(row)) for row in self._connection.execute(query).mappings()]

    def judge_episode(self, id: str, **values: Any) -> None:
        """Keep what holds after all annotations."""
        self._connection.execute(EPISODES.update().where(EPISODES.c.id == id).values(**values))

    def add_annotation(self, id: str, episode: str, data: Row, seq: int | None = None) -> int:
        seq = self.add_event("annotation", id, data, seq)
        self._connection.execute(ANNOTATIONS.insert().values(id=id, episode=episode, seq=seq, data=dict(data)))
        return seq

    def annotation(self, id: str) -> tuple[int, Row] | None:
        row = self._connection.execute(ANNOTATIONS.select().where(ANNOTATIONS.c.id == id)).one_or_none()
        return (row.seq, row.data) if row else None

    def annotations(self, episode: str) -> Sequence[Row]:
        query = sa.select(ANNOTATIONS.c.data).where(ANNOTATIONS.c.episode == episode).order_by(ANNOTATIONS.c.seq)
        return self._connection.scalars(query).all()

    # ------------------------------------------------------------------ retention

    @property
    def holdings(self) -> Holdings:
        """What could go, and what is on its way out."""
        return Holdings(self._connection)

    def add_tombstone(self, id: str, data: Row, seq: int | None = None, *, object_there: bool = True) -> int:
        seq = self.add_event("tombstone", id, data, seq)
        self._connection.execute(EPISODES.update().where(EPISODES.c.id == id).values(tombstone=seq))
        if object_there:
            self._connection.execute(REMOVALS.insert().values(episode=id, seq=seq, wall_s=data["wall_s"]))
        return seq

    # ------------------------------------------------------------------ releases

    def lease(self, name: str) -> LearnerLease | None:
        row = self._connection.execute(LEASES.select().where(LEASES.c.name == name)).one_or_none()
        return LearnerLease(row.holder, row.fence, row.until) if row else None

    def set_lease(self, name: str, lease: LearnerLease) -> None:
        self._connection.execute(LEASES.delete().where(LEASES.c.name == name))
        values = {"name": name, "holder": lease.holder, "fence": lease.fence, "until": lease.until}
        self._connection.execute(LEASES.insert().values(values))

    def add_release(self, version: int, key: str, manifest: Row) -> None:
        kept = {name: value for name, value in manifest.items() if name != COLLECTED}
        values = {"version": version, "key": key, "manifest": kept, COLLECTED: manifest.get(COLLECTED)}
        self._connection.execute(RELEASES.insert().values(values))

    def release(self, version: int) -> Row | None:
        return next(iter(self._manifests(sa.select(RELEASES).where(RELEASES.c.version == version))), None)

    def release_by_key(self, key: str) -> Row | None:
        return next(iter(self._manifests(sa.select(RELEASES).where(RELEASES.c.key == key))), None)

    def releases(self, limit: int) -> Sequence[Row]:
        return self._manifests(_NEWEST_RELEASES, limit=limit)

    def _manifests(self, query: sa.Select[Any], **values: Any) -> Sequence[Row]:
        return [
            row.manifest | ({COLLECTED: row.collected_wall_s} if row.collected_wall_s else {})
            for row in self._connection.execute(query, values)
        ]

    def versions(self, *, collected_since: float | None = None) -> Sequence[int]:
        """Of the releases whose weights are kept, oldest first; also of those collected since then (Unix time, s)."""
        collected = RELEASES.c.collected_wall_s
        late = sa.false() if collected_since is None else collected > collected_since
        query = sa.select(RELEASES.c.version).where(collected.is_(None) | late).order_by(RELEASES.c.version)
        return self._connection.scalars(query).all()

    def collect_release(self, version: int, wall_s: float) -> None:
        """Its weights are kept no longer."""
        self._connection.execute(RELEASES.update().where(RELEASES.c.version == version).values(collected_wall_s=wall_s))

    def newest_version(self) -> int:
        return int(self._connection.scalar(sa.select(sa.func.max(RELEASES.c.version))) or 0)

    def channel(self, name: str) -> int:
        """The version that the channel points to; 0 before the first."""
        return int(self._connection.scalar(_CHANNEL, {"name": name}) or 0)

    def move_channel(self, name: str, version: int) -> None:
        self._connection.execute(CHANNELS.delete().where(CHANNELS.c.name == name))
        self._connection.execute(CHANNELS.insert().values(name=name, version=version))

    @property
    def standings(self) -> Standings:
        """Where releases are steered, and how robots did under them."""
        return Standings(self._connection)

    @property
    def members(self) -> Members:
        """Who belongs to the fleet."""
        return Members(self._connection)

    def rows(self, table: sa.Table) -> Iterator[Row]:
        """Every row, in the order of the key, texts by their code points; as they are taken."""
        keys = list[sa.ColumnElement[Any]](table.primary_key)
        if self._connection.dialect.name != "sqlite":
            keys = [sa.collate(key, "C") if isinstance(key.type, sa.Text) else key for key in keys]
        found = self._connection.execution_options(yield_per=1000).execute(table.select().order_by(*keys))
        return (dict(row) for row in found.mappings())


def _episode_row(row: Row) -> Row:
    standing = {name: row[name] for name in ("seq", "outcome", "judge", "excluded", "quality", "kind", "tombstone")}
    recorded = {f"recorded_{name}": row["data"][name] for name in ("outcome", "judge")}
    return {**row["data"], **recorded, **standing}
