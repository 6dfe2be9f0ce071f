"""The particles of one file, as all formats give them."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
from numpy.typing import NDArray

from mwr_hpc.errors import InputError

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PickTable:
    """The particles of one file, in its order.

    Attributes
    ----------
    path
        The file.
    x, y
        (n,) float64, pixels.
    listed
        The path of each one's micrograph as the file has it; None where the file does not say. It is compared with
        the paths of micrographs and never opened.
    scores
        (n,) float64, the higher the better; None where the file has none.
    pixel_size
        Angstrom, of the micrographs that the positions refer to; None where the file does not say.
    """

    path: Path
    x: FloatArray
    y: FloatArray
    listed: tuple[str, ...] | None = None
    scores: FloatArray | None = None
    pixel_size: float | None = None

    def __len__(self) -> int:
        """Return the number of particles."""
        return len(self.x)

    @property
    def micrographs(self) -> tuple[str, ...] | None:
        """The file name of each one's micrograph, without folders; None where the file does not say."""
        return None if self.listed is None else tuple(path.rpartition("/")[2] for path in self.listed)

    @property
    def positions(self) -> FloatArray:
        """(n, 2), y x in pixels."""
        return np.stack([self.y, self.x], axis=1)

    def only(self, chosen: NDArray[np.bool_]) -> "PickTable":
        """Return the table with some of the particles only."""
        paths = self.listed
        return PickTable(
            self.path,
            self.x[chosen],
            self.y[chosen],
            None if paths is None else tuple(path for path, keep in zip(paths, chosen, strict=True) if keep),
            None if self.scores is None else self.scores[chosen],
            self.pixel_size,
        )


def listed_paths(source: Path, column: str, names: list[str]) -> tuple[str, ...]:
    """Return the paths of micrographs as a file has them, with one kind of slash and nothing that leads elsewhere.

    Raises
    ------
    InputError
        One leads out of its folder, or names no file.
    """
    known = {name: _listed_path(source, column, name) for name in dict.fromkeys(names)}
    return tuple(known[name] for name in names)


def _listed_path(source: Path, column: str, name: str) -> str:
    # RELION marks one image of a stack as 000001@path.
    inner = name.partition("@")[2] if name.partition("@")[0].isdecimal() else name
    parts = PureWindowsPath(inner).parts if "\\" in inner else PurePosixPath(inner).parts
    if not parts or ".." in parts or parts[-1] in ("/", "\\"):
        raise InputError(
            f"{source}: {column} is {name!r}, which leads out of the folder of micrographs or names no file; "
            "expected a file name, or a path without '..'"
        )
    return "/".join(part.strip("/\\") for part in parts)
