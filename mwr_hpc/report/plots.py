"""Pictures of tomograms beside each other, and of training curves.

Figures are drawn with matplotlib's Agg canvas alone: no window, no global state, the same bytes for the same input.
"""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy import fft, signal

from mwr_hpc.io.atomic import atomic_file
from mwr_hpc.io.volume import open_volume
from mwr_hpc.training.curves import read_curves

PLANES_IN_SPECTRUM = 48
"""How many xz planes a power spectrum averages at most."""


def compare_tomograms(before: Path, after: Path, truth: Path | None, out: Path) -> None:
    """Write a PNG with slices and power spectra of a tomogram before and after correction, and of the truth if known.

    Parameters
    ----------
    before, after, truth
        Volumes of one shape, as `open_volume` reads them.
    out
        The picture.

    Raises
    ------
    InputError
        A volume cannot be read.
    """
    paths = {"before": before, "after": after} | ({"truth": truth} if truth is not None else {})
    save(slices_figure({name: open_volume(path).data for name, path in paths.items()}), out)


def slices_figure(volumes: Mapping[str, Any], title: str = "", shared_scale: bool = False) -> Figure:
    """Draw volumes side by side: the middle xz slice, where the wedge shows, the xy slice, the xz power spectrum.

    Parameters
    ----------
    volumes
        Titles and volumes, (nz, ny, nx) of one shape; memory maps and Zarr arrays will do, only slices are read.
    title
        Of the whole figure.
    shared_scale
        Whether all have the grey range of the first one; otherwise each has its own.
    """
    figure = Figure(figsize=(4.2 * len(volumes), 10.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(3, len(volumes), squeeze=False, gridspec_kw={"height_ratios": _row_heights(volumes)})
    if title:
        figure.suptitle(title, parse_math=False)  # a dollar sign in a name begins no formula
    ranges: list[npt.NDArray[np.float64]] = []
    for column, (name, volume) in zip(axes.T, volumes.items(), strict=True):
        depth, rows, _ = volume.shape
        planes = np.asarray(volume[:, rows // 2], np.float32), np.asarray(volume[depth // 2], np.float32)
        if not (shared_scale and ranges):
            ranges = [np.percentile(plane, (0.5, 99.5)) for plane in planes]
        _draw_slice(column[0], planes[0], ranges[0], f"{name}: xz", "z")
        _draw_slice(column[1], planes[1], ranges[1], f"{name}: xy", "y")
        column[2].imshow(power_spectrum(volume), cmap="magma", origin="lower", extent=(-0.5, 0.5, -0.5, 0.5))
        column[2].set(title=f"{name}: log power, xz", xlabel="kx (cycles per voxel)", ylabel="kz")
    return figure


def power_spectrum(volume: Any) -> npt.NDArray[np.float32]:
    """Log10 of the mean power spectrum of a volume's xz planes, relative to its median.

    Parameters
    ----------
    volume
        (nz, ny, nx); at most `PLANES_IN_SPECTRUM` planes, evenly spaced along y, are read.

    Returns
    -------
    Shape (nz, nx), k = 0 in the middle.
    """
    depth, rows, width = volume.shape
    taper = signal.windows.tukey(depth, 0.25)[:, None] * signal.windows.tukey(width, 0.25)
    chosen = np.unique(np.linspace(0, rows - 1, min(rows, PLANES_IN_SPECTRUM)).round().astype(int))
    power = np.zeros((depth, width))
    for row in chosen:
        plane = np.asarray(volume[:, row], np.float32)
        power += np.abs(fft.fft2((plane - plane.mean()) * taper)) ** 2
    smallest = np.finfo(np.float32).tiny
    spectrum: npt.NDArray[np.float32] = np.log10(fft.fftshift(power / max(np.median(power), smallest)) + 1e-6)
    return spectrum.astype(np.float32)


def curves_figure(curves: Sequence[Path]) -> Figure:
    """Draw training and validation loss over the epochs of all iterations.

    Parameters
    ----------
    curves
        The `curves.jsonl` of each iteration, in order.
    """
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    records = [read_curves(path) for path in curves]
    epochs = [record for iteration in records for record in iteration]
    positions = np.arange(1, len(epochs) + 1)
    for key, label in (("loss", "training"), ("validation_loss", "held out")):
        values = np.array([epoch.get(key) for epoch in epochs], dtype=float)
        if np.isfinite(values).any():
            axes.plot(positions, values, marker=".", label=label)
    for end in np.cumsum([len(iteration) for iteration in records])[:-1]:
        axes.axvline(end + 0.5, color="0.8", linewidth=0.8)
    axes.set(xlabel="epoch (a line where a new iteration begins)", ylabel="loss per voxel")
    if epochs:
        axes.legend()
    return figure


def picking_curves_figure(curves: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw the losses of new and old examples, and the average precision, over the epochs of a re-training.

    Parameters
    ----------
    curves
        Its records; the first is of the time before the first step.
    """
    figure = Figure(figsize=(8, 7), layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [2, 1]})
    epochs = [record["epoch"] for record in curves]

    def draw(axes: Axes, key: str, label: str, style: str) -> None:
        values = np.array([record.get(key) for record in curves], dtype=float)
        if np.isfinite(values).any():
            axes.plot(epochs, values, style, marker=".", label=label)

    draw(upper, "training_loss", "new examples", "C0-")
    draw(upper, "validation_loss", "new examples, held out", "C0--")
    draw(upper, "old_training_loss", "old examples", "C1-")
    draw(upper, "old_validation_loss", "old examples, held out", "C1--")
    draw(lower, "average_precision", "held-out micrographs", "C2-")
    upper.set(ylabel="loss per pixel")
    lower.set(xlabel="epoch (0: before the training)", ylabel="average precision", ylim=(0, 1.02))
    upper.legend()
    return figure


def compare_picks(
    micrograph: npt.NDArray[np.float32],
    truth: npt.NDArray[np.float64],
    picks: Mapping[str, npt.NDArray[np.float64]],
    out: Path,
) -> None:
    """Draw a micrograph with its true positions, and with the picks of each model.

    Parameters
    ----------
    micrograph
        (height, width).
    truth
        (n, 2), y x in pixels.
    picks
        The same of each model, by name.
    out
        PNG to write.
    """
    figure = Figure(figsize=(6 * len(picks), 6.3), layout="constrained")
    FigureCanvasAgg(figure)
    low, high = np.percentile(micrograph, (0.5, 99.5))
    for axes, (name, positions) in zip(np.ravel(figure.subplots(1, len(picks))), picks.items(), strict=True):
        axes.imshow(micrograph, cmap="gray", vmin=low, vmax=high, interpolation="antialiased")
        axes.scatter(truth[:, 1], truth[:, 0], s=90, facecolors="none", edgecolors="C2", label="true")
        axes.scatter(positions[:, 1], positions[:, 0], s=25, marker="+", color="C3", label="picked")
        axes.set(title=name, xticks=[], yticks=[])
        axes.legend(loc="upper right")
    save(figure, out)


def save(figure: Figure, out: Path) -> None:
    """Write `figure` as a PNG that appears complete or not at all."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(out) as partial, warnings.catch_warnings():
        # A letter that the font lacks is drawn as a box, which is no user's concern.
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font", UserWarning)
        figure.savefig(partial, format="png", dpi=100, metadata={"Software": None})


def _row_heights(volumes: Mapping[str, Any]) -> list[float]:
    depth, rows, width = next(iter(volumes.values())).shape
    return [max(depth / width, 0.2), max(rows / width, 0.2), 1.0]


def _draw_slice(
    axes: Axes, plane: npt.NDArray[np.float32], grey: npt.NDArray[np.float64], title: str, vertical: str
) -> None:
    low, high = grey
    axes.imshow(plane, cmap="gray", vmin=low, vmax=high, interpolation="nearest", origin="lower")
    axes.set(title=title, xlabel="x (voxels)", ylabel=vertical)
