"""Files that ask for absurd resources, each read in a process of its own: ``python absurd_files.py FOLDER``.

For each kind a line of JSON tells how that ended: exit code, message, seconds and peak memory in bytes. The processes
are forked, so that libraries are loaded once.
"""

import contextlib
import io
import json
import os
import struct
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mwr_hpc.boxnet.candidates import FORMAT, read_candidates
from mwr_hpc.cli.main import main
from mwr_hpc.errors import InputError, MwrError
from mwr_hpc.io.micrograph import read_micrograph
from mwr_hpc.io.mrc_header import new_header
from mwr_hpc.io.ome_zarr import open_ome_zarr
from mwr_hpc.io.star_text import read_tables
from mwr_hpc.io.tiff import read_image
from mwr_hpc.io.volume import open_volume, read_sections
from mwr_hpc.missing_wedge.cube_arrays import CubeReader
from mwr_hpc.training.checkpoint import CheckpointFolder
from mwr_hpc.training.model_file import read_model, require_plausible

SECONDS, BYTES = 10.0, 2**30
DEEP = "[" * 10**6

Kind = tuple[Callable[[Path], None], Callable[[Path], object]]
KINDS: dict[str, Kind] = {}


def kind(name: str, read: Callable[[Path], object]) -> Callable[[Callable[[Path], None]], Callable[[Path], None]]:
    """Register what writes a file of the name after "/", and what reads it."""

    def register(write: Callable[[Path], None]) -> Callable[[Path], None]:
        KINDS[name] = (write, read)
        return write

    return register


def model(path: Path, shape: tuple[int, ...], description: str) -> None:
    with h5py.File(path, "w") as file:
        file.attrs["format"] = "mwr_hpc model 1"
        file.attrs["description"] = description
        file.attrs["checksum"] = "0"
        dataset = file.create_group("weights").create_dataset("0000", shape, "f4", chunks=(1024,) * len(shape))
        dataset.attrs["name"] = "w"


def read_a_model(path: Path) -> object:
    description, weights = read_model(path, "missing wedge")
    return require_plausible(path, description, weights)


UNET = {"filter_base": 2, "depth": 1, "convs_per_depth": 1, "kernel": 3}


def described(**architecture: int) -> str:
    return json.dumps({"method": "missing wedge", "architecture": {**UNET, **architecture}})


@kind("7 GB of weights/model.h5", read_a_model)
def _(path: Path) -> None:
    model(path, (1_800_000_000,), described())


@kind("400 GB of weights/model.h5", read_a_model)
def _(path: Path) -> None:
    model(path, (100_000_000_000,), described())


@kind("a deep description/model.h5", read_a_model)
def _(path: Path) -> None:
    model(path, (1024,), DEEP[:60_000])


@kind("a network of 10^6 filters/model.h5", read_a_model)
def _(path: Path) -> None:
    from mwr_hpc.training.model_file import write_model

    write_model(path, json.loads(described(filter_base=10**6)), [("w", np.zeros(10, np.float32))])


@kind("a network 10^9 levels deep/model.h5", read_a_model)
def _(path: Path) -> None:
    from mwr_hpc.training.model_file import write_model

    write_model(path, json.loads(described(depth=10**9)), [("w", np.zeros(10, np.float32))])


