"""The kinds of values that options take, and the spellings of each that are understood."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

BYTES_HELP = "How the bytes of MRC files of mode 0 are read, whatever the files or a list say: signed or unsigned."
"""Help of the option --bytes, which all commands have that read images."""

BRACKETS_AND_SEPARATORS = re.compile(r"[\s,:;()\[\]]+")


def split_words(value: object) -> object:
    """Split "-67 57", "-67,57", "(-67, 57)" or "[0,1]" into its words; a single number is a list of one."""
    if isinstance(value, str):
        return [word for word in BRACKETS_AND_SEPARATORS.split(value) if word]
    return [value] if isinstance(value, int | float) else value


def _expect_two_numbers(value: object) -> object:
    words = split_words(value)
    if not isinstance(words, list | tuple) or len(words) != 2:
        raise ValueError("expected two angles in degrees, the lowest and the highest tilt; for example -60 60")
    return words


def _check_tilt_range(tilt_range: tuple[float, float]) -> tuple[float, float]:
    from mwr_hpc.numerics.wedge import check_tilt_range  # here, so that help pages need not wait for SciPy

    check_tilt_range(*tilt_range)
    return tilt_range


def _check_device_indices(devices: tuple[int, ...]) -> tuple[int, ...]:
    if not devices or min(devices) < 0 or len(set(devices)) != len(devices):
        raise ValueError("expected different indices of visible devices from 0 on; for example 0,1, or None for all")
    return devices


def _expect_a_path(value: object) -> object:
    if isinstance(value, str) and not value.strip():
        raise ValueError("expected a path, found nothing")
    return value


def absolute_path(path: Path) -> Path:
    """Return a path from the root on; raise ValueError where no file could be found or made under such a name."""
    try:
        absolute = path.expanduser().absolute()
        absolute.exists()
    except (RuntimeError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ValueError(f"cannot be used as a path ({reason}); name another one, or have its rights changed") from None
    if "\0" in str(path):
        raise ValueError("holds a NUL character, which no path can; name another one")
    return absolute


def _one_or_more(value: object) -> object:
    return [value] if isinstance(value, str | Path) else value


FilePath = Annotated[Path, BeforeValidator(_expect_a_path), AfterValidator(absolute_path)]
"""A path, made absolute from the working directory."""

FilePaths = Annotated[tuple[FilePath, ...], BeforeValidator(_one_or_more)]
"""Any number of paths."""

TiltRange = Annotated[tuple[float, float], BeforeValidator(_expect_two_numbers), AfterValidator(_check_tilt_range)]
"""Lowest and highest tilt in degrees."""

DeviceIndices = Annotated[tuple[int, ...], BeforeValidator(split_words), AfterValidator(_check_device_indices)]
"""Indices into the visible GPUs."""

Size3 = Annotated[
    tuple[Annotated[int, Field(ge=16)], Annotated[int, Field(ge=16)], Annotated[int, Field(ge=16)]],
    BeforeValidator(split_words),
]
"""Sizes along z, y and x in voxels."""
