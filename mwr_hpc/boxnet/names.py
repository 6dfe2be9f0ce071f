"""Which micrograph a name in a file of particles means.

Names are compared exactly first, then without what cryoSPARC adds to them. Where several names of one list fit the same
micrograph, as many trailing parts of their paths are compared as tell them apart; what is still open is refused.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath

import numpy as np

from mwr_hpc.errors import InputError
from mwr_hpc.io.pick_table import FloatArray, PickTable
from mwr_hpc.io.picks import read_picks

ADDED_BY_CRYOSPARC = re.compile(r"^\d{18,21}_|_(patch|rigid|full|local)(_motion)?_aligned(_doseweighted)?$")
"""The number before, and the steps behind a movie's name: 000123456789012345678_name_patch_aligned_doseweighted."""


BEYOND = 0.5
"""Pixels that a position may lie beyond the centre of the outermost pixel: programs round."""

STRAY = 0.25
"""Share of particles up to which those outside a micrograph are excluded; more are a sign of another pixel size."""


@dataclass(frozen=True)
class Micrographs:
    """The micrographs of a folder, each by its stem."""

    paths: Mapping[str, Path]

    def stem_of(self, name: str) -> str | None:
        """Return the stem of the micrograph that a file name means, with or without its ending; None where none is.

        Raises
        ------
        InputError
            Two fit equally well.
        """
        known = legible(name)
        stem = PurePosixPath(known).stem
        if (exact := self._names.get(known)) is not None:
            return exact
        return self.of_stem(known) or (self.of_stem(stem) if stem != known else None)

    def of_stem(self, stem: str) -> str | None:
        """Return the stem of the micrograph that a stem means; None where none is.

        Raises
        ------
        InputError
            Two fit equally well.
        """
        if (exact := self._stems.get(stem)) is not None:
            return exact
        fitting = self._plain.get(without_additions(stem), [])
        if len(fitting) > 1:
            first, second = (self.paths[fits] for fits in fitting[:2])
            raise InputError(
                f"{stem}: ambiguous: could belong to {first} and to {second}; rename one of them, or give each a "
                "folder of its own"
            )
        return fitting[0] if fitting else None

    @cached_property
    def _names(self) -> dict[str, str]:
        return {legible(path.name): stem for stem, path in self.paths.items()}

    @cached_property
    def _stems(self) -> dict[str, str]:
        return {legible(stem): stem for stem in self.paths}

    @cached_property
    def _plain(self) -> dict[str, list[str]]:
        plain: dict[str, list[str]] = {}
        for stem in sorted(self.paths):
            plain.setdefault(without_additions(legible(stem)), []).append(stem)
        return plain


@dataclass(frozen=True)
class Assigned:
    """Result of comparing the names in a list with the files.

    Attributes
    ----------
    names
        The path in the list of each micrograph that it has, by the micrograph's stem.
    elsewhere
        Paths of micrographs that have the name of one, or are none, but lie in another folder.
    missing
        Paths of which no micrograph is there.
    """

    names: dict[str, str]
    elsewhere: list[str]
    missing: list[str]


def assign(source: Path, listed: Iterable[str], micrographs: Micrographs) -> Assigned:
    """Find the micrograph of every path in a list.

    Parameters
    ----------
    source
        The list, for the message.
    listed
        Its paths, as `PickTable.listed` has them.
    micrographs
        Those that there are.

    Raises
    ------
    InputError
        Two different paths could mean one micrograph, or one path could mean two.
    """
    fitting: dict[str, list[str]] = {}
    missing = []
    for path in sorted(set(listed)):
        stem = micrographs.stem_of(path.rpartition("/")[2])
        if stem is None:
            missing.append(path)
        else:
            fitting.setdefault(stem, []).append(path)
    depth = max((_telling_parts(paths) for paths in fitting.values()), default=1)
    names: dict[str, str] = {}
    elsewhere = []
    for stem, paths in fitting.items():
        chosen = [path for path in paths if _lies_in(micrographs.paths[stem], path, depth)]
        if len(paths) > 1 and len(chosen) != 1:
            raise InputError(
                f"{source}: {paths[0]} and {paths[1]} are two micrographs, and {micrographs.paths[stem]} could be "
                "either; give a list of one data set, or name the folder of the micrographs as the list does"
            )
        names.update((stem, path) for path in chosen)
        elsewhere += [path for path in paths if path not in chosen]
    folders = {path.parent for path in micrographs.paths.values()}
    far = [path for path in missing if not any(_lies_in(folder / "any", path, depth) for folder in folders)]
    return Assigned(names, sorted(elsewhere + far), [path for path in missing if path not in far])


