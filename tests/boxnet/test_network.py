"""The network: its size, what it begins with, statistics of groups, and models that come back from files."""

from functools import cache

import numpy as np
import pytest

from mwr_hpc.boxnet.loss import label_loss
from mwr_hpc.boxnet.network import (
    GROUP,
    MOMENTUM,
    Architecture,
    Normalisation,
    build_network,
    initialise,
    load_network,
)
from mwr_hpc.boxnet.registry import METHOD
from mwr_hpc.errors import InputError
from mwr_hpc.training.communicator import SerialCommunicator
from mwr_hpc.training.engine import Batch, Engine
from mwr_hpc.training.framework import configure, keras, tf
from mwr_hpc.training.model_file import named_weights, write_model
from mwr_hpc.training.rates import Geometric, WarmUp

from .teaching import SMALL

configure()
ARCHITECTURE = Architecture(**SMALL)


def images(count=4, edge=16, seed=0):
    return np.random.default_rng(seed).normal(size=(count, edge, edge, 1)).astype(np.float32)


def some_batch(count=4, edge=16):
    x = images(count, edge)
    return Batch(x, (x[..., 0] > 1).astype(np.uint8), np.ones(x.shape[:3], np.float32))


@cache
def make_engine(frozen=False):
    network = build_network(ARCHITECTURE, "float32", frozen)
    initialise(network, seed=1)
    engine = Engine(network, label_loss, WarmUp(1e-2), SerialCommunicator(), group=GROUP, moving_statistics=not frozen)
    return engine, engine.state()


def fresh_engine(frozen=False):
    engine, state = make_engine(frozen)
    engine.restore(*state)
    return engine


def statistics(engine):
    return np.concatenate([variable.numpy() for variable in engine.model.non_trainable_variables])


def test_the_default_network_is_a_file_of_a_few_megabytes(tmp_path):
    network = build_network(Architecture(), "float32")
    initialise(network, seed=0)
    assert 0.5e6 < network.count_params() < 1e6
    write_model(tmp_path / "model.h5", {"method": METHOD}, named_weights(network))
    assert (tmp_path / "model.h5").stat().st_size < 4e6


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_an_untrained_network_says_how_often_each_class_is_true(precision):
    network = build_network(ARCHITECTURE, precision)
    initialise(network, seed=0, shares=[90, 10, 0])
    bias = network.get_layer("last").bias.numpy()
    np.testing.assert_allclose(np.exp(bias), [0.9, 0.1, 1e-3], rtol=1e-5)
    assert network(images()).dtype == tf.float32


def test_weights_are_keyed(tmp_path):
    networks = [build_network(ARCHITECTURE, "float32") for _ in range(3)]
    for network, seed in zip(networks, (1, 1, 2), strict=True):
        initialise(network, seed)
    one, same, other = ([values for _, values in named_weights(network)] for network in networks)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(one, same, strict=True))
    assert any(a.tobytes() != b.tobytes() for a, b in zip(one, other, strict=True))


def test_a_model_file_gives_the_same_network(tmp_path):
    engine = fresh_engine()
    engine.apply(engine.gradients(some_batch()))
    path = tmp_path / "model.h5"
    told = {"architecture": ARCHITECTURE.to_record(), "masks": True, "pixel_size": 8.0, "threshold": 0.5}
    write_model(path, {"method": METHOD, **told, "background_weight": 0.3}, named_weights(engine.model))
    network, description = load_network(path, "float32")
    assert Architecture.from_record(description["architecture"]) == ARCHITECTURE
    np.testing.assert_array_equal(network(images()), engine.model(images()))


def test_a_model_that_says_too_little_to_pick_with_is_refused(tmp_path):
    told = {"architecture": ARCHITECTURE.to_record(), "masks": True, "pixel_size": 8.0, "threshold": 0.5}
    write_model(tmp_path / "model.h5", {"method": METHOD, **told}, [])
    with pytest.raises(InputError, match=r"does not tell its background_weight.*train it again"):
        load_network(tmp_path / "model.h5", "float32")


def test_a_model_of_another_kind_is_refused(tmp_path):
    write_model(tmp_path / "model.h5", {"method": "missing wedge"}, [])
    with pytest.raises(InputError, match="a model for 'missing wedge', expected one for 'boxnet'"):
        load_network(tmp_path / "model.h5", "float32")


