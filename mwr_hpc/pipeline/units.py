"""One unit of work: given its partial path, run, published by one rename, and recorded in a receipt.

`run_unit` is what every pool runs, in this process or on a node far away. A stage is a plain function
``f(inputs, parameters, output)`` that knows nothing of all this.
"""

import importlib
import os
import platform
import shutil
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from mwr_hpc import __version__
from mwr_hpc.errors import InputError
from mwr_hpc.io.atomic import PARTIAL, disk_full_reported, partial_path, publish, remove_partial, sync_tree
from mwr_hpc.io.storage import patiently
from mwr_hpc.pipeline.holder import check_token
from mwr_hpc.pipeline.receipts import (
    RECEIPT_NAME,
    Receipt,
    ReceiptBook,
    checksum,
    measure,
    read_receipt,
    unit_key,
    write_receipt,
)
from mwr_hpc.pipeline.resident_memory import forget_peak, peak_memory


@dataclass(frozen=True)
class Unit:
    """One tomogram in one stage, or one iteration's training.

    Attributes
    ----------
    stage, name
        The stage's name, and the tomogram's id (or the iteration's number).
    function
        ``package.module:function``, so that a unit travels to a worker as text.
    inputs
        Paths, as the function takes them.
    input_keys
        What identifies each input: the key of the unit that made it, or its fingerprint.
    parameters
        JSON-able values, as the function takes them; all of them determine the result.
    target
        The file or directory to publish.
    receipt
        Where the receipt of a file goes; a directory carries its own.
    execution
        Values that change how fast the result comes but not the result, so they are not part of the key.
    """

    stage: str
    name: str
    function: str
    inputs: Mapping[str, Any]
    input_keys: Mapping[str, Any]
    parameters: Mapping[str, Any]
    target: Path
    receipt: Path | None = None
    execution: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """SHA-256 of all that determines the result."""
        return unit_key(self.stage, self.parameters, self.input_keys)

    def to_record(self) -> dict[str, Any]:
        """Return the unit as JSON-able values."""
        record: dict[str, Any] = _paths_marked({field.name: getattr(self, field.name) for field in fields(self)})
        return record

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> "Unit":
        """Return the unit that `to_record` described."""
        return cls(**_paths_made(record))


def longest_names(unit: Unit, state: Path) -> list[Path]:
    """The files with the longest names and paths that one unit can lead to; its records are below `state`."""
    return [
        partial_path(unit.target),
        *([partial_path(unit.receipt)] if unit.receipt else []),
        partial_path(state / "quarantine" / unit.stage / f"{unit.name}.json"),
        state / "logs" / f"{unit.stage}_{unit.name}.log",
    ]


@dataclass(frozen=True)
class Claim:
    """Whose work this is: nothing is published unless `lock` still carries `token`."""

    lock: Path
    token: str

    def check(self) -> None:
        """Raise StageError when another coordinator has taken the run over."""
        check_token(self.lock, self.token)


def finished(unit: Unit, recorded: Receipt | None = None) -> Receipt | None:
    """The unit's valid receipt, or None when it must be done.

    Parameters
    ----------
    unit
        The unit of work.
    recorded
        The receipt that the run's book has for it, for a unit whose target is a file.
    """
    receipt = published(unit, recorded)
    if receipt is None or receipt.checksum is None:
        return receipt
    return receipt if checksum(unit.target) == receipt.checksum else None


def published(unit: Unit, recorded: Receipt | None = None) -> Receipt | None:
    """As `finished`, for a report: files are not read, so one that was altered in place is not noticed."""
    receipt = read_receipt(unit.target / RECEIPT_NAME) if unit.receipt is None else recorded
    if receipt is None or receipt.key != unit.key or not unit.target.exists():
        return None
    return receipt if measure(unit.target) == (receipt.files, receipt.bytes) else None


def require_own_targets(units: Iterable[Unit], book: ReceiptBook) -> None:
    """See that nothing would be replaced but what earlier calls of the same command made, be it from other inputs.

    Raises
    ------
    InputError
        Something without a receipt is where a unit's result shall be.
    """
    for unit in units:
        if not os.path.lexists(unit.target):
            continue
        if unit.receipt is None:
            made = read_receipt(unit.target / RECEIPT_NAME)
        else:
            made = book.get(unit.stage, unit.name) if unit.target.is_file() else None
        if made is None or made.name != unit.name:
            damaged = f" (or its receipt in {book.folder / unit.stage}.jsonl is damaged)"
            lost = damaged if book.is_damaged(unit.stage) else ""
            raise InputError(
                f"{unit.target}: is there, but this command did not make it{lost}; move it away, or choose another "
                "--out"
            )


