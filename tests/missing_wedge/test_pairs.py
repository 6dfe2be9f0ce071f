"""From a tomogram on disk to training pairs: every pair against brute force, and no held-out voxel in training."""

from pathlib import Path

import numpy as np
import pytest
import zarr

from mwr_hpc.errors import InputError
from mwr_hpc.io.mrc import MrcWriter
from mwr_hpc.missing_wedge.convert import convert_tomogram
from mwr_hpc.missing_wedge.cube_arrays import CubeWriter
from mwr_hpc.missing_wedge.extract import extract_subtomograms
from mwr_hpc.missing_wedge.pair_reader import PairDataset
from mwr_hpc.missing_wedge.pairs import make_pairs
from mwr_hpc.numerics.rotation import WEDGE_ROTATIONS, turn
from mwr_hpc.numerics.wedge import combine, filter_volume, measured_region

CUBE, CROP = 16, 24
MARGIN = (CROP - CUBE) // 2
INNER = (slice(MARGIN, -MARGIN),) * 3
DARK = {"offset": 40.0, "scale": 5.0, "sign": -1}


def write_mrc(path, data):
    with MrcWriter(path, data.shape, data.dtype, voxel_size=10.0) as writer:
        writer.write(0, data)
    return path


def volume(shape=(48, 90, 100), seed=0):
    return np.random.default_rng(seed).normal(40, 5, shape).astype(np.float32)


def extract(folder, data, mask=None, **changes):
    converted = folder / "tomo.ome.zarr"
    convert_tomogram({"tomogram": write_mrc(folder / "tomo.mrc", data)}, {}, converted)
    inputs = {"tomogram": converted, "mask": mask}
    parameters = {
        "id": "tomo",
        "cube_size": CUBE,
        "crop_size": CROP,
        "ncube": 6,
        "seed": 0,
        "normalization": DARK,
        "hold_out": True,
        "subtomograms": False,
    } | changes
    return extract_subtomograms(inputs, parameters, folder / "crops.zarr")


def pairs(folder, output="pairs.zarr", predicted=None, **changes):
    inputs = {"subtomograms": folder / "crops.zarr", "predicted": predicted}
    parameters = {
        "id": "tomo",
        "iteration": 1,
        "cube_size": CUBE,
        "crop_size": CROP,
        "tilt_range": [-60.0, 60.0],
        "rotations": 20,
        "seed": 0,
    } | changes
    make_pairs(inputs, parameters, folder / output)
    return PairDataset({"tomo": folder / output})


def table(path, name):
    array = zarr.open_array(path, mode="r")
    return array[...] if name == "cubes" else np.array(array.attrs[name])


