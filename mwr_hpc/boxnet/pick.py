"""Stage: one micrograph through a trained network; what it saw is kept, and particles are chosen from that later.

A process loads a model once, whatever the number of micrographs that it is given.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mwr_hpc.boxnet.candidates import Candidates, write_candidates
from mwr_hpc.boxnet.curate import winners
from mwr_hpc.boxnet.labels import BACKGROUND, CONTAMINATION
from mwr_hpc.boxnet.network import Architecture, load_network
from mwr_hpc.boxnet.tiles import predict_tiled
from mwr_hpc.errors import InputError, StageError
from mwr_hpc.io.micrograph import read_micrograph
from mwr_hpc.io.picks import require_listable
from mwr_hpc.numerics.micrograph import hot_pixels, prepare
from mwr_hpc.training.framework import configure, tf

LARGEST_TILE = 1024
"""Edge in pixels: micrographs of most cameras fit into one tile. The network's first levels then hold some 200 MB."""

Image = NDArray[np.float32]


@dataclass(frozen=True)
class Labeller:
    """A network, and how what it says is to be read.

    Attributes
    ----------
    network
        From images (n, h, w, 1) to logits (n, h, w, 3).
    architecture
        The network's.
    background_weight
        What background weighed in its training.
    """

    network: Callable[[Any], Any]
    architecture: Architecture
    background_weight: float

    def probabilities(self, image: Image) -> Image:
        """Of the classes in the order of `labels.CLASSES`, (h, w, 3), in a prepared image of any size, (h, w).

        As the network says of the whole image, whatever the tiles.
        """
        return predict_tiled(
            lambda tile: softmax(np.asarray(self.network(tf.convert_to_tensor(tile)))),
            image,
            tile=LARGEST_TILE,
            overlap=2 * reach(self.architecture),
            multiple=self.architecture.multiple,
        )

    def winners(self, image: Image) -> tuple[Image, NDArray[np.bool_]]:
        """Where particles and where contamination win in a prepared image; see `curate.winners`."""
        return winners(self.probabilities(image), self.background_weight)


def contamination_share(probabilities: Image, background_ratio: float = 1.0) -> Image:
    """Contamination's share of what is no particle, (h, w), from (h, w, 3).

    As a network would see it in whose training background weighs `background_ratio` times as much.
    """
    background, contamination = probabilities[..., BACKGROUND] * background_ratio, probabilities[..., CONTAMINATION]
    return contamination / np.maximum(background + contamination, np.finfo(np.float32).tiny)


def softmax(logits: Image) -> Image:
    """Probabilities of logits, over the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def reach(architecture: Architecture) -> int:
    """How far, in pixels, a pixel can be from another one that its logits depend on.

    A convolution of three pixels reaches one pixel of its level further, a block has two, and a step between levels
    ends at a pixel of the coarser one.
    """
    coarser = [2**level for level in range(1, architecture.depth + 1)]
    finer = [2**level for level in range(architecture.depth)]
    return 1 + sum(finer) + 2 * architecture.blocks * sum(coarser) + 3 * sum(finer)


def pick_micrograph(inputs: Mapping[str, Path], parameters: Mapping[str, Any], output: Path) -> dict[str, Any]:
    """Look for particles and contamination in one micrograph.

    Parameters
    ----------
    inputs
        "micrograph"; "model": the model file.
    parameters
        "pixel_size" to work at, in angstrom; "angpix" of the micrograph, None: its header's; "contrast", "dark" or
        "bright"; "bytes", "signed" or "unsigned", where the micrograph does not tell how to read them.
    output
        The file of candidates to write.

    Returns
    -------
    dict
        "pixels" of the micrograph and of the image that the network saw, "network_seconds", and the number of
        "hot_pixels".

    Raises
    ------
    InputError
        The micrograph or the model cannot be used.
    StageError
        Memory does not suffice.
    DiskFullError
        No space is left.
    """
    require_listable(inputs["micrograph"])
    configure()
    model = inputs["model"]
    labeller = loaded(model, model.stat().st_mtime_ns)
    micrograph = read_micrograph(inputs["micrograph"], parameters["angpix"], parameters.get("bytes"))
    try:
        image = prepare(micrograph.image, micrograph.pixel_size, parameters["pixel_size"], parameters["contrast"])
    except ValueError as error:
        raise InputError(f"{inputs['micrograph']}: {error}; leave it out, or export it again") from error
    started = time.perf_counter()
    try:
        particle, contamination = labeller.winners(image)
    except (tf.errors.ResourceExhaustedError, MemoryError) as error:
        raise StageError(
            f"not enough memory for a micrograph of {image.shape[0]} x {image.shape[1]} working pixels: give each "
            "process more (--processes, or memory in the site file)"
        ) from error
    seconds = time.perf_counter() - started
    height, width = micrograph.image.shape
    write_candidates(
        output,
        Candidates(inputs["micrograph"].name, (height, width), micrograph.pixel_size, particle, contamination),
    )
    return {
        "pixels": [height * width, image.size],
        "network_seconds": round(seconds, 3),
        "hot_pixels": hot_pixels(micrograph.image),
    }


@lru_cache(maxsize=1)
def loaded(model: Path, modified: int) -> Labeller:
    """A model, ready to look at micrographs, and kept from one to the next: tracing its graph takes seconds.

    In float32 whatever it was trained in, so that all machines find the same particles. `modified` is the file's time.
    """
    network, description = load_network(model, "float32")

    def forward(x: Any) -> Any:
        return network(x, training=False)

    return Labeller(
        tf.function(forward, autograph=False, reduce_retracing=True),
        Architecture.from_record(description["architecture"]),
        description["background_weight"],
    )
