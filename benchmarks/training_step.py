"""GFLOP per CPU-second of the network's training step and prediction, beside a bare convolution on the same machine.

    python benchmarks/training_step.py [--filter-base 16] [--cube-size 48] [--batch-size 4]

Operations counted are those of the convolutions alone: everything else that a step does counts as loss. Read the
ratios: other programs on the machine change the figures by tens of percent.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from mwr_hpc.missing_wedge.loss import error_loss
from mwr_hpc.missing_wedge.network import Architecture, build_network, initialise
from mwr_hpc.training.communicator import SerialCommunicator
from mwr_hpc.training.engine import Batch, Engine
from mwr_hpc.training.framework import configure, keras, tf
from mwr_hpc.training.rates import WarmUp


def forward_flops(network: keras.Model, depth: int, edge: int) -> dict[str, float]:
    """Operations of each convolution for one cube; a layer's name tells its level."""
    flops = {}
    for layer in network.layers:
        if not isinstance(layer, keras.layers.Conv3D | keras.layers.Conv3DTranspose):
            continue
        name = layer.name
        level = depth if name.startswith("bottom") else 0 if name == "last" else int(name[name.index("_") - 1])
        # Strided down: a product for each output voxel; up: for each input voxel. Both are a level below.
        level += name.endswith("_stride")
        flops[name] = 2.0 * np.prod(layer.kernel.shape) * (edge >> level) ** 3
    return flops


def cpu_seconds(function: Callable[[], Any], repeats: int = 5) -> float:
    """Median CPU time of a call, after two to warm up."""
    function()
    function()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return statistics.median(times)


def bare_convolution(filters: int, edge: int, batch_size: int, dtype: str) -> float:
    """GFLOP per CPU-second of one Conv3D, forward and both gradients."""
    x = tf.cast(tf.random.normal((batch_size, edge, edge, edge, filters)), dtype)
    kernel = tf.cast(tf.random.normal((3, 3, 3, filters, filters)), dtype)

    @tf.function(autograph=False)
    def step() -> Any:
        with tf.GradientTape() as tape:
            tape.watch([x, kernel])
            y = tf.nn.conv3d(x, kernel, [1] * 5, "SAME")
        return tape.gradient(y, [x, kernel], output_gradients=y)

    flops = 3 * 2 * 27 * filters**2 * batch_size * edge**3
    return flops / cpu_seconds(lambda: step()[1].numpy()) / 1e9


def measure(architecture: Architecture, precision: Any, edge: int, batch_size: int) -> tuple[float, float, float]:
    """GFLOP per CPU-second of a whole training step and of prediction, and training samples per CPU-second."""
    network = build_network(architecture, precision)
    initialise(network, seed=0)
    engine = Engine(network, error_loss("l2"), WarmUp(4e-4), SerialCommunicator())
    layers = forward_flops(network, architecture.depth, edge)
    forward = batch_size * sum(layers.values())
    step = 3 * forward - batch_size * layers["down0_conv0"]  # the input needs no gradient
    x = np.random.default_rng(0).normal(size=(batch_size, edge, edge, edge, 1)).astype(np.float32)
    batch = Batch(x, x, np.ones_like(x), np.zeros((batch_size, 2), np.int32))
    trained = cpu_seconds(lambda: engine.apply(engine.gradients(batch)))
    predict = tf.function(lambda values: network(values, training=False), autograph=False)
    predicted = cpu_seconds(lambda: predict(tf.constant(x)).numpy())
    return step / trained / 1e9, forward / predicted / 1e9, batch_size / trained


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--filter-base", type=int, default=16)
    parser.add_argument("--cube-size", type=int, default=48)
    parser.add_argument("--batch-size", type=int, default=4)
    options = parser.parse_args()
    configure()
    architecture = Architecture(options.filter_base, depth=3, convs_per_depth=2, kernel=3)
    print(f"{'':24}  GFLOP/CPU-s  of bare  predict GFLOP/CPU-s  samples/CPU-s")
    for precision in ("float32", "bfloat16"):
        bare = bare_convolution(options.filter_base, options.cube_size, options.batch_size, precision)
        print(f"{precision + ' bare Conv3D':24}  {bare:11.0f}     1.00")
        for activation in ("leaky_relu", "relu"):
            variant = replace(architecture, activation=activation)
            step, forward, samples = measure(variant, precision, options.cube_size, options.batch_size)
            print(
                f"{precision + ' ' + activation:24}  {step:11.0f}  {step / bare:7.2f}  {forward:19.0f}  {samples:13.2f}"
            )


if __name__ == "__main__":
    main()
