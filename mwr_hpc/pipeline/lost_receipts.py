"""Models whose receipts a crash has damaged: known again by their own checksums, so that no training is lost."""

from pathlib import Path

from mwr_hpc.errors import InputError
from mwr_hpc.events import Emit, Notice
from mwr_hpc.missing_wedge.network import METHOD
from mwr_hpc.pipeline.receipts import Receipt, ReceiptBook, checksum
from mwr_hpc.pipeline.training_units import own_models
from mwr_hpc.run_directory import RunDirectory
from mwr_hpc.training.model_file import read_model


def require_own_models(run: RunDirectory, book: ReceiptBook) -> None:
    """See that no model of another run lies where this run's shall be.

    Raises
    ------
    InputError
        There is one without a receipt of this run, which was not lost either.
    """
    lost, own = lost_models(run, book), own_models(run, book)
    for iteration, path in run.existing_models().items():
        if iteration not in own and iteration not in lost:
            damaged = f" (some of its receipts, in {run.receipts}, are damaged)" if book.is_damaged("train") else ""
            raise InputError(
                f"{path}: a model that the run in {run.root} did not make{damaged}; move it away, or choose another "
                "--result_dir"
            )


def lost_models(run: RunDirectory, book: ReceiptBook) -> dict[int, Path]:
    """Return the models, by iteration, whose receipts are damaged and which are sound by their own checksums."""
    if not book.is_damaged("train"):
        return {}
    own = own_models(run, book)
    without = {iteration: path for iteration, path in run.existing_models().items() if iteration not in own}
    return {iteration: path for iteration, path in without.items() if _is_sound(path, iteration)}


def rebuild_receipts(run: RunDirectory, book: ReceiptBook, emit: Emit) -> None:
    """Write receipts for the models whose own are damaged; what they were made from is not known any more."""
    rebuilt = {iteration: _receipt(iteration, path) for iteration, path in lost_models(run, book).items()}
    if rebuilt:
        book.fold("train", rebuilt.values())
        names = ", ".join(run.model(iteration).name for iteration in rebuilt)
        emit(Notice(f"{run.receipts}: receipts of {names} are damaged; written anew, as the models are sound", True))


def _is_sound(path: Path, iteration: int) -> bool:
    try:
        description, _ = read_model(path, METHOD)
    except InputError:
        return False
    return description.get("iteration") == iteration


def _receipt(iteration: int, path: Path) -> Receipt:
    return Receipt(
        key="",
        stage="train",
        name=f"{iteration:02d}",
        figures={},
        files=1,
        bytes=path.stat().st_size,
        checksum=checksum(path),
        seconds=0.0,
        cpu_seconds=0.0,
        peak_memory=0,
        host="",
        attempt=0,
        versions={},
    )
