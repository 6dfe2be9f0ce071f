"""Model files: weights and a JSON description of the architecture in one HDF5 file that plain h5py reads.

Nothing in such a file is ever executed (`keras.models.load_model`, which does that, is not used), and the same model
gives the same bytes. The layout: attributes ``format``, ``description`` (JSON) and ``checksum`` (SHA-256 of the
description and the weights), and a group ``weights`` with one dataset for each weight, named ``0000``, ``0001``, ... in
the network's order, each with the attribute ``name``.
"""

import contextlib
import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from mwr_hpc.errors import InputError
from mwr_hpc.io.atomic import disk_full_reported
from mwr_hpc.io.bounded_json import parse_json

FORMAT = "mwr_hpc model 1"

UNREADABLE = (OSError, KeyError, ValueError, RuntimeError, TypeError, AttributeError)
"""What h5py raises on a damaged file; a flipped bit can turn a dataset into a group."""

Weights = Sequence[tuple[str, NDArray[np.float32]]]
Description = dict[str, Any]


def write_model(path: Path, description: Description, weights: Weights) -> None:
    """Write a model.

    Parameters
    ----------
    path
        A new file.
    description
        JSON-able: ``method``, ``architecture`` and whatever else is worth knowing of the model.
    weights
        Name and values of each weight, in the network's order.
    """
    text = json.dumps(description, sort_keys=True)
    with hdf5_file(path) as file:
        file.attrs["format"] = FORMAT
        file.attrs["description"] = text
        file.attrs["checksum"] = checksum(text, [values for _, values in weights])
        write_arrays(file, "weights", weights)


@contextlib.contextmanager
def hdf5_file(path: Path) -> Iterator[h5py.File]:
    """Give an HDF5 file to fill in memory, and write it to `path` in one go.

    HDF5's own writing to a full disk prints error stacks and can lose the reason.

    Raises
    ------
    DiskFullError
        No space is left.
    """
    memory = io.BytesIO()
    with h5py.File(memory, "w", libver=("earliest", "v110")) as file:
        yield file
    with disk_full_reported(path):
        path.write_bytes(memory.getbuffer())


def checksum(text: str, *groups: Sequence[NDArray[Any]]) -> str:
    """SHA-256 of a text and the bytes of arrays."""
    sha = hashlib.sha256(text.encode())
    for values in (values for group in groups for values in group):
        sha.update(np.ascontiguousarray(values).data)
    return sha.hexdigest()


def write_arrays(file: h5py.File, group: str, arrays: Sequence[tuple[str, NDArray[Any]]]) -> None:
    """Write named arrays in order; no time stamps, so that equal arrays give equal bytes."""
    folder = file.create_group(group)
    for number, (name, values) in enumerate(arrays):
        folder.create_dataset(f"{number:04d}", data=values, track_times=False).attrs["name"] = name


def read_arrays(file: h5py.File, group: str) -> list[NDArray[Any]]:
    """Read what `write_arrays` wrote.

    Raises
    ------
    ValueError
        The file announces more than it holds: what is not there would be read as zeros, at any size.
    """
    datasets = [file[group][name] for name in sorted(file[group])]
    announced, there = sum(one.size * one.dtype.itemsize for one in datasets), file.id.get_filesize()
    if announced > there:
        raise ValueError(f"it announces {announced} bytes of {group}, and has {there} in all")
    return [one[()] for one in datasets]


def read_description(path: Path) -> Description:
    """Read what a model file says of itself.

    Raises
    ------
    InputError
        The file is damaged, is no HDF5 file, or was not written by this program.
    """
    return _read(path, with_weights=False)[0]


