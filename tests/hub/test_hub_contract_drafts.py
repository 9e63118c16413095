"""What every Hub promises about drafts, asked of the service and of its HTTP client alike."""

from dataclasses import replace
from threading import Thread

import pytest
from hub_world import World, manifest, publish, put_blobs, until

from fleetloop.core.errors import LeaseLost, ReleaseInvalid
from fleetloop.core.hub import EDGE, STABLE
from fleetloop.core.release import BlobEntry, Encoding, Release
from fleetloop.hub.releases.drafts import STALE_S


def drafted(world: World, base: int = 1) -> tuple[Release, Encoding]:
    """The release that is being made on top of another, and the draft of which the hub has been told."""
    release, encoded = manifest(2, parent=base)
    put_blobs(world.hub, encoded)
    draft = replace(release.encodings[0], base=base)
    world.hub.draft(draft, world.hub.claim_lease("learner"))
    return release, draft


def test_who_has_its_base_hears_of_a_draft_until_there_is_a_manifest(world: World) -> None:
    first = publish(world.hub, 1)
    assert world.hub.coming(STABLE, after=1) is None
    release, draft = drafted(world)
    assert world.hub.coming(STABLE, after=1) == world.hub.coming(EDGE, after=1) == draft
    assert world.hub.coming(STABLE, after=1, blobs=len(draft.blobs)) is None, "there is no more of it"
    assert world.hub.coming(STABLE, after=0) == first, "who has something else hears of the release that there is"
    second = world.hub.publish(release, world.hub.claim_lease("learner"))
    assert world.hub.coming(STABLE, after=1) == second
    assert world.hub.coming(STABLE, after=2) is None


def test_who_waits_hears_of_a_draft_and_then_of_its_release(world: World) -> None:
    publish(world.hub, 1)
    got: list[object] = []

    def wait() -> None:
        draft = world.hub.coming(STABLE, after=1, wait_s=60)
        got.append(draft)
        got.append(world.hub.coming(STABLE, after=1, blobs=1, wait_s=60))

    courier = Thread(target=wait)
    courier.start()
    release, draft = drafted(world)
    until(lambda: got == [draft])
    second = world.hub.publish(release, world.hub.claim_lease("learner"))
    courier.join(timeout=30)
    assert got == [draft, second]


def test_no_draft_is_told_of_where_the_channel_would_not_move(world: World) -> None:
    publish(world.hub, 1)
    world.hub.hold()
    _, draft = drafted(world)
    assert world.hub.coming(STABLE, after=1) is None
    assert world.hub.coming(EDGE, after=1) == draft
    world.hub.resume()
    assert world.hub.coming(STABLE, after=1) == draft


def test_a_wrong_draft_is_refused(world: World) -> None:
    publish(world.hub, 1)
    _, draft = drafted(world)
    lease = world.hub.claim_lease("learner")
    world.hub.draft(draft, lease)
    with pytest.raises(LeaseLost):
        world.hub.draft(draft, replace(lease, fence=lease.fence - 1))
    with pytest.raises(ReleaseInvalid, match="is not here"):
        world.hub.draft(replace(draft, blobs=(BlobEntry("0" * 64, 1),)), lease)
    with pytest.raises(ReleaseInvalid, match="the manifest says -1"):
        world.hub.draft(replace(draft, blobs=(replace(draft.blobs[0], size=-1), *draft.blobs)), lease)
    with pytest.raises(ReleaseInvalid, match="no blake3"):
        world.hub.draft(replace(draft, blobs=(*draft.blobs, BlobEntry("../../escape", 1))), lease)
    with pytest.raises(ReleaseInvalid, match="nonsense/1"):
        world.hub.draft(replace(draft, codec="nonsense/1"), lease)
    assert world.hub.coming(STABLE, after=1) == draft, "the one before stands"


def test_another_learner_ends_the_draft(world: World) -> None:
    publish(world.hub, 1)
    _, draft = drafted(world)
    assert world.hub.coming(STABLE, after=1) == draft
    world.hub.claim_lease("learner")
    assert world.hub.coming(STABLE, after=1) is None


def test_a_draft_that_does_not_grow_is_told_of_no_more(world: World) -> None:
    publish(world.hub, 1)
    _, draft = drafted(world)
    now = world.clock.now()
    world.service.keep_house(now + STALE_S - 1)
    assert world.hub.coming(STABLE, after=1) == draft
    world.service.keep_house(now + STALE_S)
    assert world.hub.coming(STABLE, after=1) is None
