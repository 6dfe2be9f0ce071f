"""TensorFlow and Keras as this program uses them: imported here before anywhere else, quiet, bounded, repeatable.

Everything else says ``from mwr_hpc.training.framework import keras, tf``.
"""

import logging
import os
from collections.abc import Sequence

from mwr_hpc.errors import ConfigError
from mwr_hpc.training.hardware import available_threads

# Read when TensorFlow is imported: its C++ messages are for its developers, and errors reach us as exceptions.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import tensorflow as tf

__all__ = ["configure", "keras", "tf"]

tf.get_logger().setLevel(logging.ERROR)

_configured: dict[str, object] = {}


def configure(devices: Sequence[int] | None = None, deterministic: bool = True) -> None:
    """Choose threads and devices; the first call in a process decides, TensorFlow allows no second choice.

    Whether kernels are deterministic is the first call's choice too: a later one may ask otherwise, which matters to
    the last bits alone.

    Parameters
    ----------
    devices
        Indices into the GPUs that are visible to this process (SLURM or CUDA_VISIBLE_DEVICES decide which those are);
        all of them when None.
    deterministic
        On GPUs: choose kernels that give the same bits every time. On CPU those used here all do.

    Raises
    ------
    ConfigError
        There is no such GPU, or this process has chosen other devices before.
    """
    gpus = tf.config.list_physical_devices("GPU")
    wanted = list(devices) if gpus and devices else None
    if _configured:
        if _configured["devices"] != wanted:
            raise ConfigError(
                f"TensorFlow runs with the devices {_configured['devices']} in this process already; {wanted} need "
                "another one"
            )
        return
    if gpus:
        chosen = _choose(gpus, devices)
        tf.config.set_visible_devices(chosen, "GPU")
        for gpu in chosen:
            tf.config.experimental.set_memory_growth(gpu, True)
        if deterministic:
            tf.config.experimental.enable_op_determinism()
    elif devices:
        raise ConfigError(f"--gpuID {','.join(map(str, devices))}: no GPU is visible to this process; leave it out")
    tf.config.threading.set_intra_op_parallelism_threads(available_threads())
    # A U-Net is a chain: there is nothing to run beside an operation, only more memory to use.
    tf.config.threading.set_inter_op_parallelism_threads(1)
    _configured["devices"] = wanted


def _choose(gpus: list[object], indices: Sequence[int] | None) -> list[object]:
    if indices is None:
        return gpus
    if missing := [index for index in indices if not 0 <= index < len(gpus)]:
        raise ConfigError(
            f"--gpuID {','.join(map(str, indices))}: there is no GPU {missing[0]}; {len(gpus)} are visible to this "
            f"process, with indices 0 to {len(gpus) - 1}"
        )
    return [gpus[index] for index in indices]
