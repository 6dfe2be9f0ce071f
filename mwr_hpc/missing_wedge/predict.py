"""Runs a trained network: on the sub-tomograms of one tomogram (a stage), or on the tiles that `correct` cuts."""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from mwr_hpc.errors import StageError
from mwr_hpc.io.atomic import disk_full_reported
from mwr_hpc.missing_wedge.cube_arrays import FLOAT16_SAFE, CubeReader, CubeWriter, as_float32
from mwr_hpc.missing_wedge.network import load_network
from mwr_hpc.training.framework import configure, tf
from mwr_hpc.training.hardware import resolve_precision
from mwr_hpc.training.model_file import Description, read_description
from mwr_hpc.training.prefetch import in_background

Cube = NDArray[np.float32]
Item = TypeVar("Item")


class Predictor:
    """A trained network, ready to predict.

    Parameters
    ----------
    model
        The model file.
    batch_size
        Volumes that go through the network together.
    precision
        None: the one it was trained in, where this machine has it.
    devices, deterministic
        As for `framework.configure`.

    Attributes
    ----------
    batch_size
        As given; may be changed.
    precision
        Decided.
    description
        What the model file says.

    Raises
    ------
    InputError
        The model file is damaged or of another method.
    """

    def __init__(
        self,
        model: Path,
        batch_size: int,
        precision: Literal["float32", "bfloat16"] | None = None,
        devices: list[int] | None = None,
        deterministic: bool = True,
    ) -> None:
        configure(devices, deterministic)
        self.precision = precision or precision_here(read_description(model))
        self._forward, self.description = _loaded(model, model.stat().st_mtime_ns, self.precision)
        self.batch_size = batch_size

    @property
    def multiple(self) -> int:
        """Edges of volumes must be multiples of this."""
        return int(2 ** self.description["architecture"]["depth"])

    def predicted(self, volumes: Iterable[tuple[Item, Cube]]) -> Iterator[tuple[Item, Cube]]:
        """Yield each volume's prediction, (z, y, x) float32, in order, with what came along with it.

        Raises
        ------
        StageError
            Memory does not suffice.
        """
        source = iter(volumes)
        while batch := list(islice(source, self.batch_size)):
            items, cubes = zip(*batch, strict=True)
            shape = cubes[0].shape
            try:
                stacked = tf.convert_to_tensor(np.stack(cubes)[..., None])
                del batch, cubes  # while the network works there is one copy of what it is given
                results = self._forward(stacked).numpy()[..., 0]
            except (tf.errors.ResourceExhaustedError, MemoryError) as error:
                raise StageError(
                    f"not enough memory to predict {len(items)} volumes of {shape} voxels at once: lower "
                    "--batch_size (--predict_batch_size in training), else --cube_size and --crop_size"
                ) from error
            del stacked
            yield from zip(items, results, strict=True)
            del results


def predict_subtomograms(inputs: Mapping[str, Path], parameters: Mapping[str, Any], output: Path) -> dict[str, Any]:
    """Predict every sub-tomogram of one tomogram.

    The network is given them as they are: a tomogram holds next to nothing outside its measured region, and removing
    that once more, as in training, wraps the faces of a crop around and was measured worse (docs/method.md).

    Parameters
    ----------
    inputs
        "subtomograms": what `extract` wrote; "model": the model file.
    parameters
        "batch_size", "precision", "deterministic"; "gpuID" where devices were chosen.
    output
        Zarr array to write, (n, K, K, K) float16, as the sub-tomograms.

    Returns
    -------
    dict
        "crops", their number.

    Raises
    ------
    InputError
        The model file is damaged or of another method.
    StageError
        Memory does not suffice.
    DiskFullError
        No space is left.
    """
    predictor = Predictor(
        inputs["model"],
        parameters["batch_size"],
        resolve_precision(parameters["precision"]),
        parameters.get("gpuID"),
        parameters["deterministic"],
    )
    crops = CubeReader(inputs["subtomograms"])
    volumes = ((None, as_float32(crops.read(index))) for index in range(len(crops)))
    with disk_full_reported(output):
        writer = CubeWriter(output, crops.shape)
        for _, prediction in predictor.predicted(in_background(volumes, ahead=2 * parameters["batch_size"])):
            writer.append(np.clip(prediction, -FLOAT16_SAFE, FLOAT16_SAFE))
        writer.close()
    return {"crops": len(crops)}


@lru_cache(maxsize=1)
def _loaded(model: Path, modified: int, precision: Literal["float32", "bfloat16"]) -> tuple[Any, Description]:
    """The network as a function, kept from one tomogram to the next: tracing its graph takes seconds."""
    network, description = load_network(model, precision)
    keys = len(network.inputs) > 1

    def forward(x: Any) -> Any:
        return network([x, tf.zeros((tf.shape(x)[0], 2), tf.int32)] if keys else x, training=False)

    return tf.function(forward, autograph=False, reduce_retracing=True), description


def precision_here(description: Description) -> Literal["float32", "bfloat16"]:
    """A network trained in float32 stays there; one trained in bfloat16 does where the machine would emulate that."""
    return resolve_precision("auto") if description["precision"] == "bfloat16" else "float32"
