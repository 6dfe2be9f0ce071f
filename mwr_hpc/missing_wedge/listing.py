"""Puts the tomograms of folders, files and lists, of this program or others, into one cohort."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mwr_hpc.errors import InputError
from mwr_hpc.io.list_row import NOT_USED
from mwr_hpc.io.mrc_fields import Signedness
from mwr_hpc.io.star import TomogramRow, read_tomogram_list, rows_of_group
from mwr_hpc.io.tilts import SUFFIXES, TILT_COM, find_tilts, read_tilt_range
from mwr_hpc.io.volume import is_ome_zarr
from mwr_hpc.missing_wedge.cohort import listed_tilt_range, tomograms_in
from mwr_hpc.missing_wedge.entries import Cohort, TomogramEntry, cohort_from_rows, identifier_of
from mwr_hpc.numerics.wedge import TiltRange, effective_tilt_range

LIST_SUFFIX = ".star"


def collect_cohort(
    inputs: Sequence[Path],
    tilt_range: TiltRange | None = None,
    tlt_dir: Path | None = None,
    flip_tilt: bool = False,
    mask_dir: Path | None = None,
    allow_missing_masks: bool = False,
    group: str | None = None,
    option_wins: bool = False,
    signedness: Signedness | None = None,
    halves: bool = False,
) -> Cohort:
    """Collect tomograms; only headers are read.

    Parameters
    ----------
    inputs
        Folders of volumes, single volumes, and STAR lists.
    tilt_range
        (min, max) in degrees, of tomograms for which no list gives one; of the angles' own sign.
    tlt_dir
        Folder of tilt angles, likewise; see `mwr_hpc.io.tilts`.
    flip_tilt
        Whether all these angles, those of lists among them, have the other sign of tilt.
    mask_dir, allow_missing_masks
        As in `cohort_from_folder`.
    group
        Of lists, take this group alone.
    option_wins
        Whether `tilt_range` is that of all tomograms, whatever a list gives.
    signedness
        Of MRC files' bytes, whatever lists or the files say; None where they tell themselves.
    halves
        Whether rows of lists that have halves and no tomogram are taken; otherwise they are problems.

    Returns
    -------
    Cohort
        With tilt ranges of this program's sign; a tomogram whose file of tilts is missing or bad is a problem.

    Raises
    ------
    InputError
        No tomogram can be used, two have one id, a mask is missing, or a list cannot be read.
    """
    rows = [row for path in inputs for row in _rows(path, group)]
    origins: dict[Path, str] = {}

    def tilts_of(row: TomogramRow) -> TiltRange | None:
        given = tilt_range and effective_tilt_range(tilt_range, flip_tilt)
        if given:
            origins[row.path] = "--tilt_range"
        if given and option_wins:
            return given
        elsewhere = given is not None or tlt_dir is not None
        if row.tilt_range or (row.tilts and (os.path.exists(row.tilts) or not elsewhere)):
            origins[row.path] = row.origins.get("tilt range") or row.origins.get("tilt angles", "its list")
            return listed_tilt_range(row, flip_tilt)
        if given or tlt_dir is None:
            return given
        tilts = _tilts_in(tlt_dir, row)
        origins[row.path] = f"{'tilt.com' if tilts.name == TILT_COM else tilts.suffix} files in {tlt_dir}"
        return effective_tilt_range(read_tilt_range(tilts), flip_tilt)

    source = inputs[0] if len(inputs) == 1 else "the inputs"
    cohort = cohort_from_rows(
        source, rows, tilts_of, mask_dir, allow_missing_masks, halves=halves, signedness=signedness
    )
    entries = [_with_origin(entry, origins.get(entry.path)) for entry in cohort.entries]
    return replace(cohort, entries=entries)


def summed_origins(entries: Sequence[TomogramEntry]) -> list[str]:
    """Say in a line each where all values come from, and how many: "voxel size: headers (3), rlnPixelSize of a (2)"."""
    counted: dict[str, Counter[str]] = {}
    for entry in entries:
        for what, origin in entry.origins.items():
            counted.setdefault(what, Counter())[origin] += 1
    return [
        f"{what}: " + ", ".join(f"{origin} ({count})" for origin, count in sorted(counts.items()))
        for what, counts in sorted(counted.items(), key=lambda item: (item[0] == NOT_USED, item[0]))
    ]


def _with_origin(entry: TomogramEntry, tilt_range: str | None) -> TomogramEntry:
    known = {what: origin for what, origin in entry.origins.items() if what not in ("tilt range", "tilt angles")}
    return replace(entry, origins=known | ({"tilt range": tilt_range} if tilt_range else {}))


def _tilts_in(folder: Path, row: TomogramRow) -> Path:
    identifier = row.name or identifier_of(row.path)
    tilts = find_tilts(folder, identifier)
    if tilts is None:
        names = ", ".join(f"{identifier}{suffix}" for suffix in SUFFIXES)
        raise InputError(f"{folder}: no tilt angles of {row.path}; expected one of {names}")
    return tilts


def _rows(path: Path, group: str | None) -> list[TomogramRow]:
    if path.suffix.lower() == LIST_SUFFIX:
        return rows_of_group(path, read_tomogram_list(path), group)
    if path.suffix.lower() == ".tomostar":
        raise InputError(
            f"{path}: holds a tilt series, not the path of its tomogram; give Warp's folder of reconstructions, and "
            "the folder of the .tomostar files as --tlt_dir"
        )
    if path.is_dir() and not is_ome_zarr(path):
        return [TomogramRow(inner.absolute()) for inner in tomograms_in(path)]
    return [TomogramRow(path.absolute())]
