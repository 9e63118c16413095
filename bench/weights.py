"""Bytes per release and codec speed, on a transformer of 32 M parameters, really fine-tuned (`shared/finetuning.py`).

Ratios are to all values as bf16. `floor` is the conditional entropy of the distances given the old exponents, over the
whole pair: blocks that adapt to their tensors can go below it. The layouts of TRL and PULSE are ours, after their
descriptions: int32 index and bf16 value; gaps between indices as variable-length integers and values as planes, both
under zstd. Speed is of bf16 per second of CPU on one thread, without hashing, the best of the repetitions; `2 threads`
is wall time beside one thread. `grid j`: `small`, of values that
`learner.publish_grid: j` has rounded. Snapshots are trained once, which takes minutes, and kept.
"""

import time
from collections.abc import Callable, Iterable
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
from shared.report import arguments, show, write

U16 = npt.NDArray[np.uint16]
SPEED_STEPS = 25
GRIDS = (0, 1)


def main() -> None:
    parser = arguments(__doc__ or "", repeats=3)
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-5], help="learning rates")
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 5, 25], help="optimizer steps between releases")
    parser.add_argument("--snapshots", type=Path, default=Path.home() / ".cache/fleetloop/bench-weights")
    given = parser.parse_args()
    torch.set_num_threads(1)
    sizes: list[dict[str, Any]] = []
    speeds: list[dict[str, Any]] = []
    for rate in given.rates:
        paths = dict(snapshots(given.snapshots, rate, tuple(given.steps)))
        base = _known(paths[0])
        for step in given.steps:
            weights = _known(paths[step])
            sizes.append({"rate": f"{rate:.0e}", "steps": step, **_sizes(base, weights), **_on_grids(base, weights)})
            if step == SPEED_STEPS:
                speeds += [
                    {"rate": f"{rate:.0e}", "profile": profile.name, **_speed(base, weights, profile, given.repeats)}
                    for profile in (SMALL, FAST)
                ]
    show("Times fewer bytes than all values as bf16", sizes)
    if speeds:
        show(f"GB of bf16 per second, {SPEED_STEPS} steps", speeds)
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


def _speed(base: Known, weights: Known, profile: Profile, repeats: int) -> dict[str, float]:
    gigabytes = _values(weights).nbytes / 1e9
    given = weights.tensors, weights.weights, base, profile
    blobs = blocks.encode(*given)
    timed: dict[tuple[str, int], tuple[float, float]] = {}
    for threads in (1, 2):
        timed["encode", threads] = _best(partial(blocks.encode, *given, threads=threads), repeats)
        timed["decode", threads] = _best(partial(blocks.decode, given[0], blobs, base, threads=threads), repeats)
    return {
        "encode": gigabytes / timed["encode", 1][0],
        "decode": gigabytes / timed["decode", 1][0],
        "encode, 2 threads": timed["encode", 1][1] / timed["encode", 2][1],
        "decode, 2 threads": timed["decode", 1][1] / timed["decode", 2][1],
    }


def _best(work: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """Least CPU seconds, and least wall seconds."""
    cpu, wall = [], []
    for _ in range(repeats):
        before = time.process_time(), time.perf_counter()
        work()
        cpu.append(time.process_time() - before[0])
        wall.append(time.perf_counter() - before[1])
    return min(cpu), min(wall)


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
