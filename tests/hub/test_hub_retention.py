"""What is beyond a cap gets a tombstone; its bytes go only when no learner can ask for them any more."""

import errno
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hub_world import TASKS, HubProcess, fresh_id, put, sealed, until
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from fleetloop.cli.main import app
from fleetloop.core.clock import Virtual
from fleetloop.core.disk import RealDisk, disk_trouble
from fleetloop.core.errors import HubRefused
from fleetloop.core.hub import LearnerStatus
from fleetloop.core.outcome import Annotation, Judge
from fleetloop.hub.catalog.catalog import Catalog
from fleetloop.hub.http.client import HttpHub
from fleetloop.hub.options import HubOptions, RetentionOptions
from fleetloop.hub.rebuild import rebuild
from fleetloop.hub.retention import excess
from fleetloop.hub.service import HubService

SHELF, WALLS = TASKS
Start = Callable[..., HubService]


@pytest.fixture
def clock() -> Virtual:
    return Virtual(1e6)


@pytest.fixture
def start(tmp_path: Path, clock: Virtual) -> Iterator[Start]:
    """Opens the hub, anew if it runs, with these options of retention."""
    running: list[HubService] = []

    def opened(disk: RealDisk | None = None, **options: Any) -> HubService:
        while running:
            running.pop().close()
        chosen = HubOptions(
            directory=tmp_path / "hub", retention=RetentionOptions.model_validate({"grace_wall_s": 0, **options})
        )
        running.append(HubService.open(chosen, clock, disk or RealDisk(), TASKS))
        return running[-1]

    yield opened
    running.pop().close()


def put_some(hub: HubService, outbox: Path, *sources: str, **meta: object) -> list[str]:
    episodes = [sealed(outbox, item, **meta) for item in sources]
    for episode in episodes:
        put(hub, episode)
    return [episode.meta.id for episode in episodes]


def sweep(hub: HubService, clock: Virtual) -> None:
    """Let it do all that is due."""
    clock.advance(1e3)
    while hub.retention.step(clock.now()) <= clock.now():
        pass


def living(hub: HubService) -> list[str]:
    return [row["id"] for row in reversed(hub.episodes())]


def tombstones(hub: HubService) -> list[str]:
    return [event.ref for event in hub.events(0) if event.kind == "tombstone"]


def learner_kept(hub: HubService, cursor: int) -> None:
    hub.report_learner(LearnerStatus("run-1", 0, 0, 1 << 40, False, 0.0, checkpoint=cursor))


def stored(hub: HubService, tmp_path: Path) -> set[str]:
    return {path.stem for path in (tmp_path / "hub" / "episodes").iterdir()}


def to_remove(hub: HubService) -> tuple[int, int]:
    with hub._catalog.reading() as records:
        return records.holdings.to_remove()


# ---------------------------------------------------------------------- what goes


def test_by_default_nothing_goes(start: Start, outbox: Path, clock: Virtual) -> None:
    hub = start()
    ids = put_some(hub, outbox, "pp", "ph")
    sweep(hub, clock)
    assert living(hub) == ids


def test_the_oldest_arrivals_of_each_task_go_and_each_task_may_have_caps_of_its_own(
    start: Start, outbox: Path, clock: Virtual
) -> None:
    hub = start(max_episodes=2, tasks={WALLS: {"max_episodes": 1}})
    shelf = put_some(hub, outbox, "p", "p", "p")
    walls = put_some(hub, outbox, "p", "p", task=WALLS)
    sweep(hub, clock)
    assert living(hub) == [*shelf[1:], walls[1]]
    assert set(tombstones(hub)) == {shelf[0], walls[0]}


def test_caps_of_a_task_stand_in_place_of_the_general_ones(start: Start, outbox: Path, clock: Virtual) -> None:
    hub = start(max_episodes=1, tasks={WALLS: {}})
    put_some(hub, outbox, "p", "p", task=WALLS)
    sweep(hub, clock)
    assert tombstones(hub) == []


