"""`fleetloop weights`: the codec by hand, on safetensors files."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleetloop.cli import flags

if TYPE_CHECKING:
    from fleetloop.weights.verified import Known

app = typer.Typer(no_args_is_help=True, help="Encode weights relative to older ones, and get them back bit for bit.")

Old = Annotated[
    Path | None,
    typer.Option("--old", help="What the receiver has; left away, the bytes stand alone.", show_default=False),
]
Delta = Annotated[Path, typer.Option("--delta", help="What `weights encode` wrote.", show_default=False)]
Threads = Annotated[int, typer.Option("--threads", "-j", min=1, help="How many cores to use.")]


@app.command(epilog=flags.examples("fleetloop weights encode --old A.safetensors --new B.safetensors --out delta"))
def encode(
    new: Annotated[Path, typer.Option("--new", help="The weights to encode.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="The directory to write to.", show_default=False)],
    old: Old = None,
    profile: Annotated[str, typer.Option(help="small: fewest bytes; fast: a little more for less time.")] = "small",
    threads: Threads = 1,
) -> None:
    """Write the way from one safetensors file to another as a directory, and say what it takes."""
    import time

    from fleetloop.core.errors import UnknownName
    from fleetloop.weights import packet
    from fleetloop.weights.block import PROFILES
    from fleetloop.weights.codec import Blocks, encode

    if profile not in PROFILES:
        raise UnknownName("--profile", f"{profile!r} is none", f"choose one of {', '.join(PROFILES)}")
    base, weights = _known(old) if old else None, _known(new)
    started = time.perf_counter()
    encoded = encode(weights, Blocks(threads), base, PROFILES[profile])
    seconds = time.perf_counter() - started
    packet.write(out, encoded)
    values = sum(array.size for array in weights.weights.values())
    typer.echo(
        f"{encoded.size:,} bytes for {values:,} values: {2 * values / max(encoded.size, 1):.2f} times fewer than all "
        f"as bf16, in {seconds:.2f} s"
    )


@app.command(epilog=flags.examples("fleetloop weights decode --old A.safetensors --delta delta --out C.safetensors"))
def decode(
    delta: Delta,
    out: Annotated[Path, typer.Option("--out", help="The safetensors file to write.", show_default=False)],
    old: Old = None,
    threads: Threads = 1,
) -> None:
    """Make the new safetensors file from the old one, every tensor verified."""
    import time

    from fleetloop.core.disk import RealDisk
    from fleetloop.weights import packet
    from fleetloop.weights.codec import to_safetensors

    manifest, base = packet.read(delta), _known(old) if old else None
    started = time.perf_counter()
    weights = packet.unpack(delta, manifest, base, threads)
    seconds = time.perf_counter() - started
    RealDisk().write(out, to_safetensors(weights))
    typer.echo(f"{out}: {len(weights)} tensors, verified as {manifest.result_hash[:12]}, in {seconds:.2f} s")


@app.command(epilog=flags.examples("fleetloop weights verify C.safetensors --delta delta"))
def verify(file: Annotated[Path, typer.Argument(help="A safetensors file.", show_default=False)], delta: Delta) -> None:
    """Check that a file holds exactly the tensors that an encoding leads to."""
    from fleetloop.weights import packet
    from fleetloop.weights.verified import verify_tensors

    manifest = packet.read(delta)
    verify_tensors(manifest.tensors, manifest.result_hash, _known(file).weights)
    typer.echo(f"{file}: {len(manifest.tensors)} tensors, verified as {manifest.result_hash[:12]}")


def _known(path: Path) -> "Known":
    from fleetloop.core.errors import ReleaseInvalid
    from fleetloop.weights.codec import from_safetensors
    from fleetloop.weights.verified import Known

    try:
        return Known.of(from_safetensors(path.read_bytes()))
    except OSError as error:
        raise ReleaseInvalid(str(path), f"can't be read ({error.strerror})", "check the path") from error
