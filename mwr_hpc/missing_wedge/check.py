"""Looks at a cohort before training: what would fail, and what would teach the network something wrong.

Nothing is written. Of a tomogram the header, a few sections (all of a small one), up to four blocks and the mask are
read.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mwr_hpc.errors import InputError
from mwr_hpc.io.volume import Volume, open_volume
from mwr_hpc.missing_wedge.check_voxels import look_at_voxels
from mwr_hpc.missing_wedge.entries import TomogramEntry
from mwr_hpc.missing_wedge.mask import load_mask
from mwr_hpc.numerics.defects import Defects
from mwr_hpc.numerics.sampling import check_sizes, count_places
from mwr_hpc.numerics.wedge import TiltRange, effective_tilt_range
from mwr_hpc.numerics.wedge_evidence import HIGH, MIDDLE, WedgeEvidence, find_wedge

TOLERANCE = 5.0
"""Degrees by which a tilt range may differ from what the power says: a step or two of a tilt series."""

BETTER = 3.0
"""Degrees by which the mirrored range must fit better for the sign to be called wrong."""

SAME_VOXEL_SIZE = 0.01
"""Relative difference of voxel sizes that still count as one."""

WRONG_AXES = {
    "yx": "the axes y and z are exchanged: save the volume with the beam along z, for instance with IMOD's "
    "`trimvol -rx`",
    "zy": "the tilt axis is x: turn the volume by 90 degrees about z, so that the tilt axis is y",
    "zx": "the axes z and x are exchanged: save the volume with the beam along z",
}


@dataclass(frozen=True)
class Finding:
    """Something to know before training.

    Attributes
    ----------
    severity
        "error" where training cannot work, "warning" where it may learn something wrong.
    about
        The tomogram's id, the group, or a part of the environment.
    """

    severity: Literal["error", "warning"]
    about: str
    text: str


@dataclass(frozen=True)
class CheckSizes:
    """What a run would ask of a tomogram: edges of cubes and crops, crops per tomogram."""

    cube_size: int
    crop_size: int
    ncube: int


@dataclass(frozen=True)
class TomogramReport:
    """What was seen of one tomogram.

    Attributes
    ----------
    likely_range
        The tilt range (degrees) that its power says; None where no missing wedge shows as expected.
    leakage
        Power outside the given range over that inside (0 for the right one), outside its mirror image, and with y and
        z exchanged; empty without a range.
    places
        Voxels at which its mask lets a cube be centred; None without a mask.
    """

    entry: TomogramEntry
    likely_range: TiltRange | None = None
    leakage: dict[str, float] = field(default_factory=dict)
    places: int | None = None
    findings: tuple[Finding, ...] = ()

    def to_record(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "id": self.entry.id,
            "path": str(self.entry.path),
            "shape": list(self.entry.shape),
            "voxel_size": list(self.entry.voxel_size),
            "group": self.entry.group,
            "tilt_range": self.entry.tilt_range and list(self.entry.tilt_range),
            "likely_tilt_range": self.likely_range and list(self.likely_range),
            "power_outside": self.leakage,
            "places_in_mask": self.places,
        }


def check_tomogram(entry: TomogramEntry, sizes: CheckSizes, full: bool) -> TomogramReport:
    """Look at one tomogram.

    Parameters
    ----------
    entry
        Of a cohort, so its headers are sound.
    sizes
        What a run would cut of it.
    full
        Read every section in search of bad voxels and outliers.
    """
    findings = list(_of_header(entry, sizes))
    findings += [Finding("warning", entry.id, f"{path}: {note}") for path, note in entry.notes]
    try:
        volume = open_volume(entry.path, entry.signedness)
        seen = look_at_voxels(volume, full)
        if seen.bad is not None:
            return TomogramReport(entry, findings=(*findings, Finding("error", entry.id, f"{entry.path}: {seen.bad}")))
        findings += [Finding("warning", entry.id, text) for text in seen.warnings]
        try:
            evidence = find_wedge(_WithoutDefects(volume, seen.defects) if seen.defects else volume.data)
        except ValueError as error:
            raise InputError(f"{entry.path}: a block in its middle holds {error}; reconstruct it again") from error
    except InputError as error:
        return TomogramReport(entry, findings=(*findings, Finding("error", entry.id, str(error))))
    places, of_mask = _places(entry, sizes)
    findings += of_mask
    if evidence is None:
        return TomogramReport(entry, places=places, findings=tuple(findings))
    leakage = {}
    if entry.tilt_range is not None:
        mirrored = effective_tilt_range(entry.tilt_range, True)
        leakage = {
            "as given": evidence.leakage(entry.tilt_range),
            "mirrored": evidence.leakage(mirrored),
            "y and z exchanged": evidence.leakage(entry.tilt_range, "yx"),
        }
    findings += [Finding("warning", entry.id, text) for text in _of_wedge(entry.tilt_range, evidence)]
    return TomogramReport(entry, evidence.tilt_range, leakage, places, tuple(findings))


class _WithoutDefects:
    """A volume as a network would be given it; slicing reads."""

    def __init__(self, volume: Volume, defects: Defects) -> None:
        self._volume = volume
        self._defects = defects
        self.shape = volume.shape

    def __getitem__(self, box: tuple[slice, ...]) -> NDArray[Any]:
        return self._defects.hide_in(np.array(self._volume.data[box], np.float32), [part.start for part in box])


def check_group(name: str | None, entries: Sequence[TomogramEntry]) -> Iterator[Finding]:
    """Yield what does not fit together in tomograms that would be trained on together."""
    about = f"group {name}" if name is not None else "the tomograms"
    advice = "train one model for each with groups of a list: mwr-hpc cohort --group, then train --group"
    sizes: dict[float, list[str]] = defaultdict(list)
    for entry in entries:
        size = entry.voxel_size[2]
        if size > 0:
            near = next((known for known in sizes if abs(known - size) <= SAME_VOXEL_SIZE * known), size)
            sizes[near].append(entry.id)
    if len(sizes) > 1:
        listed = "; ".join(f"{size:g} A: {_some(names)}" for size, names in sorted(sizes.items()))
        text = f"different voxel sizes ({listed}): what is learned at one is wrong at another; {advice}"
        yield Finding("warning", about, text)
    ranges: dict[TiltRange, list[str]] = defaultdict(list)
    for entry in entries:
        if (given := entry.tilt_range) is not None:
            near_range = next((known for known in ranges if _misfit(known, given) <= TOLERANCE), given)
            ranges[near_range].append(entry.id)
    if len(ranges) > 1:
        listed = "; ".join(f"{low:g} to {high:g}: {_some(names)}" for (low, high), names in sorted(ranges.items()))
        yield Finding("warning", about, f"different tilt ranges ({listed}); if the wedges differ much, {advice}")


def _of_header(entry: TomogramEntry, sizes: CheckSizes) -> Iterator[Finding]:
    smallest, largest = min(entry.voxel_size), max(entry.voxel_size)
    if smallest == 0:
        text = "neither header nor list says the voxel size; set it, for instance with IMOD's `alterheader -del`"
        yield Finding("warning", entry.id, f"{entry.path}: {text}")
    elif smallest == largest == 1:
        text = "the voxel size is 1 A, which programs write when they do not know it; set it in the header if so"
        yield Finding("warning", entry.id, f"{entry.path}: {text}")
    elif largest - smallest > SAME_VOXEL_SIZE * smallest:
        text = f"voxels of {entry.voxel_size} A (z, y, x) are no cubes, so the tilt angles do not hold in it"
        yield Finding("warning", entry.id, f"{entry.path}: {text}")
    try:
        check_sizes(entry.shape, sizes.crop_size)
    except ValueError as error:
        yield Finding("error", entry.id, f"{entry.path}: {error}")
    if entry.tilt_range is None:
        yield Finding("warning", entry.id, f"{entry.path}: no tilt range is given; train would take -60 60")


def _places(entry: TomogramEntry, sizes: CheckSizes) -> tuple[int | None, list[Finding]]:
    if entry.mask is None:
        return None, []
    try:
        places = count_places(load_mask(entry.mask, entry.shape), sizes.cube_size)
    except InputError as error:
        return None, [Finding("error", entry.id, str(error))]
    if places >= sizes.ncube:
        return places, []
    text = (
        f"{entry.mask}: the mask leaves {places} places for cubes of {sizes.cube_size} voxels, {sizes.ncube} are asked "
        "for: enlarge the mask, or lower --cube_size or --ncube"
    )
    return places, [Finding("warning" if places else "error", entry.id, text)]


def _of_wedge(given: TiltRange | None, evidence: WedgeEvidence) -> Iterator[str]:
    likely = evidence.tilt_range
    if evidence.is_filtered:
        # What a filter leaves of the power says little of the wedge: a warning of the tilt range would mislead.
        yield (
            f"its power falls {10**-evidence.fall:.2g}-fold from {MIDDLE} to {HIGH} cycles per voxel, where that of a "
            "reconstruction's noise stays about the same: it was low-pass filtered, denoised, corrected or upsampled; "
            "train on the reconstruction itself, and filter the result instead"
        )
    elif evidence.plane is None:
        yield (
            "no missing wedge shows in its power, so tilt range and axes could not be checked: it may be corrected, "
            "denoised or filtered already; train on the reconstruction itself"
        )
    elif likely is None:
        yield f"its missing wedge shows where it should not: {WRONG_AXES[evidence.plane]}"
    elif given is None:
        yield f"its power says a tilt range of about {likely[0]:g} {likely[1]:g}"
    elif _misfit(given, likely) > TOLERANCE:
        told = f"the tilt range is given as {given[0]:g} {given[1]:g}, its power says about {likely[0]:g} {likely[1]:g}"
        mirrored = effective_tilt_range(given, True)
        if _misfit(mirrored, likely) < min(TOLERANCE, _misfit(given, likely) - BETTER):
            right = f"{mirrored[0]:g} {mirrored[1]:g}"
            yield f"{told}: the tilt angles have the other sign; give {right}, or change --flip_tilt"
        else:
            yield f"{told}; give the angles that the reconstruction used"


def _misfit(one: TiltRange, other: TiltRange) -> float:
    return max(abs(one[0] - other[0]), abs(one[1] - other[1]))


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
