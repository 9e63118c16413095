"""`fleetloop weights`: there and back on real files, by hand."""

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from fleetloop.cli.main import app
from fleetloop.weights import packet
from fleetloop.weights.codec import encode, from_safetensors, to_safetensors


def run(*words: object) -> Result:
    return CliRunner().invoke(app, ["weights", *map(str, words)])


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    rng = np.random.default_rng(0)
    old = rng.normal(0, 0.03, (64, 256)).astype(np.float32)
    pair = old, old + rng.normal(0, 1e-4, old.shape).astype(np.float32)
    paths = tmp_path / "A.safetensors", tmp_path / "B.safetensors"
    for path, array in zip(paths, pair, strict=True):
        path.write_bytes(to_safetensors({"w": array.astype(ml_dtypes.bfloat16), "n": np.arange(3)}))
    return paths


@pytest.mark.parametrize("profile", ["small", "fast"])
def test_what_is_encoded_comes_back(files: tuple[Path, Path], tmp_path: Path, profile: str) -> None:
    old, new = files
    delta, back = tmp_path / "delta", tmp_path / "C.safetensors"
    said = run("encode", "--old", old, "--new", new, "--out", delta, "--profile", profile)
    assert said.exit_code == 0
    assert "times fewer" in said.output
    size = sum(path.stat().st_size for path in delta.iterdir() if path.suffix != ".json")
    assert f"{size:,} bytes" in said.output
    assert size < new.stat().st_size / 3
    assert run("decode", "--old", old, "--delta", delta, "--out", back).exit_code == 0
    assert {name: array.tobytes() for name, array in from_safetensors(back.read_bytes()).items()} == {
        name: array.tobytes() for name, array in from_safetensors(new.read_bytes()).items()
    }
    assert run("verify", back, "--delta", delta).exit_code == 0
    assert run("verify", old, "--delta", delta).exit_code == 1


def test_without_an_old_file_the_bytes_stand_alone(files: tuple[Path, Path], tmp_path: Path) -> None:
    assert run("encode", "--new", files[1], "--out", tmp_path / "anchor").exit_code == 0
    assert run("decode", "--delta", tmp_path / "anchor", "--out", tmp_path / "C.safetensors").exit_code == 0
    assert run("verify", tmp_path / "C.safetensors", "--delta", tmp_path / "anchor").exit_code == 0


def test_any_type_of_a_safetensors_file_that_is_encoded_comes_back(tmp_path: Path) -> None:
    new, delta, back = tmp_path / "A.safetensors", tmp_path / "delta", tmp_path / "C.safetensors"
    types = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "bool", "float16", "float64")
    new.write_bytes(to_safetensors({dtype: np.arange(300).astype(dtype) for dtype in types}))
    assert run("encode", "--new", new, "--out", delta).exit_code == 0
    assert run("decode", "--delta", delta, "--out", back).exit_code == 0
    assert back.read_bytes() == new.read_bytes()


def test_a_file_that_could_not_be_decoded_is_not_encoded(tmp_path: Path) -> None:
    new, delta = tmp_path / "A.safetensors", tmp_path / "delta"
    new.write_bytes(to_safetensors({"..": np.arange(3)}))
    said = run("encode", "--new", new, "--out", delta)
    assert said.exit_code == 1
    assert "tensor '..'" in said.output
    assert not delta.exists()


def test_what_is_wrong_is_said_in_a_line(files: tuple[Path, Path], tmp_path: Path) -> None:
    old, new = files
    delta, out = tmp_path / "delta", tmp_path / "C.safetensors"
    run("encode", "--old", old, "--new", new, "--out", delta)
    for words, given in [
        ("none are given", ("decode", "--delta", delta, "--out", out)),
        ("not to", ("decode", "--old", new, "--delta", delta, "--out", out)),
        ("can't be read", ("decode", "--old", old, "--delta", tmp_path, "--out", out)),
        ("can't be read", ("encode", "--new", tmp_path / "no", "--out", out)),
        ("small, fast", ("encode", "--new", new, "--out", out, "--profile", "tiny")),
    ]:
        said = run(*given)
        assert said.exit_code == 1
        assert words in said.output


@pytest.mark.parametrize(
    ("before", "after"),
    [('"format": 1', '"format": 7'), ('"hash": "', '"hash": "../'), ('"blocks/1"', '"blocks/2"'), ("{", "[")],
)
def test_a_manifest_that_was_tampered_with_is_refused(
    files: tuple[Path, Path], tmp_path: Path, before: str, after: str
) -> None:
    delta, out = tmp_path / "delta", tmp_path / "C.safetensors"
    run("encode", "--old", files[0], "--new", files[1], "--out", delta)
    manifest = delta / "manifest.json"
    manifest.write_text(manifest.read_text().replace(before, after))
    said = run("decode", "--old", files[0], "--delta", delta, "--out", out)
    assert said.exit_code == 1
    assert isinstance(said.exception, SystemExit)
    assert not out.exists()


def test_an_encoding_with_a_name_that_no_tensor_may_have_is_neither_decoded_nor_verified(tmp_path: Path) -> None:
    file, weights = tmp_path / "A.safetensors", {"..": np.arange(3)}
    file.write_bytes(to_safetensors(weights))
    packet.write(tmp_path / "delta", encode(weights))
    for given in (("decode", "--out", tmp_path / "C.safetensors"), ("verify", file)):
        said = run(*given, "--delta", tmp_path / "delta")
        assert said.exit_code == 1
        assert "tensor '..'" in said.output
