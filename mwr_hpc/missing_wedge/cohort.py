"""The cohort: which tomograms a run works on, from a folder, from files, or from a list."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from mwr_hpc.errors import InputError
from mwr_hpc.io.mrc_fields import Signedness
from mwr_hpc.io.star import TomogramRow, read_tomogram_list, rows_of_group, write_tomogram_list
from mwr_hpc.io.tilts import read_tilt_range
from mwr_hpc.io.volume import MRC_SUFFIXES, OME_ZARR_SUFFIX, is_ome_zarr, volume_files
from mwr_hpc.missing_wedge.entries import MASK_END, Cohort, TomogramEntry, cohort_from_rows, identifier_of
from mwr_hpc.numerics.wedge import TiltRange, effective_tilt_range

KINDS = ", ".join((*MRC_SUFFIXES, OME_ZARR_SUFFIX))


def cohort_from_folder(
    input_dir: Path,
    tilt_range: TiltRange | None,
    mask_dir: Path | None = None,
    allow_missing_masks: bool = False,
    signedness: Signedness | None = None,
) -> Cohort:
    """Take all .mrc, .rec and .map files and .ome.zarr directories of a folder (not of its subfolders).

    Parameters
    ----------
    input_dir
        The folder; it may hold masks too, ``<id>_mask`` beside ``<id>``, which are left out.
    tilt_range
        (min, max) in degrees, of all tomograms; None when it is not known.
    mask_dir
        Where the masks are: ``<id>.mrc`` or ``<id>_mask.mrc``, or OME-Zarr of such a name.
    allow_missing_masks
        Whether a tomogram without a mask is used as a whole.
    signedness
        Of MRC files' bytes, whatever the files say; None where they tell themselves.

    Raises
    ------
    InputError
        The folder is missing or holds no usable tomogram, two files have the same id, or a mask is missing.
    """
    if not input_dir.is_dir():
        raise InputError(f"{input_dir}: there is no such folder; give the folder of the tomograms")
    rows = [TomogramRow(path.absolute()) for path in tomograms_in(input_dir)]
    return cohort_from_rows(
        input_dir, rows, lambda row: tilt_range, mask_dir, allow_missing_masks, signedness=signedness
    )


def tomogram_files(paths: Sequence[Path]) -> list[Path]:
    """Replace folders among the paths by the tomograms in them (MRC files and OME-Zarr, not those in subfolders)."""
    return _without_folders(paths, tomograms_in)


def volumes_named(paths: Sequence[Path]) -> list[Path]:
    """Replace folders among the paths by the volumes in them, masks too."""
    return _without_folders(paths, _volumes_in)


def _without_folders(paths: Sequence[Path], files_in: Callable[[Path], list[Path]]) -> list[Path]:
    return [file for path in paths for file in (files_in(path) if path.is_dir() and not is_ome_zarr(path) else [path])]


def cohort_from_files(
    paths: Sequence[Path], tilt_range: TiltRange | None, signedness: Signedness | None = None
) -> Cohort:
    """Take the files that are named, without masks.

    Parameters
    ----------
    paths
        MRC files, or OME-Zarr.
    tilt_range
        (min, max) in degrees, of all tomograms; None when it is not known or does not matter.
    signedness
        Of MRC files' bytes, whatever the files say; None where they tell themselves.

    Raises
    ------
    InputError
        No file can be used, or two have the same id.
    """
    rows = [TomogramRow(path.absolute()) for path in paths]
    return cohort_from_rows(
        "the inputs", rows, lambda row: tilt_range, None, False, for_list=False, signedness=signedness
    )


def cohort_from_list(
    star: Path,
    tilt_range: TiltRange | None,
    mask_dir: Path | None = None,
    allow_missing_masks: bool = False,
    flip_tilt: bool = False,
    group: str | None = None,
    alone: bool = False,
    signedness: Signedness | None = None,
) -> Cohort:
    """Take the tomograms of a STAR list; see `mwr_hpc.io.star` for its columns.

    Parameters
    ----------
    star
        The list.
    tilt_range
        (min, max) in degrees, of all tomograms whatever the list gives; None to take the list's.
    mask_dir, allow_missing_masks
        As for a folder; for tomograms for which the list gives no mask.
    flip_tilt
        Whether the tilt ranges in the list have the other sign of tilt; `tilt_range` has this program's already.
    group
        Take those of this group alone.
    alone
        Ignore the list's masks and halves, which then need not exist, nor need the files of tilt angles.
    signedness
        Of MRC files' bytes, whatever the list or the files say; None where they tell themselves.

    Raises
    ------
    InputError
        The list cannot be read, names no usable tomogram or none of the group, two tomograms have the same id, a tilt
        range is impossible, or a mask is missing.
    """
    rows = rows_of_group(star, read_tomogram_list(star), group)
    if alone:
        rows = [replace(row, mask=None, even=None, odd=None) for row in rows]

    def tilts_of(row: TomogramRow) -> TiltRange | None:
        if alone and row.tilts is not None and not os.path.exists(row.tilts):
            row = replace(row, tilts=None)
        return tilt_range or listed_tilt_range(row, flip_tilt)

    return cohort_from_rows(
        star, rows, tilts_of, mask_dir, allow_missing_masks, for_list=not alone, signedness=signedness
    )


def listed_tilt_range(row: TomogramRow, flip_tilt: bool) -> TiltRange | None:
    """The tilt range that a list gives, or the file of tilt angles that it names, of this program's sign.

    Raises
    ------
    InputError
        There is no such file, or it cannot be read.
    """
    found = row.tilt_range
    if found is None and row.tilts is not None:
        if not os.path.exists(row.tilts):
            raise InputError(f"{row.tilts}: there is no such file of tilt angles; mend the list, or give --tilt_range")
        found = read_tilt_range(row.tilts)
    return effective_tilt_range(found, flip_tilt) if found else None


def tomograms_in(folder: Path) -> list[Path]:
    """The tomograms of a folder, at least one: its volumes, but for masks, ``<id>_mask`` beside an ``<id>``."""
    paths = _volumes_in(folder)
    masks = {f"{identifier_of(path)}{MASK_END}" for path in paths}
    return [path for path in paths if identifier_of(path) not in masks]


def _volumes_in(folder: Path) -> list[Path]:
    paths = volume_files(folder)
    if not paths:
        raise InputError(f"{folder}: no volume ({KINDS}) in it; name the folder of the tomograms")
    return paths


def write_cohort(star: Path, entries: Sequence[TomogramEntry]) -> None:
    """Write the entries as a STAR list that `cohort_from_list` reads again."""
    write_tomogram_list(
        star,
        [
            TomogramRow(
                path=entry.path,
                halves_only=entry.halves_only,
                name=entry.id,
                voxel_size=entry.voxel_size[2],
                tilt_range=entry.tilt_range,
                mask=entry.mask,
                even=entry.even,
                odd=entry.odd,
                group=entry.group,
                signedness=entry.stated_signedness,
            )
            for entry in entries
        ],
    )
