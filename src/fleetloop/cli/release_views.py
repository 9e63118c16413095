"""Releases as tables."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import Group

from fleetloop.cli import tables
from fleetloop.core.hub import Fleet
from fleetloop.core.release import HUBS_WORD, Release
from fleetloop.core.steering import Steering, Tally
from fleetloop.lab.evaluation import wilson

if TYPE_CHECKING:
    from rich.console import RenderableType

DETAILED = 12  # tensors that a difference names
NAMED = ("covers", "tensors", "encodings", "spec", "policy", "signature", "clock_s", "format")  # too long for a cell


def listing(
    releases: Sequence[Release], fleet: Fleet, steering: Steering, online: Sequence[Tally], evaluated: Sequence[Tally]
) -> "RenderableType":
    """One row each; beneath, what people have said of robots and channels."""
    made = ("parent", "step", "covers", "MB", "clock s", "held-out")
    achieved = ("episodes", "success", "unaided", "takeovers", *(("evaluated",) if evaluated else ()))
    rows = tables.table("version", "channel", *made, *achieved, "verdict")
    known = {tally.release: tally for tally in online}
    tried = {tally.release: tally for tally in evaluated}
    for release in releases:
        rows.add_row(
            str(release.version),
            where(release.version, fleet),
            str(release.parent or "–"),
            str(release.step),
            str(len(release.covers)),
            "collected" if release.collected_wall_s else f"{sum(blob.size for blob in release.blobs) / 1e6:.1f}",
            f"{release.clock_s:.0f}",
            _mean(release.held_out),
            *_achieved(known.get(release.version)),
            *([_measured(tried.get(release.version))] if evaluated else ()),
            steering.verdicts.get(str(release.version), ""),
        )
    pins = [f"{robot} is pinned to release {version}" for robot, version in sorted(steering.pins.items())]
    learner = [f"the learner was told to go back to release {steering.learner_to}, and has not answered"]
    return Group(rows, *pins, *(learner if steering.learner_to else ()))


def where(version: int, fleet: Fleet) -> str:
    """The channels that point to it."""
    channels = (("edge", fleet.edge), ("stable (held)" if fleet.held else "stable", fleet.stable))
    return ", ".join(name for name, at in (*channels, ("candidate", fleet.candidate)) if at == version)


def portrait(
    release: Release, fleet: Fleet, steering: Steering, online: Sequence[Tally], evaluated: Sequence[Tally]
) -> "RenderableType":
    """All of a manifest but its lists in full."""
    rows = tables.table(f"release {release.version}", "")
    said = release.to_json()
    for name in sorted(set(said) - {*NAMED, "version", "held_out", "collected_wall_s"}):
        rows.add_row(name, str(said[name]))
    for task, loss in sorted(release.held_out.items()):
        rows.add_row(f"held-out loss, {task}", f"{loss:.4g}")
    rows.add_row("weights", _whereabouts(release))
    rows.add_row("channel", where(release.version, fleet) or "–")
    rows.add_row("signed", "yes" if release.signature else "no")
    rows.add_row("covers", str(len(release.covers)))
    rows.add_row("tensors", str(len(release.tensors)))
    rows.add_row("MB", f"{sum(blob.size for blob in release.blobs) / 1e6:.3f}")
    rows.add_row("policy", str(release.policy.get("name")))
    rows.add_row("verdict", steering.verdicts.get(str(release.version), "–"))
    if steering.learner_to == release.version:
        rows.add_row("learner", "was told to go back to it, and has not answered")
    for said_of, tallies in (("", online), ("evaluated: ", evaluated)):
        tally = next((tally for tally in tallies if tally.release == release.version), None)
        for name, value in zip(("episodes", "success", "unaided", "takeovers"), _achieved(tally), strict=True):
            rows.add_row(said_of + name, value)
    return rows


def differences(older: Release, newer: Release) -> "RenderableType":
    """What the two manifests say otherwise."""
    rows = tables.table("", str(older.version), str(newer.version))
    before, after = older.to_json(), newer.to_json()
    for name in sorted(set(before) - {"covers", "tensors", "encodings", "signature", *HUBS_WORD}):
        if before[name] != after[name]:
            rows.add_row(name, str(before[name]), str(after[name]))
    was = {entry.name: entry for entry in older.tensors}
    now = {entry.name: entry for entry in newer.tensors}
    changed = sorted(name for name in was.keys() | now.keys() if was.get(name) != now.get(name))
    names = ", ".join(changed[:DETAILED]) + (f" and {len(changed) - DETAILED} more" if len(changed) > DETAILED else "")
    return Group(rows, f"{len(changed)} of {len(was.keys() | now.keys())} tensors differ: {names or 'none'}")


def _mean(held_out: Mapping[str, float]) -> str:
    """Over the tasks; they are all of one run."""
    return f"{sum(held_out.values()) / len(held_out):.4g}" if held_out else "–"


def _whereabouts(release: Release) -> str:
    if not release.collected_wall_s:
        return "kept"
    when = datetime.fromtimestamp(release.collected_wall_s, UTC)
    return f"collected {when:%Y-%m-%d %H:%M} UTC: nobody can fetch them"


def _achieved(tally: Tally | None) -> tuple[str, str, str, str]:
    """Episodes, success and unaided success with their intervals, share of episodes with a takeover."""
    if tally is None or not tally.episodes:
        return "–", "", "", ""
    share = tally.interrupted / tally.episodes
    return (
        str(tally.episodes),
        _rate(tally.successes, tally.episodes),
        _rate(tally.unaided, tally.episodes),
        f"{share:.0%}",
    )


def _measured(tally: Tally | None) -> str:
    """How many episodes, and unaided success with its interval."""
    return f"{tally.episodes}: {_rate(tally.unaided, tally.episodes)}" if tally else "–"


def _rate(count: int, episodes: int) -> str:
    low, high = wilson(count, episodes)
    return f"{count / episodes:.2f} [{low:.2f}, {high:.2f}]"
