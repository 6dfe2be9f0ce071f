"""Training, prediction and correction on a small random volume, through the same files as a run."""

from types import SimpleNamespace

import mrcfile
import numpy as np
import pytest

from mwr_hpc.errors import ConfigError, InputError, StopRequested
from mwr_hpc.events import Notice, ignore, never
from mwr_hpc.io.atomic import partial_path
from mwr_hpc.io.mrc import MrcWriter, open_mrc
from mwr_hpc.io.ome_zarr import open_ome_zarr
from mwr_hpc.missing_wedge.convert import convert_tomogram
from mwr_hpc.missing_wedge.correct import TILE_BYTES, activation_bytes, choose_sizes, correct_tomogram
from mwr_hpc.missing_wedge.cube_arrays import FLOAT16_SAFE, CubeReader
from mwr_hpc.missing_wedge.extract import extract_subtomograms
from mwr_hpc.missing_wedge.network import METHOD, Architecture, build_network, initialise, load_network
from mwr_hpc.missing_wedge.pairs import make_pairs
from mwr_hpc.missing_wedge.predict import predict_subtomograms
from mwr_hpc.missing_wedge.train import train_iteration
from mwr_hpc.training.communicator import SerialCommunicator
from mwr_hpc.training.framework import configure
from mwr_hpc.training.model_file import named_weights, read_description, write_model

configure()