def run_unit(
    unit: Unit,
    claim: Claim,
    attempt: int = 1,
    figures: Mapping[str, Any] | None = None,
    pauses: Sequence[float] = (),
    **services: Any,
) -> Receipt:
    """Do one unit of work and publish it.

    Parameters
    ----------
    unit
        What to do.
    claim
        The right to publish.
    attempt
        Counted from 1, for the receipt.
    figures
        For the receipt, beside what the stage says of its result.
    pauses
        Seconds to wait before each further try while the storage fails.
    services
        What a stage in the coordinator's own process may be given besides (``emit``, ``should_stop``, a communicator).

    Returns
    -------
    Receipt
        Also on disk by then.

    Raises
    ------
    InputError
        The unit's input is at fault.
    DiskFullError
        There is no space left.
    StageError
        The run has been taken over by another coordinator.
    StorageError
        The storage failed to the last.
    """

    def work() -> Receipt:
        unit.target.parent.mkdir(parents=True, exist_ok=True)
        return _run_and_publish(unit, claim, attempt, figures or {}, **services)

    with disk_full_reported(unit.target):
        return patiently(work, unit.target, pauses)


def _run_and_publish(unit: Unit, claim: Claim, attempt: int, more: Mapping[str, Any], **services: Any) -> Receipt:
    partial = partial_path(unit.target)
    forget_peak()
    started, cpu_started = time.perf_counter(), time.process_time()
    try:
        figures = run_stage(unit, partial, **services)
        files, size = measure(partial)
        receipt = Receipt(
            key=unit.key,
            stage=unit.stage,
            name=unit.name,
            figures={**figures, **more},
            files=files,
            bytes=size,
            checksum=checksum(partial) if partial.is_file() else None,
            seconds=round(time.perf_counter() - started, 3),
            cpu_seconds=round(time.process_time() - cpu_started, 3),
            peak_memory=peak_memory(),
            host=os.environ.get("SLURMD_NODENAME", socket.gethostname()),
            attempt=attempt,
            versions={"mwr_hpc": __version__, "python": platform.python_version(), "numpy": np.__version__},
        )
        if unit.receipt is None:
            write_receipt(partial / RECEIPT_NAME, receipt)
        sync_tree(partial)
        claim.check()
        if unit.receipt is not None:
            # First, so that no file of ours is ever without one; until the file is there, the checksum does not fit.
            write_receipt(unit.receipt, receipt)
        _remove(unit.target)
        publish(partial, unit.target)
        return receipt
    finally:
        _remove(partial)


@contextmanager
def partials_removed(units: Iterable[Unit], is_owner: Callable[[], bool]) -> Iterator[None]:
    """Remove what killed runs left of these units, before and after: beside them may lie what others are writing.

    Parameters
    ----------
    units
        All units of this process.
    is_owner
        Whether they still are its own; another's may be being written.
    """
    targets = {unit.target for unit in units}
    try:
        _remove_partials(targets)
        yield
    finally:
        if is_owner():
            _remove_partials(targets)


def _remove_partials(targets: Set[Path]) -> None:
    for folder in {target.parent for target in targets}:
        for path in folder.iterdir() if folder.is_dir() else ():
            if PARTIAL in path.name and path.with_name(path.name.partition(PARTIAL)[0]) in targets:
                remove_partial(path)


def run_stage(unit: Unit, output: Path, **services: Any) -> dict[str, Any]:
    """Call the unit's stage function and publish nothing."""
    return _load(unit.function)(dict(unit.inputs), {**unit.parameters, **unit.execution}, output, **services)


def _paths_marked(value: Any) -> Any:
    if isinstance(value, Path):
        return {"path": str(value)}
    if isinstance(value, Mapping):
        return {name: _paths_marked(inner) for name, inner in value.items()}
    return value


def _paths_made(value: Any) -> Any:
    if isinstance(value, Mapping):
        if value.keys() == {"path"}:
            return Path(value["path"])
        return {name: _paths_made(inner) for name, inner in value.items()}
    return value


def _load(function: str) -> Callable[..., dict[str, Any]]:
    module, _, name = function.partition(":")
    loaded: Callable[..., dict[str, Any]] = getattr(importlib.import_module(module), name)
    return loaded


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
