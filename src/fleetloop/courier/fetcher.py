"""Releases down: fetched, decoded, verified, and only then put where actors look."""

import logging
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from threading import Lock

from fleetloop.core.alarm import Alarms
from fleetloop.core.clock import Clock
from fleetloop.core.errors import DiskTrouble, FleetLoopError, GaveWay, HubRefused, HubUnavailable, ReleaseInvalid
from fleetloop.core.host import HostDirectory
from fleetloop.core.hub import STABLE, Hub, never
from fleetloop.core.release import BlobEntry, Encoding, Release
from fleetloop.courier.backoff import Backoff
from fleetloop.courier.complaints import Complaints
from fleetloop.courier.downloads import Downloads, WhileWanted
from fleetloop.courier.errand import Errand
from fleetloop.courier.following import Following
from fleetloop.courier.metered import Metered
from fleetloop.courier.options import CourierOptions
from fleetloop.weights.codec import CODECS, from_safetensors, to_safetensors
from fleetloop.weights.errors import BaseMissing
from fleetloop.weights.route import Obtained, obtain, tensor_bytes
from fleetloop.weights.signature import ANYBODYS, Trust
from fleetloop.weights.streams import Array, check
from fleetloop.weights.verified import Known, verify

log = logging.getLogger(__name__)

PART = "release"
HEED_S, LISTEN_S = 5.0, 1.0
"""Real seconds from which on a download may be called off, and from one look to the next at whether it is."""


