"""The cohort: which tomograms a run works on, under which ids, with which masks and tilt ranges.

Only headers are read. A tomogram that cannot be used is returned as a problem, so that the others go on.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mwr_hpc.errors import InputError
from mwr_hpc.io.mrc_header import MrcHeader, read_header, require_volume
from mwr_hpc.io.star import TomogramRow, read_tomogram_list, rows_of_group, write_tomogram_list
from mwr_hpc.io.volume import MRC_SUFFIXES, OME_ZARR_SUFFIX, Volume, is_ome_zarr, open_volume, volume_files
from mwr_hpc.numerics.wedge import check_tilt_range, effective_tilt_range

TiltRange = tuple[float, float]
KINDS = ", ".join((*MRC_SUFFIXES, OME_ZARR_SUFFIX))


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


@dataclass(frozen=True)
class Cohort:
    """What can be worked on, in order of id, and why the rest cannot (by id)."""

    entries: list[TomogramEntry]
    problems: dict[str, str] = field(default_factory=dict)

    @property
    def ids(self) -> set[str]:
        """Of all tomograms, those that cannot be worked on among them."""
        return {entry.id for entry in self.entries} | self.problems.keys()


def cohort_from_folder(
    input_dir: Path, tilt_range: TiltRange | None, mask_dir: Path | None = None, allow_missing_masks: bool = False
) -> Cohort:
    """Take all .mrc, .rec and .map files and .ome.zarr directories of a folder (not of its subfolders).

    Parameters
    ----------
    input_dir
        The folder; it may be the masks' too, then files named ``<id>_mask.mrc`` are masks.
    tilt_range
        (min, max) in degrees, of all tomograms; None when it is not known.
    mask_dir
        Where the masks are: ``<id>.mrc`` or ``<id>_mask.mrc``, or OME-Zarr of such a name.
    allow_missing_masks
        Whether a tomogram without a mask is used as a whole.

    Raises
    ------
    InputError
        The folder is missing or holds no usable tomogram, two files have the same id, or a mask is missing.
    """
    if not input_dir.is_dir():
        raise InputError(f"{input_dir}: there is no such folder; give the folder of the tomograms")
    rows = [TomogramRow(path.absolute()) for path in tomograms_in(input_dir, mask_dir)]
    return cohort_from_rows(input_dir, rows, tilt_range, mask_dir, allow_missing_masks)


def tomogram_files(paths: Sequence[Path]) -> list[Path]:
    """Replace folders among the paths by the tomograms in them (MRC files and OME-Zarr, not those in subfolders)."""
    files: list[Path] = []
    for path in paths:
        if path.is_dir() and not is_ome_zarr(path):
            files += tomograms_in(path)
        else:
            files.append(path)
    return files


def cohort_from_files(paths: Sequence[Path], tilt_range: TiltRange | None) -> Cohort:
    """Take the files that are named, without masks.

    Parameters
    ----------
    paths
        MRC files, or OME-Zarr.
    tilt_range
        (min, max) in degrees, of all tomograms; None when it is not known or does not matter.

    Raises
    ------
    InputError
        No file can be used, or two have the same id.
    """
    rows = [TomogramRow(path.absolute()) for path in paths]
    return cohort_from_rows("the inputs", rows, tilt_range, None, False)


def cohort_from_list(
    star: Path,
    tilt_range: TiltRange | None,
    mask_dir: Path | None = None,
    allow_missing_masks: bool = False,
    flip_tilt: bool = False,
    group: str | None = None,
    alone: bool = False,
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
        Ignore the list's masks and halves, which then need not exist.

    Raises
    ------
    InputError
        The list cannot be read, names no usable tomogram or none of the group, two tomograms have the same id, a tilt
        range is impossible, or a mask is missing.
    """
    rows = [
        replace(row, tilt_range=effective_tilt_range(row.tilt_range, flip_tilt)) if row.tilt_range else row
        for row in rows_of_group(star, read_tomogram_list(star), group)
    ]
    if alone:
        rows = [replace(row, mask=None, even=None, odd=None) for row in rows]
    return cohort_from_rows(star, rows, tilt_range, mask_dir, allow_missing_masks)


def tomograms_in(folder: Path, mask_dir: Path | None = None) -> list[Path]:
    """The volumes of a folder, at least one, without the masks when `mask_dir` is the same folder."""
    paths = volume_files(folder)
    if mask_dir is not None and mask_dir.resolve() == folder.resolve():
        masks = {f"{identifier_of(path)}_mask" for path in paths}
        paths = [path for path in paths if identifier_of(path) not in masks]
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
                name=entry.id,
                voxel_size=entry.voxel_size[2],
                tilt_range=entry.tilt_range,
                mask=entry.mask,
                even=entry.even,
                odd=entry.odd,
                group=entry.group,
            )
            for entry in entries
        ],
    )


def cohort_from_rows(
    source: Path | str,
    rows: Iterable[TomogramRow],
    tilt_range: TiltRange | None,
    mask_dir: Path | None,
    allow_missing_masks: bool,
) -> Cohort:
    """Take the tomograms of these rows, which come from `source`; see `cohort_from_list` for the rest."""
    named = _by_id(source, rows)
    masks = {identifier: row.mask or _find_mask(identifier, row.path, mask_dir) for identifier, row in named.items()}
    missing = sorted(identifier for identifier, mask in masks.items() if mask is None)
    if mask_dir is not None and missing and not allow_missing_masks:
        raise InputError(
            f"{mask_dir}: no mask for {', '.join(missing)}; expected {missing[0]}.mrc or {missing[0]}_mask.mrc, and so "
            "on. Add them, or use whole tomograms with --allow_missing_masks"
        )
    ranges = {
        identifier: _tilt_range(source, identifier, tilt_range or row.tilt_range) for identifier, row in named.items()
    }
    entries, problems = [], {}
    for identifier, row in sorted(named.items()):
        try:
            entries.append(_entry(identifier, row, ranges[identifier], masks[identifier]))
        except InputError as error:
            problems[identifier] = str(error)
    if not entries:
        raise InputError(f"{source}: no tomogram can be used:\n" + "\n".join(problems.values()))
    return Cohort(entries, problems)


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
    candidates = [mask_dir / f"{identifier}{end}{kind}" for end in ("", "_mask") for kind in (".mrc", OME_ZARR_SUFFIX)]
    found = [path.absolute() for path in candidates if path.exists() and path.resolve() != tomogram.resolve()]
    if len(found) > 1:
        raise InputError(f"{mask_dir}: two masks for {identifier}: {found[0].name} and {found[1].name}; remove one")
    return found[0] if found else None


def _tilt_range(source: Path | str, identifier: str, tilt_range: TiltRange | None) -> TiltRange | None:
    if tilt_range is None:
        return None
    try:
        return check_tilt_range(*tilt_range)
    except ValueError as error:
        raise InputError(f"{source}: {identifier}: {error}") from error


def _entry(identifier: str, row: TomogramRow, tilt_range: TiltRange | None, mask: Path | None) -> TomogramEntry:
    """Read the headers of a tomogram and of what belongs to it; raise InputError where they do not fit."""
    header = _header(row.path)
    if isinstance(header, MrcHeader):
        require_volume(row.path, header)
    for what, path in (("mask", mask), ("even half", row.even), ("odd half", row.odd)):
        if path is not None and (shape := _header(path).shape) != header.shape:
            raise InputError(
                f"{path}: the {what} has {shape} voxels (z, y, x), its tomogram {row.path} has {header.shape}; "
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
    )


def _header(path: Path) -> MrcHeader | Volume:
    return open_volume(path) if is_ome_zarr(path) else read_header(path)