def test_normalisation_is_by_mean_and_deviation_of_all_that_go_together():
    layer = Normalisation(frozen=False)
    x = 3 + 2 * images(GROUP, 32)
    layer.build(x.shape)
    for variable, value in ((layer.gamma, 1.5), (layer.beta, 0.5), (layer.moving_variance, 1.0)):
        variable.assign(np.full(1, value, np.float32))
    y = np.asarray(layer(x, training=True))
    np.testing.assert_allclose([y.mean(), y.std()], [0.5, 1.5], atol=1e-3)
    np.testing.assert_allclose(layer.moving_mean.numpy(), (1 - MOMENTUM) * x.mean(), rtol=1e-4)
    np.testing.assert_allclose(layer.moving_variance.numpy(), MOMENTUM + (1 - MOMENTUM) * x.var(), rtol=1e-4)


def test_its_gradient_is_that_of_keras_own():
    own, theirs = Normalisation(frozen=False), keras.layers.BatchNormalization(epsilon=1e-3)
    x = tf.Variable(images(GROUP, 8))
    target = images(GROUP, 8, seed=1)
    gradients = []
    for layer in (own, theirs):
        layer.build(x.shape)
        layer.gamma.assign([1.3])
        layer.beta.assign([0.2])
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(layer(x, training=True) - target))
        gradients.append([value.numpy() for value in tape.gradient(loss, [x, layer.gamma.value, layer.beta.value])])
    for one, other in zip(*gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)


def test_a_batch_in_groups_is_the_sum_of_its_groups():
    """What makes any number of ranks train the same model: groups of fixed samples, added up."""
    engine, batch = fresh_engine(), some_batch(6)
    whole = engine.gradients(batch).numpy()
    parts = sum(engine.gradients(part).numpy() for part in batch.parts(GROUP))
    np.testing.assert_array_equal(whole, parts)
    engine.group, group = None, engine.group
    together = engine.gradients(batch).numpy()
    engine.group = group
    assert np.abs(together[:-3] - whole[:-3]).max() > 1e-3  # statistics of all six are others


def test_moving_statistics_move_by_the_mean_over_the_groups():
    engine, batch = fresh_engine(), some_batch(4)
    before, moved = statistics(engine), []
    for part in batch.parts(GROUP):
        one = fresh_engine()
        one.apply(one.gradients(part))
        moved.append(statistics(one))
    engine = fresh_engine()
    engine.apply(engine.gradients(batch))
    np.testing.assert_allclose(statistics(engine), np.mean(moved, axis=0), rtol=1e-5, atol=1e-7)
    assert np.abs(statistics(engine) - before).max() > 1e-3


def test_frozen_statistics_stay_and_training_sees_what_picking_will():
    engine, batch = fresh_engine(frozen=True), some_batch(4)
    before = statistics(engine)
    trained, judged = engine.gradients(batch).numpy()[-3:-1], engine.validation_sums(batch).numpy()
    np.testing.assert_allclose(trained, judged, rtol=1e-5)
    engine.apply(engine.gradients(batch))
    np.testing.assert_array_equal(statistics(engine), before)
    free = fresh_engine()
    assert abs(free.gradients(batch).numpy()[-3] / free.validation_sums(batch).numpy()[0] - 1) > 1e-3


def test_within_averaged_the_model_is_what_it_would_end_as():
    engine = fresh_engine()
    with engine.averaged():  # before the first step there is no mean
        np.testing.assert_array_equal(engine.model.get_layer("last").bias.numpy(), make_engine()[0].state()[0][-1])
    for _ in range(3):
        engine.apply(engine.gradients(some_batch()))
    trained = engine.state()
    with engine.averaged():
        averaged = [variable.numpy() for variable in engine.model.weights]
    for one, other in zip(trained[0], engine.state()[0], strict=True):
        np.testing.assert_array_equal(one, other)
    engine.finish()
    for one, other in zip(averaged, engine.state()[0], strict=True):
        np.testing.assert_array_equal(one, other)
    assert any((one != other).any() for one, other in zip(averaged, trained[0], strict=True))


def test_the_rate_falls_by_one_factor_from_start_to_end():
    schedule = Geometric(1e-2, 1e-4, 1001)
    rates = np.array([float(schedule(step)) for step in (0, 49, 250, 500, 1000)])
    np.testing.assert_allclose(rates[2:], [1e-2 * 10**-0.5, 1e-3, 1e-4], rtol=1e-4)
    np.testing.assert_allclose(rates[0], 1e-2 / 50, rtol=1e-4)
    np.testing.assert_allclose(rates[1], 1e-2 * 100 ** -(49 / 1000), rtol=1e-4)
    assert float(Geometric(1e-2, 1e-4, 1)(0)) == pytest.approx(1e-2)
