"""A large upload that is under way stops for an urgent episode, and goes on where it stopped."""

from pathlib import Path

import pytest
from hub_world import World, put, sealed
from large_uploads import large
from line import line

from fleetloop.core.errors import GaveWay
from fleetloop.hub.http.client import IN_ONE_GO, HttpHub
from fleetloop.hub.storage import s3


@pytest.mark.parametrize("store", [""])
def test_what_has_given_way_goes_on_where_it_stopped(served: World, outbox: Path, tmp_path: Path) -> None:
    first, urgent = large(outbox), sealed(outbox, "ph")
    assert isinstance(served.hub, HttpHub)
    with line(served.hub.url) as way:
        hub, asked = HttpHub(way.url), []

        def gives_way() -> bool:
            asked.append(way.up)
            return len(asked) == 5

        with pytest.raises(GaveWay):
            hub.put_episode(first.meta.id, first.path, first.hash, gives_way=gives_way)
        assert way.up < first.size
        put(hub, urgent)
        hub.put_episode(first.meta.id, first.path, first.hash, gives_way=gives_way)
        assert way.up < first.size + IN_ONE_GO, "it began anew"
        hub.close()
    assert [event.ref for event in served.hub.events(0)] == [urgent.meta.id, first.meta.id]
    served.hub.get_episode(first.meta.id, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == first.path.read_bytes()


@pytest.mark.parametrize("store", ["s3"], indirect=True)
def test_into_a_bucket_it_gives_way_after_each_part(
    served: World, outbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within one it would lose what was sent of it, and might never come to an end."""
    monkeypatch.setattr(s3, "PART_BYTES", 500_000)
    first, urgent = large(outbox), sealed(outbox, "ph")
    with pytest.raises(GaveWay):
        served.hub.put_episode(first.meta.id, first.path, first.hash, gives_way=lambda: True)
    assert [name.rsplit("/", 1)[1] for name in served.kept.names("incoming")] == [f"{0:012d}"]
    put(served.hub, urgent)
    for _ in range(first.size // 500_000 - 1):
        with pytest.raises(GaveWay):
            served.hub.put_episode(first.meta.id, first.path, first.hash, gives_way=lambda: True)
    served.hub.put_episode(first.meta.id, first.path, first.hash, gives_way=lambda: True)
    assert [event.ref for event in served.hub.events(0)] == [urgent.meta.id, first.meta.id]
    served.hub.get_episode(first.meta.id, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == first.path.read_bytes()
    assert served.kept.names("incoming") == []
