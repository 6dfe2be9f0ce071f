"""Learning rates of Adam by step: risen to over the first steps, then constant or falling."""

from typing import Any

from mwr_hpc.training.framework import keras, tf

WARM_UP = 50
"""Steps over which the learning rate of a new optimiser rises to its value: Adam's first steps are as long as its later
ones though it knows little yet, and some networks never recovered from them."""


class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """Rises linearly over the optimiser's first WARM_UP steps, and stays."""

    def __init__(self, learning_rate: float) -> None:
        self.learning_rate = learning_rate

    def __call__(self, step: Any) -> Any:
        """Learning rate of a step, counted from 0."""
        return self.learning_rate * tf.minimum(1.0, (tf.cast(step, tf.float32) + 1) / WARM_UP)

    def get_config(self) -> dict[str, Any]:
        """What the schedule was made with."""
        return {"learning_rate": self.learning_rate}


class Geometric(keras.optimizers.schedules.LearningRateSchedule):
    """Falls from `start` by the same factor every step and is `end` at the last; the first steps rise to it.

    Parameters
    ----------
    start, end
        Learning rates of the first and the last step.
    steps
        Of the whole training. A tenth of them, at most WARM_UP, are the rise.
    """

    def __init__(self, start: float, end: float, steps: int) -> None:
        self.start, self.end, self.steps = start, end, steps

    def __call__(self, step: Any) -> Any:
        """Learning rate of a step, counted from 0."""
        done = tf.cast(step, tf.float32)
        rise = tf.minimum(1.0, (done + 1) / max(1, min(WARM_UP, self.steps // 10)))
        return self.start * tf.pow(self.end / self.start, done / max(1, self.steps - 1)) * rise

    def get_config(self) -> dict[str, Any]:
        """What the schedule was made with."""
        return {"start": self.start, "end": self.end, "steps": self.steps}
