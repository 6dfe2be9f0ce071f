"""What a volume's own power spectrum tells of its missing wedge: tilt range, sign of tilt, and order of the axes.

No header says them, and training with a wrong one teaches the network something else without any error. A
reconstruction has next to no power where nothing was measured, so the empty sector shows in the power of the planes
across the tilt axis, whatever the specimen.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from mwr_hpc.numerics.normalization import LARGEST_VALUE, Box
from mwr_hpc.numerics.outliers import outliers_of
from mwr_hpc.numerics.wedge import TiltRange

Array = NDArray[Any]
Profile = NDArray[np.float64]

PLANES = {"zx": (0, 2), "yx": (1, 2), "zy": (0, 1)}
"""Planes of Fourier space by the axes of the array that span them; the wedge belongs into the first."""

BLOCK = 128
SMALLEST = 16
ROWS = 64
"""Largest and smallest edge of the blocks that are looked at, and how many of their lines along the third axis."""

FREQUENCIES = (0.1, 0.42)
"""Cycles per voxel: below, a degree is too narrow to resolve; beyond, many programs filter."""

MIDDLE, HIGH = 0.24, 0.34
"""Cycles per voxel between which the power of noise hardly falls in a reconstruction; beyond, filters of weighted
back-projections end."""

BAND = 0.04
"""Half the width, in cycles per voxel, of the bands around both."""

FALL, ZERO = -0.5, -4.0
"""Decimal logarithms: of the power at HIGH over that at MIDDLE, and over the largest at low frequencies, below which a
volume was filtered. Real and simulated reconstructions had -0.3 and -2 at least (docs/preparation.md)."""

STEEP = 30
"""Degrees from the plane without tilt up to which power is measured in every tomogram."""

FEWEST = 6
"""Coefficients that a band must have for its power to be known."""

SHELLS = 16
HALF_POWER = np.log(2.0)
CLEAR = 1.5
"""Depth of a gap, in powers of e, from which it counts as a missing wedge."""

DEEPER = 1.15
"""How much deeper a gap has to be to count in another plane than the wedge's own."""

WIDTHS = (10, 150)
"""Widths of a gap in degrees that a missing wedge can have."""


@dataclass(frozen=True)
class Gap:
    """The emptiest sector of one plane.

    Attributes
    ----------
    start, stop
        Where it begins and ends in degrees; `stop` may exceed 90, for angles are the same modulo 180.
    depth
        Natural logarithm of the power outside the sector over that inside.
    """

    start: float
    stop: float
    depth: float

    @property
    def is_clear(self) -> bool:
        """Whether it can be a missing wedge at all."""
        return self.depth >= CLEAR and WIDTHS[0] <= self.stop - self.start <= WIDTHS[1]

    @property
    def measured(self) -> TiltRange | None:
        """The rest, as a tilt range (degrees); None when the sector does not hold the beam's direction, 90 degrees."""
        return (self.stop - 180.0, self.start) if self.start < 90.0 < self.stop else None


@dataclass(frozen=True)
class WedgeEvidence:
    """The angular profiles of a volume's power, and the emptiest sector in each, by plane (see `PLANES`).

    A profile has one value a degree, from -90 on: the mean logarithm of the power relative to the mean of its
    frequency. `fall` and `zero` are decimal logarithms of the power at HIGH, in measured directions: over that at
    MIDDLE, and over the largest at low frequencies; 0 where a volume is too small for them.
    """

    profiles: dict[str, Profile]
    gaps: dict[str, Gap]
    fall: float = 0.0
    zero: float = 0.0

    @property
    def is_filtered(self) -> bool:
        """Whether high frequencies have less power than any reconstruction's noise would give them."""
        return self.fall < FALL or self.zero < ZERO

    @property
    def plane(self) -> str | None:
        """The plane with the missing wedge; None when no gap is clear.

        A wedge leaves a shadow in a plane beside its own, less deep: a fifth of it, but nine tenths under a floor of
        noise that was added afterwards or by rounding. Another plane than the expected one has to be deeper by more.
        """
        clear = {name: gap.depth for name, gap in self.gaps.items() if gap.is_clear}
        if "zx" in clear:
            clear["zx"] *= DEEPER
        return max(clear, key=lambda name: clear[name]) if clear else None

    @property
    def tilt_range(self) -> TiltRange | None:
        """The likely tilt range (degrees), when the wedge is where this program expects it."""
        return self.gaps["zx"].measured if self.plane == "zx" else None

    def leakage(self, tilt_range: TiltRange, plane: str = "zx") -> float:
        """Return the power outside a tilt range relative to that inside: near 0 for the right one, 1 for a random one.

        It is the ratio of geometric means over angles of equal weight.
        """
        profile = self.profiles[plane]
        angle = np.arange(-90, 90) + 0.5
        inside = (angle >= tilt_range[0]) & (angle <= tilt_range[1])
        return float(np.exp(profile[~inside].mean() - profile[inside].mean()))