def test_what_people_did_is_neither_touched_nor_counted_unless_it_is_said(
    start: Start, outbox: Path, clock: Virtual
) -> None:
    hub = start(max_episodes=1)
    corrected = put_some(hub, outbox, "ph", "hp")
    shown = put_some(hub, outbox, "hh", "hh", purpose="demonstration")
    tried = put_some(hub, outbox, "pp", "pp", purpose="evaluation")
    alone = put_some(hub, outbox, "pp", "pp")
    sweep(hub, clock)
    assert tombstones(hub) == [alone[0]]
    hub = start(max_episodes=1, kinds=["correction", "demonstration", "evaluation"])
    sweep(hub, clock)
    assert living(hub) == [tried[1], alone[1]]
    assert set(tombstones(hub)) == {alone[0], *corrected, *shown, tried[0]}


def test_by_bytes(start: Start, outbox: Path, clock: Virtual) -> None:
    hub = start()
    ids = put_some(hub, outbox, "pp", "pp", "pp")
    sizes = [row["bytes"] for row in hub.episodes()]
    hub = start(max_gb=sum(sizes[:2]) / 1e9)
    sweep(hub, clock)
    assert living(hub) == ids[1:]
    hub = start(max_gb=(sum(sizes[:2]) - 1) / 1e9)
    sweep(hub, clock)
    assert living(hub) == ids[2:]


def test_by_age_of_arrival_whatever_the_robots_clock_says(start: Start, outbox: Path, clock: Virtual) -> None:
    """The frames of these episodes say 2023, the hub's clock 1970."""
    hub = start(max_age_days=2)
    (old,) = put_some(hub, outbox, "pp")
    clock.advance(1.5 * 86_400)
    (new,) = put_some(hub, outbox, "pp")
    sweep(hub, clock)
    assert living(hub) == [old, new]
    clock.advance(86_400)
    sweep(hub, clock)
    assert living(hub) == [new]


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 50), st.floats(0, 10)), max_size=12),
    st.none() | st.integers(0, 6),
    st.none() | st.integers(0, 200),
    st.none() | st.floats(0.5, 20),
)
def test_what_goes_is_a_beginning_and_what_stays_is_within_the_caps(
    tmp_path_factory: pytest.TempPathFactory,
    episodes: list[tuple[int, float]],
    count: int | None,
    size: int | None,
    days: float | None,
) -> None:
    catalog = Catalog(tmp_path_factory.mktemp("catalog") / "catalog.sqlite")
    now = 0.0
    with catalog.writing() as records:
        for bytes, pause in episodes:
            now += pause
            common = {"task": "t", "hash": "h", "outcome": "success", "judge": "nobody", "purpose": "online"}
            records.add_episode(
                {"id": fresh_id(), "frames_human": 0, "bytes": bytes, "received_wall_s": now * 86_400, **common}
            )
    options = RetentionOptions(max_episodes=count, max_gb=None if size is None else size / 1e9, max_age_days=days)
    with catalog.reading() as records:
        gone = len(excess(records, options, now * 86_400, 100))
    kept = episodes[gone:]
    ages, age = [], 0.0
    for _, pause in reversed(episodes):
        ages.append(age)
        age += pause
    ages.reverse()

    def fits(some: list[tuple[int, float]]) -> bool:
        return (
            (count is None or len(some) <= count)
            and (size is None or sum(item[0] for item in some) <= size)
            and (days is None or not some or ages[len(episodes) - len(some)] * 86_400 <= days * 86_400 + 1e-3)
        )

    assert fits(kept)
    assert gone == 0 or not fits(episodes[gone - 1 :]), "no more than needed"
    catalog.close()


# ---------------------------------------------------------------------- how it goes


def test_a_tombstone_is_an_event_and_the_episode_is_listed_no_more(start: Start, outbox: Path, clock: Virtual) -> None:
    hub = start(max_episodes=1)
    first, second = put_some(hub, outbox, "pp", "pp")
    sweep(hub, clock)
    events = hub.events(0)
    assert [(event.kind, event.ref) for event in events] == [
        ("episode", first),
        ("episode", second),
        ("tombstone", first),
    ]
    assert events[0].data["tombstone"] == 3
    assert "tombstone" not in events[1].data
    assert {name: events[2].data[name] for name in ("episode", "task", "why")} == {
        "episode": first,
        "task": SHELF,
        "why": "count",
    }
    assert hub.fleet().episodes == 1
    with pytest.raises(HubRefused, match="tombstone") as refusal:
        hub.annotate(Annotation(fresh_id(), first, "ann", Judge.PERSON, 1.0, exclude=True))
    assert refusal.value.status == 410


