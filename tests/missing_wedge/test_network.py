"""The network: identity at first, rebuilt from its description, dropout by key, the activation's gradient."""

from dataclasses import replace

import numpy as np
import pytest

from mwr_hpc.errors import InputError
from mwr_hpc.missing_wedge.network import (
    METHOD,
    Architecture,
    KeyedDropout,
    build_network,
    initialise,
    leaky_relu,
    load_network,
)
from mwr_hpc.training.framework import configure, tf
from mwr_hpc.training.model_file import named_weights, write_model

SMALL = Architecture(filter_base=2, depth=2, convs_per_depth=2, kernel=3)
configure()


def cubes(count=2, edge=8):
    return np.random.default_rng(0).normal(size=(count, edge, edge, edge, 1)).astype(np.float32)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_an_untrained_network_returns_its_input_exactly(precision):
    network = build_network(SMALL, precision)
    initialise(network, seed=0)
    output = network(cubes())
    assert output.dtype == tf.float32
    np.testing.assert_array_equal(output, cubes())


def test_weights_are_glorots_and_a_function_of_the_seed():
    one, same, other = (build_network(SMALL, "float32") for _ in range(3))
    initialise(one, 3)
    initialise(same, 3)
    initialise(other, 4)
    for (name, a), (_, b), (_, c) in zip(*map(named_weights, (one, same, other)), strict=True):
        np.testing.assert_array_equal(a, b)
        if name.endswith("kernel") and not name.startswith("last"):
            assert not np.array_equal(a, c)
            limit = np.sqrt(6 / (a[..., 0, 0].size * sum(a.shape[-2:])))
            assert 0.8 * limit < np.abs(a).max() <= limit
        else:
            assert not a.any()


@pytest.mark.parametrize("change", [{}, {"dropout": 0.5}, {"batch_normalization": True}, {"convs_per_depth": 3}])
def test_a_model_file_rebuilds_the_network(tmp_path, change):
    architecture = replace(SMALL, **change)
    network = build_network(architecture, "float32")
    for variable in network.weights:
        variable.assign(np.random.default_rng(1).uniform(0.1, 0.5, variable.shape))
    description = {"method": METHOD, "architecture": architecture.to_record(), "precision": "float32"}
    write_model(tmp_path / "model.h5", description, named_weights(network))
    loaded, read = load_network(tmp_path / "model.h5", "float32")
    assert read == description
    inputs = [cubes(), np.zeros((2, 2), np.int32)] if architecture.dropout else cubes()
    np.testing.assert_array_equal(network(inputs), loaded(inputs))


def test_weights_of_another_network_are_refused(tmp_path):
    network = build_network(replace(SMALL, filter_base=3), "float32")
    description = {"method": METHOD, "architecture": SMALL.to_record(), "precision": "float32"}
    write_model(tmp_path / "model.h5", description, named_weights(network))
    with pytest.raises(InputError, match=r"damaged model file.*kernel"):
        load_network(tmp_path / "model.h5", "float32")


def test_the_gradient_of_leaky_relu_is_one_above_and_a_twentieth_below():
    for dtype in (tf.float32, tf.bfloat16):
        x = tf.constant([-2.0, -0.5, 0.5, 3.0], dtype)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = leaky_relu(x)
        slopes = tf.cast(tape.gradient(y, x), tf.float32).numpy()
        np.testing.assert_allclose(slopes, [0.05, 0.05, 1, 1], rtol=4e-3)


def test_dropout_depends_on_the_sample_alone_and_keeps_the_mean():
    layer = KeyedDropout(0.3, number=1)
    keys = np.array([[1, 2], [3, 4], [5, 6]], np.int32)
    values = np.ones((3, 16, 16, 16, 4), np.float32)
    together = layer([values, keys], training=True).numpy()
    for index in (2, 0):
        alone = layer([values[:1], keys[index : index + 1]], training=True).numpy()
        np.testing.assert_array_equal(alone[0], together[index])
    assert not np.array_equal(together[0], together[1])
    assert not np.array_equal(together, KeyedDropout(0.3, number=2)([values, keys], training=True))
    assert np.mean(together == 0) == pytest.approx(0.3, abs=0.01)
    assert together.mean() == pytest.approx(1, abs=0.02)
    np.testing.assert_array_equal(layer([values, keys], training=False), values)