class Fetcher:
    """Keeps the host at the stable channel's release; a release that can't be verified changes nothing."""

    def __init__(
        self,
        host: HostDirectory,
        hub: Hub,
        *,
        options: CourierOptions,
        backoff: Backoff,
        alarms: Alarms,
        clock: Clock,
        trust: Trust = ANYBODYS,
    ) -> None:
        self._host, self._hub, self._options, self._trust = host, hub, options, trust
        self._line, self._turn = Metered(hub, clock), Lock()
        self._downloads = Downloads(self._line, host.downloads)
        self._backoff, self._alarms, self._clock = backoff, alarms, clock
        self._following: Following | None = None
        self._given_up: tuple[BlobEntry, ...] = ()
        self._complaints = Complaints(host)
        self._errand: Errand[Release | None] | None = None
        self._aim = 0  # the version that is being fetched, as far as that is known
        self._sound = 0  # the version that was verified on the disk, and no robot has refused since
        self._told = 0  # the version that stable is, by a hub that was not away since: another may begin anew at 1

    def stop(self) -> None:
        """Fetch nothing any longer, so that the process can end. Callable from any thread."""
        if self._errand:
            self._errand.call_off()
        if self._following:
            self._following.stop()

    def step(self) -> float:
        """Wait at the hub for another release and install it. Returns the real seconds until the next call."""
        version = self._host.current_version()
        if self._sound in self._complaints.heard():
            self._sound = 0
        try:
            self._keep_up(version)
        except GaveWay:
            self._told = 0
            log.info("what was being fetched is not what robots are to run any more")
            return 0.0
        except (HubUnavailable, DiskTrouble) as error:
            self._told = 0
            self._alarms.set(PART, str(error))
            return self._backoff.failed()
        except FleetLoopError as error:
            self._alarms.set(PART, f"keeps release {version or 'none'}: {error}")
            return self._backoff.failed()
        self._alarms.clear(PART)
        self._backoff.succeeded()
        return self._options.scan_wall_s

    def _keep_up(self, version: int) -> None:
        """Wait for a release other than the current `version`; for any, where it is not sure that this is stable's."""
        after, wait_s = version if version == self._sound == self._told else 0, self._options.poll_wall_s
        said = self._hub.coming(STABLE, after=after, wait_s=wait_s)
        if said is None:
            return
        if isinstance(said, Release) and self._is_here(said, version):
            release: Release | None = said
        else:
            release = self._while_wanted(version, said)
        if release is None:
            return
        if not (release.version == version == self._sound):
            self._host.choose(release.version)
            self._host.forget_releases(self._options.keep_releases)
            log.info("release %d is verified and installed", release.version)
        self._sound = self._told = release.version

    def _is_here(self, release: Release, version: int) -> bool:
        """Whether it is the current one, known to be sound, or kept and whole: a switch then waits for no line."""
        if release.version == version == self._sound and self._says_the_same(release):
            return True
        self._check(release)
        return self._is_kept(release)

    def _while_wanted(self, version: int, said: Release | Encoding) -> Release | None:
        """Fetch what is coming; but a rollback waits for no slow line.

        Raises GaveWay if stable went back, or to what is here, before all of it had come.
        """
        self._aim = said.version if isinstance(said, Release) else version
        errand = self._errand = Errand(lambda gives_way: self._bring_coming(said, version, gives_way))
        over = errand.is_over(HEED_S)
        while not over:
            over = errand.is_over(LISTEN_S)
            if not self._is_wanted():
                self.stop()
                raise GaveWay("transfer", "is not wanted any more")
        return errand.result()

    def _is_wanted(self) -> bool:
        following, aim = self._following, self._aim
        if following and following.release:
            aim = max(aim, following.release.version)
        try:
            stable = self._hub.channel(STABLE, after=aim)
        except HubUnavailable:  # whoever fetches will say so
            return True
        return stable is None or (stable.version > aim and not self._says_the_same(stable))

    def _bring_coming(self, said: Release | Encoding, version: int, gives_way: Callable[[], bool]) -> Release | None:
        if isinstance(said, Release):
            self.bring(said, None, gives_way)
            return said
        release, made = self._follow(said, version, gives_way)
        release = release or self._hub.channel(STABLE, after=version, wait_s=self._options.poll_wall_s)
        if release is not None:
            self._aim = release.version
            self.bring(release, made, gives_way)
        return release

    def bring(self, release: Release, made: Obtained | None = None, gives_way: Callable[[], bool] = never) -> None:
        """Keep a release on the host, unless it is there already. One at a time; what broke off goes on next time.

        `made`: what seem to be its weights; if they are, they need not be fetched.

        Raises ReleaseInvalid, and leaves the host as it was, unless every byte is what the manifest says and the
        manifest is one that this host trusts; GaveWay if `gives_way` says so.
        """
        self._check(release)
        with self._turn:
            if not self._is_kept(release):
                self._install(release, made, gives_way)

    def _check(self, release: Release) -> None:
        if release.version < 1:
            raise ReleaseInvalid("version", f"is {release.version}, but the hub counts from 1")
        check(release.tensors)
        release.policy_spec()
        self._trust.check(release)

    def _install(self, release: Release, made: Obtained | None, gives_way: Callable[[], bool]) -> None:
        self._downloads.trim(
            tensor_bytes(release.tensors) + sum(blob.size for blob in release.blobs)
        )  # no way takes more
        obtained = self._obtain(release, made, gives_way)
        self._host.keep(release, to_safetensors(obtained.weights))
        self._downloads.clear()
        self._host.log_installed(release.version, self._clock.now(), obtained.bytes)

    def _follow(
        self, draft: Encoding, version: int, gives_way: Callable[[], bool]
    ) -> tuple[Release | None, Obtained | None]:
        """Decode a release while it is made. The manifest that it ended with, if any, and what are to be its weights.

        What can't be followed to its end is given up: its blobs are on the disk.
        """
        have, codec = self._base(version), CODECS.get(draft.codec)
        if have is None or codec is None or draft.blobs[:1] == self._given_up:
            return None, None
        most_bytes = tensor_bytes(have.tensors)
        with self._turn:
            self._downloads.trim(most_bytes)
            self._following = following = Following(
                self._hub,
                draft,
                WhileWanted(self._downloads, gives_way).get_blob,
                at_once=self._options.blobs_at_once,
                wait_s=self._options.poll_wall_s,
                most_bytes=most_bytes,
            )
            try:
                with following.blobs() as blobs:
                    weights = codec.decode(have.tensors, blobs, have)
            except (ReleaseInvalid, HubRefused) as error:
                log.info("a release that was being made was not followed to its end: %s", error)
                self._given_up = draft.blobs[:1]
                return following.release, None
            finally:
                self._following = None
        return following.release, Obtained(weights, following.size, hops=1)

    def _obtain(self, release: Release, made: Obtained | None, gives_way: Callable[[], bool]) -> Obtained:
        """What was made, if it is this release; else by the quickest way from what this host has."""
        if made is not None:
            try:
                verify(release, made.weights)
            except ReleaseInvalid as error:
                log.warning(
                    "what was decoded before there was a manifest is not release %d: %s", release.version, error
                )
            else:
                return made
        version = self._host.current_version()
        have = self._base(version)
        at_once, bytes_per_s = self._options.blobs_at_once, self._line.bytes_per_s
        source = WhileWanted(self._downloads, gives_way)
        return obtain(release, source, have, version, at_once=at_once, bytes_per_s=bytes_per_s)

    def _base(self, version: int) -> Known | None:
        """What the host has, to come from there; None if it has nothing, or if that is damaged."""
        try:
            if version:
                manifest = self._host.manifest(version)
                return Known(Kept(self._host, version), manifest.tensors, manifest.result_hash)
        except (ReleaseInvalid, OSError, ValueError) as error:
            log.warning("what this host has is damaged, and no base: %s", error)
        return None

    def _is_kept(self, release: Release) -> bool:
        """Whether it is on the disk, whole: a rollback then costs no download."""
        if not self._says_the_same(release):
            return False
        try:
            verify(release, from_safetensors(self._host.weights(release.version)))
        except (OSError, FleetLoopError, ValueError):
            return False
        return True

    def _says_the_same(self, release: Release) -> bool:
        """Whether its manifest is the one on the disk."""
        try:
            kept = self._host.manifest(release.version)
        except (OSError, FleetLoopError, ValueError):
            return False
        return (kept.statement(), kept.signature) == (release.statement(), release.signature)


class Kept(Mapping[str, Array]):
    """The tensors of a release that the host keeps. Read when one is asked for: blobs are on their way then."""

    def __init__(self, host: HostDirectory, version: int) -> None:
        self._host, self._version = host, version

    def __getitem__(self, name: str) -> Array:
        try:
            return self._tensors[name]
        except KeyError as error:
            raise BaseMissing("base", f"release {self._version} has lost its tensor {name} on this host") from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    @cached_property
    def _tensors(self) -> Mapping[str, Array]:
        try:
            return from_safetensors(self._host.weights(self._version))
        except OSError as error:
            raise BaseMissing("base", f"release {self._version} can't be read on this host ({error})") from error