def find_wedge(volume: Any) -> WedgeEvidence | None:
    """Look for the missing wedge in blocks from the middle of a volume.

    Parameters
    ----------
    volume
        (nz, ny, nx), anything that slices into an array and has a shape; four blocks of it are in memory.

    Returns
    -------
    WedgeEvidence or None
        None when the volume is too thin for it (under 16 voxels along an axis, constant borders not counted).

    Raises
    ------
    ValueError
        A block holds a value that is not finite or absurdly large.
    """
    if min(volume.shape) < SMALLEST:
        return None
    powers: dict[str, Array] = {}
    for block, box in _blocks(volume):
        for name, axes in PLANES.items():
            powers[name] = powers.get(name, 0.0) + _plane_power(block, box, axes)
    if not powers:
        return None
    sizes = [min(BLOCK, size) for size in volume.shape]
    profiles = {name: _angular_profile(powers[name], sizes[axes[1]]) for name, axes in PLANES.items()}
    gaps = {name: _emptiest_sector(profile) for name, profile in profiles.items()}
    return WedgeEvidence(profiles, gaps, *_falls(powers["zx"], sizes[2]))


def _blocks(volume: Any) -> Iterator[tuple[NDArray[np.float32], Box]]:
    """Yield up to four blocks around the middle, and in each the box inside constant borders, of mean 0.

    What lies outside the box is 0. Blocks of which nothing much is left are left out. All are scaled alike.
    """
    z, y, x = (_starts(size) for size in volume.shape)
    blocks: list[tuple[NDArray[np.float32], Box]] = []
    for first_y in y:
        for first_x in x:
            corner = (z[len(z) // 2], first_y, first_x)
            read = np.array(volume[tuple(slice(start, start + BLOCK) for start in corner)], np.float32)
            if not np.abs(read).max() <= LARGEST_VALUE:
                raise ValueError(f"values that are not finite or beyond {LARGEST_VALUE:g}")
            outliers_of(read).replace_in(read, (0, 0, 0))
            box = _inside_borders(read)
            if min(stop - start for start, stop in box) < SMALLEST:
                continue
            inside = tuple(slice(*side) for side in box)
            block = np.zeros_like(read)
            block[inside] = read[inside] - read[inside].mean(dtype=np.float64).astype(np.float32)
            blocks.append((block, box))
    scale = max((np.abs(block).max() for block, _ in blocks), default=1.0)
    for block, box in blocks:
        yield block / scale, box


def _inside_borders(block: Array) -> Box:
    """What is inside the planes of one value at the faces of a block: programs pad tomograms, or mask them so."""
    box = [(0, size) for size in block.shape]
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        inside = block[tuple(slice(*side) for side in box)]
        if inside.size:
            varied = np.flatnonzero(inside.min(axis=others) != inside.max(axis=others))
            box[axis] = (int(varied[0]), int(varied[-1]) + 1) if varied.size else (0, 0)
    return box[0], box[1], box[2]


def _starts(size: int) -> list[int]:
    """Where blocks begin along an axis: one in the middle, or two that share the middle half."""
    if size < 2 * BLOCK:
        return [max(0, (size - BLOCK) // 2)]
    return [size // 2 - BLOCK, size // 2]


def _plane_power(block: Array, box: Box, axes: tuple[int, int]) -> Array:
    """Mean power in one plane over lines along the third axis, (n, m // 2 + 1), with a window against leakage."""
    lines = np.moveaxis(block, axes, (0, 1))
    lines = lines[:, :, :: -(-lines.shape[2] // ROWS)]
    across, along = (_window(block.shape[axis], *box[axis]) for axis in axes)
    windowed = lines * across[:, None, None] * along[:, None]
    spectrum = fft.rfftn(windowed, axes=(0, 1), workers=1)
    return np.asarray((spectrum.real**2 + spectrum.imag**2).mean(axis=2, dtype=np.float64))


def _window(size: int, start: int, stop: int) -> NDArray[np.float32]:
    window = np.zeros(size, np.float32)
    window[start:stop] = np.hanning(stop - start + 2)[1:-1]
    return window


def _angular_profile(power: Array, width: int) -> Profile:
    """Mean log power by degree, each frequency shell relative to its mean; shells count by their coefficients."""
    across, along = fft.fftfreq(power.shape[0])[:, None], fft.rfftfreq(width)[None, :]
    frequency = np.hypot(across, along)
    angle = np.degrees(np.arctan2(across, along + np.zeros_like(across)))
    shell = np.floor((frequency - FREQUENCIES[0]) / (FREQUENCIES[1] - FREQUENCIES[0]) * SHELLS).astype(int)
    used = (shell >= 0) & (shell < SHELLS)
    shell, degree = shell[used], np.floor(angle[used] + 90).astype(int) % 180
    value = power[used]
    mean = np.bincount(shell, value, SHELLS) / np.maximum(1, np.bincount(shell, minlength=SHELLS))
    # An exact zero, as in a volume that somebody filtered, must stay finite: 1e-12 is beyond any real depth.
    relative = np.log(np.maximum(value / mean[shell], 1e-12))
    total, count = np.bincount(degree, relative, 180), np.bincount(degree, minlength=180).astype(float)
    total, count = (ndimage.uniform_filter1d(array, 3, mode="wrap") for array in (total, count))
    known = np.flatnonzero(count > 0.1)
    return np.interp(np.arange(180), known, total[known] / count[known], period=180)


def _falls(power: Array, width: int) -> tuple[float, float]:
    """Decimal logarithms of the power at HIGH over that at MIDDLE and over the largest below, where measured."""
    across, along = fft.fftfreq(power.shape[0])[:, None], fft.rfftfreq(width)[None, :]
    frequency = np.hypot(across, along)
    measured = np.abs(across) <= along * np.tan(np.radians(STEEP))

    def typical(middle: float) -> float | None:
        chosen = power[measured & (np.abs(frequency - middle) <= BAND)]
        return float(np.median(chosen)) if len(chosen) >= FEWEST else None

    middle, high = typical(MIDDLE), typical(HIGH)
    if middle is None or high is None:
        return 0.0, 0.0
    lower = [typical(frequency) or 0.0 for frequency in np.arange(BAND, MIDDLE, BAND).tolist()]
    low = float(np.max([middle, *lower]))
    smallest = float(np.finfo(np.float64).tiny)
    return float(np.log10(max(high, smallest) / max(middle, smallest))), float(np.log10(max(high, smallest) / low))


def _emptiest_sector(profile: Profile) -> Gap:
    """The widest run of angles, all round, with less than half the power of the plateau.

    The window blurs the border of the wedge evenly to both sides, so that half the power is where it lies.
    """
    threshold = np.percentile(profile, 70) - HALF_POWER
    low = profile < threshold
    if not low.any() or low.all():
        return Gap(90.0, 90.0, 0.0)
    first = int(np.flatnonzero(~low)[0])
    turned = np.roll(low, -first)
    labels, _ = ndimage.label(turned)
    widest = int(np.bincount(labels)[1:].argmax()) + 1
    run = np.flatnonzero(labels == widest)
    start, stop = (int(run[0]) + first) - 90, (int(run[-1]) + 1 + first) - 90
    inside = np.roll(profile, -first)[run]
    depth = float(np.roll(profile, -first)[labels != widest].mean() - inside.mean())
    # The wedge is named by the turn that holds 90 degrees, whenever there is one.
    shift = 180 * round((90 - (start + stop) / 2) / 180)
    return Gap(float(start + shift), float(stop + shift), depth)
