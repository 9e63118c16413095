"""Whose word stands."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetloop.core.errors import FleetLoopError
from fleetloop.core.outcome import Annotation, Judge, Outcome, standing

said = st.builds(
    Annotation,
    id=st.integers(0, 10**6).map("{:026d}".format),
    episode=st.just("e"),
    author=st.text(max_size=3),
    judge=st.sampled_from(Judge),
    wall_s=st.floats(0, 1e10),
    outcome=st.none() | st.sampled_from(Outcome),
    exclude=st.none() | st.booleans(),
    quality=st.none() | st.floats(0, 1),
)


@given(st.lists(said, max_size=8), st.sampled_from(["outcome", "exclude", "quality"]))
def test_the_newest_of_the_highest_rank_stands_whatever_its_authors_clock_says(
    annotations: list[Annotation], field: str
) -> None:
    value = standing(annotations, field)
    speaking = [item for item in annotations if getattr(item, field) is not None]
    if not speaking:
        assert value is None
        return
    highest = max(item.judge.rank for item in speaking)
    assert value == getattr([item for item in speaking if item.judge.rank == highest][-1], field)


def test_a_person_outranks_the_simulator_and_that_a_classifier() -> None:
    assert Judge.PERSON.rank > Judge.SIMULATOR.rank > Judge.CLASSIFIER.rank > Judge.NOBODY.rank


@given(said)
def test_an_annotation_survives_json(annotation: Annotation) -> None:
    assert Annotation.from_json(annotation.to_json()) == annotation


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("outcome", {"outcome": "won"}),
        ("judge", {"judge": "jury"}),
        ("quality", {"quality": 1.5}),
        ("exclude", {"exclude": "no"}),
        ("mood", {"mood": "good"}),
    ],
)
def test_a_wrong_field_is_named(field: str, change: dict[str, Any]) -> None:
    good = Annotation("i", "e", "ann", Judge.PERSON, 0.0).to_json()
    with pytest.raises(FleetLoopError) as error:
        Annotation.from_json({**good, **change})
    assert error.value.field == f"annotation.{field}"
    good.pop("author")
    with pytest.raises(FleetLoopError, match=r"author.*missing"):
        Annotation.from_json(good)
