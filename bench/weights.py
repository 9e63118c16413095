"""Bytes per release and codec speed, on a transformer of 32 M parameters, really fine-tuned (`shared/finetuning.py`).

Ratios are to all values as bf16. `floor` is the conditional entropy of the distances given the old exponents, over the
whole pair: blocks that adapt to their tensors can go below it. The layouts of TRL and PULSE are ours, after their
descriptions: int32 index and bf16 value; gaps between indices as variable-length integers and values as planes, both
under zstd. Speed is of bf16 per second of CPU on one thread, without hashing, the best of the repetitions; `2 threads`
is how many times faster by the clock two threads are than one (wanted: 1.7). `grid j`: `small`, of values that
`learner.publish_grid: j` has rounded. Snapshots are trained once, which takes minutes, and kept.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import zstandard

from fleetloop.learner.export import release_weights, tensors
from fleetloop.learner.grid import Grid
from fleetloop.weights import blocks
from fleetloop.weights.block import FAST, SMALL, Profile
from fleetloop.weights.codec import from_safetensors, to_safetensors
from fleetloop.weights.verified import Known
from shared.finetuning import snapshots
from shared.report import Row, arguments, show, write

U16 = npt.NDArray[np.uint16]
Work = tuple[str, int]
SPEED_STEPS = 25
GRIDS = (0, 1)


def main() -> None:
    parser = arguments(__doc__ or "", repeats=3)
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-5], help="learning rates")
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 5, 25], help="optimizer steps between releases")
    parser.add_argument("--snapshots", type=Path, default=Path.home() / ".cache/fleetloop/bench-weights")
    given = parser.parse_args()
    torch.set_num_threads(1)
    sizes: list[Row] = []
    speeds: list[Row] = []
    for rate in given.rates:  # what one has cost is shown and kept before the next is trained, which takes minutes
        paths = dict(snapshots(given.snapshots, rate, tuple(given.steps)))
        known = {step: _known(path) for step, path in paths.items()}
        rows = [
            {"rate": f"{rate:.0e}", "steps": step, **_sizes(known[0], known[step]), **_on_grids(known[0], known[step])}
            for step in given.steps
        ]
        show("Times fewer bytes than all values as bf16", rows)
        sizes += rows
        if SPEED_STEPS in given.steps:
            rows = [
                {"rate": f"{rate:.0e}", **_speed(known[0], known[SPEED_STEPS], profile, given.repeats)}
                for profile in (SMALL, FAST)
            ]
            show(f"GB of bf16 per second, {SPEED_STEPS} steps", rows)
            speeds += rows
        write(given.report, {"sizes": sizes, "speeds": speeds})


def _known(path: Path) -> Known:
    return Known.of(from_safetensors(path.read_bytes()))


def _sizes(base: Known, weights: Known) -> dict[str, float]:
    old, new = _values(base), _values(weights)
    full = new.nbytes
    far = _distances(old, new)
    small, fast = (_size(blocks.encode(weights.tensors, weights.weights, base, profile)) for profile in (SMALL, FAST))
    floor = _floor(old, far)
    return {
        "changed": float((far > 0).mean()),
        "fp32": 0.5,
        "zstd": full / _zstd(to_safetensors(weights.weights)),
        "TRL": full / (6 * max(1, int((far > 0).sum()))),
        "PULSE": full / _pulse(old, new),
        "XOR, planes, zstd": full / _zstd(_planes(old ^ new)),
        "fast": full / fast,
        "small": full / small,
        "floor": full / floor,
        "small/floor": floor / small,
    }


def _on_grids(base: Known, weights: Known) -> dict[str, float]:
    """Of what a learner with `publish_grid` would have published; here both are rounded once more, from bf16."""
    full, found = _values(weights).nbytes, {}
    for exponent in GRIDS:
        grid = Grid(_Parameters(base), exponent)
        old, new = (Known.of(release_weights(tensors(known.weights), grid)) for known in (base, weights))
        found[f"grid {exponent}"] = full / _size(blocks.encode(new.tensors, new.weights, old))
    return found


class _Parameters:
    """Snapshots as a policy whose every tensor trains."""

    def __init__(self, known: Known) -> None:
        self._tensors = tensors(known.weights)

    def named_parameters(self) -> Iterable[tuple[str, torch.nn.Parameter]]:
        return ((name, torch.nn.Parameter(tensor)) for name, tensor in self._tensors.items())


def _speed(base: Known, weights: Known, profile: Profile, repeats: int) -> Row:
    gigabytes = _values(weights).nbytes / 1e9
    blobs = _encode(weights, base, profile)
    works = {
        (name, threads): partial(work, threads=threads)
        for threads in (1, 2)
        for name, work in (
            ("encode", partial(_encode, weights, base, profile)),
            ("decode", partial(blocks.decode, weights.tensors, blobs, base)),
        )
    }
    cpu, wall = _best(works, repeats)
    return {
        "profile": profile.name,
        "encode": gigabytes / cpu["encode", 1],
        "decode": gigabytes / cpu["decode", 1],
        "encode, 2 threads": wall["encode", 1] / wall["encode", 2],
        "decode, 2 threads": wall["decode", 1] / wall["decode", 2],
    }


def _encode(weights: Known, base: Known, profile: Profile, threads: int | None = None) -> list[bytes]:
    """All blobs: each is made when it is asked for."""
    return list(blocks.encode(weights.tensors, weights.weights, base, profile, threads=threads))


def _best(works: Mapping[Work, Callable[[], Any]], repeats: int) -> tuple[dict[Work, float], dict[Work, float]]:
    """Least CPU seconds, and least wall seconds, of each. They take turns, so that a busy moment meets them all."""
    for work in works.values():
        work()  # the first time may compile
    cpu, wall = dict.fromkeys(works, math.inf), dict.fromkeys(works, math.inf)
    for name, work in [*works.items()] * repeats:
        before = time.process_time(), time.perf_counter()
        work()
        cpu[name] = min(cpu[name], time.process_time() - before[0])
        wall[name] = min(wall[name], time.perf_counter() - before[1])
    return cpu, wall


def _values(known: Known) -> U16:
    return np.concatenate([known.weights[entry.name].reshape(-1).view(np.uint16) for entry in known.tensors])


def _distances(old: U16, new: U16) -> U16:
    places = [np.where(bits & 0x8000, ~bits, bits | 0x8000).astype(np.uint16).astype(np.int32) for bits in (old, new)]
    between = (places[1] - places[0]).astype(np.int16)
    return ((between << 1) ^ (between >> 15)).view(np.uint16)


def _floor(old: U16, far: U16) -> float:
    """Bytes by the conditional entropy of `far`, given the exponents of `old`."""
    bits, exponents = 0.0, (old >> 7) & 255
    for exponent in np.unique(exponents):
        counts = np.bincount(far[exponents == exponent])
        counts = counts[counts > 0]
        bits -= float((counts * np.log2(counts / counts.sum())).sum())
    return bits / 8


def _pulse(old: U16, new: U16) -> int:
    changed = np.flatnonzero(old != new)
    gaps = np.diff(changed, prepend=-1)
    bytes_of = [(gaps >> (7 * place)).astype(np.uint8) for place in range(4)]
    lengths = [gaps >= 1 << (7 * place) if place else np.ones(len(gaps), bool) for place in range(4)]
    varints = np.stack(bytes_of, 1)[np.stack(lengths, 1)]  # the top bits are left out: only the length counts here
    return _zstd(varints.tobytes()) + _zstd(_planes(new[changed]))


def _planes(values: U16) -> bytes:
    return values.view(np.uint8).reshape(-1, 2).T.tobytes()


def _zstd(data: bytes) -> int:
    return len(zstandard.ZstdCompressor(level=1).compress(data))


def _size(blobs: Iterable[bytes]) -> int:
    return sum(map(len, blobs))


if __name__ == "__main__":
    main()
