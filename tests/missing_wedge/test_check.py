"""The check of tomograms: every warning it owes, and none for a good one."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mwr_hpc.io.mrc import MrcWriter
from mwr_hpc.missing_wedge.check import CheckSizes, TomogramReport, check_group, check_tomogram
from mwr_hpc.missing_wedge.cohort import cohort_from_files
from mwr_hpc.missing_wedge.entries import TomogramEntry
from mwr_hpc.numerics.keyed_random import keyed_generator
from mwr_hpc.numerics.wedge import filter_volume, measured_region

SIZES = CheckSizes(cube_size=16, crop_size=24, ncube=10)
SHAPE = (32, 40, 48)
TILTS = (-66.0, 50.0)


def write(path: Path, volume: np.ndarray, voxel_size: float | tuple[float, float, float] = 8.0) -> Path:
    with MrcWriter(path, volume.shape, volume.dtype, voxel_size=voxel_size) as writer:
        writer.write(0, volume)
    return path


@pytest.fixture(scope="module")
def volume() -> np.ndarray:
    noise = keyed_generator(0, "test").standard_normal(SHAPE, np.float32)
    return filter_volume(noise, measured_region(SHAPE, TILTS))


def looked_at(path: Path, tilt_range: tuple[float, float] | None = TILTS, full: bool = False) -> TomogramReport:
    (entry,) = cohort_from_files([path], tilt_range).entries
    return check_tomogram(entry, SIZES, full)


def texts(report: TomogramReport, severity: str) -> str:
    return "\n".join(finding.text for finding in report.findings if finding.severity == severity)


def test_a_good_tomogram_gives_no_warning(tmp_path: Path, volume: np.ndarray) -> None:
    report = looked_at(write(tmp_path / "a.mrc", volume))
    assert report.findings == ()
    assert report.likely_range == pytest.approx(TILTS, abs=2.5)
    assert report.leakage["as given"] < report.leakage["mirrored"] < report.leakage["y and z exchanged"]
    assert report.to_record()["likely_tilt_range"] == list(report.likely_range or ())


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ((-50.0, 66.0), "other sign; give -66 50, or change --flip_tilt"),
        ((-40.0, 40.0), "give the angles that the reconstruction used"),
        ((-66.0, 65.0), "give the angles that the reconstruction used"),
        ((-66.0, 66.0), "its power says about -6"),
        (None, "no tilt range is given; train would take -60 60"),
    ],
)
def test_wrong_tilts_are_named(tmp_path: Path, volume: np.ndarray, told: tuple[float, float] | None, says: str) -> None:
    assert says in texts(looked_at(write(tmp_path / "a.mrc", volume), told), "warning")


def test_axes_and_filled_wedges_are_named(tmp_path: Path, volume: np.ndarray) -> None:
    exchanged = write(tmp_path / "a.mrc", np.ascontiguousarray(volume.swapaxes(0, 1)))
    assert "axes y and z are exchanged" in texts(looked_at(exchanged), "warning")
    turned = write(tmp_path / "b.mrc", np.ascontiguousarray(volume.swapaxes(1, 2)))
    assert "tilt axis is x" in texts(looked_at(turned), "warning")
    noise = write(tmp_path / "c.mrc", keyed_generator(0, "test").standard_normal(SHAPE, np.float32))
    assert "no missing wedge shows" in texts(looked_at(noise), "warning")


@pytest.mark.parametrize(
    ("voxel_size", "says"),
    [
        (0.0, "neither header nor list says the voxel size"),
        (1.0, "the voxel size is 1 A"),
        ((8.0, 10.0, 10.0), "are no cubes"),
    ],
)
def test_voxel_sizes(
    tmp_path: Path, volume: np.ndarray, voxel_size: float | tuple[float, float, float], says: str
) -> None:
    assert says in texts(looked_at(write(tmp_path / "a.mrc", volume, voxel_size)), "warning")


def test_masks_with_too_few_places(tmp_path: Path, volume: np.ndarray) -> None:
    (entry,) = cohort_from_files([write(tmp_path / "a.mrc", volume)], TILTS).entries
    mask = np.zeros(SHAPE, np.int8)
    # Nearer to the faces than half a cube nothing counts, so that of these columns few places remain.
    for columns, places, severity in ((1, 0, "error"), (9, 1 * 17, None), (5, 0, "error")):
        mask[:, 20, :columns] = 1
        report = check_tomogram(replace(entry, mask=write(tmp_path / "m.mrc", mask)), SIZES, False)
        mask[:] = 0
        assert report.places == places
        assert {finding.severity for finding in report.findings} == ({severity} if severity else set())
    mask[16, 20, 20:24] = 1
    report = check_tomogram(replace(entry, mask=write(tmp_path / "m.mrc", mask)), SIZES, False)
    assert "leaves 4 places for cubes of 16 voxels, 10 are asked for" in texts(report, "warning")


def test_what_cannot_work_is_an_error(tmp_path: Path, volume: np.ndarray) -> None:
    assert "crop of 24 voxels is over twice" in texts(looked_at(write(tmp_path / "thin.mrc", volume[:10])), "error")
    assert "all voxels" in texts(looked_at(write(tmp_path / "flat.mrc", np.ones(SHAPE, np.float32))), "error")
    bad = volume.copy()
    bad[5, 3, 2] = np.nan
    path = write(tmp_path / "nan.mrc", volume)
    with path.open("r+b") as stream:
        stream.seek(1024)
        stream.write(bad.tobytes())
    assert "section 5 holds values that are not finite" in texts(looked_at(path, full=True), "error")


def test_groups_that_do_not_fit_together(tmp_path: Path) -> None:
    def entry(name: str, voxel_size: float, tilt_range: tuple[float, float]) -> TomogramEntry:
        return TomogramEntry(name, tmp_path / name, SHAPE, (voxel_size,) * 3, tilt_range)

    alike = [entry("a", 8.0, (-60, 60)), entry("b", 8.01, (-61, 58)), entry("c", 0.0, (-60, 60))]
    assert list(check_group("x", alike)) == []
    sizes, ranges = check_group("x", [*alike, entry("d", 10.0, (-60, 40)), entry("e", 10.0, (-60, 60))])
    assert "8 A: a, b; 10 A: d, e" in sizes.text and "-60 to 40: d; -60 to 60: a, b, c and 1 more" in ranges.text
    assert sizes.about == "group x" and "train --group" in sizes.text


@pytest.mark.needs("shared_data")
@pytest.mark.parametrize("name", ["mt_13pf", "mt_14pf"])
def test_real_tomograms(shared_data: Callable[[str], Path], tmp_path: Path, name: str) -> None:
    path = shared_data(f"tomograms/{name}.mrc")
    assert looked_at(path, (-67, 57)).findings == ()
    assert "other sign" in texts(looked_at(path, (-57, 67)), "warning")
    from mwr_hpc.io.volume import open_volume

    exchanged = np.ascontiguousarray(np.asarray(open_volume(path).data).swapaxes(0, 1))
    assert "axes y and z are exchanged" in texts(looked_at(write(tmp_path / "x.mrc", exchanged), (-67, 57)), "warning")


@pytest.mark.needs("shared_data")
@pytest.mark.parametrize("name", ["sym", "asym"])
def test_phantoms(shared_data: Callable[[str], Path], name: str) -> None:
    path = shared_data(f"phantoms/{name}/tomo.mrc")
    low, high = map(float, (path.parent / "tilt_range.txt").read_text().split())
    assert looked_at(path, (low, high)).findings == ()
    mirrored = texts(looked_at(path, (-high, -low)), "warning")
    assert ("other sign" in mirrored) == (name == "asym")


@pytest.mark.parametrize("value", [np.nan, 1e38])
def test_bad_voxels_in_the_middle_are_an_error(tmp_path: Path, volume: np.ndarray, value: float) -> None:
    """Even between the sections that are searched for them."""
    volume = volume.copy()
    volume[5, volume.shape[1] // 2, volume.shape[2] // 2] = 1e38
    path = write(tmp_path / "a.mrc", volume)
    path.write_bytes(path.read_bytes().replace(np.float32(1e38).tobytes(), np.float32(value).tobytes()))
    report = looked_at(path)
    assert "not finite or beyond" in texts(report, "error")
    json.dumps(report.to_record(), allow_nan=False)
