"""Outliers and padding from file to file: conversion names them, networks do not see them, results keep them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from mwr_hpc.io.mrc import MrcWriter, open_mrc
from mwr_hpc.io.ome_zarr import open_ome_zarr
from mwr_hpc.missing_wedge.convert import convert_tomogram
from mwr_hpc.missing_wedge.correct import correct_tomogram
from mwr_hpc.missing_wedge.cube_arrays import CubeReader
from mwr_hpc.missing_wedge.extract import extract_subtomograms
from mwr_hpc.missing_wedge.network import METHOD, Architecture, build_network, initialise
from mwr_hpc.numerics.normalization import Normalization, VolumeStatistics
from mwr_hpc.training.framework import configure
from mwr_hpc.training.model_file import named_weights, write_model

configure()

SHAPE = (20, 48, 44)
PLACE = (9, 20, 21)
OLD = {"tilt_range": [-60.0, 60.0], "normalization": "mean and standard deviation", "contrast": "dark"}
NEW = OLD | {"padding": "excluded"}
CORRECTION = {
    "tilt_range": [-60.0, 60.0],
    "cube_size": None,
    "crop_size": None,
    "batch_size": 2,
    "keep_measured": False,
    "dtype": "float32",
    "contrast": None,
    "format": "mrc",
}


def written(path: Path, volume: np.ndarray) -> SimpleNamespace:
    with MrcWriter(path, volume.shape, volume.dtype, voxel_size=10.0) as writer:
        writer.write(0, volume)
    zarr = path.with_suffix(".ome.zarr")
    figures = convert_tomogram({"tomogram": path}, {}, zarr)
    return SimpleNamespace(mrc=path, zarr=zarr, figures=figures, values=volume.astype(np.float32))


@pytest.fixture(scope="module")
def tomograms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SimpleNamespace]:
    folder = tmp_path_factory.mktemp("defects")
    clean = np.random.default_rng(0).normal(20_000, 100, SHAPE).astype(np.float32)
    hot = clean.copy()
    hot[PLACE] = 1e9
    padded = ndimage.rotate(clean, 15, (1, 2), reshape=False, order=0, cval=0).astype(np.int16)
    volumes = {"clean": clean, "hot": hot, "padded": padded}
    return {name: written(folder / f"{name}.mrc", volume) for name, volume in volumes.items()}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Models whose network shifts every voxel by what it is given, as trained by 0.1.0 and since."""
    folder = tmp_path_factory.mktemp("models")
    architecture = Architecture(2, 1, 1, 3)
    network = build_network(architecture, "float32")
    initialise(network, 0)
    network.get_layer("last").bias.assign([1.0])
    description: dict[str, Any] = {"method": METHOD, "architecture": architecture.to_record(), "precision": "float32"}
    for name, training_set in (("old", OLD), ("new", NEW)):
        write_model(folder / name, description | {"training_set": training_set}, named_weights(network))
    return {name: folder / name for name in ("old", "new")}


def corrected(source: Path, model: Path, output: Path, **changes: object) -> np.ndarray:
    correct_tomogram({"tomogram": source, "model": model}, CORRECTION | changes, output)
    return np.array(open_mrc(output).data)


def test_the_receipt_names_causes_and_counts(tomograms: dict[str, SimpleNamespace]) -> None:
    assert "defects" not in tomograms["clean"].figures
    assert open_ome_zarr(tomograms["clean"].zarr).attributes["defects"] is None
    hot, padded = (tomograms[name].figures for name in ("hot", "padded"))
    assert (hot["defects"]["outliers"], hot["defects"]["padding"]) == (1, [])
    assert (padded["defects"]["outliers"], padded["defects"]["padding"]) == (0, [0.0])
    assert 0.05 < padded["defects"]["padded_share"] < 0.3
    assert hot["statistics"]["std"] > 1e6 and padded["statistics"]["std"] > 2_000  # those of 0.1.0
    for figures in (hot, padded):
        assert figures["defects"]["statistics"]["std"] == pytest.approx(100, rel=0.02)


@pytest.mark.parametrize("name", ["old", "new"])
@pytest.mark.parametrize("kind", ["mrc", "zarr"])
@pytest.mark.parametrize("sizes", [{}, {"cube_size": 8, "crop_size": 12}])
def test_an_outlier_changes_no_other_voxel_and_stays(
    tomograms: dict[str, SimpleNamespace], models: dict[str, Path], tmp_path: Path, name: str, kind: str, sizes: dict
) -> None:
    with_it = corrected(getattr(tomograms["hot"], kind), models[name], tmp_path / "hot.mrc", **sizes)
    without = corrected(getattr(tomograms["clean"], kind), models[name], tmp_path / "clean.mrc", **sizes)
    assert with_it[PLACE] == np.float32(1e9)
    with_it[PLACE] = without[PLACE]
    np.testing.assert_allclose(with_it, without, atol=0.5)  # 0.005 standard deviations


def test_padding_is_no_data_for_new_models_and_data_for_old_ones(
    tomograms: dict[str, SimpleNamespace], models: dict[str, Path], tmp_path: Path
) -> None:
    values = tomograms["padded"].values
    data = values > 0
    new = corrected(tomograms["padded"].mrc, models["new"], tmp_path / "new.mrc")
    assert (new[~data] == 0).all()
    # The network adds a standard deviation to the density, which is dark.
    np.testing.assert_allclose((values - new)[data], 100, rtol=0.05)
    old = corrected(tomograms["padded"].mrc, models["old"], tmp_path / "old.mrc")
    np.testing.assert_allclose(values - old, tomograms["padded"].figures["statistics"]["std"], rtol=1e-3)


@pytest.mark.parametrize("name", ["hot", "padded"])
def test_crops_are_as_without_the_defects(tomograms: dict[str, SimpleNamespace], tmp_path: Path, name: str) -> None:
    one = tomograms[name]
    statistics = VolumeStatistics.from_record(one.figures["defects"]["statistics"])
    parameters = {
        "id": "t",
        "cube_size": 8,
        "crop_size": 16,
        "ncube": 40,
        "seed": 0,
        "hold_out": False,
        "subtomograms": False,
        "normalization": Normalization.from_statistics(statistics, False, "dark").to_record(),
    }
    largest = []
    for number, changes in enumerate(({}, {"hide_defects": True})):
        output = tmp_path / f"{number}.zarr"
        extract_subtomograms({"tomogram": one.zarr}, parameters | changes, output)
        crops = CubeReader(output)
        largest.append(max(float(np.abs(crops.read(index)).max()) for index in range(len(crops))))
    assert largest[0] > 100 and largest[1] < 6


def test_a_result_with_an_outlier_that_float16_cannot_hold_is_refused(
    tomograms: dict[str, SimpleNamespace], models: dict[str, Path], tmp_path: Path
) -> None:
    from mwr_hpc.errors import InputError

    with pytest.raises(InputError, match="do not suit --dtype float16"):
        corrected(tomograms["hot"].mrc, models["new"], tmp_path / "o.mrc", dtype="float16")