def test_a_learner_that_waits_is_woken(start: Start, outbox: Path, clock: Virtual) -> None:
    hub = start(max_episodes=0)
    put_some(hub, outbox, "pp")
    rung: list[bool] = []
    hub.experience.news.listen(lambda: rung.append(True))
    sweep(hub, clock)
    assert rung == [True]


def test_the_bytes_stay_until_the_learners_oldest_checkpoint_is_past_the_tombstone(
    start: Start, outbox: Path, clock: Virtual, tmp_path: Path
) -> None:
    hub = start(max_episodes=0)
    (id,) = put_some(hub, outbox, "pp")
    for reported in (None, 0, 1):
        if reported is not None:
            learner_kept(hub, reported)
        sweep(hub, clock)
        hub.get_episode(id, tmp_path / "copy")
    assert to_remove(hub) == (1, hub.events(0)[0].data["bytes"])
    learner_kept(hub, 2)
    sweep(hub, clock)
    assert stored(hub, tmp_path) == set()
    assert to_remove(hub) == (0, 0)
    with pytest.raises(HubRefused, match="retention removed it") as refusal:
        hub.get_episode(id, tmp_path / "copy")
    assert refusal.value.status == 410


def test_the_bytes_stay_for_the_grace_period(start: Start, outbox: Path, clock: Virtual, tmp_path: Path) -> None:
    hub = start(max_episodes=0, grace_wall_s=86_400)
    (id,) = put_some(hub, outbox, "pp")
    sweep(hub, clock)
    learner_kept(hub, 2)
    clock.advance(80_000)
    sweep(hub, clock)
    assert stored(hub, tmp_path) == {id}
    clock.advance(10_000)
    sweep(hub, clock)
    assert stored(hub, tmp_path) == set()


def test_a_hub_that_was_restarted_waits_until_the_learner_speaks(
    start: Start, outbox: Path, clock: Virtual, tmp_path: Path
) -> None:
    hub = start(max_episodes=0)
    put_some(hub, outbox, "pp")
    sweep(hub, clock)
    hub = start()  # also without caps what has a tombstone goes
    sweep(hub, clock)
    assert len(stored(hub, tmp_path)) == 1
    learner_kept(hub, 2)
    sweep(hub, clock)
    assert stored(hub, tmp_path) == set()


@pytest.mark.parametrize("removed", [False, True])
def test_a_robot_that_sends_it_again_is_told_that_it_is_known(
    start: Start, outbox: Path, clock: Virtual, tmp_path: Path, removed: bool
) -> None:
    hub = start(max_episodes=0)
    episode = sealed(outbox, "pp")
    seq = put(hub, episode)
    sweep(hub, clock)
    if removed:
        learner_kept(hub, 2)
        sweep(hub, clock)
    before = stored(hub, tmp_path)
    said = hub.put_episode(episode.meta.id, episode.path, episode.hash)
    assert (said.seq, said.known) == (seq, True)
    assert stored(hub, tmp_path) == before == (set() if removed else {episode.meta.id})
    assert len(hub.events(0)) == 2
    with pytest.raises(HubRefused, match="is known with the hash") as refusal:
        put(hub, sealed(outbox, "ppp", id=episode.meta.id))
    assert refusal.value.status == 409


@pytest.mark.parametrize("removed", [False, True])
def test_tombstones_survive_a_rebuild(
    start: Start, outbox: Path, clock: Virtual, tmp_path: Path, removed: bool
) -> None:
    hub = start(max_episodes=1)
    episodes = [sealed(outbox, "pp") for _ in range(3)]
    for episode in episodes:
        put(hub, episode)
    sweep(hub, clock)
    if removed:
        learner_kept(hub, 5)
        sweep(hub, clock)
    events = hub.events(0)
    hub.close()
    found = rebuild(HubOptions(directory=tmp_path / "hub"), clock, RealDisk())
    assert (found.different, found.damaged, found.unheard_of) == ((), (), ())
    hub = start()
    assert hub.events(0) == events
    assert living(hub) == [episodes[2].meta.id]
    assert hub.put_episode(episodes[0].meta.id, episodes[0].path, episodes[0].hash).known
    assert to_remove(hub)[0] == (0 if removed else 2)
    learner_kept(hub, 5)
    sweep(hub, clock)
    assert stored(hub, tmp_path) == {episodes[2].meta.id}, "what was on its way out goes on its way"


