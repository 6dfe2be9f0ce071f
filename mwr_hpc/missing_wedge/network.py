"""The 3-D U-Net, built from a JSON description: output = input + what the network adds to it.

Strided convolutions down, transposed ones up, skips by concatenation. The input is added, and the loss taken, in
float32; the last layer starts at zero, so an untrained network returns its input.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mwr_hpc.numerics.keyed_random import keyed_generator
from mwr_hpc.training.framework import keras, tf
from mwr_hpc.training.model_file import Description, read_model, require_plausible, set_weights

METHOD = "missing wedge"
LEAK = 0.05
"""Slope of the activation below zero. With the gradient below it is as fast as ReLU (benchmarks/training_step.py)."""


@dataclass(frozen=True)
class Architecture:
    """What determines the network's weights and what they do; its fields are the description in a model file.

    Attributes
    ----------
    filter_base
        Filters of the first level; each level down has twice as many.
    depth
        How often the cube is halved: its edge must be a multiple of 2^depth.
    convs_per_depth, kernel
        Convolutions of each level, and their edge in voxels.
    dropout
        Probability, after the convolutions of each level.
    batch_normalization
        Between each convolution and its activation.
    activation
        "leaky_relu" or "relu".
    """

    filter_base: int
    depth: int
    convs_per_depth: int
    kernel: int
    dropout: float = 0.0
    batch_normalization: bool = False
    activation: Literal["leaky_relu", "relu"] = "leaky_relu"

    def to_record(self) -> dict[str, Any]:
        """Return the description: JSON-able."""
        return {"network": "unet3d", **asdict(self)}

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> "Architecture":
        """Return the architecture that `to_record` described."""
        return cls(**{name: value for name, value in record.items() if name != "network"})


@keras.saving.register_keras_serializable("mwr_hpc")
class KeyedDropout(keras.layers.Layer):
    """Dropout whose mask is a function of each sample's key, whatever batch or rank the sample is in.

    Parameters
    ----------
    rate
        Probability of dropping a value; the others grow by 1 / (1 - rate).
    number
        Tells the layers of a network apart.
    """

    def __init__(self, rate: float, number: int, **options: Any) -> None:
        super().__init__(**options)
        self.rate = rate
        self.number = number

    def call(self, inputs: tuple[Any, Any], training: bool = False) -> Any:
        """Drop values of `inputs[0]`, (n, ..., channels), by the keys `inputs[1]`, (n, 2) int32."""
        values, keys = inputs
        if not training:
            return values
        shape = tf.shape(values)[1:]

        def drawn(key: Any) -> Any:
            return tf.random.stateless_uniform(shape, key + tf.constant([0, self.number]))

        kept = tf.map_fn(drawn, keys, fn_output_signature=tf.float32) >= self.rate
        scale = tf.constant(1 / (1 - self.rate), values.dtype)
        return tf.where(kept, values * scale, tf.zeros((), values.dtype))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the values."""
        return input_shape[0]


@tf.custom_gradient
def leaky_relu(x: Any) -> Any:
    """Leaky ReLU whose gradient is taken from its output and in float32.

    The output has the input's signs, so the input need not be kept, and convolution, bias and activation stay one
    operation. TensorFlow's gradient for bfloat16 takes six times as long as the one for float32.
    """
    y = tf.nn.leaky_relu(x, LEAK)

    def gradient(dy: Any) -> Any:
        dx = tf.raw_ops.LeakyReluGrad(gradients=tf.cast(dy, tf.float32), features=tf.cast(y, tf.float32), alpha=LEAK)
        return tf.cast(dx, dy.dtype)

    return y, gradient


ACTIVATIONS = {"leaky_relu": leaky_relu, "relu": tf.nn.relu}


