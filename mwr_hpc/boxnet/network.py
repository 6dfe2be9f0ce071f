"""The 2-D network that labels pixels: a residual encoder-decoder with skips, fully convolutional, built from JSON.

Strided convolutions down, transposed ones up, skips by addition. Level 0 has the image's pixels and only a quarter of
the width: on a processor most time goes where most pixels are. The logits are float32.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mwr_hpc.boxnet.labels import CLASSES
from mwr_hpc.boxnet.registry import read_picking_model
from mwr_hpc.numerics.keyed_random import keyed_generator
from mwr_hpc.training.framework import keras, tf
from mwr_hpc.training.model_file import Description, require_plausible, set_weights

GROUP = 2
"""Samples whose statistics normalise them in training: fixed, so that any number of ranks that shares a batch in whole
groups trains the same model."""

MOMENTUM = 0.95
"""Share of the past in the moving statistics, by which a finished model normalises."""

WIDEST = 4
"""Levels are at most so many times as wide as level 1."""

EPSILON = 1e-3

RAREST = 1e-3
"""Least share of a class that an untrained network gives it."""


@dataclass(frozen=True)
class Architecture:
    """What determines the network's weights and what they do; its fields are the description in a model file.

    Attributes
    ----------
    width
        Channels of level 1, a multiple of 4. Level 0 has a quarter, each level further down twice as many, up to
        WIDEST times.
    depth
        How often the image is halved: its sides must be multiples of 2^depth.
    blocks
        Residual blocks of each level on the way down; on the way up there is one.
    """

    width: int = 32
    depth: int = 3
    blocks: int = 1

    @property
    def multiple(self) -> int:
        """What the sides of an image must be multiples of."""
        return int(2**self.depth)

    @property
    def widths(self) -> list[int]:
        """Channels by level."""
        return [self.width // 4, *(self.width * min(2**level, WIDEST) for level in range(self.depth))]

    def to_record(self) -> dict[str, Any]:
        """Return the description: JSON-able."""
        return {"network": "residual encoder-decoder 2d", **asdict(self)}

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> "Architecture":
        """Return the architecture that `to_record` described."""
        return cls(**{name: value for name, value in record.items() if name != "network"})


class Normalisation(keras.layers.Layer):
    """Batch normalisation whose sums are in float32 and that scales and shifts in the network's own arithmetic.

    Parameters
    ----------
    frozen
        Normalise by the moving statistics in training too, and leave them. Re-training does so: its batches are of new
        or of old micrographs, each kind with statistics of its own, and a network that had learnt to rely on these
        would pick with a mean that neither has. From scratch there is nothing yet to normalise by.
    """

    def __init__(self, frozen: bool, **options: Any) -> None:
        super().__init__(**options)
        self.frozen = frozen

    def build(self, shape: Any) -> None:
        """Make the four vectors."""

        def vector(name: str, trainable: bool) -> Any:
            return self.add_weight(
                shape=(shape[-1],), name=name, trainable=trainable, autocast=False, initializer="zeros"
            )

        self.gamma, self.beta = vector("gamma", True), vector("beta", True)
        self.moving_mean, self.moving_variance = vector("moving_mean", False), vector("moving_variance", False)

    def call(self, x: Any, training: bool = False) -> Any:
        """Normalise (n, y, x, channels) by its own statistics in training, else by the moving ones."""
        if training and not self.frozen:
            values = tf.cast(x, tf.float32)
            mean = tf.reduce_mean(values, [0, 1, 2])
            variance = tf.maximum(tf.reduce_mean(tf.square(values), [0, 1, 2]) - tf.square(mean), 0.0)
            for moving, now in ((self.moving_mean, mean), (self.moving_variance, variance)):
                moving.assign(MOMENTUM * moving.value + (1 - MOMENTUM) * now)
        else:
            mean, variance = self.moving_mean.value, self.moving_variance.value
        scale = self.gamma.value * tf.math.rsqrt(variance + EPSILON)
        return x * tf.cast(scale, x.dtype) + tf.cast(self.beta.value - mean * scale, x.dtype)


def build_network(
    architecture: Architecture, precision: Literal["float32", "bfloat16"], frozen: bool = False
) -> keras.Model:
    """Build the network; its weights are zero until `initialise` or a file sets them.

    Parameters
    ----------
    architecture, precision
        What it is made of.
    frozen
        Whether it is normalised by its moving statistics in training too.

    Returns
    -------
    keras.Model
        From images (n, y, x, 1) to logits (n, y, x, 3), both float32.
    """
    policy = keras.DTypePolicy("mixed_bfloat16" if precision == "bfloat16" else "float32")
    options: dict[str, Any] = {"padding": "same", "dtype": policy, "kernel_initializer": "zeros", "use_bias": False}

    def normalised(x: Any, name: str, active: bool = True) -> Any:
        x = Normalisation(frozen, name=f"{name}_norm", dtype=policy)(x)
        return keras.layers.ReLU(name=f"{name}_act", dtype=policy)(x) if active else x

    def convolution(x: Any, width: int, name: str, strides: int = 1, active: bool = True) -> Any:
        x = keras.layers.Conv2D(width, 3, strides=strides, name=name, **options)(x)
        return normalised(x, name, active)

    def block(x: Any, width: int, name: str) -> Any:
        added = convolution(convolution(x, width, f"{name}_conv0"), width, f"{name}_conv1", active=False)
        x = keras.layers.Add(name=f"{name}_sum", dtype=policy)([x, added])
        return keras.layers.ReLU(name=f"{name}_act", dtype=policy)(x)

    image = keras.Input((None, None, 1), name="image", dtype="float32")
    widths = architecture.widths
    x = convolution(image, widths[0], "down0")
    skips = [x]
    for level, width in enumerate(widths[1:], start=1):
        x = convolution(x, width, f"down{level}", strides=2)
        for number in range(architecture.blocks):
            x = block(x, width, f"down{level}_block{number}")
        skips.append(x)
    for level in reversed(range(architecture.depth)):
        x = keras.layers.Conv2DTranspose(widths[level], 2, strides=2, name=f"up{level}_stride", **options)(x)
        x = keras.layers.Add(name=f"up{level}_skip", dtype=policy)([x, skips[level]])
        x = block(normalised(x, f"up{level}"), widths[level], f"up{level}_block")
    logits = keras.layers.Conv2D(len(CLASSES), 1, name="last", dtype="float32", kernel_initializer="zeros")(x)
    return keras.Model(image, logits, name="boxnet")


def initialise(network: keras.Model, seed: int, shares: Sequence[float] = (1.0, 1.0, 1.0)) -> None:
    """Set kernels as He et al. (2015) do, uniformly; residual branches start at zero.

    The network begins by saying how often each class is true. Particles are rare, and with Adam's steps of equal length
    it would take a thousand of them to learn no more than that.

    Parameters
    ----------
    network
        As built.
    seed
        Of the numbers, which are NumPy's and keyed, so that they are the same with every version of TensorFlow.
    shares
        How often each class is true, in any unit; rarer than RAREST of all counts as that.
    """
    for index, variable in enumerate(network.weights):
        shape, layer = tuple(variable.shape), variable.path.split("/")[0]
        if variable.name == "kernel":
            # each output of a transposed convolution of stride 2 and edge 2 comes from one place of its input
            inputs = shape[-1] if layer.endswith("_stride") else np.prod(shape[:-1])
            limit = np.sqrt(6 / inputs)
            values = keyed_generator(seed, "weights", index=index).uniform(-limit, limit, shape)
        elif variable.name == "bias":
            values = np.log(np.maximum(np.array(shares) / np.sum(shares), RAREST))
        else:
            one = variable.name == "moving_variance" or (variable.name == "gamma" and not layer.endswith("conv1_norm"))
            values = np.full(shape, float(one))
        variable.assign(values.astype(np.float32))


def load_network(path: Path, precision: Literal["float32", "bfloat16"]) -> tuple[keras.Model, Description]:
    """Rebuild the network of a model file.

    Raises
    ------
    InputError
        The file is damaged or no model of this method.
    """
    description, weights = read_picking_model(path)
    require_plausible(path, description, weights)
    network = build_network(Architecture.from_record(description["architecture"]), precision)
    set_weights(network, weights, path)
    return network, description