class SickDisk(RealDisk):
    """Refuses to write or to remove while it is full."""

    full = False

    def write(self, path: Path, data: bytes) -> None:
        self._check(path)
        super().write(path, data)

    def remove(self, path: Path) -> None:
        self._check(path)
        super().remove(path)

    def _check(self, path: Path) -> None:
        if self.full:
            raise disk_trouble(path, OSError(errno.ENOSPC, "No space left on device"))


def test_a_full_disk_is_an_alarm_and_nothing_is_half_done(
    start: Start, outbox: Path, clock: Virtual, tmp_path: Path
) -> None:
    disk = SickDisk()
    hub = start(disk, max_episodes=1)
    ids = put_some(hub, outbox, "pp", "pp")
    disk.full = True
    sweep(hub, clock)
    assert "full" in hub.retention.alarms.text
    assert hub.retention.alarms.text in hub.fleet().alarm
    assert living(hub) == ids
    disk.full = False
    sweep(hub, clock)
    assert hub.retention.alarms.text == ""
    assert living(hub) == ids[1:]
    learner_kept(hub, 3)
    disk.full = True
    sweep(hub, clock)
    assert "full" in hub.retention.alarms.text
    disk.full = False
    sweep(hub, clock)
    assert stored(hub, tmp_path) == set(ids[1:])


def test_a_hub_in_its_own_process_sees_to_it_by_itself(tmp_path: Path, outbox: Path) -> None:
    retention = {"max_episodes": 1, "every_s": 0.05, "grace_wall_s": 0.0}
    hub = HubProcess.start(tmp_path / "hub", retention=retention)
    client = HttpHub(hub.url)
    ids = [sealed(outbox, "pp") for _ in range(3)]
    for episode in ids:
        put(client, episode)
    gone = {episode.meta.id for episode in ids[:2]}
    until(lambda: {event.ref for event in client.events(0) if event.kind == "tombstone"} == gone)
    client.report_learner(LearnerStatus("run-1", 0, 0, 5, False, 0.0, checkpoint=5))
    until(lambda: {path.stem for path in (tmp_path / "hub" / "episodes").iterdir()} == {ids[2].meta.id})
    client.close()
    assert hub.stop() == 0


# ---------------------------------------------------------------------- the command


def said(*words: object) -> str:
    result = CliRunner().invoke(app, ["hub", "retention", *map(str, words)])
    return result.output if not result.exit_code else f"refused: {result.output}"


def test_a_dry_run_shows_what_would_go_beside_a_running_hub(tmp_path: Path, outbox: Path) -> None:
    directory = tmp_path / "hub"
    hub = HubProcess.start(directory)
    client = HttpHub(hub.url)
    ids = put_some(client, outbox, "pp", "pp", "pp")  # type: ignore[arg-type]
    cap = ("--directory", directory, "--set", "hub.retention.max_episodes=1")
    shown = said("--dry-run", *cap)
    assert [word in shown for word in (SHELF, "count", *ids)] == [True, True, True, True, False]
    assert "belongs to a running hub" in said(*cap)
    assert [event.kind for event in client.events(0)] == ["episode"] * 3
    client.close()
    assert hub.stop() == 0
    assert "2 tombstones given" in said(*cap)
    assert "2 episodes have a tombstone" in said("--dry-run", *cap)
    assert ids[0] not in said("--dry-run", *cap)


def test_without_a_hub_there_it_says_so(tmp_path: Path) -> None:
    assert "holds no catalog" in said("--dry-run", "--directory", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_bytes_in_a_bucket_go_as_well(tmp_path: Path, outbox: Path, clock: Virtual, store: str) -> None:
    retention = RetentionOptions(max_episodes=1, grace_wall_s=0)
    options = HubOptions(directory=tmp_path / "hub", store=store, retention=retention)
    hub = HubService.open(options, clock, RealDisk(), TASKS)
    first, second = put_some(hub, outbox, "pp", "pp")
    sweep(hub, clock)
    learner_kept(hub, 3)
    sweep(hub, clock)
    assert [name.split("/")[-1] for name in hub.experience._objects.names("episodes")] == [f"{second}.arrow"]
    hub.close()
    found = rebuild(options, clock, RealDisk())
    assert (found.different, found.damaged) == ((), ())
    hub = HubService.open(options, clock, RealDisk(), TASKS)
    assert living(hub) == [second]
    assert tombstones(hub) == [first]
    hub.close()
