"""Where the fleet is steered: the stable channel, robots that are pinned, the candidate on its way."""

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from threading import Lock
from typing import Any

from fleetloop.core.errors import HubRefused
from fleetloop.core.hub import EDGE, STABLE, LearnerOrders
from fleetloop.core.release import Release
from fleetloop.core.steering import Steering
from fleetloop.hub.bell import Bell
from fleetloop.hub.catalog.catalog import Catalog, Records
from fleetloop.hub.storage.objects import ObjectStore

OBJECT = "channels/steering"
REMEMBERED = 200  # verdicts


class Helm:
    """Keeps the steering, durably, and moves `stable`. Safe to call from several threads."""

    def __init__(self, catalog: Catalog, objects: ObjectStore, news: Bell, *, follows_edge: bool) -> None:
        """`news` is rung when `stable` moved."""
        self._catalog, self._objects, self._news, self._follows_edge = catalog, objects, news, follows_edge
        self._lock = Lock()
        with catalog.reading() as records:
            self._steering = records.standings.steering()

    @property
    def steering(self) -> Steering:
        return self._steering

    # ------------------------------------------------------------------ what a person says

    def promote(self, version: int) -> Steering:
        """Move `stable` to a release, and end a hold. Raises HubRefused: 404 if there is none, 410 if collected.

        That also ends what the learner was told and has not answered.
        """
        return self._move(version, held=False, verdicts={version: "promoted by hand"}, learner_to=0)

    def roll_back(self, version: int = 0, *, reset_learner: bool = False) -> Steering:
        """Move `stable` back and hold it; without a version to where it was before.

        With `reset_learner` the learner is told to go on from that release's checkpoint.

        Raises HubRefused: 404 if there is no such release, 409 if that is none to go back to, 410 if it is collected.
        """
        stable, back_to = self._channel(STABLE), version or self._before()
        if not 0 < back_to <= stable:
            newest = self._channel(EDGE)
            what = f"release {version} is newer than stable, {stable}" if version else "there is none before stable"
            what = f"there is no release {version}, the newest is {newest}" if version > newest else what
            raise HubRefused("version", what, "name a release to go back to, or promote one", status=409)
        verdicts = {stable: f"rolled back to {back_to}"} if stable != back_to else {}
        order: dict[str, Any] = {"learner_to": back_to, "learner_order": secrets.token_hex(8)} if reset_learner else {}
        return self._move(back_to, held=True, verdicts=verdicts, **order)

    def hold(self) -> Steering:
        """Keep `stable` where it is. The candidate, if there is one, goes no further."""
        stable = self._channel(STABLE)
        if not stable:
            raise HubRefused("stable", "points to no release yet", "promote one", status=409)
        return self._move(stable, held=True)

    def resume(self) -> Steering:
        """End a hold: `stable` moves again as the hub's options say."""
        stable = self._channel(EDGE if self._follows_edge else STABLE)
        return self._move(stable, held=False) if stable else self._steering

    def pin(self, robot: str, version: int) -> Steering:
        """Have a robot run a release whatever `stable` is; 0: no longer. Raises HubRefused (404, 410)."""

        def pinned(records: Records, now: Steering) -> Steering:
            if version:
                obtainable(records, version)
            others = {name: other for name, other in now.pins.items() if name != robot}
            return replace(now, pins={**others, robot: version} if version else others)

        return self._update(pinned)

    # ------------------------------------------------------------------ the learner

    def answered(self, order: str) -> LearnerOrders:
        """The learner has dealt with this order; returns the one that it has not dealt with."""
        now = self._steering
        if now.learner_to and now.learner_order == order:
            now = self._update(lambda _, now: replace(now, learner_to=0) if now.learner_order == order else now)
        return LearnerOrders(now.learner_order, now.learner_to) if now.learner_to else LearnerOrders()

    # ------------------------------------------------------------------ the candidate

    # Whoever calls these looked at the steering a while ago: what a person has said since stands, and nothing happens.

    def enter(self, stage: str, now_s: float, *, after: int, **values: Any) -> Steering:
        """A stage of a trial begins, if `after` still is the candidate; `values` are fields of the steering."""

        def entered(records: Records, now: Steering) -> Steering:
            if now.held or now.candidate != after:
                return now
            return replace(now, **{"stage": stage, "stage_s": now_s, "stage_event": records.newest_event(), **values})

        return self._update(entered)

    def accept(self, version: int, verdict: str) -> Steering:
        """The candidate has passed: it is stable. So is the first release of all, without having been one."""

        def left(now: Steering, stable: int) -> bool:
            return now.held or bool(stable and now.candidate != version)

        return self._move(version, held=False, verdicts={version: verdict}, unless=left)

    def refuse(self, version: int, verdict: str) -> Steering:
        """The candidate has failed: robots that tried it go back to `stable`."""
        said = {version: f"refused: {verdict}"}
        return self._update(lambda _, now: _decided(now, said) if now.candidate == version else now)

    def begin_anew(self, now_s: float) -> Steering:
        """The clock has restarted: what was under way counts from now on."""
        return self._update(lambda _, now: replace(now, stage_s=now_s, begun_s=now_s))

    # ------------------------------------------------------------------ within

    def _move(
        self,
        version: int,
        *,
        held: bool,
        verdicts: Mapping[int, str] | None = None,
        unless: Callable[[Steering, int], bool] = lambda now, stable: False,
        **values: Any,
    ) -> Steering:
        """`unless` is asked of steering and `stable` as they are; `values` are further fields of the steering."""

        def moved(records: Records, now: Steering) -> Steering:
            stable = records.channel(STABLE)
            if unless(now, stable):
                return now
            obtainable(records, version)
            said = {"version": version, "newest": records.newest_version(), "held": held}
            self._objects.put(f"channels/{STABLE}", json.dumps(said).encode())
            records.move_channel(STABLE, version)
            decided = _decided(replace(now, held=held, **values), verdicts or {})
            if stable == version:
                return decided
            return replace(decided, before=stable, since_event=records.newest_event())

        kept = self._update(moved)
        self._news.ring()
        return kept

    def _update(self, changed: Callable[[Records, Steering], Steering]) -> Steering:
        with self._lock:
            with self._catalog.writing() as records:
                # Of the catalog, not of memory: of an earlier change it may be unknown whether it was kept.
                kept = changed(records, records.standings.steering())
                self._objects.put(OBJECT, json.dumps(asdict(kept)).encode())
                records.standings.steer(asdict(kept))
            self._steering = kept
            return kept

    def _before(self) -> int:
        """Where `stable` came from: in a fleet that follows edge, the release that its own was trained on from. If that
        was none, as for a learner that began anew, the newest that is older and can be had."""
        if not self._follows_edge:
            return self._steering.before
        with self._catalog.reading() as records:
            stable = records.channel(STABLE)
            older = [version for version in records.versions() if version < stable]
            return existing(records, stable).parent or max(older, default=0) if stable else 0

    def _channel(self, name: str) -> int:
        with self._catalog.reading() as records:
            return records.channel(name)


def existing(records: Records, version: int) -> Release:
    """Raises HubRefused (404)."""
    manifest = records.release(version)
    if manifest is None:
        raise HubRefused("release", f"there is no release {version}", "`fleetloop releases ls` lists them", status=404)
    return Release.from_json(manifest)


def obtainable(records: Records, version: int) -> Release:
    """Raises HubRefused: 404, or 410 for a release that robots could not fetch any more."""
    release = existing(records, version)
    if release.collected_wall_s:
        remedy = "choose a newer one; hub.releases.keep says how many stay"
        raise HubRefused("release", f"{version} was collected: its weights are gone", remedy, status=410)
    return release


def _decided(steering: Steering, said: Mapping[int, str]) -> Steering:
    """Nothing is on its way any more; what was said of releases is noted, the newest last."""
    news = {str(version): verdict for version, verdict in said.items()}
    others = {version: verdict for version, verdict in steering.verdicts.items() if version not in news}
    verdicts = dict(list((others | news).items())[-REMEMBERED:])
    return replace(steering, candidate=0, stage="", robots=(), expected=0.0, verdicts=verdicts)