@kind("7 GB in a checkpoint/step_00000001.h5", lambda path: passed_over(path))
def _(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.attrs["state"], file.attrs["checksum"] = "{}", "0"
        for group in ("weights", "optimiser"):
            file.create_group(group).create_dataset("0000", (1_800_000_000,), "f4", chunks=(1024,))


def passed_over(path: Path) -> object:
    said: list[Any] = []
    assert CheckpointFolder(path.parent).newest(None, said.append) is None
    raise InputError(said[0].text)


@kind("maps of 10^12 pixels/m.h5", read_candidates)
def _(path: Path) -> None:
    with h5py.File(path, "w") as file:
        attributes = {"format": FORMAT, "micrograph": "m.mrc", "shape": (10, 10), "pixel_size": 1.0}
        file.attrs.update(attributes)
        for name, dtype in (("particle", "f2"), ("contamination", "u1")):
            file.create_dataset(name, (10**6, 10**6), dtype, chunks=(1024, 1024))


def as_config(path: Path) -> object:
    return main(["convert", str(path), "--config", str(path), "--out", str(path.parent / "out")])


@kind("aliases that multiply/run.yaml", as_config)
def _(path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    path.write_text("\n".join(lines))


@kind("deep lists/run.yaml", as_config)
def _(path: Path) -> None:
    path.write_text("a: " + DEEP[:100_000])


@kind("10^6 lines/run.yaml", as_config)
def _(path: Path) -> None:
    path.write_text("".join(f"k{n}: 1\n" for n in range(10**6)))


def zarr_array(path: Path, shape: tuple[int, ...], shard: tuple[int, ...], chunk: tuple[int, ...], **more: Any) -> None:
    little, checksum = {"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}
    layout = {"chunk_shape": chunk, "codecs": [little], "index_codecs": [little, checksum], "index_location": "end"}
    path.mkdir(parents=True)
    document = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": shape,
        "data_type": "float16",
        "fill_value": 0.0,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": shard}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "codecs": [{"name": "sharding_indexed", "configuration": layout}],
        "attributes": {},
        **more,
    }
    (path / "zarr.json").write_text(json.dumps(document))


def image(path: Path, *sizes: tuple[int, ...]) -> None:
    zarr_array(path / "0", *sizes)
    axes = [{"name": name, "type": "space"} for name in "zyx"]
    level = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1, 1, 1]}]}
    ome = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": [level]}]}
    group = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome}}
    (path / "zarr.json").write_text(json.dumps(group))


def read_a_section(path: Path) -> object:
    return read_sections(open_volume(path), 0, 1)


@kind("10^18 voxels/a.ome.zarr", read_a_section)
def _(path: Path) -> None:
    image(path, (10**6,) * 3, (64, 512, 512), (64, 64, 64))


@kind("a chunk of 10^12 voxels/a.ome.zarr", read_a_section)
def _(path: Path) -> None:
    image(path, (10**4,) * 3, (10**4,) * 3, (10**4,) * 3)


@kind("10^9 chunks in a shard/a.ome.zarr", read_a_section)
def _(path: Path) -> None:
    image(path, (10**3,) * 3, (10**3,) * 3, (1, 1, 1))


@kind("10^7 shards of a voxel/a.ome.zarr", read_a_section)
def _(path: Path) -> None:
    image(path, (256, 256, 256), (1, 1, 1), (1, 1, 1))


@kind("deep metadata/a.ome.zarr", open_ome_zarr)
def _(path: Path) -> None:
    path.mkdir()
    (path / "zarr.json").write_text(DEEP)


@kind("10^15 cubes/a.zarr", lambda path: CubeReader(path).read(0))
def _(path: Path) -> None:
    zarr_array(path, (10**15, 64, 64, 64), (100, 64, 64, 64), (1, 64, 64, 64))


@kind("a cube of 10^15 voxels/a.zarr", lambda path: CubeReader(path).read(0))
def _(path: Path) -> None:
    zarr_array(path, (1, 10**5, 10**5, 10**5), (1, 10**5, 10**5, 10**5), (1, 10**5, 10**5, 10**5))


def mrc(path: Path, shape: tuple[int, int, int], size: int, extended: int = 0) -> None:
    fixed = bytearray(new_header((1, 1, 1), (10.0,) * 3, (0.0,) * 3).fixed)
    struct.pack_into("<3i", fixed, 0, *shape[::-1])
    struct.pack_into("<i", fixed, 92, extended)
    with path.open("wb") as stream:
        stream.write(fixed)
        stream.truncate(size)


@kind("voxels that are not there/a.mrc", open_volume)
def _(path: Path) -> None:
    mrc(path, (10**5, 10**5, 10**5), 5000)


@kind("one sparse section of 40 GB/a.mrc", read_micrograph)
def _(path: Path) -> None:
    mrc(path, (1, 10**5, 10**5), 1024 + 4 * 10**10)


@kind("a sparse extended header of 2 GB/a.mrc", open_volume)
def _(path: Path) -> None:
    mrc(path, (2, 10, 10), 1024 + 2**31 - 1 + 800, 2**31 - 1)


