"""What is beyond a cap gets a tombstone, and nothing else; and the command that shows it beforehand."""

from pathlib import Path

import pytest
from hub_world import TASKS, HubProcess, fresh_id
from hypothesis import given, settings
from hypothesis import strategies as st
from retaining import SHELF, WALLS, Start, learner_kept, living, put_some, sweep, tombstones
from typer.testing import CliRunner

from fleetloop.cli.main import app
from fleetloop.core.clock import Virtual
from fleetloop.core.disk import RealDisk
from fleetloop.hub.catalog.catalog import Catalog
from fleetloop.hub.http.client import HttpHub
from fleetloop.hub.options import HubOptions, RetentionOptions
from fleetloop.hub.rebuild import rebuild
from fleetloop.hub.retention import excess
from fleetloop.hub.service import HubService


def test_by_default_nothing_goes(retaining: Start, outbox: Path, clock: Virtual) -> None:
    hub = retaining()
    ids = put_some(hub, outbox, "pp", "ph")
    sweep(hub, clock)
    assert living(hub) == ids


def test_the_oldest_arrivals_of_each_task_go_and_each_task_may_have_caps_of_its_own(
    retaining: Start, outbox: Path, clock: Virtual
) -> None:
    hub = retaining(max_episodes=2, tasks={WALLS: {"max_episodes": 1}})
    shelf = put_some(hub, outbox, "p", "p", "p")
    walls = put_some(hub, outbox, "p", "p", task=WALLS)
    sweep(hub, clock)
    assert living(hub) == [*shelf[1:], walls[1]]
    assert set(tombstones(hub)) == {shelf[0], walls[0]}


def test_caps_of_a_task_stand_in_place_of_the_general_ones(retaining: Start, outbox: Path, clock: Virtual) -> None:
    hub = retaining(max_episodes=1, tasks={WALLS: {}})
    put_some(hub, outbox, "p", "p", task=WALLS)
    sweep(hub, clock)
    assert tombstones(hub) == []


def test_what_people_did_is_neither_touched_nor_counted_unless_it_is_said(
    retaining: Start, outbox: Path, clock: Virtual
) -> None:
    hub = retaining(max_episodes=1)
    corrected = put_some(hub, outbox, "ph", "hp")
    shown = put_some(hub, outbox, "hh", "hh", purpose="demonstration")
    tried = put_some(hub, outbox, "pp", "pp", purpose="evaluation")
    alone = put_some(hub, outbox, "pp", "pp")
    sweep(hub, clock)
    assert tombstones(hub) == [alone[0]]
    hub = retaining(max_episodes=1, kinds=["correction", "demonstration", "evaluation"])
    sweep(hub, clock)
    assert living(hub) == [tried[1], alone[1]]
    assert set(tombstones(hub)) == {alone[0], *corrected, *shown, tried[0]}


def test_by_bytes(retaining: Start, outbox: Path, clock: Virtual) -> None:
    hub = retaining()
    ids = put_some(hub, outbox, "pp", "pp", "pp")
    sizes = [row["bytes"] for row in hub.episodes()]
    hub = retaining(max_gb=sum(sizes[:2]) / 1e9)
    sweep(hub, clock)
    assert living(hub) == ids[1:]
    hub = retaining(max_gb=(sum(sizes[:2]) - 1) / 1e9)
    sweep(hub, clock)
    assert living(hub) == ids[2:]


def test_by_age_of_arrival_whatever_the_robots_clock_says(retaining: Start, outbox: Path, clock: Virtual) -> None:
    """The frames of these episodes say 2023, the hub's clock 1970."""
    hub = retaining(max_age_days=2)
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
    st.lists(st.tuples(st.integers(1, 50), st.integers(0, 10)), max_size=12),
    st.none() | st.integers(0, 6),
    st.none() | st.integers(0, 200),
    st.none() | st.integers(0, 20).map(lambda days: days + 0.5),  # no episode is exactly as old as that
)
def test_what_goes_is_a_beginning_and_what_stays_is_within_the_caps(
    tmp_path_factory: pytest.TempPathFactory,
    episodes: list[tuple[int, int]],
    count: int | None,
    size: int | None,
    days: float | None,
) -> None:
    catalog = Catalog(tmp_path_factory.mktemp("catalog") / "catalog.sqlite")
    now = 0
    with catalog.writing() as records:
        for bytes, pause in episodes:
            now += pause
            common = {"task": "t", "hash": "h", "outcome": "success", "judge": "nobody", "purpose": "online"}
            records.add_episode(
                {"id": fresh_id(), "frames_human": 0, "bytes": bytes, "received_wall_s": now * 86_400.0, **common}
            )
    options = RetentionOptions(max_episodes=count, max_gb=None if size is None else size / 1e9, max_age_days=days)
    with catalog.reading() as records:
        gone = len(excess(records, options, now * 86_400, 100))
    kept = episodes[gone:]
    ages, age = [], 0
    for _, pause in reversed(episodes):
        ages.append(age)
        age += pause
    ages.reverse()

    def fits(some: list[tuple[int, int]]) -> bool:
        return (
            (count is None or len(some) <= count)
            and (size is None or sum(item[0] for item in some) <= size)
            and (days is None or not some or ages[len(episodes) - len(some)] <= days)
        )

    assert fits(kept)
    assert gone == 0 or not fits(episodes[gone - 1 :]), "no more than needed"
    catalog.close()


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


@pytest.mark.parametrize("store", ["directory", "s3"], indirect=True)
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
