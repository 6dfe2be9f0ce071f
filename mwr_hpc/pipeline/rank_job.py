"""What the ranks of one iteration do: train together, then share the prediction of the sub-tomograms by tomogram.

The coordinator writes the job to a file, starts the ranks, and reads the result from the receipts, like any other.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mwr_hpc.cluster.rank_environment import nodes
from mwr_hpc.errors import DamagedArrayError, InputError, MwrError, StopRequested, StorageError
from mwr_hpc.events import (
    ArrayDamaged,
    Emit,
    Event,
    InputRefused,
    Notice,
    ShouldStop,
    StorageFailed,
    event_from_record,
    event_to_record,
)
from mwr_hpc.io.atomic import atomic_file
from mwr_hpc.io.bounded_json import parse_json
from mwr_hpc.pipeline.rank_claim import claim_of_start, take_over
from mwr_hpc.pipeline.receipts import checksum, read_receipt
from mwr_hpc.pipeline.units import Claim, Unit, finished, run_stage, run_unit
from mwr_hpc.printable import printable, printable_traceback
from mwr_hpc.training.communicator import Communicator

EVENT_MARK = "@event "
"""Starts the lines of a rank's output that are events; all other lines are for people."""


@dataclass(frozen=True)
class RankJob:
    """One iteration's work for all ranks.

    Attributes
    ----------
    train
        The training; None when it is done.
    predict
        One unit for each tomogram; the model's checksum, which only the training will tell, is missing from their keys.
    model
        The model that the predictions use.
    claim
        The right to publish.
    outlives
        Whether the job may outlive its coordinator, so that the right is its own; see `rank_claim`.
    checkpoint_folder, curves_path
        For the training.
    """

    train: Unit | None
    predict: Sequence[Unit]
    model: Path
    claim: Claim
    checkpoint_folder: Path
    curves_path: Path
    outlives: bool = False

    def write(self, path: Path) -> None:
        """Write the job where the ranks can read it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        record = {
            "train": self.train and self.train.to_record(),
            "predict": [unit.to_record() for unit in self.predict],
            "model": str(self.model),
            "claim": [str(self.claim.lock), self.claim.token],
            "checkpoint_folder": str(self.checkpoint_folder),
            "curves_path": str(self.curves_path),
            "outlives": self.outlives,
        }
        with atomic_file(path) as partial:
            partial.write_text(json.dumps(record))

    @classmethod
    def read(cls, path: Path) -> "RankJob":
        """Read what `write` wrote."""
        record = json.loads(path.read_text())
        lock, token = record["claim"]
        return cls(
            train=record["train"] and Unit.from_record(record["train"]),
            predict=[Unit.from_record(unit) for unit in record["predict"]],
            model=Path(record["model"]),
            claim=Claim(Path(lock), token),
            checkpoint_folder=Path(record["checkpoint_folder"]),
            curves_path=Path(record["curves_path"]),
            outlives=record["outlives"],
        )


def work_as_rank(
    job: RankJob,
    communicator: Communicator,
    devices: Sequence[int] | None,
    start: str,
    emit: Emit,
    should_stop: ShouldStop,
) -> None:
    """Do one rank's part of a job.

    Parameters
    ----------
    job
        The same for all ranks.
    communicator
        The other ranks.
    devices
        The GPU of this rank, None on a CPU.
    start
        Names this start of the ranks.
    emit
        Called with every event; of the training's, only rank 0's are worth showing.
    should_stop
        Polled.

    Raises
    ------
    StopRequested
        After a stop in good order.
    MwrError
        The training failed.
    """
    claim = job.claim
    if job.outlives:
        if communicator.rank == 0:
            take_over(claim, start)
        claim = claim_of_start(claim, start)
    if job.train is not None and not _trained(job.train, communicator, devices):
        services: dict[str, Any] = {
            "checkpoint_folder": job.checkpoint_folder,
            "curves_path": job.curves_path,
            "communicator": communicator,
            "emit": emit,
            "should_stop": should_stop,
        }
        unit = _with_devices(job.train, devices)
        if communicator.rank == 0:
            run_unit(unit, claim, figures={"ranks": communicator.size, "nodes": nodes()}, **services)
        else:
            run_stage(unit, unit.target, **services)
        communicator.barrier()
    known = checksum(job.model)
    for unit in job.predict[communicator.rank :: communicator.size]:
        complete = _with_devices(replace(unit, input_keys={**unit.input_keys, "model": known}), devices)
        if finished(complete):
            continue
        if should_stop():
            raise StopRequested("stopped between two tomograms; those that are done are kept")
        _predict(complete, claim, emit)


def _trained(unit: Unit, communicator: Communicator, devices: Sequence[int] | None) -> bool:
    """Whether an earlier start of this job has published the model; rank 0 decides, so that all do the same."""
    from mwr_hpc.training.framework import configure

    configure(devices, unit.parameters["deterministic"])  # asking the other ranks starts TensorFlow
    assert unit.receipt is not None, "a model is a file"
    done = communicator.rank == 0 and finished(unit, read_receipt(unit.receipt)) is not None
    return bool(communicator.broadcast(np.array([done], np.uint8))[0])


def _predict(unit: Unit, claim: Claim, emit: Emit) -> None:
    """Leave a failure to the coordinator, which tries the unit again by itself and quarantines the tomogram."""
    try:
        run_unit(unit, claim)
    except DamagedArrayError:
        return  # the coordinator meets it too, and makes the array again
    except Exception as error:
        text = f"{printable(unit.stage)} of {printable(unit.name)} failed on a rank:\n{printable_traceback(error)}"
        emit(Notice(text, warning=True))


def _with_devices(unit: Unit, devices: Sequence[int] | None) -> Unit:
    return replace(unit, execution={**unit.execution, "gpuID": devices})


class Blame:
    """Passes events on to `emit`, and remembers bad input, a damaged array or failing storage that a rank reported."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self.damage: DamagedArrayError | None = None
        self._found: MwrError | None = None

    def __call__(self, event: Event) -> None:
        """Observe an event."""
        if isinstance(event, InputRefused):
            self._found = InputError(event.reason)
        elif isinstance(event, StorageFailed):
            self._found = StorageError(event.reason)
        elif isinstance(event, ArrayDamaged):
            self.damage = DamagedArrayError(Path(event.path), event.what)
        else:
            self._emit(event)

    def found_in(self, error: MwrError) -> MwrError:
        """What to raise for the ranks' failure `error`: whoever starts them by srun learns little from an exit code."""
        return self.damage or self._found or error


def event_line(event: Event) -> str:
    """Spell an event as a line of a rank's output."""
    return EVENT_MARK + json.dumps(event_to_record(event))


def is_event(line: str) -> bool:
    """Whether a line of a rank's output is an event, and no text for people."""
    return line.startswith(EVENT_MARK)


def showing(emit: Emit, show: Callable[[str], Any]) -> Callable[[str], None]:
    """An observer of rank 0's lines: events go to `emit`, everything else to `show`."""

    def observe(line: str) -> None:
        event = _event_in(line) if is_event(line) else None
        if event is None:
            show(line)
        else:
            emit(event)

    return observe


def _event_in(line: str) -> Event | None:
    """The event that a line of a rank's output holds; None where a kill has cut it off."""
    try:
        return event_from_record(parse_json(line.removeprefix(EVENT_MARK)))
    except (ValueError, TypeError, KeyError):
        return None
