"""The loss: its value worked out by hand, weights that scale gradients, labels that nobody gave."""

from functools import cache

import numpy as np
import pytest

from mwr_hpc.boxnet.labels import BACKGROUND, BELIEVED, CONTAMINATION, PARTICLE, UNMASKED
from mwr_hpc.boxnet.loss import BORDER_WEIGHT, background_weight, border_weights, label_loss
from mwr_hpc.boxnet.network import GROUP, Architecture, build_network, initialise
from mwr_hpc.training.communicator import SerialCommunicator
from mwr_hpc.training.engine import Batch, Engine
from mwr_hpc.training.framework import configure, tf
from mwr_hpc.training.rates import WarmUp

from .teaching import SMALL

configure()


@cache
def make_engine(decay=0.0):
    network = build_network(Architecture(**SMALL), "float32")
    initialise(network, seed=1)
    return Engine(network, label_loss, WarmUp(1e-2), SerialCommunicator(), group=GROUP, weight_decay=decay)


def some_batch(count=4, edge=16):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(count, edge, edge, 1)).astype(np.float32)
    return Batch(x, generator.integers(0, 4, x.shape[:3]).astype(np.float32), np.ones(x.shape[:3], np.float32))


def gradients(engine, batch):
    size = sum(int(np.prod(variable.shape)) for variable in engine.model.trainable_variables)
    return engine.gradients(batch).numpy()[:size]


def loss_of(logits, labels, weights):
    batch = Batch(np.zeros(1, np.float32), np.array(labels, np.float32), np.array(weights, np.float32))
    return [float(value) for value in label_loss(tf.constant(logits, tf.float32), batch)]


def test_it_is_minus_the_logarithm_of_the_probability_times_the_weight():
    logits = np.log([[0.7, 0.2, 0.1], [0.7, 0.2, 0.1], [0.7, 0.2, 0.1]])
    loss, weight = loss_of(logits, [BACKGROUND, PARTICLE, CONTAMINATION], [1, 4, 0.5])
    assert loss == pytest.approx(-np.log(0.7) - 4 * np.log(0.2) - 0.5 * np.log(0.1), rel=1e-5)
    assert weight == pytest.approx(5.5)


def test_background_that_may_be_contamination_is_either():
    loss, _ = loss_of(np.log([[0.3, 0.2, 0.5]]), [UNMASKED], [2])
    assert loss == pytest.approx(-2 * np.log(0.8), rel=1e-5)
    logits = tf.Variable([[0.3, -0.2, 1.5]])
    with tf.GradientTape() as tape:
        value, _ = label_loss(logits, Batch(np.zeros(1), np.array([UNMASKED], np.float32), np.ones(1, np.float32)))
    p = np.exp(logits.numpy()[0]) / np.exp(logits.numpy()[0]).sum()
    # towards neither of the two more than the network thinks already
    expected = p - np.array([p[0], 0, p[2]]) / (p[0] + p[2])
    np.testing.assert_allclose(tape.gradient(value, logits).numpy()[0], expected, atol=1e-6)


def test_what_the_parent_believes_is_held_and_its_share_alone():
    p = np.array([0.3, 0.2, 0.5])
    share = p[CONTAMINATION] / (p[BACKGROUND] + p[CONTAMINATION])
    # as UNMASKED where the network agrees with the parent, more where it does not
    assert loss_of([np.log(p)], [BELIEVED + share], [2])[0] == pytest.approx(-2 * np.log(0.8), rel=1e-4)
    other = 0.1
    divergence = other * np.log(other / share) + (1 - other) * np.log((1 - other) / (1 - share))
    assert loss_of([np.log(p)], [BELIEVED + other], [1])[0] == pytest.approx(-np.log(0.8) + divergence, rel=1e-4)
    for certain in (0.0, 1.0):
        assert np.isfinite(loss_of([[40.0, 0.0, -40.0]], [BELIEVED + certain], [1])[0])


def test_extreme_logits_have_a_finite_loss():
    loss, _ = loss_of([[1e4, -1e4, -1e4]], [PARTICLE], [1])
    assert loss == pytest.approx(2e4)


def test_pixels_of_weight_zero_have_no_gradient_and_of_weight_four_four_times_that_of_one():
    engine, batch = make_engine(), some_batch()
    once = gradients(engine, batch)
    assert np.abs(once).max() > 0
    assert not gradients(engine, batch._replace(weight=0 * batch.weight)).any()
    np.testing.assert_allclose(
        gradients(engine, batch._replace(weight=4 * batch.weight)), 4 * once, rtol=1e-4, atol=1e-4
    )
    # the same for a part of the pixels: what the rest adds is the difference
    chosen = np.zeros_like(batch.weight)
    chosen[:, 3:9, 4:11] = 1
    part = gradients(engine, batch._replace(weight=chosen))
    both = gradients(engine, batch._replace(weight=1 + 3 * chosen))
    np.testing.assert_allclose(both, once + 3 * part, rtol=1e-3, atol=1e-3)


def test_all_weights_zero_leave_the_network_as_it_is():
    engine, batch = make_engine(), some_batch()
    before = [variable.numpy() for variable in engine.model.trainable_variables]
    assert engine.apply(engine.gradients(batch._replace(weight=0 * batch.weight)))
    for value, variable in zip(before, engine.model.trainable_variables, strict=True):
        np.testing.assert_array_equal(value, variable.numpy())


def test_the_penalty_of_kernels_is_added_once_and_only_to_them():
    plain, decaying = make_engine(), make_engine(0.5)
    plain.restore(*decaying.state())
    batch = some_batch()
    flat = plain.gradients(batch)
    np.testing.assert_array_equal(flat, decaying.gradients(batch))
    names = [variable.path for variable in plain.model.trainable_variables]
    seen = {}

    def catch(into):
        def apply(gradients, variables):
            seen[into] = [gradient.numpy() for gradient in gradients]

        return apply

    tf.config.run_functions_eagerly(True)
    try:
        for name, engine in (("plain", plain), ("decaying", decaying)):
            original, engine.optimiser.apply = engine.optimiser.apply, catch(name)
            engine.apply(flat)
            engine.optimiser.apply = original
    finally:
        tf.config.run_functions_eagerly(False)
    weights = [variable.numpy() for variable in plain.model.trainable_variables]
    for name, weight, one, other in zip(names, weights, seen["plain"], seen["decaying"], strict=True):
        np.testing.assert_allclose(other - one, 0.5 * weight if name.endswith("kernel") else 0 * weight, atol=1e-5)


def test_the_border_of_a_patch_counts_a_tenth():
    weights = border_weights(64)
    assert weights[:8].max() == weights[:, 56:].max() == np.float32(BORDER_WEIGHT)
    assert weights[8:56, 8:56].min() == 1


def test_the_weight_of_background_is_the_cube_root_of_the_ratio():
    assert background_weight(0.008, 1.0) == pytest.approx(0.2)
