"""The loss of the missing-wedge network: of each voxel, or of chosen Fourier coefficients of the error."""

from collections.abc import Callable
from functools import cache
from typing import Any

from mwr_hpc.training.engine import Batch, Loss
from mwr_hpc.training.framework import tf

LOSSES: dict[str, Callable[[Any], Any]] = {"l2": tf.square, "l1": tf.abs}
"""Loss of each element by its error."""


@cache
def error_loss(name: str) -> Loss:
    """The weighted loss of errors; where a batch has a region, of the part of the weighted errors inside it.

    Parameters
    ----------
    name
        A key of LOSSES.
    """
    element_loss = LOSSES[name]

    def sums(prediction: Any, batch: Batch) -> tuple[Any, Any]:
        error, weight_sum = prediction - batch.y, tf.reduce_sum(batch.weight)
        if batch.region is None:
            return tf.reduce_sum(element_loss(error) * batch.weight), weight_sum
        return tf.reduce_sum(element_loss(_within(error * batch.weight, batch.region))), weight_sum

    return sums


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
