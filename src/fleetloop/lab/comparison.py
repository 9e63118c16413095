"""The reference's figures (SOP, arXiv 2601.03044) beside ours, as a part of docs/results/README.md."""

from pathlib import Path

from fleetloop.core.disk import RealDisk
from fleetloop.core.errors import ConfigInvalid
from fleetloop.lab import statistics
from fleetloop.lab.experiments import FLEET, MAIN, PRETRAINING
from fleetloop.lab.results import Results
from fleetloop.lab.speed import curves, mean_time, speed_up
from fleetloop.lab.tables import NOTHING, table

BEGIN, END = "<!-- written by `fleetloop lab report` -->", "<!-- end -->"
NOT_YET = "not yet run"
# What was measured on AgiBot G1 robots; restock is what the reference calls grocery.
METHODS = (
    ("pretrained", "pretrained", (0.61, 0.58, 0.70)),
    ("RECAP, offline, 2 rounds", "offline-recap", (0.76, 0.86, 0.90)),
    ("HG-DAgger, one robot", "single-hg-dagger", (0.80, 0.84, 0.82)),
    ("fleet, RECAP, frozen values", "fleet-recap-frozen", (0.85, 0.92, 0.96)),
    ("fleet, RECAP, live values", "fleet-recap-live", None),
    ("fleet, HG-DAgger", "fleet-hg-dagger", (0.94, 0.96, 0.98)),
)
SIZES = (
    (1, "robots-1", 0.805, 173.6, "1.0x"),
    (2, "robots-2", 0.887, 126.5, "1.4x"),
    (4, "robots-4", 0.925, 71.7, "2.4x"),
)
LARGEST = (8, "robots-8")
SHARES = (
    ("1/8 of the demonstrations", "1-8", "0.39", "0.815"),
    ("1/2", "1-2", "0.57", "0.895"),
    ("all", "1", "0.61", "0.925"),
    ("twice", "2", NOTHING, NOTHING),
    ("four times", "4", NOTHING, NOTHING),
)
GAINS = (
    ("half to all", "base-1", "base-1-2", "+0.036"),
    ("all to twice", "base-2", "base-1", NOTHING),
    ("twice to four times", "base-4", "base-2", NOTHING),
    ("four to eight times", "base-8", "base-4", NOTHING),
)


def write_comparison(place: Path, page: Path) -> bool:
    """Put the tables of what there is in `place` between the marks of `page`; whether it has them.

    Raises:
        ConfigInvalid: if only the first mark is there.
    """
    text = page.read_text() if page.exists() else ""
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin:
        return False
    if not end:
        raise ConfigInvalid(str(page), f"does not say where the tables after {BEGIN} end", f"put {END} after them")
    tables = [methods(Results.load(MAIN, place)), sizes(Results.load(FLEET, place))]
    tables.append(shares(Results.load(PRETRAINING, place)))
    written = "\n".join(tables)
    RealDisk().write(page, f"{head}{BEGIN}\n\n{written}\n{END}{tail}".encode())
    return True


def methods(results: Results) -> str:
    """Success by family, theirs and ours."""
    rows = []
    for words, arm, theirs in METHODS:
        reference = [f"{rate:.2f}" for rate in theirs] if theirs else [NOTHING] * 3
        ours = [NOT_YET] * 3
        if arm in results.arms:
            ours = [str(statistics.rate(results.arms[arm].won(tasks))) for tasks in results.families.values()]
        rows.append([words, *reference, *ours])
    families = ("restock", "laundry", "box")
    return table(["", *(f"SOP {name}" for name in families), *(f"ours {name}" for name in families)], rows)


def sizes(results: Results) -> str:
    """Success at the end and time to 0.8 by the number of robots."""
    rows = []
    for number, arm, success, minutes, speed in SIZES:
        rows.append([str(number), f"{success:.3f}", f"{minutes:g}", speed, *_own_speed(results, arm)])
    rows.append([str(LARGEST[0]), *[NOTHING] * 3, *_own_speed(results, LARGEST[1])])
    heads = ["robots", "SOP success, 180 min", "SOP min to 0.8", "SOP speed-up"]
    return table([*heads, "ours success", "ours min to 0.8", "ours speed-up"], rows)


def shares(results: Results) -> str:
    """Before and after, by how much the base was pretrained on."""
    rows = []
    for words, share, before, after in SHARES:
        arms = (f"base-{share}", f"online-{share}")
        rows.append(
            [words, before, after, *(str(results.average(arm)) if arm in results.arms else NOT_YET for arm in arms)]
        )
    for words, arm, control, theirs in GAINS:
        gain = results.difference(arm, control)
        rows.append([f"gain of more demonstrations, {words}", theirs, NOTHING, str(gain) if gain else NOT_YET, NOTHING])
    return table(["base from", "SOP base", "SOP after 180 min", "ours base", "ours after"], rows)


def _own_speed(results: Results, arm: str) -> list[str]:
    if arm not in results.arms:
        return [NOT_YET] * 3
    found = curves(results.arms[arm])
    alone = curves(results.arms["robots-1"]) if "robots-1" in results.arms else {}
    time = mean_time(found)
    shown = f"{time:.1f}" if time else "not by every seed"
    return [str(results.average(arm)), shown, speed_up(alone, found)]
