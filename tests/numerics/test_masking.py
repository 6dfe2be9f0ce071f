"""Masks: the same as a computation on the whole volume, however it is cut; they find the specimen."""

import numpy as np
import pytest
from scipy import ndimage

from mwr_hpc.numerics import masking
from mwr_hpc.numerics.keyed_random import keyed_generator
from mwr_hpc.numerics.masking import BadVoxelError, MaskTests, mask_slabs


def made(volume: np.ndarray, tests: MaskTests, sign: int = 1) -> np.ndarray:
    slabs = list(mask_slabs(lambda z: volume[z], volume.shape, tests, sign))
    mask = np.concatenate([slab for _, slab in slabs])
    assert [z for z, _ in slabs] == list(np.cumsum([0, *(len(slab) for _, slab in slabs)])[:-1])
    assert (mask.dtype, mask.shape) == (np.int8, volume.shape)
    return mask.astype(bool)


def direct(volume: np.ndarray, tests: MaskTests, sign: int) -> np.ndarray:
    """The definition in the module, computed at once in float64."""
    padded = np.pad(volume.astype(np.float64), [(0, size % 2) for size in volume.shape], "edge")
    nz, ny, nx = (size // 2 for size in padded.shape)
    binned = padded.reshape(nz, 2, ny, 2, nx, 2).mean(axis=(1, 3, 5))
    binned = sign * (binned - binned.mean()) / binned.std()
    window = 2 * tests.side + 1
    density = ndimage.maximum_filter(ndimage.gaussian_filter(binned, tests.side / 2), window)
    variation = np.sqrt(ndimage.uniform_filter(binned**2, window) - ndimage.uniform_filter(binned, window) ** 2)
    mask = (density >= np.percentile(density, 100 - tests.percentile)) & (variation > tests.threshold)
    mask = mask.repeat(2, 0).repeat(2, 1).repeat(2, 2)[tuple(map(slice, volume.shape))]
    top = round(tests.z_crop * len(mask))
    mask[:top] = mask[len(mask) - top :] = False
    return mask


def blobs(shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Noise, and particles of 6 voxels in the left half alone; also where they are."""
    generator = keyed_generator(1, "test")
    centres = [generator.integers(6, (shape[0] - 6, shape[1] - 6, shape[2] // 2 - 6)) for _ in range(12)]
    places = np.zeros(shape, bool)
    for z, y, x in centres:
        places[z - 3 : z + 3, y - 3 : y + 3, x - 3 : x + 3] = True
    return generator.standard_normal(shape).astype(np.float32) + 3 * places, places


@pytest.mark.parametrize("rows", [1, 3, 1000])
@pytest.mark.parametrize(
    ("tests", "sign"),
    [
        (MaskTests(side=3, percentile=60, threshold=0.9), 1),
        (MaskTests(side=2, percentile=99, threshold=1), -1),
        (MaskTests(side=8, percentile=100, threshold=1, z_crop=0.2), 1),
        (MaskTests(side=4, percentile=30, threshold=0), 1),
    ],
)
def test_as_computed_on_the_whole(monkeypatch: pytest.MonkeyPatch, tests: MaskTests, sign: int, rows: int) -> None:
    volume = 1000 + 7 * blobs((37, 48, 61))[0]
    monkeypatch.setattr(masking, "SLAB_VOXELS", rows * 24 * 31)
    expected = direct(volume, tests, sign)
    assert 0.02 < expected.mean() < 0.98
    assert np.mean(made(volume, tests, sign) != expected) < 1e-3


def test_specimen_is_covered_and_empty_ice_is_not() -> None:
    volume, places = blobs((40, 64, 96))
    mask = made(volume, MaskTests(side=3, percentile=50, threshold=1.0))
    assert mask[places].mean() > 0.95
    assert mask[:, :, 62:].mean() < 0.02


def test_density_decides_which_sign_is_specimen() -> None:
    volume, places = blobs((40, 64, 96))
    tests = MaskTests(side=2, percentile=20, threshold=0)
    assert made(volume, tests)[places].mean() > 0.9
    assert made(-volume, tests, -1)[places].mean() > 0.9
    assert made(-volume, tests)[places].mean() < 0.3


def test_a_test_that_is_left_out_leaves_out_no_voxel() -> None:
    """Where one value fills a window its deviation is 0, which no threshold is below."""
    volume = np.random.default_rng(0).normal(size=(40, 60, 60)).astype(np.float32)
    volume[10:30, 20:40, 20:40] = 0.5
    assert made(volume, MaskTests(side=1, percentile=100, threshold=0)).all()
    assert not made(volume, MaskTests(side=1, percentile=100, threshold=1e-3)).all()


def test_percentile_of_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sampling one voxel in a few changes the mask by next to nothing, and not with the size of slabs."""
    volume, _ = blobs((40, 64, 96))
    tests = MaskTests(side=3, percentile=40, threshold=0)
    whole = made(volume, tests)
    monkeypatch.setattr(masking, "SAMPLE_SIZE", 5000)
    sampled = made(volume, tests)
    monkeypatch.setattr(masking, "SLAB_VOXELS", 32 * 48)
    assert np.array_equal(sampled, made(volume, tests))
    assert 0 < np.mean(whole != sampled) < 0.01 or np.array_equal(whole, sampled)


def test_bad_voxels_are_named() -> None:
    volume = np.zeros((10, 10, 10), np.float32)
    with pytest.raises(BadVoxelError, match="same value"):
        made(volume, MaskTests())
    volume[3, 4, 5] = np.nan
    with pytest.raises(BadVoxelError, match=r"\(3, 4, 5\) has the value nan"):
        made(volume, MaskTests())
