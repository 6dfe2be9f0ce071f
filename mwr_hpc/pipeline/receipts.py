"""Receipts: what was done, by what, from what; the only proof that a unit of work is complete."""

import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mwr_hpc.io.atomic import atomic_file
from mwr_hpc.io.records import Record, read_lines, read_record
from mwr_hpc.io.volume import mrc_files

SCHEMA = 1
"""Raised when a stage's output changes its meaning: everything that was made before is then made again."""

RECEIPT_NAME = "receipt.json"
"""The receipt's name inside a published directory."""


DONE_AGAIN = "what it said is done is done again"

CHECK = "crc32"
"""Of a receipt's text, beside what it says: a flipped digit would look as good as the right one."""


@dataclass(frozen=True)
class Receipt:
    """The record of one finished unit of work.

    Attributes
    ----------
    key
        SHA-256 of stage, parameters, inputs and schema: same key, same result.
    figures
        What the stage says of its result (statistics, counts, losses).
    files, bytes
        What lies at the target; a target that differs is done again.
    checksum
        SHA-256 of a file target; None for a directory, whose files are counted.
    seconds, cpu_seconds, peak_memory
        Wall time, processor time and the process's largest resident size in bytes while it worked at this unit.
    """

    key: str
    stage: str
    name: str
    figures: dict[str, Any]
    files: int
    bytes: int
    checksum: str | None
    seconds: float
    cpu_seconds: float
    peak_memory: int
    host: str
    attempt: int
    versions: dict[str, str]


def unit_key(stage: str, parameters: Mapping[str, Any], inputs: Mapping[str, Any]) -> str:
    """SHA-256 of what determines a unit's result; `inputs` are keys of units or fingerprints of files."""
    text = json.dumps([SCHEMA, stage, parameters, inputs], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def fingerprint(path: Path | None) -> str | None:
    """What identifies a file outside the run without reading it: path, size and modification time.

    Of a Zarr directory, which is published whole, its metadata file stands for all; of another folder the MRC files in
    it, which are all that is read of it.
    """
    if path is None:
        return None
    if path.is_dir() and not (path / "zarr.json").exists():
        return ";".join(str(fingerprint(inner)) for inner in mrc_files(path))
    status = (path / "zarr.json" if path.is_dir() else path).stat()
    return f"{path.resolve()}:{status.st_size}:{status.st_mtime_ns}"


def checksum(path: Path) -> str:
    """SHA-256 of a file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def measure(target: Path) -> tuple[int, int]:
    """Number and bytes of the files at `target`, the receipt itself not counted."""
    if target.is_file():
        return 1, target.stat().st_size
    sizes = [path.stat().st_size for path in target.rglob("*") if path.is_file() and path.name != RECEIPT_NAME]
    return len(sizes), sum(sizes)


def write_receipt(path: Path, receipt: Receipt) -> None:
    """Write one receipt, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as partial:
        partial.write_text(_line(receipt))


def read_receipt(path: Path, damage: list[str] | None = None) -> Receipt | None:
    """Return the receipt at `path`; None when there is none, or a damaged one, which `damage` then names."""
    told: list[str] = []
    record = read_record(path, told, DONE_AGAIN)
    receipt = record and _receipt(record)
    if record is not None and receipt is None:
        told.append(f"{path}: damaged; {DONE_AGAIN}")
    if damage is not None:
        damage += told
    return receipt or None


class ReceiptBook:
    """The receipts of the units whose targets are files, and the history of all: ``receipts/`` of a run.

    A unit's own receipt lies at ``<stage>/<name>.json`` until the stage is finished; then the stage's receipts are
    folded into ``<stage>.jsonl``, so that a thousand tomograms do not leave a thousand small files.

    Parameters
    ----------
    folder
        Where they lie.
    shared
        Whether others write receipts of the same stages: then nothing is folded.
    """

    def __init__(self, folder: Path, shared: bool = False) -> None:
        self.folder = folder
        self._shared = shared
        self._folded: dict[str, dict[str, Receipt]] = {}
        self._damaged: set[str] = set()
        self._damage: list[str] = []

    def path(self, stage: str, name: str) -> Path:
        """Where the unit's own receipt lies until it is folded."""
        return self.folder / stage / f"{name}.json"

    def get(self, stage: str, name: str) -> Receipt | None:
        """The newest receipt of a unit."""
        return read_receipt(self.path(stage, name), self._damage) or self._read_folded(stage).get(name)

    def is_damaged(self, stage: str) -> bool:
        """Whether receipts of a finished stage were lost."""
        self._read_folded(stage)
        return stage in self._damaged

    def take_damage(self) -> list[str]:
        """Name the files, of those read so far, that are damaged; each once."""
        damage, self._damage = dict.fromkeys(self._damage), []
        return list(damage)

    def fold(self, stage: str, receipts: Iterable[Receipt]) -> None:
        """Fold the receipts of a finished stage into one file and remove the separate ones."""
        if self._shared:
            return
        folded = self._read_folded(stage) | {receipt.name: receipt for receipt in receipts}
        if folded != self._read_folded(stage):
            self._write_folded(stage, folded)
        own = self.folder / stage
        for name in folded:
            self.path(stage, name).unlink(missing_ok=True)
        if own.is_dir() and not any(own.iterdir()):
            own.rmdir()

    def forget(self, stage: str, names: Iterable[str]) -> None:
        """Drop the receipts of units whose results are set aside."""
        dropped = set(names)
        kept = {name: receipt for name, receipt in self._read_folded(stage).items() if name not in dropped}
        for name in dropped:
            self.path(stage, name).unlink(missing_ok=True)
        self._write_folded(stage, kept)

    def _write_folded(self, stage: str, receipts: dict[str, Receipt]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(self.folder / f"{stage}.jsonl") as partial:
            partial.write_text("".join(_line(receipts[name]) + "\n" for name in sorted(receipts)))
        self._folded[stage] = receipts

    def _read_folded(self, stage: str) -> dict[str, Receipt]:
        if stage not in self._folded:
            path = self.folder / f"{stage}.jsonl"
            damage: list[str] = []
            records = read_lines(path, damage, DONE_AGAIN)
            receipts = [receipt for record in records if (receipt := _receipt(record)) is not None]
            if len(receipts) < len(records):
                damage.append(f"{path}: {len(records) - len(receipts)} receipts in it are damaged; {DONE_AGAIN}")
            if damage:
                self._damaged.add(stage)
                self._damage += damage
            self._folded[stage] = {receipt.name: receipt for receipt in receipts}
        return self._folded[stage]


def _line(receipt: Receipt) -> str:
    record = json.loads(json.dumps(asdict(receipt)))
    return json.dumps({**record, CHECK: _check(record)}, sort_keys=True)


def _receipt(record: Record) -> Receipt | None:
    """Return the receipt that a record holds, None where it is damaged; those of version 0.1.0 carry no checksum."""
    found = record.pop(CHECK, None)
    try:
        receipt = Receipt(**record)
    except TypeError:
        return None
    sound = found == _check(record) if found is not None else isinstance(receipt.figures, dict)
    return receipt if sound and isinstance(receipt.key, str) and isinstance(receipt.name, str) else None


def _check(record: Record) -> int:
    return zlib.crc32(json.dumps(record, sort_keys=True).encode())
