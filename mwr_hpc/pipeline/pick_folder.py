"""The folder that picking writes to: the only owner of its paths, and the lists of all particles in it."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from mwr_hpc.errors import InputError
from mwr_hpc.io.atomic import atomic_file
from mwr_hpc.io.bounded_json import parse_json
from mwr_hpc.io.picks import PickTable, read_picks, write_picks
from mwr_hpc.pipeline.lock import critical_section
from mwr_hpc.pipeline.receipts import ReceiptBook, checksum
from mwr_hpc.pipeline.stages import Quarantine
from mwr_hpc.pipeline.units import Unit, published
from mwr_hpc.run_directory import CANDIDATES, STATE_FOLDER

BY_HAND = 1.0
"""Score in the list of all of particles that have none because somebody added them."""


@dataclass(frozen=True)
class PickFolder:
    """Names the files of one picking.

    Attributes
    ----------
    root
        The folder, mostly that of the micrographs.
    suffix
        What tells the files of one picking from those of others.
    """

    root: Path
    suffix: str

    @property
    def state(self) -> Path:
        """What this program keeps for itself."""
        return self.root / STATE_FOLDER

    @property
    def list_of_all(self) -> Path:
        """All particles."""
        return self.root / f"picks_{self.suffix}.star"

    @property
    def table(self) -> Path:
        """What has become of every micrograph."""
        return self.root / f"picks_{self.suffix}.csv"

    @property
    def all_candidates(self) -> Path:
        """Folder of the candidates."""
        return self.state / CANDIDATES / self.suffix

    @property
    def record(self) -> Path:
        """With which model and by what rules this was picked."""
        return self.state / f"picked_{self.suffix}.json"

    def candidates(self, name: str) -> Path:
        """What the network saw in a micrograph."""
        return self.all_candidates / f"{name}.h5"

    def particles(self, name: str, kind: str = "star") -> Path:
        """Particles of a micrograph."""
        return self.root / "matching" / f"{name}_{self.suffix}.{kind}"

    def mask(self, name: str) -> Path:
        """Contamination of a micrograph."""
        return self.root / "mask" / f"{name}.tif"

    def write_record(self, record: Mapping[str, Any]) -> None:
        """Note the model and the rules."""
        with atomic_file(self.record) as partial:
            partial.write_text(json.dumps(record, indent=1))


def read_record(root: Path, suffix: str | None) -> tuple[PickFolder, dict[str, Any]]:
    """Find what was picked into a folder, and how.

    Raises
    ------
    InputError
        Nothing was, or by several models and none is named.
    """
    found = {path.stem.removeprefix("picked_"): path for path in sorted((root / STATE_FOLDER).glob("picked_*.json"))}
    if suffix is None and len(found) == 1:
        suffix = next(iter(found))
    if suffix not in found:
        asked = f"no picks of the suffix {suffix}" if suffix else "several picks" if found else "no picks"
        there = f"there are {', '.join(found)}: name one by --suffix" if found else "run `mwr-hpc boxnet pick` first"
        raise InputError(f"{root}: {asked}; {there}")
    folder = PickFolder(root, suffix)
    record: dict[str, Any] = parse_json(found[suffix].read_text())
    return folder, record


class Standing(Enum):
    """Whose a file is that a unit would write."""

    ABSENT = "absent"
    OURS = "ours"
    CORRECTED = "corrected"
    FOREIGN = "foreign"


def standing(unit: Unit, book: ReceiptBook) -> Standing:
    """Whose the file at a unit's target is: as this program wrote it, corrected by hand since, or of another origin."""
    if not unit.target.exists():
        return Standing.ABSENT
    receipt = book.get(unit.stage, unit.name)
    if receipt is None:
        return Standing.FOREIGN
    return Standing.OURS if checksum(unit.target) == receipt.checksum else Standing.CORRECTED


@dataclass(frozen=True)
class Row:
    """One line of the table; `status` is done, corrected (by hand, since it was picked), failed or waiting."""

    micrograph: str
    status: str
    particles: int | None = None
    reason: str = ""


def write_lists(
    folder: PickFolder,
    units: Sequence[Unit],
    quarantines: Sequence[Quarantine],
    book: ReceiptBook,
) -> None:
    """Write the list of all particles and the table of all micrographs, from the files that are there.

    Each share of a sweep writes the whole of both, one share at a time, so the last one's are complete.

    Parameters
    ----------
    folder
        Where.
    units
        Those that write the STAR file of each micrograph.
    quarantines
        Why some micrographs are left out.
    book
        The receipts of all.
    """
    with critical_section(folder.state / f"lists_{folder.suffix}.json"):
        rows, tables = [], []
        for unit in units:
            reason = next((record.reason for one in quarantines if (record := one.get(unit.name))), "")
            corrected = standing(unit, book) is Standing.CORRECTED
            if corrected or published(unit, book.get(unit.stage, unit.name)):
                try:
                    tables.append(read_picks(unit.target))
                    rows.append(Row(unit.name, "corrected" if corrected else "done", len(tables[-1])))
                except InputError as error:  # what somebody wrote
                    rows.append(Row(unit.name, "failed", reason=_one_line(str(error))))
            else:
                rows.append(Row(unit.name, "failed" if reason else "waiting", reason=_one_line(reason)))
        with atomic_file(folder.table) as partial, partial.open("w", newline="") as stream:
            table = csv.DictWriter(stream, list(Row.__dataclass_fields__), lineterminator="\n")
            table.writeheader()
            table.writerows(asdict(row) for row in sorted(rows, key=lambda row: row.micrograph))
        _write_all(folder, tables)


def _write_all(folder: PickFolder, tables: Sequence[PickTable]) -> None:
    x = np.concatenate([np.empty(0), *(table.x for table in tables)])
    y = np.concatenate([np.empty(0), *(table.y for table in tables)])
    scores = [np.full(len(table), BY_HAND) if table.scores is None else table.scores for table in tables]
    names = [name for table in tables for name in _names(table, folder.suffix)]
    write_picks(folder.list_of_all, x, y, names, np.concatenate([np.empty(0), *scores]))


def _names(table: PickTable, suffix: str) -> Sequence[str]:
    return table.micrographs or [table.path.stem.removesuffix(f"_{suffix}")] * len(table)


def _one_line(text: str) -> str:
    return "; ".join(text.splitlines())
