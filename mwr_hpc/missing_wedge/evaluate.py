"""How good a corrected tomogram is, from files: against a known truth, or by what it has without one."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mwr_hpc.errors import InputError
from mwr_hpc.events import Emit, Notice, ignore
from mwr_hpc.io.mrc_fields import Signedness
from mwr_hpc.io.volume import Volume, open_volume
from mwr_hpc.numerics.change import EMPTY_BELOW, UNCHANGED_BELOW, change_of
from mwr_hpc.numerics.metrics import AgainstTruth, agreement, evaluate, wedge_fill
from mwr_hpc.numerics.wedge import TiltRange

LEARNED_NOTHING = (
    "The network has learned too little: train longer (--hours, --iterations), and see with `mwr-hpc check` that the "
    "tilt range is right."
)
"""What to do about a correction that changed nothing."""


@dataclass(frozen=True)
class Evaluation:
    """Figures of one tomogram; None where the file that they need was not given.

    Attributes
    ----------
    voxel_size
        In angstrom, along x; 0 where the file does not say.
    wedge_fill
        Power in the missing region relative to the measured one: 0 empty, 1 as strong; None without such a region.
    wedge_fill_before, agreement
        The same of the tomogram before, and the Fourier correlation with it in the measured region.
    change
        Power of the difference from the tomogram before in the measured region, as a share of its power there.
    after, before
        Figures of merit against the truth, of this tomogram and of the one before.
    """

    voxel_size: float
    wedge_fill: float | None
    wedge_fill_before: float | None
    agreement: float | None
    change: float | None
    after: AgainstTruth | None
    before: AgainstTruth | None

    @property
    def contrast_inverted(self) -> bool:
        """Density has the other sign than the truth, or than the tomogram before where there is no truth."""
        if self.after is not None:
            return self.after.contrast_inverted
        return self.agreement is not None and self.agreement < 0

    @property
    def judgement(self) -> str:
        """What the figures mean, in a sentence or two."""
        return " ".join(filter(None, (_on_the_wedge(self), _on_the_rest(self))))

    def to_record(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self) | {"contrast_inverted": self.contrast_inverted, "judgement": self.judgement}


def evaluate_tomogram(
    path: Path,
    truth: Path | None,
    before: Path | None,
    tilt_range: TiltRange,
    signedness: Signedness | None = None,
    emit: Emit = ignore,
) -> Evaluation:
    """Judge a tomogram.

    Parameters
    ----------
    path
        The tomogram, MRC or OME-Zarr.
    truth
        The known truth of the same shape and contrast, or None.
    before
        What the tomogram was made from, or None.
    tilt_range
        (tilt_min, tilt_max) in degrees.
    signedness
        Of MRC files' bytes; None where the files tell.
    emit
        Called with what had to be assumed to read the files.

    Raises
    ------
    InputError
        When a file cannot be read or used, or shapes differ.
    """
    opened = {file: open_volume(file, signedness) for file in (path, before, truth) if file is not None}
    for file, one in opened.items():
        for note in one.mrc_header.notes if one.mrc_header else ():
            emit(Notice(f"{file}: {note}", warning=True))
    volume = _read(opened[path])
    earlier = None if before is None else _read(opened[before], like=(path, volume))
    known = None if truth is None else _read(opened[truth], like=(path, volume))
    change = None if earlier is None else change_of([(earlier, volume)], tilt_range)
    return Evaluation(
        voxel_size=opened[path].voxel_size[2],
        wedge_fill=wedge_fill(volume, tilt_range) if change is None else change.wedge_fill,
        wedge_fill_before=None if change is None else change.wedge_fill_before,
        agreement=None if earlier is None else agreement(earlier, volume, tilt_range),
        change=None if change is None else change.measured,
        after=None if known is None else evaluate(known, volume, tilt_range),
        before=None if known is None or earlier is None else evaluate(known, earlier, tilt_range),
    )


def _on_the_wedge(found: Evaluation) -> str:
    if found.wedge_fill is None:
        return "There is no missing wedge wide enough to measure."
    power = f"its power is {found.wedge_fill:.1%} of the measured region's at the same resolution"
    if found.wedge_fill_before is not None:
        power += f" ({found.wedge_fill_before:.1%} before)"
    if found.wedge_fill < EMPTY_BELOW:
        return f"The missing wedge is nearly empty: {power}; {EMPTY_BELOW:.0%} or more is expected. {LEARNED_NOTHING}"
    if found.after is None:
        return f"The missing wedge is filled: {power}; only a known truth can say how right that is."
    correct = found.after.fcc["missing"]
    return f"The missing wedge is filled: {power}; what fills it correlates with the truth by {correct:.2f}."


def _on_the_rest(found: Evaluation) -> str:
    if found.change is None:
        return ""
    changed = f"{found.change:.1%} of the power in the measured region changed"
    if found.contrast_inverted:
        return "The contrast is inverted."
    if found.change < UNCHANGED_BELOW:
        return (
            f"Only {changed}: what was measured is as it was, its noise included. That is meant with --keep_measured; "
            "otherwise train longer, or with noise volumes (--noise_dir)."
        )
    return f"{changed[0].upper()}{changed[1:]}."


def _read(opened: Volume, like: tuple[Path, NDArray[np.float32]] | None = None) -> NDArray[np.float32]:
    """Read a volume whole; refuse what no figure can be made of."""
    path = opened.path
    if like is not None and opened.shape != like[1].shape:
        raise InputError(
            f"{path}: {opened.shape} voxels (z, y, x), but {like[0]} has {like[1].shape}; give volumes of one grid"
        )
    volume = np.asarray(opened.data[:], np.float32)
    low, high = float(volume.min()), float(volume.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError(f"{path}: holds NaN or infinite voxels; expected finite numbers: make the volume again")
    if low == high:
        raise InputError(f"{path}: all voxels have the value {low:g}; there is nothing to judge")
    return volume
