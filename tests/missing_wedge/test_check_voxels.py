"""The check names outliers, padding, repeated sections and filters, and no raw reconstruction has any."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from mwr_hpc.io.mrc import MrcWriter
from mwr_hpc.io.volume import open_volume
from mwr_hpc.missing_wedge import check_voxels
from mwr_hpc.missing_wedge.check import CheckSizes, check_tomogram
from mwr_hpc.missing_wedge.cohort import cohort_from_files
from mwr_hpc.numerics.keyed_random import keyed_generator
from mwr_hpc.numerics.wedge import filter_volume, measured_region

SHAPE = (48, 64, 64)
TILTS = (-60.0, 60.0)


@pytest.fixture(scope="module")
def raw() -> np.ndarray:
    """Noise with a missing wedge, grey values as of 16-bit integers."""
    noise = keyed_generator(0, "test").standard_normal(SHAPE, np.float32)
    return (20_000 + 100 * filter_volume(noise, measured_region(SHAPE, TILTS))).astype(np.float32)


def findings(tmp_path: Path, volume: np.ndarray, tilts: tuple[float, float] = TILTS) -> list[str]:
    path = tmp_path / "a.mrc"
    with MrcWriter(path, volume.shape, volume.dtype, voxel_size=10.0) as writer:
        writer.write(0, volume)
    (entry,) = cohort_from_files([path], tilts).entries
    return [finding.text for finding in check_tomogram(entry, CheckSizes(16, 24, 10), False).findings]


def test_a_raw_tomogram_has_none(tmp_path: Path, raw: np.ndarray) -> None:
    assert findings(tmp_path, raw) == []


def test_one_hot_voxel(tmp_path: Path, raw: np.ndarray) -> None:
    hot = raw.copy()
    hot[20, 30, 30] = 1e9
    (told,) = findings(tmp_path, hot)
    assert told.startswith("1 isolated voxel is beyond 30 robust standard deviations, as hot pixels")


def test_gold_beads(tmp_path: Path, raw: np.ndarray) -> None:
    gold = raw.copy()
    gold[20:23, 30:33, 30:33] = 1_000
    (told,) = (text for text in findings(tmp_path, gold) if "wedge" not in text and "power" not in text)
    assert told.startswith("27 connected voxels are beyond 30") and "they are kept" in told


def test_zero_corners(tmp_path: Path, raw: np.ndarray) -> None:
    rotated = ndimage.rotate(raw, 10, (1, 2), reshape=False, order=0, cval=0).astype(np.int16)
    told = findings(tmp_path, rotated)
    assert "of its voxels are padding of the value 0 in its corners" in told[0]
    assert not any("isolated" in text or "connected" in text for text in told)


def test_of_large_volumes_some_sections_are_looked_at(
    tmp_path: Path, raw: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_voxels, "SMALL", 0)
    assert findings(tmp_path, raw) == []
    hot = raw.copy()
    hot[0, 30, 30] = 1e9
    assert findings(tmp_path, hot)[0].startswith("1 isolated voxel is beyond")
    rotated = ndimage.rotate(raw, 10, (1, 2), reshape=False, order=0, cval=0)
    assert "of the voxels looked at are padding of the value 0" in findings(tmp_path, rotated)[0]
    assert "5 of 9 neighbouring sections" in findings(tmp_path, np.repeat(raw[::2], 2, axis=0))[0]


def test_repeated_sections(tmp_path: Path, raw: np.ndarray) -> None:
    stuck = raw.copy()
    stuck[11] = stuck[10]
    assert (
        "1 of 47 neighbouring sections that were compared are identical, first 10 and 11"
        in findings(tmp_path, stuck)[0]
    )
    assert "24 of 47 neighbouring sections" in findings(tmp_path, np.repeat(raw[::2], 2, axis=0))[0]


FILTERS = {
    "gaussian": lambda v: ndimage.gaussian_filter(v, 1.0),
    "median": lambda v: ndimage.median_filter(v, 3),
    "low pass": lambda v: filter_volume(v, _low_pass(v.shape)),
    "upsampled": lambda v: ndimage.zoom(v[:24, :32, :32], 2, order=3),
}


def _low_pass(shape: tuple[int, ...]) -> np.ndarray:
    axes = [np.fft.fftfreq(shape[0]), np.fft.fftfreq(shape[1]), np.fft.rfftfreq(shape[2])]
    return np.sqrt(sum(k**2 for k in np.meshgrid(*axes, indexing="ij"))) < 0.25


@pytest.mark.parametrize("name", FILTERS)
def test_filters_are_named_and_nothing_else(tmp_path: Path, raw: np.ndarray, name: str) -> None:
    """Of 0.1.0 some were good, and of others tilt range or axes were blamed."""
    (told,) = findings(tmp_path, FILTERS[name](raw).astype(np.float32))
    assert "it was low-pass filtered, denoised, corrected or upsampled" in told


@pytest.mark.needs("shared_data")
@pytest.mark.parametrize("name", ["tomograms/mt_13pf", "tomograms/mt_14pf", "phantoms/sym/tomo", "phantoms/asym/tomo"])
def test_real_tomograms_and_phantoms(shared_data: Callable[[str], Path], tmp_path: Path, name: str) -> None:
    path = shared_data(f"{name}.mrc")
    tilts = (-67.0, 57.0)
    if "phantoms" in name:
        low, high = np.loadtxt(shared_data(str(Path(name).parent / "tilt_range.txt")))
        tilts = (float(low), float(high))
    volume = np.array(open_volume(path).data, np.float32)
    assert findings(tmp_path, volume, tilts) == []
    denoised = [FILTERS["gaussian"](volume)]
    if "phantoms" in name:
        denoised.append(np.array(open_volume(shared_data(name.replace("tomo", "tomo_clean") + ".mrc")).data))
    else:
        denoised.append(FILTERS["median"](volume))
    for one in denoised:
        assert "low-pass filtered" in "".join(findings(tmp_path, one.astype(np.float32), tilts))