def build_network(architecture: Architecture, precision: Literal["float32", "bfloat16"]) -> keras.Model:
    """Build the network; its weights are zero until `initialise` or a file sets them.

    Returns
    -------
    keras.Model
        From (n, z, y, x, 1) float32, and keys (n, 2) int32 where there is dropout, to (n, z, y, x, 1) float32.
    """
    policy = keras.DTypePolicy("mixed_bfloat16" if precision == "bfloat16" else "float32")
    options: dict[str, Any] = {"padding": "same", "dtype": policy, "kernel_initializer": "zeros"}
    activation = ACTIVATIONS[architecture.activation]
    volume = keras.Input((None, None, None, 1), name="volume", dtype="float32")
    keys = keras.Input((2,), name="keys", dtype="int32")
    widths = [architecture.filter_base * 2**level for level in range(architecture.depth + 1)]
    dropouts = iter(range(2 * architecture.depth + 1))

    def convolutions(x: Any, name: str, filters: list[int]) -> Any:
        for number, count in enumerate(filters):
            label = f"{name}_conv{number}"
            if architecture.batch_normalization:
                x = keras.layers.Conv3D(count, architecture.kernel, name=label, use_bias=False, **options)(x)
                x = keras.layers.BatchNormalization(name=f"{label}_norm", dtype=policy)(x)
                x = keras.layers.Activation(activation, name=f"{label}_act", dtype=policy)(x)
            else:
                x = keras.layers.Conv3D(count, architecture.kernel, name=label, activation=activation, **options)(x)
        if architecture.dropout:
            x = KeyedDropout(architecture.dropout, next(dropouts), name=f"{name}_dropout", dtype=policy)([x, keys])
        return x

    x, skips = volume, []
    for level, width in enumerate(widths[:-1]):
        x = convolutions(x, f"down{level}", [width] * architecture.convs_per_depth)
        skips.append(x)
        x = keras.layers.Conv3D(width, architecture.kernel, strides=2, name=f"down{level}_stride", **options)(x)
    # The last convolution at the bottom is as narrow as the level above: the step up costs half.
    x = convolutions(x, "bottom", [widths[-1]] * (architecture.convs_per_depth - 1) + [widths[-2]])
    for level in reversed(range(architecture.depth)):
        x = keras.layers.Conv3DTranspose(widths[level], 2, strides=2, name=f"up{level}_stride", **options)(x)
        x = keras.layers.Concatenate(name=f"up{level}_skip", dtype=policy)([x, skips[level]])
        x = convolutions(x, f"up{level}", [widths[level]] * architecture.convs_per_depth)
    x = keras.layers.Conv3D(1, 1, name="last", dtype="float32", kernel_initializer="zeros")(x)
    output = keras.layers.Add(name="sum", dtype="float32")([volume, x])
    return keras.Model([volume, keys] if architecture.dropout else volume, output, name="unet3d")


def initialise(network: keras.Model, seed: int) -> None:
    """Set kernels as Glorot and Bengio (2010) do, uniformly; the last layer is zero, as are biases.

    The numbers are NumPy's and keyed, so they are the same with every version of TensorFlow.
    """
    for index, variable in enumerate(network.trainable_variables):
        if variable.name != "kernel" or variable.path.startswith("last/"):
            variable.assign(np.full(variable.shape, float(variable.name == "gamma"), np.float32))
            continue
        shape = tuple(variable.shape)
        limit = np.sqrt(6 / (np.prod(shape[:-2]) * (shape[-2] + shape[-1])))
        generator = keyed_generator(seed, "weights", index=index)
        variable.assign(generator.uniform(-limit, limit, shape).astype(np.float32))
    for variable in network.non_trainable_variables:
        variable.assign(np.full(variable.shape, float(variable.name == "moving_variance"), np.float32))


def load_network(path: Path, precision: Literal["float32", "bfloat16"]) -> tuple[keras.Model, Description]:
    """Rebuild the network of a model file.

    Raises
    ------
    InputError
        The file is damaged or no model of this method.
    """
    description, weights = read_model(path, METHOD)
    require_plausible(path, description, weights)
    network = build_network(Architecture.from_record(description["architecture"]), precision)
    set_weights(network, weights, path)
    return network, description
