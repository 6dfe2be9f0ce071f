"""Runs the units of one stage: skips what is done, quarantines what cannot be done, records both.

One bad tomogram never stops a cohort. It is quarantined with its reason, and left there as long as the unit that
failed would be the same one again (`retry` or a repaired file change that).
"""

import json
import time
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from mwr_hpc.cluster.pool import Finished, Pool
from mwr_hpc.errors import (
    ConfigError,
    DamagedArrayError,
    DiskFullError,
    InputError,
    MwrError,
    StageError,
    StopRequested,
)
from mwr_hpc.events import Emit, Notice, ShouldStop, StageFinished, StageStarted, UnitFailed, UnitFinished
from mwr_hpc.io.atomic import atomic_file
from mwr_hpc.io.bounded_json import parse_json
from mwr_hpc.pipeline.makers import Makers
from mwr_hpc.pipeline.receipts import Receipt, ReceiptBook
from mwr_hpc.pipeline.units import Claim, Unit, finished, published, run_unit


@dataclass(frozen=True)
class Quarantined:
    """Why a tomogram is left out: the stage and key of the unit that failed, and whether its input is at fault."""

    identifier: str
    stage: str
    key: str
    reason: str
    input_at_fault: bool


class Quarantine:
    """The tomograms that are left out, one small file each.

    Parameters
    ----------
    folder
        Where the records lie.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        records = (Quarantined(**parse_json(path.read_text())) for path in sorted(folder.glob("*.json")))
        self._records = {record.identifier: record for record in records}

    def reasons(self, among: Collection[str]) -> dict[str, str]:
        """Why each tomogram of those `among` which a command works is left out."""
        return {
            identifier: f"{record.stage}: {record.reason}"
            for identifier, record in self._records.items()
            if identifier in among
        }

    def get(self, identifier: str) -> Quarantined | None:
        """The record of one tomogram, None when it is not quarantined."""
        return self._records.get(identifier)

    def __iter__(self) -> Iterator[Quarantined]:
        return iter(list(self._records.values()))

    def add(self, record: Quarantined) -> None:
        """Leave a tomogram out from now on."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(self._folder / f"{record.identifier}.json") as partial_file:
            partial_file.write_text(json.dumps(asdict(record)))
        self._records[record.identifier] = record

    def release(self, identifier: str) -> None:
        """Take a tomogram in again."""
        (self._folder / f"{identifier}.json").unlink(missing_ok=True)
        self._records.pop(identifier, None)