def read_model(path: Path, method: str, architecture: dict[str, Any] | None = None) -> tuple[Description, Weights]:
    """Read a model.

    Parameters
    ----------
    path
        The model file.
    method
        Which application the model must belong to.
    architecture
        What the network must be, for a model to start a training from; None: whatever the file says.

    Returns
    -------
    description, weights
        As they were written.

    Raises
    ------
    InputError
        The file is damaged, is no model of ours, or is a model of another method or architecture.
    """
    description, weights = _read(path, with_weights=True)
    if description.get("method") != method:
        raise InputError(
            f"{path}: a model for {description.get('method')!r}, expected one for {method!r}. "
            "Give a model that this command's training wrote."
        )
    found = description.get("architecture")
    if architecture is not None and found != architecture:
        raise InputError(
            f"{path}: the model's network is another one than the options ask for.\n"
            f"  in the file: {_in_words(found)}\n  asked for:   {_in_words(architecture)}\n"
            f"They differ in {_differences(found, architecture)}: set these as in the file, or leave the model out."
        )
    return description, weights


def check_shapes(path: Path, weights: Weights, expected: Sequence[tuple[str, tuple[int, ...]]]) -> None:
    """Raise InputError unless the weights in a file are those of the network that its description builds."""
    found = [(name, values.shape) for name, values in weights]
    if found == list(expected):
        return
    differing = next(
        (pair for pair in zip(found, expected, strict=False) if pair[0] != pair[1]),
        (f"{len(found)} weights", f"{len(expected)} weights"),
    )
    raise InputError(
        f"{path}: damaged model file: its weights do not fit its own description "
        f"(found {differing[0]}, expected {differing[1]}). Take another copy of the model."
    )


def require_plausible(path: Path, description: Description, weights: Weights) -> None:
    """Refuse a description of a network that is too large for the weights in its file, before anybody builds it.

    Raises
    ------
    InputError
        The numbers in the description cannot be those of the weights' network.
    """
    architecture = description.get("architecture")
    numbers = {name: value for name, value in dict(architecture or {}).items() if type(value) is int}
    values = sum(array.size for _, array in weights)
    # The convolutions of the lowest level alone have more weights than the square of its filters.
    widest = numbers.get("filter_base", 0) * 2 ** min(max(numbers.get("depth", 0), 0), 64)
    if any(value < 0 or value**2 > values for value in (*numbers.values(), widest)):
        raise InputError(
            f"{path}: damaged model file: its {values} weights are too few for its own description "
            f"({_in_words(architecture)}). Take another copy of it."
        )


def named_weights(network: Any) -> list[tuple[str, NDArray[np.float32]]]:
    """Name and values of all weights in order, for a model file."""
    return [(variable.path, variable.numpy()) for variable in network.weights]


def set_weights(network: Any, weights: Weights, path: Path) -> None:
    """Give a network the weights read from `path`.

    Raises
    ------
    InputError
        Names or shapes differ.
    """
    check_shapes(path, weights, [(variable.path, tuple(variable.shape)) for variable in network.weights])
    for variable, (_, values) in zip(network.weights, weights, strict=True):
        variable.assign(values)


def _read(path: Path, with_weights: bool) -> tuple[Description, Weights]:
    advice = "Give a model_iterNN.h5 written by mwr-hpc train."
    if not path.is_file():
        raise InputError(f"{path}: no such model file. {advice}")
    if not h5py.is_hdf5(path):
        raise InputError(f"{path}: not an HDF5 file, or damaged at its beginning, so no model. {advice}")
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("format") != FORMAT:
                raise InputError(
                    f"{path}: an HDF5 file, but not a model of this program (its format is "
                    f"{file.attrs.get('format', 'not stated')!r}, expected {FORMAT!r}). {advice}"
                )
            description = parse_json(file.attrs["description"])
            weights = []
            if with_weights:
                names = [file["weights"][key].attrs["name"] for key in sorted(file["weights"])]
                weights = list(zip(names, read_arrays(file, "weights"), strict=True))
                if file.attrs["checksum"] != checksum(file.attrs["description"], [values for _, values in weights]):
                    raise ValueError("its checksum does not match")
    except UNREADABLE as error:
        raise InputError(f"{path}: damaged model file ({error}). Take another copy of it.") from error
    return description, weights


def _in_words(architecture: Any) -> str:
    if not isinstance(architecture, dict):
        return repr(architecture)
    return ", ".join(f"{name} {value}" for name, value in sorted(architecture.items()))


def _differences(found: Any, expected: dict[str, Any]) -> str:
    found = found if isinstance(found, dict) else {}
    names = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
    return ", ".join(names)
