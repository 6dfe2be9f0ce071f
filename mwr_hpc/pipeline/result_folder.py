"""A folder of results that one stage makes on this machine: its lock, receipts, quarantine, events and logs.

They lie in the folder's state folder, where `status` and `retry` find them as they find those of a sweep.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mwr_hpc.events import Emit, ShouldStop
from mwr_hpc.io.atomic import disk_full_reported, without_partials
from mwr_hpc.pipeline.event_log import recording
from mwr_hpc.pipeline.quarantine import Quarantine
from mwr_hpc.pipeline.receipts import ReceiptBook
from mwr_hpc.pipeline.stages import StageRunner
from mwr_hpc.pipeline.sweep import locked
from mwr_hpc.pipeline.units import Claim, Unit, partials_removed
from mwr_hpc.run_directory import STATE_FOLDER


def book_of(folder: Path) -> ReceiptBook:
    """The receipts of a folder of results."""
    return ReceiptBook(folder / STATE_FOLDER / "receipts")


@contextmanager
def working_in(folder: Path, units: Sequence[Unit], emit: Emit, should_stop: ShouldStop) -> Iterator[StageRunner]:
    """Hold `folder` while `units`, all of one stage, are done by the runner that is yielded.

    Raises
    ------
    ConfigError
        Another process holds the folder.
    DiskFullError
        No space is left.
    """
    state = folder / STATE_FOLDER
    with (
        disk_full_reported(folder),
        locked(state, None, emit, should_stop) as lock,
        without_partials([], [state], lock.is_held),
        partials_removed(units, lock.is_held),
    ):
        quarantine = Quarantine(state / "quarantine" / units[0].stage)
        claim = Claim(lock.path, lock.token)
        log = recording(state / "events.jsonl", emit)
        yield StageRunner(book_of(folder), quarantine, claim, state / "logs", log, should_stop)