def test_crops_are_the_tomogram_with_density_positive(tmp_path):
    data = volume()
    figures = extract(tmp_path, data)
    assert figures == {"training": 6, "held_out": 1}
    crops, centres = (table(tmp_path / "crops.zarr", name) for name in ("cubes", "centres"))
    for crop, centre, valid in zip(crops, centres, table(tmp_path / "crops.zarr", "valid"), strict=True):
        inside = tuple(slice(*valid[2 * a : 2 * a + 2]) for a in range(3))
        source = tuple(
            slice(c - CROP // 2 + i.start, c - CROP // 2 + i.stop) for c, i in zip(centre, inside, strict=True)
        )
        np.testing.assert_allclose(crop[inside], -(data[source] - 40) / 5, atol=2e-3)


def test_training_crops_never_touch_the_voxels_that_held_out_cubes_are_judged_on(tmp_path):
    extract(tmp_path, volume(), ncube=40)
    centres, held_out = (table(tmp_path / "crops.zarr", name) for name in ("centres", "held_out"))
    assert held_out.sum() == 4
    judged = np.zeros((48, 90, 100), bool)
    for centre in centres[held_out]:
        judged[tuple(slice(c - CUBE // 2, c + CUBE // 2) for c in centre)] = True
    for centre in centres[~held_out]:
        assert not judged[tuple(slice(max(0, c - CROP // 2), c + CROP // 2) for c in centre)].any()


def test_constant_borders_are_outside_the_tomogram(tmp_path):
    data = np.zeros((48, 120, 100), np.float32)
    data[:, 20:110, :] = volume()
    extract(tmp_path, data, ncube=30, hold_out=False)
    centres, valid = (table(tmp_path / "crops.zarr", name) for name in ("centres", "valid"))
    assert centres[:, 1].min() >= 20 + CUBE // 2 and centres[:, 1].max() <= 110 - CUBE // 2
    np.testing.assert_array_equal(valid[:, 2], np.maximum(0, 20 - (centres[:, 1] - CROP // 2)))


def test_centres_lie_in_the_mask(tmp_path):
    mask = np.zeros((48, 90, 100), np.int8)
    mask[20:25, 30:34, 30:60] = 1
    figures = extract(tmp_path, volume(), mask=write_mrc(tmp_path / "tomo_mask.mrc", mask))
    assert mask[tuple(table(tmp_path / "crops.zarr", "centres").T)].all()
    assert figures["held_out"] == 0, "the mask leaves nothing to hold out"


def test_a_subtomogram_of_crop_size_gives_itself(tmp_path):
    data = volume((CROP, CROP, CROP))
    extract(tmp_path, data, ncube=1, hold_out=False, subtomograms=True)
    np.testing.assert_allclose(table(tmp_path / "crops.zarr", "cubes")[0], -(data - 40) / 5, atol=2e-3)


@pytest.mark.parametrize(("shape", "changes", "says"), [
    ((10, 90, 90), {}, "at most 20"),
    ((20, 90, 90), {"subtomograms": True}, "smaller than the crop size 24"),
])  # fmt: skip
def test_sizes_that_do_not_fit_are_refused_by_name(tmp_path, shape, changes, says):
    with pytest.raises(InputError, match=f"tomo.*{says}"):
        extract(tmp_path, volume(shape), **changes)


def test_extraction_is_the_same_every_time_and_other_for_another_tomogram(tmp_path):
    for name in "abc":
        (tmp_path / name).mkdir()
    for name, identifier in (("a", "tomo"), ("b", "tomo"), ("c", "other")):
        extract(tmp_path / name, volume(), id=identifier)
    files = {
        name: {
            p.relative_to(tmp_path / name): p.read_bytes()
            for p in (tmp_path / name / "crops.zarr").rglob("*")
            if p.is_file()
        }
        for name in "abc"
    }
    assert files["a"] == files["b"]
    assert not np.array_equal(table(tmp_path / "a/crops.zarr", "centres"), table(tmp_path / "c/crops.zarr", "centres"))


@pytest.mark.parametrize("tilt_range", [(-60.0, 60.0), (-67.0, 57.0)])
@pytest.mark.parametrize("with_prediction", [False, True])
def test_all_20_pairs_are_rotate_then_wedge(tmp_path, tilt_range, with_prediction):
    extract(tmp_path, volume((14, 90, 100)), ncube=3)
    crops = table(tmp_path / "crops.zarr", "cubes").astype(np.float32)
    region = measured_region((CROP, CROP, CROP), tilt_range)
    predicted = None
    if with_prediction:
        predicted = tmp_path / "predicted.zarr"
        prediction = np.random.default_rng(1).normal(size=crops.shape).astype(np.float16)
        writer = CubeWriter(predicted, crops.shape)
        for crop in prediction:
            writer.append(crop)
        writer.close()
        crops = combine(crops, prediction, region)
    dataset = pairs(tmp_path, predicted=predicted, tilt_range=list(tilt_range))
    rotations = table(tmp_path / "pairs.zarr", "rotations")
    valid = table(tmp_path / "crops.zarr", "valid")
    assert len(dataset.training) + len(dataset.held_out) == 20 * len(crops)
    seen = set()
    for sample in dataset.training + dataset.held_out:
        rotation = WEDGE_ROTATIONS[rotations[sample.crop, sample.slot]]
        seen.add((sample.crop, rotation))
        whole = turn(crops[sample.crop], rotation)
        inside = np.zeros(whole.shape)
        z0, z1, y0, y1, x0, x1 = valid[sample.crop]
        inside[z0:z1, y0:y1, x0:x1] = 1
        x, y, weight = dataset.read(sample)
        assert x.dtype == y.dtype == weight.dtype == np.float32
        assert x.flags.c_contiguous and y.flags.c_contiguous
        np.testing.assert_allclose(x, filter_volume(whole, region)[INNER], atol=4e-3)
        np.testing.assert_allclose(y, whole[INNER], atol=4e-3)
        np.testing.assert_array_equal(weight, turn(inside, rotation)[INNER])
        assert 0 < weight.sum() < weight.size, "this tomogram is thinner than a cube"
    assert len(seen) == 20 * len(crops)


def test_a_symmetric_range_stores_5_inputs_an_asymmetric_at_most_10(tmp_path):
    extract(tmp_path, volume(), ncube=2)
    pairs(tmp_path)
    assert table(tmp_path / "pairs.zarr", "cubes").shape[1] == 1 + 5
    pairs(tmp_path, "asymmetric.zarr", tilt_range=[-67.0, 57.0])
    assert 1 + 5 < table(tmp_path / "asymmetric.zarr", "cubes").shape[1] <= 1 + 10


def test_rotations_are_different_ones_chosen_anew_for_each_crop_and_iteration(tmp_path):
    extract(tmp_path, volume(), ncube=5)
    for name, iteration in (("a", 1), ("b", 1), ("c", 2)):
        pairs(tmp_path, name, rotations=16, iteration=iteration)
    first, again, later = (table(tmp_path / name, "rotations") for name in "abc")
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, later)
    assert all(len(set(row)) == 16 for row in first)
    assert len({tuple(row) for row in first.tolist()}) == len(first)


def test_held_out_tomograms_and_blocks_are_not_trained_on(tmp_path):
    extract(tmp_path, volume())
    dataset = pairs(tmp_path, rotations=4)
    assert {s.crop for s in dataset.training} == set(range(6)) and {s.crop for s in dataset.held_out} == {6}
    paths = {"b": tmp_path / "pairs.zarr", "a": tmp_path / "pairs.zarr"}
    cohort = PairDataset(paths, held_out_tomograms=["b"])
    assert {s.tomogram for s in cohort.training} == {"a"}
    assert len(cohort.held_out) == 4 * 8
    assert cohort.training == sorted(cohort.training)


def test_preparation_makes_few_files(tmp_path):
    extract(tmp_path, volume(), ncube=50)
    pairs(tmp_path, rotations=16)
    assert sum(path.is_file() for path in Path(tmp_path / "pairs.zarr").rglob("*")) < 50 * 16 * 2 / 100
