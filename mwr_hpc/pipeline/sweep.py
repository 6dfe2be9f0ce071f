"""A sweep of predictions, every model by every tomogram: its shares, who may work on which, the table of results."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from mwr_hpc.errors import ConfigError, InputError
from mwr_hpc.events import Emit, ShouldStop
from mwr_hpc.io.atomic import atomic_file
from mwr_hpc.io.star import write_star
from mwr_hpc.pipeline.corrections import change_in
from mwr_hpc.pipeline.lock import RunLock, critical_section
from mwr_hpc.pipeline.quarantine import Quarantine
from mwr_hpc.pipeline.receipts import Receipt, ReceiptBook
from mwr_hpc.pipeline.units import Unit, published
from mwr_hpc.printable import printable

TABLES = ("results.csv", "results.star")

Item = TypeVar("Item")

COLUMNS = {
    "model": "mwrModel",
    "tomogram": "rlnTomoName",
    "path": "rlnMicrographName",
    "status": "mwrStatus",
    "reason": "mwrReason",
    "seconds": "mwrSeconds",
    "host": "mwrHost",
    "wedge_fill": "mwrWedgeFill",
    "wedge_fill_before": "mwrWedgeFillBefore",
    "changed": "mwrChanged",
}
"""Columns of results.csv, and the same in results.star."""


@dataclass(frozen=True)
class Planned:
    """One model by one tomogram: the units that correct it, draw it, and copy it to OME-Zarr, or None."""

    model: Path
    unit: Unit
    figure: Unit
    copy: Unit | None

    @property
    def units(self) -> list[Unit]:
        """All of them."""
        return [self.unit, self.figure, *([self.copy] if self.copy is not None else [])]


@dataclass(frozen=True)
class Share:
    """Part `index` (from 0) of `number` of a sweep: what one element of an array of jobs does."""

    index: int
    number: int

    @classmethod
    def parse(cls, text: str | None) -> "Share | None":
        """Read ``I/N``, as the settings have checked it."""
        if text is None:
            return None
        index, _, number = text.partition("/")
        return cls(int(index), int(number))

    def of(self, items: Sequence[Item]) -> Sequence[Item]:
        """This share's items."""
        return items[self.index :: self.number]

    def file(self, name: str) -> str:
        """`name` of a file that each share has for itself."""
        stem, dot, extension = name.partition(".")
        return f"{stem}_{self.index}_of_{self.number}{dot}{extension}"


@contextmanager
def locked(state: Path, share: Share | None, emit: Emit, should_stop: ShouldStop) -> Iterator[RunLock]:
    """Hold the sweep, or one share of it: shares of the same number go on side by side, anything else excludes them.

    Raises
    ------
    ConfigError
        Somebody else works on what this would work on, or the file system cannot keep shares apart.
    """
    name = "lock.json"
    own = share.file(name) if share else name
    beside = {Share(index, share.number).file(name) for index in range(share.number)} if share else {name}
    with RunLock(state / own, option="folder", emit=emit, should_stop=should_stop) as lock:
        if share and not lock.exclusive:
            raise ConfigError(
                f"{state.parent}: its file system has no file locks (flock), without which shares would overwrite one "
                "another's table of results: do all in one call without --share, or choose --out on another file system"
            )
        # Both of two that start at once see the other's lock; then neither works.
        for other in state.glob("lock*.json"):
            if other.name not in beside:
                # Refuses unless its holder is dead.
                with RunLock(other, option="folder", emit=emit, should_stop=should_stop):
                    pass
        yield lock


def quarantine_of(state: Path, stage: str) -> Quarantine:
    """The tomograms that one model's stage leaves out."""
    return Quarantine(state / "quarantine" / stage)


@dataclass(frozen=True)
class Row:
    """One line of the table; `status` is done, failed or waiting, the last three figures are those of `Change`."""

    model: str
    tomogram: str
    path: str
    status: str
    reason: str = ""
    seconds: float | None = None
    host: str = ""
    wedge_fill: float | None = None
    wedge_fill_before: float | None = None
    changed: float | None = None


def require_own_tables(out: Path, state: Path) -> None:
    """See that the tables of results replace none but those of an earlier call.

    Raises
    ------
    InputError
        Another file has the name of one, in a folder where this program has not worked yet.
    """
    for path in (out / name for name in TABLES):
        if path.exists() and not state.is_dir():
            raise InputError(
                f"{path}: is there, but this command did not make it; move it away, or choose another --out"
            )


def write_results(
    out: Path,
    plan: Sequence[Planned],
    problems: Mapping[str, str],
    models: Sequence[Path],
    book: ReceiptBook,
    state: Path,
) -> None:
    """Write ``results.csv`` and ``results.star``: what has become of every model by every tomogram so far.

    Each share writes the whole table from the receipts of all, one share at a time, so the last one's is complete.
    """
    with critical_section(state / "results.json"):
        quarantines = {one.unit.stage: quarantine_of(state, one.unit.stage) for one in plan}
        rows = [_row(one, book, quarantines[one.unit.stage]) for one in plan]
        unusable = [Row(str(model), *item) for model in models for item in _unusable(problems)]
        records = [_shown(asdict(row)) for row in sorted([*rows, *unusable], key=lambda row: (row.model, row.tomogram))]
        with atomic_file(out / TABLES[0]) as partial, partial.open("w", newline="") as stream:
            table = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
            table.writeheader()
            table.writerows(records)
        star = [{column: record[name] for name, column in COLUMNS.items()} for record in records]
        write_star(out / TABLES[1], "results", star)


def _row(planned: Planned, book: ReceiptBook, quarantine: Quarantine) -> Row:
    unit = planned.unit
    named = str(planned.model), unit.name, str(unit.target)
    receipt = published(unit, book.get(unit.stage, unit.name) if unit.receipt else None)
    if receipt is not None:
        return _done_row(named, receipt)
    record = quarantine.get(unit.name)
    return Row(*named, "failed", _one_line(record.reason)) if record else Row(*named, "waiting")


def _done_row(named: tuple[str, str, str], receipt: Receipt) -> Row:
    row = Row(*named, "done", seconds=receipt.seconds, host=receipt.host)
    if (change := change_in(receipt)) is None:
        return row
    figures = (change.wedge_fill, change.wedge_fill_before, change.measured)
    fill, before, changed = (None if figure is None else round(figure, 5) for figure in figures)
    return replace(row, wedge_fill=fill, wedge_fill_before=before, changed=changed)


def _unusable(problems: Mapping[str, str]) -> Iterator[tuple[str, str, str, str]]:
    for identifier, reason in problems.items():
        yield identifier, "", "failed", _one_line(reason)


def _shown(record: dict[str, Any]) -> dict[str, Any]:
    """A record whose names a table can hold."""
    return {name: printable(value) if isinstance(value, str) else value for name, value in record.items()}


def _one_line(text: str) -> str:
    return printable("; ".join(text.splitlines()))
