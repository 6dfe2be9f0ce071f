"""A sweep of predictions, every model by every tomogram: its shares, who may work on which, the table of results."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from mwr_hpc.errors import InputError
from mwr_hpc.io.atomic import atomic_file
from mwr_hpc.io.star import write_star
from mwr_hpc.pipeline.lock import RunLock, critical_section
from mwr_hpc.pipeline.receipts import ReceiptBook
from mwr_hpc.pipeline.stages import Quarantine
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
}
"""Columns of results.csv, and the same in results.star."""


@dataclass(frozen=True)
class Planned:
    """One model by one tomogram: the unit that corrects, and the one that copies the result to OME-Zarr, or None."""

    model: Path
    unit: Unit
    copy: Unit | None


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
def locked(state: Path, share: Share | None) -> Iterator[RunLock]:
    """Hold the sweep, or one share of it: shares of the same number go on side by side, anything else excludes them.

    Raises
    ------
    ConfigError
        Somebody else works on what this would work on.
    """
    name = "lock.json"
    own = share.file(name) if share else name
    beside = {Share(index, share.number).file(name) for index in range(share.number)} if share else {name}
    with RunLock(state / own) as lock:
        # Both of two that start at once see the other's lock; then neither works.
        for other in state.glob("lock*.json"):
            if other.name not in beside:
                with RunLock(other):  # refuses unless its holder is dead
                    pass
        yield lock


def quarantine_of(state: Path, stage: str) -> Quarantine:
    """The tomograms that one model's stage leaves out."""
    return Quarantine(state / "quarantine" / stage)


@dataclass(frozen=True)
class Row:
    """One line of the table; `status` is done, failed or waiting."""

    model: str
    tomogram: str
    path: str
    status: str
    reason: str = ""
    seconds: float | None = None
    host: str = ""


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
        return Row(*named, "done", seconds=receipt.seconds, host=receipt.host)
    record = quarantine.get(unit.name)
    return Row(*named, "failed", _one_line(record.reason)) if record else Row(*named, "waiting")


def _unusable(problems: Mapping[str, str]) -> Iterator[tuple[str, str, str, str]]:
    for identifier, reason in problems.items():
        yield identifier, "", "failed", _one_line(reason)


def _shown(record: dict[str, Any]) -> dict[str, Any]:
    """A record whose names a table can hold."""
    return {name: printable(value) if isinstance(value, str) else value for name, value in record.items()}


def _one_line(text: str) -> str:
    return printable("; ".join(text.splitlines()))