@dataclass(frozen=True)
class Outcome:
    """What a command reports at its end.

    Attributes
    ----------
    failed
        The quarantined tomograms and why.
    results
        What was published: files that the user asked for.
    """

    failed: dict[str, str] = field(default_factory=dict)
    results: list[Path] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0 all done, 1 some failed."""
        return 1 if self.failed else 0


def nothing_usable(what: str, reasons: Mapping[str, str]) -> InputError:
    """Build the error of a command that has nothing left to work on: why each tomogram was left out."""
    listed = "\n".join(f"  {identifier}: {reason}" for identifier, reason in reasons.items())
    return InputError(f"none of the {what}:\n{listed}")


class StageRunner:
    """Runs the stages of one run.

    Parameters
    ----------
    book, quarantine
        The run's receipts, and the tomograms that are left out.
    claim
        The right to publish.
    logs
        Folder for the tracebacks of failures that no input explains.
    makers
        Shared by the runners of one call, where it has several.
    """

    def __init__(
        self,
        book: ReceiptBook,
        quarantine: Quarantine,
        claim: Claim,
        logs: Path,
        emit: Emit,
        should_stop: ShouldStop,
        makers: Makers | None = None,
    ) -> None:
        self.book = book
        self.quarantine = quarantine
        self._claim = claim
        self._logs = logs
        self._emit = emit
        self._should_stop = should_stop
        self._makers = makers or Makers(emit)

    def run(self, stage: str, units: Sequence[Unit], pool: Pool) -> dict[str, Receipt]:
        """Do what is not done of `units`; a damaged array of this call that they read is made again before them.

        Parameters
        ----------
        stage
            The name under which the stage's receipts are folded.
        units
            One for each tomogram.
        pool
            Where they run.

        Returns
        -------
        dict
            The receipts by tomogram, of those done now and those done before.

        Raises
        ------
        StopRequested
            Somebody asked for a stop; what was running has been published or is undone.
        ConfigError
            A setting cannot work, which no tomogram is to blame for.
        DiskFullError
            No space is left.
        StageError
            The run has been taken over by another coordinator.
        """
        started = time.perf_counter()
        self._makers.note(units, pool)
        receipts, waiting = self._sorted(stage, units)
        self._makers.tell_of_unchecked(unit for unit in units if unit.name in receipts)
        skipped = len(receipts)
        self._emit(StageStarted(stage, len(receipts) + len(waiting), skipped))
        failed = self._work(waiting, pool, receipts)
        if len(receipts) - skipped + failed < len(waiting):
            raise StopRequested(f"stopped in {stage}: {len(receipts)} of {len(units)} units are done and kept")
        self.book.fold(stage, receipts.values())
        done = len(receipts) - skipped
        self._emit(StageFinished(stage, done, skipped, failed, time.perf_counter() - started))
        return receipts

    def _work(self, units: Sequence[Unit], pool: Pool, receipts: dict[str, Receipt]) -> int:
        """Do all of `units` and add their receipts; return how many failed."""
        failed = 0
        while units:
            hindered: list[tuple[Unit, DamagedArrayError]] = []
            for end in pool.run(partial(run_unit, claim=self._claim), units, self._should_stop):
                if damage := self._makers.damage(end.error):
                    hindered.append((end.task, damage))
                elif end.error is not None:
                    self._leave_out(end)
                    failed += 1
                else:
                    receipts[end.task.name] = end.result
                    self._take_back(end.task)
                    self._emit(UnitFinished(end.task.stage, end.task.name, end.result.seconds))
            made = self._makers.make_again([damage for _, damage in hindered], self._make_again)
            units = [unit for unit, damage in hindered if damage.path in made]
            failed += len(hindered) - len(units)
        return failed

    def _make_again(self, unit: Unit, pool: Pool) -> bool:
        """Do a unit whose published result is damaged; return whether it succeeded."""
        receipts: dict[str, Receipt] = {}
        failed = self._work([unit], pool, receipts)
        if not receipts and not failed:
            raise StopRequested(f"stopped before {unit.target} was made again")
        self.book.fold(unit.stage, receipts.values())
        return bool(receipts)

    def unfinished(self, stage: str, units: Sequence[Unit]) -> list[Unit]:
        """Those of `units` that `run` would do."""
        return self._sorted(stage, units)[1]

    def _sorted(self, stage: str, units: Sequence[Unit]) -> tuple[dict[str, Receipt], list[Unit]]:
        """The receipts of what is done, and what is to be done; neither has what is left out."""
        receipts: dict[str, Receipt] = {}
        waiting: list[Unit] = []
        for unit in units:
            if receipt := self._finished(unit):
                receipts[unit.name] = receipt
            elif not self._stays_out(unit):
                waiting.append(unit)
        return receipts, waiting

    def _finished(self, unit: Unit) -> Receipt | None:
        """The unit's valid receipt; what is not as its receipt says is reported."""
        recorded = self.book.get(unit.stage, unit.name) if unit.receipt else None
        receipt = finished(unit, recorded)
        if receipt is None and recorded is not None and published(unit, recorded):
            text = f"{unit.target}: not as it was written (its checksum does not fit); {unit.stage} makes it again"
            self._emit(Notice(text, warning=True))
        return receipt

    def run_one(self, unit: Unit, work: Callable[[], object]) -> Receipt:
        """Have `work` do one unit whose target is a file, unless it is done; its errors are raised as they are.

        A damaged array of this call that it meets is made again, and `work` called once more.

        Raises
        ------
        StageError
            `work` came back without a result.
        """
        receipt = self._finished(unit)
        self._emit(StageStarted(unit.stage, 1, 1 if receipt else 0))
        started, skipped = time.perf_counter(), receipt is not None
        while receipt is None:
            try:
                work()
            except DamagedArrayError as error:
                if not self._makers.make_again([error], self._make_again):
                    raise
                continue
            receipt = finished(unit, self.book.get(unit.stage, unit.name))
            if receipt is None:
                raise StageError(f"{unit.stage} {unit.name} ended without its result {unit.target}")
            self._emit(UnitFinished(unit.stage, unit.name, receipt.seconds))
        self.book.fold(unit.stage, [receipt])
        self._emit(StageFinished(unit.stage, int(not skipped), int(skipped), 0, time.perf_counter() - started))
        return receipt

    def _stays_out(self, unit: Unit) -> bool:
        record = self.quarantine.get(unit.name)
        if record is None or record.stage != unit.stage:
            return False
        return record.input_at_fault and record.key == unit.key

    def _take_back(self, unit: Unit) -> None:
        record = self.quarantine.get(unit.name)
        if record is not None and record.stage == unit.stage:
            self.quarantine.release(unit.name)

    def _leave_out(self, end: Finished) -> None:
        unit, error = end.task, end.error
        if isinstance(error, ConfigError | DiskFullError | StageError | StopRequested):
            raise error  # no tomogram is to blame
        reason = str(error)
        if not isinstance(error, MwrError):
            log = self._write_traceback(end)
            reason = f"{type(error).__name__}: {error} (a fault of the program; its traceback is in {log})"
        self.quarantine.add(Quarantined(unit.name, unit.stage, unit.key, reason, isinstance(error, InputError)))
        self._emit(UnitFailed(unit.stage, unit.name, reason))

    def _write_traceback(self, end: Finished) -> Path:
        self._logs.mkdir(parents=True, exist_ok=True)
        path = self._logs / f"{end.task.stage}_{end.task.name}.log"
        path.write_text("".join(traceback.format_exception(end.error)))
        return path