TILT = [-60.0, 60.0]
SHAPE = (20, 40, 36)
TRAINING_SET = {"tilt_range": TILT, "normalization": "mean and standard deviation", "contrast": "dark"}
PARAMETERS = {
    "iteration": 1,
    "held_out_tomograms": [],
    "training_set": TRAINING_SET,
    "cube_size": 8,
    "crop_size": 12,
    "epochs": 2,
    "batch_size": 2,
    "steps_per_epoch": 2,
    "max_samples": 100,
    "filter_base": 2,
    "unet_depth": 1,
    "convs_per_depth": 1,
    "kernel": 3,
    "drop_out": 0.2,
    "batch_normalization": False,
    "learning_rate": 1e-3,
    "loss": "l2",
    "precision": "float32",
    "seed": 0,
    "deterministic": True,
    "noise_level": 0.1,
    "noise_start_iter": 1,
    "noise_pause": 5,
}
CORRECTION = {
    "tilt_range": TILT,
    "cube_size": None,
    "crop_size": None,
    "batch_size": 2,
    "keep_measured": False,
    "dtype": "float32",
    "contrast": None,
    "format": "mrc",
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A noise tomogram with a grey-value scale of its own, its crops and pairs, and a folder of noise."""
    folder = tmp_path_factory.mktemp("data")
    values = np.random.default_rng(0).normal(500, 20, SHAPE).astype(np.float32)
    with MrcWriter(folder / "t.mrc", SHAPE, np.float32, voxel_size=8.5, origin=(1.0, 2.0, 3.0)) as writer:
        writer.write(0, values)
    convert_tomogram({"tomogram": folder / "t.mrc"}, {}, folder / "t.ome.zarr")
    options = {"id": "t", "cube_size": 8, "crop_size": 12, "ncube": 6, "seed": 0, "iteration": 1, "rotations": 4}
    options |= {"tilt_range": TILT, "normalization": {"offset": 500.0, "scale": 20.0, "sign": -1}}
    options |= {"hold_out": True, "subtomograms": False}
    extract_subtomograms({"tomogram": folder / "t.ome.zarr", "mask": None}, options, folder / "crops.zarr")
    make_pairs({"subtomograms": folder / "crops.zarr", "predicted": None}, options, folder / "pairs.zarr")
    (folder / "noise").mkdir()
    with MrcWriter(folder / "noise" / "n.mrc", (10, 10, 10), np.float32) as writer:
        writer.write(0, np.random.default_rng(1).normal(size=(10, 10, 10)).astype(np.float32))
    return SimpleNamespace(folder=folder, values=values)


def train(data, out, emit=ignore, should_stop=never, inputs=(), **changes):
    """Train into `out`/model.h5; return the figures."""
    out.mkdir(exist_ok=True)
    sources = {"previous_model": None, "previous_checkpoint": None, "pretrained": None, "noise": data.folder / "noise"}
    return train_iteration(
        {"pairs": {"t": data.folder / "pairs.zarr"}, **sources, **dict(inputs)},
        PARAMETERS | changes,
        out / "model.h5",
        checkpoint_folder=out / "checkpoint",
        curves_path=out / "curves.jsonl",
        communicator=SerialCommunicator(),
        emit=emit,
        should_stop=should_stop,
    )


def biased_model(path, bias):
    """A model that returns its input and a constant: nothing was trained."""
    architecture = Architecture(2, 1, 1, 3)
    network = build_network(architecture, "float32")
    initialise(network, 0)
    network.get_layer("last").bias.assign([bias])
    description = {"method": METHOD, "architecture": architecture.to_record(), "precision": "float32"}
    write_model(path, description | {"training_set": TRAINING_SET}, named_weights(network))
    return path


@pytest.fixture(scope="module")
def identity(tmp_path_factory):
    """A model that returns its input."""
    return biased_model(tmp_path_factory.mktemp("model") / "model.h5", 0.0)


def test_a_stopped_training_ends_in_the_same_model_file(data, tmp_path):
    figures = train(data, tmp_path / "a")
    answers = iter([False, True])
    with pytest.raises(StopRequested):
        train(data, tmp_path / "b", should_stop=lambda: next(answers, True))
    assert not (tmp_path / "b" / "model.h5").exists()
    train(data, tmp_path / "b")
    assert (tmp_path / "a" / "model.h5").read_bytes() == (tmp_path / "b" / "model.h5").read_bytes()
    assert figures["samples"] == 8 and figures["validation_loss"] is not None
    assert read_description(tmp_path / "a" / "model.h5")["training_set"] == TRAINING_SET


def test_the_next_iteration_goes_on_from_weights_and_optimiser(data, tmp_path):
    train(data, tmp_path / "1")
    before = {"previous_model": tmp_path / "1" / "model.h5", "previous_checkpoint": tmp_path / "1" / "checkpoint"}
    train(data, tmp_path / "2", inputs=before, iteration=2)
    notices = []
    emit = lambda event: notices.append(event) if isinstance(event, Notice) else None  # noqa: E731  (two lines else)
    train(data, tmp_path / "3", emit, inputs=before | {"previous_checkpoint": tmp_path / "absent"}, iteration=2)
    assert "starts afresh" in notices[0].text
    models = [(tmp_path / name / "model.h5").read_bytes() for name in "23"]
    assert models[0] != models[1]


def test_the_next_iteration_takes_the_state_of_the_training_that_its_model_is_of(data, tmp_path):
    """And of no other, even if that went further, nor one from before its end."""
    train(data, tmp_path / "1")
    train(data, tmp_path / "other", epochs=3)
    first = {"previous_model": tmp_path / "1" / "model.h5", "previous_checkpoint": tmp_path / "1" / "checkpoint"}
    train(data, tmp_path / "2", inputs=first, iteration=2)
    train(data, tmp_path / "afresh", inputs=first | {"previous_checkpoint": tmp_path / "absent"}, iteration=2)
    model = (tmp_path / "afresh" / "model.h5").read_bytes()
    assert (tmp_path / "2" / "model.h5").read_bytes() != model
    foreign = first | {"previous_checkpoint": tmp_path / "other" / "checkpoint"}
    train(data, tmp_path / "3", inputs=foreign, iteration=2)
    assert (tmp_path / "3" / "model.h5").read_bytes() == model
    max((tmp_path / "1" / "checkpoint").iterdir()).unlink()
    train(data, tmp_path / "4", inputs=first, iteration=2)
    assert (tmp_path / "4" / "model.h5").read_bytes() == model


def test_a_pretrained_model_of_another_architecture_is_refused(data, tmp_path):
    train(data, tmp_path / "1")
    with pytest.raises(InputError, match="filter_base 3"):
        train(data, tmp_path / "2", inputs={"pretrained": tmp_path / "1" / "model.h5"}, filter_base=3)


def test_noise_changes_the_training_from_its_iteration_on(data, tmp_path):
    train(data, tmp_path / "noisy")
    train(data, tmp_path / "later", noise_start_iter=2)
    train(data, tmp_path / "without", inputs={"noise": None}, noise_start_iter=2)
    noisy, later, without = ((tmp_path / n / "model.h5").read_bytes() for n in ("noisy", "later", "without"))
    assert noisy != later and later == without


def test_noise_volumes_that_do_not_fit_are_refused(data, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no noise volumes"):
        train(data, tmp_path, inputs={"noise": tmp_path / "empty"})
    with pytest.raises(InputError, match=r"n\.mrc.*at least cube_size 12"):
        train(data, tmp_path, cube_size=12)


def test_sub_tomograms_are_predicted_in_their_order(data, identity, tmp_path):
    parameters = {"tilt_range": TILT, "batch_size": 4, "precision": "float32", "deterministic": True}
    inputs = {"subtomograms": data.folder / "crops.zarr", "model": identity}
    figures = predict_subtomograms(inputs, parameters, tmp_path / "predicted.zarr")
    given, predicted = CubeReader(data.folder / "crops.zarr"), CubeReader(tmp_path / "predicted.zarr")
    assert figures == {"crops": len(given)}
    for index in range(len(given)):
        np.testing.assert_array_equal(predicted.read(index), given.read(index))


def test_predictions_stay_finite_in_float16(data, tmp_path):
    model = biased_model(tmp_path / "model.h5", 1e5)
    parameters = {"tilt_range": TILT, "batch_size": 4, "precision": "float32", "deterministic": True}
    inputs = {"subtomograms": data.folder / "crops.zarr", "model": model}
    predict_subtomograms(inputs, parameters, tmp_path / "predicted.zarr")
    assert (CubeReader(tmp_path / "predicted.zarr").read(0) == np.float16(FLOAT16_SAFE)).all()


@pytest.mark.parametrize("keep_measured", [False, True])
@pytest.mark.parametrize(("cube_size", "crop_size"), [(None, None), (8, 12), (20, 28)])
def test_the_identity_network_gives_back_the_tomogram(data, identity, tmp_path, keep_measured, cube_size, crop_size):
    changes = {"keep_measured": keep_measured, "cube_size": cube_size, "crop_size": crop_size}
    inputs = {"tomogram": data.folder / "t.mrc", "model": identity}
    correct_tomogram(inputs, CORRECTION | changes, tmp_path / "out.mrc")
    out, original = open_mrc(tmp_path / "out.mrc"), open_mrc(data.folder / "t.mrc")
    np.testing.assert_allclose(out.data, data.values, atol=0.01)
    assert out.voxel_size == original.voxel_size and out.origin == original.origin
    assert mrcfile.validate(tmp_path / "out.mrc")


def test_a_converted_tomogram_gives_the_same_and_goes_to_ome_zarr_or_float16(data, identity, tmp_path):
    inputs = {"tomogram": data.folder / "t.ome.zarr", "model": identity}
    correct_tomogram(inputs, CORRECTION | {"format": "ome-zarr"}, tmp_path / "out.ome.zarr")
    correct_tomogram(inputs, CORRECTION | {"dtype": "float16"}, tmp_path / "out.mrc")
    converted = open_ome_zarr(tmp_path / "out.ome.zarr")
    np.testing.assert_allclose(converted.data[...], data.values, atol=0.01)
    assert converted.mrc_header is not None and converted.voxel_size == (8.5, 8.5, 8.5)
    half = open_mrc(tmp_path / "out.mrc")
    assert half.data.dtype == np.float16
    np.testing.assert_allclose(half.data, data.values, atol=0.5)


@pytest.mark.parametrize(
    ("offset", "scale", "suits"),
    [(500.0, 20.0, True), (0.0, 1e-3, True), (0.0, 2e4, False), (0.0, 1e-7, False), (3e4, 20.0, False)],
)
def test_float16_is_refused_where_it_cannot_hold_or_resolve_the_grey_values(
    data, identity, tmp_path, offset, scale, suits
):
    values = ((data.values - 500) / 20 * scale + offset).astype(np.float32)
    with MrcWriter(tmp_path / "t.mrc", SHAPE, np.float32) as writer:
        writer.write(0, values)
    inputs = {"tomogram": tmp_path / "t.mrc", "model": identity}
    half = CORRECTION | {"dtype": "float16"}
    if suits:
        correct_tomogram(inputs, half, tmp_path / "out.mrc")
        assert np.std(open_mrc(tmp_path / "out.mrc").data - values) < 0.03 * scale
        return
    with pytest.raises(InputError, match=r"t\.mrc: grey values from .* to .* do not suit .*use --dtype float32"):
        correct_tomogram(inputs, half, tmp_path / "out.mrc")
    assert not (tmp_path / "out.mrc").exists()


@pytest.mark.parametrize("kind", ["mrc", "ome-zarr"])
def test_a_result_that_float16_cannot_hold_is_refused_and_not_written_as_infinity(data, tmp_path, kind):
    model = biased_model(tmp_path / "model.h5", 1e4)
    inputs = {"tomogram": data.folder / "t.mrc", "model": model}
    output = partial_path(tmp_path / "out")
    with pytest.raises(InputError, match=r"out: grey values from .* are not finite in float16; choose float32"):
        correct_tomogram(inputs, CORRECTION | {"dtype": "float16", "format": kind}, output)


def test_correction_puts_measured_values_back_into_a_network_that_destroys_them(data, tmp_path):
    biased_model(tmp_path / "m.h5", 100.0)
    inputs = {"tomogram": data.folder / "t.mrc", "model": tmp_path / "m.h5"}
    correct_tomogram(inputs, CORRECTION, tmp_path / "free.mrc")
    correct_tomogram(inputs, CORRECTION | {"keep_measured": True}, tmp_path / "kept.mrc")
    # Density 100 standard deviations up is as many grey values down; the mean is measured, so keeping undoes it.
    np.testing.assert_allclose(open_mrc(tmp_path / "free.mrc").data, data.values - 100 * data.values.std(), rtol=1e-4)
    np.testing.assert_allclose(open_mrc(tmp_path / "kept.mrc").data, data.values, atol=0.05)


def test_a_tomogram_that_is_no_data_is_refused(identity, tmp_path):
    for name, value in (("nan", np.nan), ("constant", 1.0)):
        with mrcfile.new(tmp_path / f"{name}.mrc") as file:
            file.set_data(np.full((16, 16, 16), value, np.float32))
        with pytest.raises(InputError, match=rf"{name}\.mrc"):
            correct_tomogram({"tomogram": tmp_path / f"{name}.mrc", "model": identity}, CORRECTION, tmp_path / "o.mrc")


def test_sizes_are_chosen_within_the_memory_or_checked():
    small, large = {"filter_base": 16, "depth": 3}, {"filter_base": 64, "depth": 3}
    for architecture in (small, large):
        sizes = choose_sizes(None, None, architecture)
        assert sizes.tile % 8 == 0 and activation_bytes((sizes.tile,) * 3, architecture) <= TILE_BYTES
    assert choose_sizes(None, None, small).tile > choose_sizes(None, None, large).tile
    assert choose_sizes(64, None, small) == (96, 64)
    assert choose_sizes(None, 96, small) == (96, 64)
    assert choose_sizes(48, 72, small) == (72, 48)
    for cube_size, crop_size in ((48, 70), (48, 40), (47, 72)):
        with pytest.raises(ConfigError, match="multiple of 8"):
            choose_sizes(cube_size, crop_size, small)


def test_a_trained_model_predicts_as_it_was_trained(data, tmp_path):
    train(data, tmp_path)
    network, description = load_network(tmp_path / "model.h5", "float32")
    assert description["architecture"]["dropout"] == 0.2 and len(network.inputs) == 2
    inputs = {"tomogram": data.folder / "t.mrc", "model": tmp_path / "model.h5"}
    figures = correct_tomogram(inputs, CORRECTION, tmp_path / "out.mrc")
    assert figures["precision"] == "float32"
    # Four tiny steps hardly move it from the identity.
    assert np.corrcoef(open_mrc(tmp_path / "out.mrc").data.ravel(), data.values.ravel())[0, 1] > 0.99
