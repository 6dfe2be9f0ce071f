"""MRC files made by hand from the format's description, so that reader and writer do not check each other."""

import struct
from pathlib import Path

import numpy as np
from scipy import ndimage

MODES = {"i1": 0, "u1": 0, "i2": 1, "f4": 2, "u2": 6, "f2": 12}
STAMPS = {"<": b"\x44\x44\0\0", ">": b"\x11\x11\0\0"}
IMOD_STAMP = 1146047817


def mrc_file(
    path: Path,
    values: np.ndarray,
    order: str = "<",
    *,
    imod_flags: int | None = None,
    densities: tuple[float, float, float] | None = None,
    identifier: bytes = b"MAP ",
    stamp: bytes | None = None,
    announced: int = 0,
    extended: bytes = b"",
    tail: bytes = b"",
    mode: int | None = None,
    intervals: tuple[int, int, int] | None = None,
    apix: float = 10.0,
) -> Path:
    """Write a file whose header may say what is not so; without `densities` they are those of the values."""
    nz, ny, nx = values.shape
    header = bytearray(1024)

    def put(at: int, kind: str, *numbers: float) -> None:
        struct.pack_into(order + kind, header, at, *numbers)

    put(0, "4i", nx, ny, nz, MODES[values.dtype.str[1:]] if mode is None else mode)
    put(28, "3i", *(intervals or (nx, ny, nz)))
    put(40, "6f", nx * apix, ny * apix, nz * apix, 90, 90, 90)
    put(64, "3i", 1, 2, 3)
    put(76, "3f", *(densities or (float(values.min()), float(values.max()), float(values.mean()))))
    put(88, "2i", 1, announced or len(extended))
    if imod_flags is not None:
        put(152, "2i", IMOD_STAMP, imod_flags)
    header[208:212] = identifier
    header[212:216] = STAMPS[order] if stamp is None else stamp
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(header) + extended + values.astype(values.dtype.newbyteorder(order)).tobytes() + tail)
    return path


def tomogram(shape: tuple[int, int, int] = (24, 32, 32), seed: int = 0) -> np.ndarray:
    """Smooth density with noise, mean 0 and standard deviation 1."""
    generator = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(generator.normal(size=shape), 2)
    values = smooth / smooth.std() + 0.5 * generator.normal(size=shape)
    return (values - values.mean()) / values.std()


def as_bytes(values: np.ndarray, dtype: str) -> np.ndarray:
    """Grey values as bytes, 30 for a standard deviation, unsigned ("u1") around 128 or signed ("i1") around 0."""
    middle, low, high = (128, 0, 255) if dtype == "u1" else (0, -128, 127)
    return np.clip(np.rint(values * 30 + middle), low, high).astype(dtype)
