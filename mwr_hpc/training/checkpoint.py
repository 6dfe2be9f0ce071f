"""Checkpoints of a training: all that is needed to go on bit for bit, in HDF5 files of which the last two are kept."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
from numpy.typing import NDArray

from mwr_hpc.events import Emit, Notice
from mwr_hpc.io.atomic import atomic_file
from mwr_hpc.io.bounded_json import parse_json
from mwr_hpc.training.curves import Curve
from mwr_hpc.training.model_file import UNREADABLE, checksum, hdf5_file, read_arrays, write_arrays

KEPT = 2
"""The newest may be damaged by what ended the run; the one before it was complete by then."""


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training between two steps.

    Attributes
    ----------
    config_hash
        Of everything that determines the training; see `config_hash`.
    step, steps
        Steps done in this training, and how many it has. Epoch and position in its permutation follow from `step`.
    loss_sum, weight_sum
        Of the running epoch so far.
    ranks
        How many made it. Any number can go on from it, but only the same one to the same bits.
    curves
        The finished epochs.
    weights, optimiser
        Their variables in order.
    """

    config_hash: str
    step: int
    steps: int
    loss_sum: float
    weight_sum: float
    ranks: int
    curves: Sequence[Curve]
    weights: Sequence[NDArray[Any]]
    optimiser: Sequence[NDArray[Any]]


class CheckpointFolder:
    """The checkpoints of one training, written by one process.

    Parameters
    ----------
    path
        The folder; made when the first checkpoint is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, checkpoint: Checkpoint) -> Path:
        """Add a checkpoint and remove all but the last two.

        Raises
        ------
        DiskFullError
            No space is left; the checkpoints before are untouched.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        target = self.path / f"step_{checkpoint.step:08d}.h5"
        state = {
            name: getattr(checkpoint, name)
            for name in ("config_hash", "step", "steps", "loss_sum", "weight_sum", "ranks", "curves")
        }
        with atomic_file(target) as partial, hdf5_file(partial) as file:
            file.attrs["state"] = json.dumps(state)
            file.attrs["checksum"] = checksum(file.attrs["state"], checkpoint.weights, checkpoint.optimiser)
            for group in ("weights", "optimiser"):
                write_arrays(file, group, [("", values) for values in getattr(checkpoint, group)])
        for other in self._files():
            # One of a later step is damaged or of another training: this one has not been there yet.
            if other.name > target.name:
                other.unlink()
        for old in self._files()[:-KEPT]:
            old.unlink()
        return target

    def clear(self, emit: Emit) -> None:
        """Remove all checkpoints, because a training begins that can use none of them; a notice says so."""
        if files := self._files():
            emit(
                Notice(
                    f"{self.path}: checkpoints that are damaged or of another training (its data or "
                    "settings differ) are removed; this one begins at its first step",
                    warning=True,
                )
            )
        for path in files:
            path.unlink()

    def newest(self, config_hash: str | None, emit: Emit) -> Checkpoint | None:
        """Read the newest checkpoint that is whole; a damaged one is passed over with a notice.

        Parameters
        ----------
        config_hash
            What the checkpoint must have been made with; others count as none. None: anything.
        emit
            Told of damaged checkpoints.

        Returns
        -------
        Checkpoint or None
            None when there is none to go on from.
        """
        for path in reversed(self._files()):
            try:
                checkpoint = _read(path)
            except UNREADABLE as error:
                emit(Notice(f"{path}: damaged checkpoint ({error}); going on from the one before it", warning=True))
                continue
            if config_hash in (None, checkpoint.config_hash):
                return checkpoint
        return None

    def _files(self) -> list[Path]:
        return sorted(path for path in self.path.glob("step_*.h5"))


def config_hash(*parts: Any) -> str:
    """SHA-256 of JSON-able values, other values by their text."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def damage_of_checkpoint(path: Path) -> str | None:
    """Read a checkpoint and return what is wrong with it, None when it is as it was written."""
    try:
        _read(path)
    except UNREADABLE as error:
        return f"damaged checkpoint ({error})"
    return None


def _read(path: Path) -> Checkpoint:
    with h5py.File(path, "r") as file:
        state = parse_json(file.attrs["state"])
        weights, optimiser = read_arrays(file, "weights"), read_arrays(file, "optimiser")
        if file.attrs["checksum"] != checksum(file.attrs["state"], weights, optimiser):
            raise ValueError("its checksum does not match")
    return Checkpoint(weights=weights, optimiser=optimiser, **state)
