"""One training step of every network here: a rank's sums, one allreduce of one vector, one Adam update.

A step's gradients, loss sum, weight sum and stop flag are one flat float32 vector. Summed over the ranks, it is the
same on all of them, so all apply the same update and stop at the same step.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mwr_hpc.training.communicator import Communicator
from mwr_hpc.training.framework import keras, tf

LOSSES: dict[str, Callable[[Any], Any]] = {"l2": tf.square, "l1": tf.abs}
"""Loss of each element by its error."""


WARM_UP = 50
"""Steps over which the learning rate of a new optimiser rises to its value: Adam's first steps are as long as its later
ones though it knows little yet, and some networks never recovered from them."""

AVERAGING = 0.9
"""Share of the mean in the running mean of the weights that becomes the model: steadier than the last weights. A longer
mean lags behind a short training (docs/method.md)."""

BETA_2 = 0.99
"""Adam's memory of squared gradients: with the usual 0.999 one unlucky small batch could take a step of three times the
learning rate, from which some trainings never recovered (docs/method.md)."""


class Batch(NamedTuple):
    """One rank's part of a batch.

    `x`, `y` and `weight` have shape (n, ..., channels), float32; `keys` is (n, 2) int32, what dropout is drawn by.
    `region`, for volumes of one channel, (n, z, y, x // 2 + 1): the Fourier coefficients of the error that count.
    """

    x: NDArray[np.float32]
    y: NDArray[np.float32]
    weight: NDArray[np.float32]
    keys: NDArray[np.int32]
    region: NDArray[np.bool_] | None = None

    def tensors(self) -> "Batch":
        """The same as tensors."""
        given = {name: tf.convert_to_tensor(values) for name, values in self._asdict().items() if values is not None}
        return self._replace(**given)


class Engine:
    """Trains one model.

    Parameters
    ----------
    model
        Input (n, ..., channels) and, where it has two inputs, the keys of dropout; output in float32.
    loss
        A key of LOSSES.
    learning_rate
        Of Adam, after its warm-up.
    communicator
        The other ranks.
    """

    def __init__(self, model: keras.Model, loss: str, learning_rate: float, communicator: Communicator) -> None:
        self.model = model
        self.optimiser = keras.optimizers.Adam(
            _WarmUp(learning_rate), beta_2=BETA_2, use_ema=True, ema_momentum=AVERAGING, name="adam"
        )
        self.optimiser.build(model.trainable_variables)
        self.communicator = communicator
        self._variables = [variable.value for variable in model.trainable_variables]
        element_loss = LOSSES[loss]
        with_keys = len(model.inputs) > 1

        def sums(batch: Batch, training: bool) -> tuple[Any, Any]:
            prediction = model([batch.x, batch.keys] if with_keys else batch.x, training=training)
            error, weight_sum = prediction - batch.y, tf.reduce_sum(batch.weight)
            if batch.region is None:
                return tf.reduce_sum(element_loss(error) * batch.weight), weight_sum
            return tf.reduce_sum(element_loss(_within(error * batch.weight, batch.region))), weight_sum

        def flat_gradients(batch: Batch, stop: Any) -> Any:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(self._variables)
                loss_sum, weight_sum = sums(batch, training=True)
            gradients = tape.gradient(loss_sum, self._variables)
            return tf.concat([*(tf.reshape(g, [-1]) for g in gradients), [loss_sum, weight_sum, stop]], axis=0)

        def apply(flat: Any) -> Any:
            sizes = [variable.shape.num_elements() for variable in self._variables]
            parts = tf.split(tf.math.divide_no_nan(flat[:-3], flat[-2]), sizes)
            gradients = [tf.reshape(p, v.shape) for p, v in zip(parts, self._variables, strict=True)]
            self.optimiser.apply(gradients, model.trainable_variables)
            return tf.reduce_all(tf.math.is_finite(flat))

        self._flat_gradients = tf.function(flat_gradients, autograph=False, reduce_retracing=True)
        self._apply = tf.function(apply, autograph=False)
        self._validation_sums = tf.function(
            lambda batch: tf.stack(sums(batch, training=False)), autograph=False, reduce_retracing=True
        )

    def gradients(self, batch: Batch, stop: bool = False) -> Any:
        """This rank's flat vector: gradients of the loss sum, the loss sum, the weight sum and the stop flag."""
        return self._flat_gradients(batch.tensors(), tf.constant(float(stop)))

    def apply(self, flat: Any) -> bool:
        """Take the step that the summed vector tells; return whether all of it was finite."""
        return bool(self._apply(flat))

    def validation_sums(self, batch: Batch) -> Any:
        """Loss sum and weight sum without dropout."""
        return self._validation_sums(batch.tensors())

    def state(self) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
        """Values of the model's and the optimiser's variables."""
        return [v.numpy() for v in self.model.weights], [v.numpy() for v in self.optimiser.variables]

    def forget(self) -> None:
        """Bring the optimiser to where it was before its first step."""
        for variable in self.optimiser.variables:
            variable.assign(tf.zeros_like(variable.value))

    def finish(self) -> None:
        """Make the running mean of the weights the model's weights; the training itself goes on from its state."""
        self.optimiser.finalize_variable_values(self.model.trainable_variables)

    def restore(self, weights: Sequence[NDArray[Any]] | None, optimiser: Sequence[NDArray[Any]] | None) -> None:
        """Set the model's and the optimiser's variables to rank 0's values, on all ranks; None leaves them."""
        for variables, values in ((self.model.weights, weights), (self.optimiser.variables, optimiser)):
            for variable, value in zip(variables, values or (), strict=values is not None):
                variable.assign(self.communicator.broadcast(np.asarray(value)))


def _filtered(volumes: Any, region: Any) -> Any:
    shape = tf.shape(volumes)[1:4]
    spectra = tf.signal.rfft3d(volumes[..., 0], shape) * tf.cast(region, tf.complex64)
    return tf.signal.irfft3d(spectra, shape)[..., None]


@tf.custom_gradient
def _within(volumes: Any, region: Any) -> Any:
    """Keep the Fourier coefficients of a region: a projection, so its gradient is itself (TensorFlow has none)."""

    def gradient(upstream: Any) -> tuple[Any, None]:
        return _filtered(upstream, region), None

    return _filtered(volumes, region), gradient


class _WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """Rises linearly over the optimiser's first WARM_UP steps, and stays."""

    def __init__(self, learning_rate: float) -> None:
        self.learning_rate = learning_rate

    def __call__(self, step: Any) -> Any:
        return self.learning_rate * tf.minimum(1.0, (tf.cast(step, tf.float32) + 1) / WARM_UP)

    def get_config(self) -> dict[str, Any]:
        return {"learning_rate": self.learning_rate}
