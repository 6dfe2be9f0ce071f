"""The entries of a cohort: tomograms with their ids, headers, masks and tilt ranges.

Only headers are read. A tomogram that cannot be used is returned as a problem, so that the others go on.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from mwr_hpc.errors import InputError, StorageError
from mwr_hpc.io import storage
from mwr_hpc.io.mrc_bytes import claims_unsigned
from mwr_hpc.io.mrc_fields import Signedness
from mwr_hpc.io.mrc_header import MrcHeader, read_header, require_volume
from mwr_hpc.io.names import long_names
from mwr_hpc.io.star import TomogramRow
from mwr_hpc.io.star_text import is_one_value
from mwr_hpc.io.volume import OME_ZARR_SUFFIX, Volume, is_ome_zarr, open_volume
from mwr_hpc.numerics.wedge import TiltRange, check_tilt_range
from mwr_hpc.printable import printable

MISREAD = (
    "holds signed bytes, but the header of the MRC file that it was made from says that they are unsigned, which "
    "version 0.1.0 did not heed; convert that file again"
)
"""Said of OME-Zarr."""

MASK_END = "_mask"
"""Added to the id in the name of a tomogram's mask."""


@dataclass(frozen=True)
class TomogramEntry:
    """One tomogram of a cohort.

    Attributes
    ----------
    id
        The file name less its last extension, or the name that a list gives.
    path
        The MRC file or OME-Zarr directory.
    shape
        Voxels along (z, y, x).
    voxel_size
        (z, y, x) in angstrom; 0 where neither file nor list says.
    tilt_range
        (min, max) in degrees; None where neither list nor command gives one.
    mask, even, odd
        Further volumes on the same grid, where there are any.
    stated_voxel_size
        Of the list, where the file says none; otherwise None.
    group
        Name of the data set or session.
    signedness
        How its bytes are to be read, where its file is not read so by itself (see `MrcHeader.told_signedness`).
    stated_signedness
        Of the list or the command, which may have said it of all files.
    notes
        What had to be assumed to read its files, in words.
    halves_only
        Whether there is no tomogram of both halves; `path` is the even half then.
    origins
        Where each value comes from, by what it is: "voxel size".
    """

    id: str
    path: Path
    shape: tuple[int, int, int]
    voxel_size: tuple[float, float, float]
    tilt_range: TiltRange | None = None
    mask: Path | None = None
    even: Path | None = None
    odd: Path | None = None
    group: str | None = None
    stated_voxel_size: float | None = None
    signedness: Signedness | None = None
    stated_signedness: Signedness | None = None
    notes: tuple[tuple[Path, str], ...] = ()
    halves_only: bool = False
    origins: Mapping[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Cohort:
    """What can be worked on, in order of id, and why the rest cannot (by id)."""

    entries: list[TomogramEntry]
    problems: dict[str, str] = field(default_factory=dict)

    @property
    def ids(self) -> set[str]:
        """Of all tomograms, those that cannot be worked on among them."""
        return {entry.id for entry in self.entries} | self.problems.keys()


def cohort_from_rows(
    source: Path | str,
    rows: Iterable[TomogramRow],
    tilts_of: Callable[[TomogramRow], TiltRange | None],
    mask_dir: Path | None,
    allow_missing_masks: bool,
    *,
    for_list: bool = True,
    signedness: Signedness | None = None,
    halves: bool = False,
) -> Cohort:
    """Take the tomograms of these rows, which come from `source`; see `cohort.cohort_from_list` for the rest.

    `tilts_of` gives each its tilt range in degrees; where it raises InputError, that tomogram is a problem. So is one
    whose name cannot be written in a list, if the cohort is to be written in one, and one of halves only, unless
    `halves` allows them. `signedness` is that of all files' bytes, whatever a row says.
    """
    named = _by_id(source, rows)
    ranges: dict[str, TiltRange | None] = {}
    problems: dict[str, str] = {}
    for identifier, row in list(named.items()):
        try:
            if row.halves_only and not halves:
                raise InputError(
                    f"{source}: {identifier} has the halves {row.even} and {row.odd} only, and this command works on "
                    "whole tomograms; give one as rlnMicrographName: the mean of both halves is one"
                )
            ranges[identifier] = _checked(source, identifier, tilts_of(row))
            if for_list:
                _require_listable(identifier, row.path, *([mask_dir] if mask_dir else []))
        except InputError as error:
            problems[identifier] = str(error)
            del named[identifier]
    masks = {identifier: row.mask or _find_mask(identifier, row.path, mask_dir) for identifier, row in named.items()}
    missing = sorted(identifier for identifier, mask in masks.items() if mask is None)
    if mask_dir is not None and missing and not allow_missing_masks:
        raise InputError(
            f"{mask_dir}: no mask for {', '.join(missing)}; expected {missing[0]}.mrc or {missing[0]}_mask.mrc, and so "
            "on. Add them, or use whole tomograms with --allow_missing_masks"
        )
    entries = []
    failing: list[StorageError] = []
    pauses: Sequence[float] = storage.PAUSES
    for identifier, row in sorted(named.items()):
        entry = partial(_entry, identifier, row, ranges[identifier], masks[identifier], signedness or row.signedness)
        try:
            entries.append(storage.patiently(entry, row.path, pauses))
        except InputError as error:
            problems[identifier] = str(error)
        except StorageError as error:
            failing.append(error)
            problems[identifier] = f"storage: {error}"
            pauses = ()  # they have been waited for once
    if failing and not entries:
        raise failing[0]
    if not entries:
        raise InputError(f"{source}: no tomogram can be used:\n" + "\n".join(map(printable, problems.values())))
    return Cohort(entries, problems)


def without_long_names(cohort: Cohort, made: Callable[[str], Iterable[Path]]) -> Cohort:
    """Exclude the tomograms whose ids are too long for the files that are named after them.

    Parameters
    ----------
    cohort
        The tomograms.
    made
        From an id to the files with the longest names and paths.

    Raises
    ------
    InputError
        None is left.
    """
    long = long_names((entry.id for entry in cohort.entries), made)
    entries = [entry for entry in cohort.entries if entry.id not in long]
    if not entries:
        raise InputError(
            "no tomogram can be used:\n" + "\n".join(printable(f"{name}: {why}") for name, why in long.items())
        )
    return Cohort(entries, cohort.problems | long)


def identifier_of(path: Path) -> str:
    """The exact file name less its extension, for OME-Zarr both of them."""
    return path.name.removesuffix(OME_ZARR_SUFFIX) if is_ome_zarr(path) else path.stem


def _by_id(source: Path | str, rows: Iterable[TomogramRow]) -> dict[str, TomogramRow]:
    named: dict[str, TomogramRow] = {}
    for row in rows:
        identifier = row.name or identifier_of(row.path)
        # Ids become file names in the run directory.
        if "/" in identifier or identifier.startswith("."):
            raise InputError(
                f"{source}: {identifier!r} cannot be an id; expected a name without '/', not starting with a dot"
            )
        if identifier in named:
            first = named[identifier].path
            if first == row.path:
                raise InputError(f"{source}: {row.path} is named twice; name it once")
            raise InputError(
                f"{source}: two tomograms have the id {identifier}: {first} and {row.path}; rename one of them, or "
                "name both in a list (rlnTomoName)"
            )
        named[identifier] = row
    return named


def _find_mask(identifier: str, tomogram: Path, mask_dir: Path | None) -> Path | None:
    if mask_dir is None:
        return None
    candidates = [mask_dir / f"{identifier}{end}{kind}" for end in ("", MASK_END) for kind in (".mrc", OME_ZARR_SUFFIX)]
    same = os.path.realpath(tomogram)
    found = [path.absolute() for path in candidates if os.path.lexists(path) and os.path.realpath(path) != same]
    if len(found) > 1:
        raise InputError(f"{mask_dir}: two masks for {identifier}: {found[0].name} and {found[1].name}; remove one")
    return found[0] if found else None


def _checked(source: Path | str, identifier: str, tilt_range: TiltRange | None) -> TiltRange | None:
    if tilt_range is None:
        return None
    try:
        return check_tilt_range(*tilt_range)
    except ValueError as error:
        raise InputError(f"{source}: {identifier}: {error}") from error


def _require_listable(*names: str | Path) -> None:
    for text in map(str, names):
        if not is_one_value(text):
            raise InputError(
                f"{text}: no list can hold this name, for it has a line break, both kinds of quotes, or bytes that "
                "are no UTF-8; rename the file or its folder"
            )


def _entry(
    identifier: str, row: TomogramRow, tilt_range: TiltRange | None, mask: Path | None, signedness: Signedness | None
) -> TomogramEntry:
    """Read the headers of a tomogram and of what belongs to it; raise InputError where they do not fit."""
    header = _header(row.path, signedness)
    told, notes = None, _notes(row.path, header)
    if isinstance(header, MrcHeader):
        require_volume(row.path, header)
        told = header.told_signedness(signedness)
    for what, path in (("mask", mask), ("even half", row.even), ("odd half", row.odd)):
        if path is None:
            continue
        other = _header(path, "unsigned")  # as masks are; of halves only the shape is needed
        notes += _notes(path, other)
        if other.shape != header.shape:
            raise InputError(
                f"{path}: the {what} has {other.shape} voxels (z, y, x), its tomogram {row.path} has {header.shape}; "
                "give one on the very same grid"
            )
    stated = row.voxel_size or 0.0
    z, y, x = header.voxel_size
    return TomogramEntry(
        id=identifier,
        path=row.path,
        shape=header.shape,
        voxel_size=(z or stated, y or stated, x or stated),
        tilt_range=tilt_range,
        mask=mask,
        even=row.even,
        odd=row.odd,
        group=row.group,
        stated_voxel_size=None if min(z, y, x) > 0 else row.voxel_size,
        signedness=told,
        stated_signedness=signedness,
        notes=notes,
        halves_only=row.halves_only,
        origins=_origins(row, mask, min(z, y, x) > 0),
    )


def _origins(row: TomogramRow, mask: Path | None, in_header: bool) -> dict[str, str]:
    """Where the values of an entry come from: its list, unless its header or a folder says them."""
    found = dict(row.origins)
    if mask is not None and row.mask is None:
        found["mask"] = str(mask.parent)
    if in_header:
        found["voxel size"] = "headers"
    return found


def _header(path: Path, signedness: Signedness | None) -> MrcHeader | Volume:
    return open_volume(path) if is_ome_zarr(path) else read_header(path, signedness)


def _notes(path: Path, header: MrcHeader | Volume) -> tuple[tuple[Path, str], ...]:
    if isinstance(header, MrcHeader):
        return tuple((path, note) for note in header.notes)
    source = header.mrc_header
    if source is None or source.stamped_signedness or header.data.dtype != np.int8:
        return ()
    return ((path, MISREAD),) if claims_unsigned(source.densities) else ()