def particles_of(source: Path, micrograph: Path, listed: str | None) -> PickTable:
    """Read the particles of one micrograph from a list of many.

    Parameters
    ----------
    source
        The list.
    micrograph
        The micrograph.
    listed
        Its path in the list, None where the stem says it.

    Raises
    ------
    InputError
        The list cannot be read.
    """
    found = source.stat()
    table = _read_once(source, found.st_ino, found.st_mtime_ns, found.st_size)
    paths = table.listed or ()
    if listed is not None:
        return table.only(np.array([path == listed for path in paths], bool))
    chosen = {path for path in set(paths) if PurePosixPath(path).stem == micrograph.stem}
    return table.only(np.array([path in chosen for path in paths], bool))


@lru_cache(maxsize=1)
def _read_once(path: Path, *_: int) -> PickTable:
    """A list, kept from one micrograph to the next; the numbers tell one state of the file from another."""
    return read_picks(path)


def picks_of_one(source: Path, micrograph: Path) -> PickTable:
    """Read a file of particles that are all of one micrograph.

    Raises
    ------
    InputError
        It cannot be read, or some are of another micrograph, or of two of the same name.
    """
    table = read_picks(source)
    alone = Micrographs({micrograph.stem: micrograph})
    paths = sorted(set(table.listed or ()))
    strange = [path for path in paths if alone.stem_of(path.rpartition("/")[2]) is None]
    if strange:
        raise InputError(
            f"{table.path}: particles of {strange[0]} in the file of {micrograph.name}; give each micrograph its own"
        )
    if len(paths) > 1:
        raise InputError(
            f"{table.path}: particles of {paths[0]} and of {paths[1]} in the file of {micrograph.name}; give each "
            "micrograph its own"
        )
    return table


def positions_inside(table: PickTable, shape: tuple[int, int]) -> FloatArray:
    """Return the positions (n, 2) y x of the particles that lie in a micrograph.

    Parameters
    ----------
    table
        The particles of this micrograph.
    shape
        Its height and width in pixels.

    Raises
    ------
    InputError
        All are outside, or so many that they seem to be of another pixel size.
    """
    limits = np.array(shape) - 1 + BEYOND
    outside = ((table.positions < -BEYOND) | (table.positions > limits)).any(axis=1)
    count = int(np.count_nonzero(outside))
    if count and (count == len(table) or count > max(1, STRAY * len(table))):
        y, x = table.positions[outside][0]
        raise InputError(
            f"{table.path}: {count} of {len(table)} positions are outside the micrograph, the first at x = {x:g}, "
            f"y = {y:g} of {shape[1]} x {shape[0]} pixels; were they picked in another pixel size?"
        )
    return table.positions[~outside]


def means_by_stem(listed: Collection[str], stem: str, path: str) -> bool:
    """Return whether in a list of paths the stem alone tells which are those of one micrograph."""
    return {other for other in listed if PurePosixPath(other).stem == stem} == {path}


def without_additions(stem: str) -> str:
    """Return a stem without what cryoSPARC adds to it."""
    return ADDED_BY_CRYOSPARC.sub("", stem)


def legible(name: str) -> str:
    """Return a file name whose bytes are no UTF-8 as a list in Latin-1 has it."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return name.encode(errors="surrogateescape").decode("latin-1")
    return name


def _telling_parts(paths: list[str]) -> int:
    """Return how many trailing parts tell these paths apart; 1 for a single one."""
    parts = [tuple(path.split("/")) for path in paths]
    depth = 1
    while len({part[-depth:-1] for part in parts}) < len(paths) and depth < max(map(len, parts)):
        depth += 1
    return depth if len(paths) > 1 else 1


def _lies_in(micrograph: Path, listed: str, depth: int) -> bool:
    """Whether the folders of a micrograph end as those of a path in a list, as far as its last `depth` parts go."""
    folders = tuple(part for part in listed.split("/")[-depth:-1] if part)
    return any(
        tuple(map(legible, place.parent.parts))[-len(folders) :] == folders if folders else True
        for place in (micrograph.absolute(), micrograph.resolve())
    )
