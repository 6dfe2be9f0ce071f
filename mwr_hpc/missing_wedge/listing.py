"""Puts the tomograms of folders, files and lists, of this program or others, into one cohort."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mwr_hpc.errors import InputError
from mwr_hpc.io.star import TomogramRow, read_tomogram_list, rows_of_group
from mwr_hpc.io.tilts import SUFFIXES, find_tilts, read_tilt_range
from mwr_hpc.io.volume import is_ome_zarr
from mwr_hpc.missing_wedge.cohort import Cohort, TiltRange, cohort_from_rows, identifier_of, tomograms_in
from mwr_hpc.numerics.wedge import effective_tilt_range

LIST_SUFFIX = ".star"


def collect_cohort(
    inputs: Sequence[Path],
    tilt_range: TiltRange | None = None,
    tlt_dir: Path | None = None,
    flip_tilt: bool = False,
    mask_dir: Path | None = None,
    allow_missing_masks: bool = False,
    group: str | None = None,
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

    Returns
    -------
    Cohort
        With tilt ranges of this program's sign; a tomogram without a file in `tlt_dir` is a problem.

    Raises
    ------
    InputError
        No tomogram can be used, two have one id, or a list or a file of tilts cannot be read.
    """
    rows = [row for path in inputs for row in _rows(path, mask_dir, group)]
    problems: dict[str, str] = {}
    usable = []
    for row in rows:
        found = row.tilt_range or tilt_range
        if found is None and tlt_dir is not None:
            identifier = row.name or identifier_of(row.path)
            tilts = find_tilts(tlt_dir, identifier)
            if tilts is None:
                names = ", ".join(f"{identifier}{suffix}" for suffix in SUFFIXES)
                problems[identifier] = f"{tlt_dir}: no tilt angles of {row.path}; expected one of {names}"
                continue
            found = read_tilt_range(tilts)
        usable.append(replace(row, tilt_range=effective_tilt_range(found, flip_tilt)) if found else row)
    if not usable:
        raise InputError("no tomogram can be used:\n" + "\n".join(problems.values()))
    source = inputs[0] if len(inputs) == 1 else "the inputs"
    cohort = cohort_from_rows(source, usable, None, mask_dir, allow_missing_masks)
    return Cohort(cohort.entries, cohort.problems | problems)


def _rows(path: Path, mask_dir: Path | None, group: str | None) -> list[TomogramRow]:
    if path.suffix.lower() == LIST_SUFFIX:
        return rows_of_group(path, read_tomogram_list(path), group)
    if path.suffix.lower() == ".tomostar":
        raise InputError(
            f"{path}: holds a tilt series, not the path of its tomogram; give Warp's folder of reconstructions, and "
            "the folder of the .tomostar files as --tlt_dir"
        )
    if path.is_dir() and not is_ome_zarr(path):
        return [TomogramRow(inner.absolute()) for inner in tomograms_in(path, mask_dir)]
    return [TomogramRow(path.absolute())]
