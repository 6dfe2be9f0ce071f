"""Reads all that a run or a folder of results holds and compares it with its checksums: ``status --verify``."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from mwr_hpc.config.boxnet_training import RetrainSettings
from mwr_hpc.config.loading import settings_from_yaml
from mwr_hpc.config.schema import TrainSettings
from mwr_hpc.events import Emit, StageFinished, StageStarted, UnitFinished
from mwr_hpc.io.atomic import PARTIAL
from mwr_hpc.io.checksums import damage_below, is_sealed
from mwr_hpc.pipeline.receipts import RECEIPT_NAME, ReceiptBook, checksum, measure, read_receipt
from mwr_hpc.run_directory import CANDIDATES, STATE_FOLDER, RunDirectory
from mwr_hpc.training.checkpoint import damage_of_checkpoint

STAGE = "verify"

Check = Callable[[], str | None]
"""Reads something; returns what is wrong with it."""


@dataclass
class Verified:
    """What was found.

    Attributes
    ----------
    read
        How many arrays and files were read.
    damaged
        What is wrong with each that is damaged.
    unchecked
        Arrays that have no checksums.
    """

    read: int = 0
    damaged: dict[Path, str] = field(default_factory=dict)
    unchecked: list[Path] = field(default_factory=list)


def verify(folder: Path, emit: Emit) -> Verified:
    """Read every array, model, checkpoint and file of candidates in a folder.

    Parameters
    ----------
    folder
        Of a run, a sweep, a store of examples or another folder of results; a run may be at work in it.
    emit
        Called with every event.
    """
    checks: dict[Path, Check] = dict([*_arrays(folder), *_files(folder)])
    found, started = Verified(), time.perf_counter()
    emit(StageStarted(STAGE, len(checks)))
    for path, check in checks.items():
        try:
            what = check()
        except OSError as error:
            if not path.exists():  # a run at work removes what it needs no more
                continue
            what = f"cannot be read ({error})"
        found.read += 1
        if what is not None:
            found.damaged[path] = what
        elif path.is_dir() and not is_sealed(path):
            found.unchecked.append(path)
        emit(UnitFinished(STAGE, str(path), 0.0))
    emit(StageFinished(STAGE, found.read, 0, 0, time.perf_counter() - started))
    return found


def _arrays(folder: Path) -> Iterator[tuple[Path, Check]]:
    for path in sorted(receipt.parent for receipt in folder.rglob(RECEIPT_NAME)):
        if not any(PARTIAL in part for part in path.parts):
            yield path, partial(_damage_of_array, path)


def _damage_of_array(path: Path) -> str | None:
    receipt = read_receipt(path / RECEIPT_NAME)
    if receipt is None:
        return f"its {RECEIPT_NAME} cannot be read"
    found = measure(path)
    if found != (receipt.files, receipt.bytes):
        return f"{found[0]} files of {found[1]} bytes, {receipt.files} of {receipt.bytes} were written"
    return next(damage_below(path), None)


def _files(folder: Path) -> Iterator[tuple[Path, Check]]:
    run = RunDirectory(folder)
    for path in sorted(folder.glob("iterations/*/checkpoint/step_*.h5")):
        yield path, partial(damage_of_checkpoint, path)
    book = ReceiptBook(run.receipts)
    if run.config.exists():
        run = RunDirectory(folder, settings_from_yaml(TrainSettings, run.config).result_dir)
        for iteration, path in run.existing_models().items():
            yield path, partial(_damage_of_file, path, book, "train", f"{iteration:02d}")
    if run.retraining.exists():
        path = folder / f"{settings_from_yaml(RetrainSettings, run.retraining).name}.h5"
        if path.exists():
            yield path, partial(_damage_of_file, path, book, "train", "01")
    state = folder / STATE_FOLDER
    book = ReceiptBook(state / "receipts")
    for path in sorted((state / CANDIDATES).glob("*/*.h5")):
        yield path, partial(_damage_of_file, path, book, f"{CANDIDATES}_{path.parent.name}", path.stem)
    for path in sorted(folder.rglob("*_corrected.mrc")):
        stage = "correct" if path.parent == folder else f"correct_{path.parent.name}"
        yield path, partial(_damage_of_file, path, book, stage, path.stem.removesuffix("_corrected"))


def _damage_of_file(path: Path, book: ReceiptBook, stage: str, name: str) -> str | None:
    receipt = book.get(stage, name)
    if receipt is None:
        return None  # of another origin
    return None if checksum(path) == receipt.checksum else "its checksum does not fit"
