"""Stage: the examples of a training as Warp's training file, beside the micrographs, as Warp leaves it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mwr_hpc.boxnet.corpus import write_warp_tiff
from mwr_hpc.boxnet.examples import ExampleStore


def export_examples(inputs: Mapping[str, Path], parameters: Mapping[str, Any], output: Path) -> dict[str, Any]:
    """Write a store of examples as Warp's training file.

    Parameters
    ----------
    inputs
        "examples", the store.
    parameters
        None.
    output
        The TIFF file to write.

    Returns
    -------
    dict
        "micrographs", how many.

    Raises
    ------
    InputError
        An example is damaged.
    DiskFullError
        No space is left.
    """
    store = ExampleStore(inputs["examples"])
    write_warp_tiff(store, output)
    return {"micrographs": len(store.names)}
