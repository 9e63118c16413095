"""What a user may set about the hub."""

import ipaddress
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Kind = Literal["autonomous", "correction", "demonstration", "evaluation"]
LOCK = "lock"
"""In the hub's directory: held by the process that works there."""


class AttentionOptions(BaseModel):
    """How many robots may be attended at once: `operators` times `robots_per_operator`, for each pool of operators."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    operators: int = Field(default=1, ge=0, description="people (or scripted stand-ins) in a pool")
    robots_per_operator: int = Field(
        default=1, ge=1, description="robots that one operator attends to at once; a person drives one"
    )
    lease_s: float = Field(
        default=10.0, gt=0, description="clock seconds that a robot stays attended without a beat from its courier"
    )


class Caps(BaseModel):
    """How much of a task is kept; None: all of it. What is beyond any of them goes, oldest arrival first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_episodes: int | None = Field(default=None, ge=0, description="keep so many episodes of a task; null: all")
    max_gb: float | None = Field(
        default=None, ge=0, description="keep so many GB (10^9 bytes) of episodes of a task; null: all"
    )
    max_age_days: float | None = Field(
        default=None, gt=0, description="keep the episodes of a task that arrived in the last so many days; null: all"
    )


class RetentionOptions(Caps):
    """Which episodes go, and when."""

    kinds: tuple[Kind, ...] = Field(
        default=("autonomous",),
        description="what may go, and is counted by the caps: autonomous (online, nobody took over), correction "
        "(online, with human frames), demonstration, evaluation",
    )
    tasks: dict[str, Caps] = Field(default={}, description="caps of single tasks, in place of those above")
    every_s: float = Field(default=60.0, gt=0, description="clock seconds between two looks")
    grace_wall_s: float = Field(
        default=86_400.0,
        ge=0,
        description="real seconds that an episode's bytes stay after its tombstone, and at least until the learner's "
        "oldest checkpoint is past it",
    )

    def caps(self, task: str) -> Caps:
        return self.tasks.get(task, self)


class ReleasesOptions(BaseModel):
    """Which releases' weights are kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keep: int | None = Field(
        default=None,
        ge=16,  # the ladder's longest span: against any of these the learner may encode its next release
        description="keep the weights of so many newest releases, and of all that channels, pins, a candidate and "
        "robots need; of the others the manifest alone stays; null: keep all",
    )
    every_s: float = Field(default=600.0, gt=0, description="clock seconds between two looks")
    grace_wall_s: float = Field(
        default=3600.0,
        gt=0,
        description="real seconds that a collected release's bytes stay, for downloads under way; and blobs that no "
        "release names, for a publication under way",
    )


class CanaryOptions(BaseModel):
    """Some robots try the candidate; Wald's sequential test says whether their unaided successes have become fewer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    robots: int = Field(default=0, ge=0, description="how many robots try a candidate; 0: none, the gates are enough")
    episodes: int = Field(
        default=100, ge=1, description="of the candidate, after which the likelier verdict is taken at the latest"
    )
    baseline: int = Field(
        default=100, ge=1, description="episodes of the stable release before the next candidate is measured by it"
    )
    worse_by: float = Field(
        default=0.2, gt=0, lt=1, description="fall of the share of unaided successes that must not go unnoticed"
    )
    false_alarm: float = Field(
        default=0.05, gt=0, lt=0.5, description="chance to refuse a candidate that is as good as stable"
    )
    miss: float = Field(default=0.05, gt=0, lt=0.5, description="chance to promote one that is worse by `worse_by`")


