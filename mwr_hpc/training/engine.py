"""One training step of every network here: a rank's sums, one allreduce of one vector, one Adam update.

A step's gradients, batch statistics, loss sum, weight sum and stop flag are one flat float32 vector. Summed over the
ranks, it is the same on all of them, so all apply the same update and stop at the same step.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mwr_hpc.training.communicator import Communicator
from mwr_hpc.training.framework import keras, tf

AVERAGING = 0.9
"""Share of the mean in the running mean of the weights that becomes the model: steadier than the last weights. A longer
mean lags behind a short training (docs/method.md)."""

BETA_2 = 0.99
"""Adam's memory of squared gradients: with the usual 0.999 one unlucky small batch could take a step of three times the
learning rate, from which some trainings never recovered (docs/method.md)."""


class Batch(NamedTuple):
    """One rank's part of a batch.

    `x` and `weight` are float32, `x` of shape (n, ..., channels); `y` is what the loss compares the output with; `keys`
    is (n, 2) int32, what dropout is drawn by. `region`, for volumes of one channel, (n, z, y, x // 2 + 1): the Fourier
    coefficients of the error that count.
    """

    x: NDArray[np.float32]
    y: NDArray[Any]
    weight: NDArray[np.float32]
    keys: NDArray[np.int32] | None = None
    region: NDArray[np.bool_] | None = None

    def parts(self, size: int | None) -> "list[Batch]":
        """Cut into batches of `size` samples; None: one of all."""
        if size is None or size >= len(self.x):
            return [self]
        given = {name: values for name, values in self._asdict().items() if values is not None}
        cuts = (slice(start, start + size) for start in range(0, len(self.x), size))
        return [self._replace(**{name: values[cut] for name, values in given.items()}) for cut in cuts]

    def tensors(self) -> "Batch":
        """The same as tensors."""
        given = {name: tf.convert_to_tensor(values) for name, values in self._asdict().items() if values is not None}
        return self._replace(**given)


Loss = Callable[[Any, Batch], tuple[Any, Any]]
"""From the network's output and the batch, as tensors, to the sum of its weighted losses and the sum of its weights."""


class Engine:
    """Trains one model.

    Batch normalisation uses the statistics of each group of samples, not of whatever part of a batch a rank has, and
    the moving statistics move by the mean over the groups of all ranks: any number of ranks trains the same model.

    Parameters
    ----------
    model
        Input (n, ..., channels) and, where it has two inputs, the keys of dropout; output in float32.
    loss
        What is minimised: its sum over the weights' sum, both over all ranks.
    rate
        Learning rate of Adam by step.
    communicator
        The other ranks.
    group
        Samples that go through the network together; None: all that a rank has.
    weight_decay
        L2 penalty of kernels: half their squares times this is added to the loss.
    moving_statistics
        Whether moving statistics move; false where the network normalises by them, which keeps them.
    """

    def __init__(
        self,
        model: keras.Model,
        loss: Loss,
        rate: keras.optimizers.schedules.LearningRateSchedule,
        communicator: Communicator,
        *,
        group: int | None = None,
        weight_decay: float = 0.0,
        moving_statistics: bool = True,
    ) -> None:
        self.model = model
        self.optimiser = keras.optimizers.Adam(rate, beta_2=BETA_2, use_ema=True, ema_momentum=AVERAGING, name="adam")
        self.optimiser.build(model.trainable_variables)
        self.communicator = communicator
        self.group = group
        self._variables = [variable.value for variable in model.trainable_variables]
        statistics = model.non_trainable_variables if moving_statistics else []
        with_keys = len(model.inputs) > 1

        def sums(batch: Batch, training: bool) -> tuple[Any, Any]:
            return loss(model([batch.x, batch.keys] if with_keys else batch.x, training=training), batch)

        def flat_sums(batch: Batch, stop: Any) -> Any:
            with tf.GradientTape(watch_accessed_variables=False) as tape, keras.StatelessScope() as moved:
                tape.watch(self._variables)
                loss_sum, weight_sum = sums(batch, training=True)
            gradients = [tf.reshape(g, [-1]) for g in tape.gradient(loss_sum, self._variables)]
            moving = [tf.reshape(moved.get_current_value(variable), [-1]) for variable in statistics]
            groups = [tf.ones(1)] if statistics else []
            return tf.concat([*gradients, *moving, *groups, [loss_sum, weight_sum, stop]], axis=0)

        gradient_sizes = [variable.shape.num_elements() for variable in self._variables]
        statistic_sizes = [int(np.prod(variable.shape)) for variable in statistics]

        def apply(flat: Any) -> Any:
            gradients, moving, _ = tf.split(flat, [sum(gradient_sizes), sum(statistic_sizes) + bool(statistics), -1])
            parts = tf.split(tf.math.divide_no_nan(gradients, flat[-2]), gradient_sizes)
            self.optimiser.apply(
                [
                    tf.reshape(part, variable.shape) + (weight_decay * variable.value if _decays(variable) else 0)
                    for part, variable in zip(parts, model.trainable_variables, strict=True)
                ],
                model.trainable_variables,
            )
            if statistics:
                parts = tf.split(moving[:-1] / moving[-1], statistic_sizes)
                for part, variable in zip(parts, statistics, strict=True):
                    variable.assign(tf.reshape(part, variable.shape))
            return tf.reduce_all(tf.math.is_finite(flat))

        def _decays(variable: Any) -> bool:
            return weight_decay > 0 and variable.name == "kernel"

        self._flat_sums = tf.function(flat_sums, autograph=False, reduce_retracing=True)
        self._apply = tf.function(apply, autograph=False)
        self._validation_sums = tf.function(
            lambda batch: tf.stack(sums(batch, training=False)), autograph=False, reduce_retracing=True
        )
        self._predict = tf.function(lambda x: model(x, training=False), autograph=False, reduce_retracing=True)

    def gradients(self, batch: Batch, stop: bool = False) -> Any:
        """This rank's flat vector: gradients of the loss sum, statistics, loss sum, weight sum and stop flag."""
        first, *others = batch.parts(self.group)
        flat = self._flat_sums(first.tensors(), tf.constant(float(stop)))
        for part in others:
            flat = flat + self._flat_sums(part.tensors(), tf.constant(0.0))
        return flat

    def apply(self, flat: Any) -> bool:
        """Take the step that the summed vector tells; return whether all of it was finite."""
        return bool(self._apply(flat))

    def validation_sums(self, batch: Batch) -> Any:
        """Loss sum and weight sum without dropout."""
        return self._validation_sums(batch.tensors())

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the model makes of (n, ..., channels)."""
        prediction: NDArray[np.float32] = self._predict(tf.convert_to_tensor(x)).numpy()
        return prediction

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

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within this the model is what `finish` would make of it now."""
        if int(self.optimiser.iterations) == 0:  # there is no mean yet
            yield
            return
        kept = [variable.numpy() for variable in self.model.trainable_variables]
        self.finish()
        try:
            yield
        finally:
            for variable, values in zip(self.model.trainable_variables, kept, strict=True):
                variable.assign(values)

    def restore(self, weights: Sequence[NDArray[Any]] | None, optimiser: Sequence[NDArray[Any]] | None) -> None:
        """Set the model's and the optimiser's variables to rank 0's values, on all ranks; None leaves them."""
        for variables, values in ((self.model.weights, weights), (self.optimiser.variables, optimiser)):
            for variable, value in zip(variables, values or (), strict=values is not None):
                variable.assign(self.communicator.broadcast(np.asarray(value)))
