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
from mwr_hpc.numerics.metrics import AgainstTruth, agreement, evaluate, wedge_fill
from mwr_hpc.numerics.wedge import TiltRange


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
    after, before
        Figures of merit against the truth, of this tomogram and of the one before.
    """

    voxel_size: float
    wedge_fill: float | None
    wedge_fill_before: float | None
    agreement: float | None
    after: AgainstTruth | None
    before: AgainstTruth | None

    @property
    def contrast_inverted(self) -> bool:
        """Density has the other sign than the truth, or than the tomogram before where there is no truth."""
        if self.after is not None:
            return self.after.contrast_inverted
        return self.agreement is not None and self.agreement < 0

    def to_record(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self) | {"contrast_inverted": self.contrast_inverted}


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
    return Evaluation(
        voxel_size=opened[path].voxel_size[2],
        wedge_fill=wedge_fill(volume, tilt_range),
        wedge_fill_before=None if earlier is None else wedge_fill(earlier, tilt_range),
        agreement=None if earlier is None else agreement(earlier, volume, tilt_range),
        after=None if known is None else evaluate(known, volume, tilt_range),
        before=None if known is None or earlier is None else evaluate(known, earlier, tilt_range),
    )


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