class PromotionOptions(BaseModel):
    """What a release goes through on its way from edge to stable, where stable does not follow edge."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    every_s: float | None = Field(
        default=None,
        ge=0,
        description="clock seconds between the newest release being taken as a candidate and the next time; "
        "null: people promote",
    )
    held_out_ratio: float | None = Field(
        default=1.5,
        gt=0,
        description="a candidate's held-out loss on a task may be at most so many times stable's; null: no bound",
    )
    command: tuple[str, ...] = Field(
        default=(),
        description="a program and its arguments that says by exit status 0 that a candidate may go on, by 75 that it "
        "can't tell now and is to be asked again; {release} and {hub} stand for its version and the hub's URL; "
        "empty: none",
    )
    patience_s: float = Field(
        default=3600.0, gt=0, description="clock seconds after which a candidate without a verdict is refused"
    )
    canary: CanaryOptions = Field(default=CanaryOptions(), description="robots that try it first")


class HubOptions(BaseModel):
    """Where the hub lives, whom it serves and what it takes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    directory: Path = Field(default=Path("hub"), description="where episodes, weights and the catalog are kept")
    store: str = Field(
        default="",
        description="where episodes and weights are kept instead: s3://BUCKET/PREFIX, credentials from the environment",
    )
    host: str = Field(
        default="127.0.0.1",
        description="address to listen on; anything but this machine's own needs TLS, or `insecure`",
    )
    port: int = Field(default=8787, ge=0, le=65535, description="TCP port to listen on; 0 takes a free one")
    catalog: str | None = Field(
        default=None,
        description="database for the catalog, e.g. postgresql://fleetloop@db.lab/fleetloop, whose password is the "
        "environment's PGPASSWORD; null: a SQLite file in `directory`",
    )
    insecure: bool = Field(
        default=False, description="serve other machines although there is neither TLS nor any token"
    )
    tls_certificate: Path | None = Field(
        default=None, description="PEM file with the certificate that the hub shows, and those that vouch for it"
    )
    tls_key: Path | None = Field(default=None, description="PEM file with the certificate's private key")
    require_tokens: bool = Field(
        default=False,
        description="ask this machine's own processes for a token too; others are always asked, unless `insecure`",
    )
    max_episode_mb: float = Field(default=2000.0, gt=0, description="largest episode taken, in MB (10^6 bytes)")
    max_blob_mb: float = Field(default=20_000.0, gt=0, description="largest blob of weights taken, in MB (10^6 bytes)")
    keep_uploads_wall_s: float = Field(
        default=86_400.0, gt=0, description="real seconds after which an upload that was not finished is forgotten"
    )
    max_waiting_mb: float = Field(
        default=10_000.0,
        gt=0,
        description="room for unfinished uploads in the directory, in MB; when it is full, the oldest is forgotten",
    )
    learner_lease_s: float = Field(
        default=60.0, gt=0, description="clock seconds after which a silent learner's place may be taken by another"
    )
    stable_follows_edge: bool = Field(
        default=True,
        description="robots run every release at once; false: `stable` moves only when a release is promoted",
    )
    promote: PromotionOptions = Field(
        default=PromotionOptions(), description="the way from edge to stable, where it does not follow at once"
    )
    silent_s: float = Field(
        default=15.0, gt=0, description="clock seconds without a beat after which a robot shows as offline"
    )
    beats_per_s: float = Field(
        default=200.0,
        gt=0,
        description="beats that the hub hears in a real second: of a large fleet each courier beats less often, but at "
        "least three times in `silent_s`, and at once when a robot wants attention",
    )
    attention: AttentionOptions = Field(
        default=AttentionOptions(), description="how many robots operators attend to at once"
    )

    retention: RetentionOptions = Field(
        default=RetentionOptions(), description="which episodes go, and when; by default none"
    )
    releases: ReleasesOptions = Field(
        default=ReleasesOptions(), description="which releases' weights go, and when; by default none"
    )

    @model_validator(mode="after")
    def _certificate_has_a_key(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together: name both files, or none")
        return self

    @field_validator("catalog")
    @classmethod
    def _catalog_is_a_database(cls, catalog: str | None) -> str | None:
        if catalog is not None and not catalog.startswith("postgresql://"):  # not repeated: it may hold a password
            raise ValueError("is no database: write postgresql://USER@HOST/DATABASE, or nothing for the directory")
        return catalog

    @field_validator("store")
    @classmethod
    def _store_is_a_bucket(cls, store: str) -> str:
        if store and not (store.startswith("s3://") and store.removeprefix("s3://").strip("/")):
            raise ValueError(f"{store!r} is no store: write s3://BUCKET/PREFIX, or nothing for the directory")
        return store

    @model_validator(mode="after")
    def _gates_need_a_stable_channel(self) -> Self:
        if self.stable_follows_edge and self.promote.every_s is not None:
            raise ValueError("promote.every_s has no effect where stable follows edge: set stable_follows_edge: false")
        return self

    @property
    def asks_for_tokens(self) -> bool:
        """Whether every call needs a token."""
        return self.require_tokens or not (is_loopback(self.host) or self.insecure)

    @property
    def scheme(self) -> str:
        """Of the hub's URL."""
        return "https" if self.tls_certificate else "http"

    @property
    def max_episode_bytes(self) -> int:
        return int(self.max_episode_mb * 1e6)

    @property
    def max_waiting_bytes(self) -> int:
        return int(self.max_waiting_mb * 1e6)

    @property
    def max_blob_bytes(self) -> int:
        return int(self.max_blob_mb * 1e6)


def is_loopback(host: str) -> bool:
    """Whether `host` can be reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