def tiff(path: Path, width: int, height: int, strip: bytes, rows: int, counts: int = 1) -> None:
    """Write a TIFF of bytes with one deflated strip; `counts` strips are announced."""
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1)]
    tags += [(273, 4, counts, 8), (277, 3, 1, 1), (278, 4, 1, rows), (279, 4, counts, len(strip))]
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    path.write_bytes(b"II*\0" + struct.pack("<I", 8 + len(strip)) + strip + directory)


@kind("10^12 pixels of nothing/a.tif", read_image)
def _(path: Path) -> None:
    tiff(path, 10**6, 10**6, zlib.compress(bytes(100)), 10**6)


def deflated_zeros(blocks: int) -> bytes:
    """Return what inflates to so many times 16 MB of zeros: the same block again and again, only its end is missing."""
    deflate = zlib.compressobj(9)
    first, block = (deflate.compress(bytes(2**24)) + deflate.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return first + block * (blocks - 1)


@kind("a deflated strip of 3 GB/a.tif", read_image)
def _(path: Path) -> None:
    tiff(path, 2**16, 180 * 2**8, deflated_zeros(180), 180 * 2**8)


@kind("3 GB deflated in a small image/a.tif", read_image)
def _(path: Path) -> None:
    tiff(path, 1000, 1000, deflated_zeros(180), 1000)


@kind("4 * 10^9 strips/a.tif", read_image)
def _(path: Path) -> None:
    tiff(path, 1000, 1000, zlib.compress(bytes(100)), 1, 2**32 - 1)


@kind("10^7 columns/a.star", read_tables)
def _(path: Path) -> None:
    path.write_text("data_\nloop_\n" + "_c\n" * 10**7)


@kind("10^6 rows of absurd length/a.star", read_tables)
def _(path: Path) -> None:
    path.write_text("data_\nloop_\n_a\n_b\n" + ("1 2 3" * 20 + "\n") * 10**6)


@kind("10^7 words in a line/a.star", read_tables)
def _(path: Path) -> None:
    path.write_text("data_\nloop_\n_a\n" + "1 " * 10**7)


@kind("10^8 lines/a.star", read_tables)
def _(path: Path) -> None:
    path.write_text("\n" * 10**8)


@kind("10^6 columns/a.star", read_tables)
def _(path: Path) -> None:
    path.write_text("data_\nloop_\n" + "".join(f"_c{n}\n" for n in range(10**6)))


@kind("10^6 tables/a.star", read_tables)
def _(path: Path) -> None:
    path.write_text("data_\n" + "loop_\n" * 10**6)


@kind("10 GB/a.star", read_tables)
def _(path: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(10**10)


def try_one(name: str, folder: Path) -> dict[str, Any]:
    """Write a file, read it in a process of its own, and return how that ended."""
    write, read = KINDS[name]
    path = folder / name.rpartition("/")[2]
    folder.mkdir(parents=True)
    write(path)
    started, (receiver, sender) = time.monotonic(), os.pipe()
    child = os.fork()
    if child == 0:
        message, code, printed = "read", 0, io.StringIO()
        try:
            with contextlib.redirect_stderr(printed):
                read(path)
        except MwrError as error:
            message, code = str(error), error.exit_code
        except SystemExit as error:
            message, code = printed.getvalue(), int(error.code or 0)
        except BaseException as error:
            message, code = f"{type(error).__name__}: {error}", 70
        status = Path("/proc/self/status").read_text()
        peak = int(status.partition("VmHWM:")[2].split()[0]) * 1024
        os.write(sender, json.dumps({"code": code, "said": message[:2000], "peak": peak}).encode())
        os._exit(0)
    os.close(sender)
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() - started > SECONDS:
            os.kill(child, 9)
            os.waitpid(child, 0)
            break
        time.sleep(0.01)
    with os.fdopen(receiver) as answer:
        told = answer.read()
    return {
        "code": None,
        "said": "killed",
        "peak": 0,
        **json.loads(told or "{}"),
        "seconds": time.monotonic() - started,
    }


if __name__ == "__main__":
    for number, each in enumerate(KINDS):
        print(json.dumps({"kind": each, **try_one(each, Path(sys.argv[1]) / str(number))}), flush=True)
