"""The tomograms that a run leaves out, and why: one small file each."""

import json
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from mwr_hpc.io.atomic import atomic_file
from mwr_hpc.io.records import read_record


@dataclass(frozen=True)
class Quarantined:
    """Why a tomogram is left out: the stage and key of the unit that failed, and whether its input is at fault."""

    identifier: str
    stage: str
    key: str
    reason: str
    input_at_fault: bool


class Quarantine:
    """The tomograms that are left out.

    Parameters
    ----------
    folder
        Where the records lie.

    Attributes
    ----------
    damage
        A sentence for each record that cannot be read; its tomogram counts as not left out, so it is tried again.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._records: dict[str, Quarantined] = {}
        self._damaged: list[Path] = []
        self.damage: list[str] = []
        for path in sorted(folder.glob("*.json")):
            record = _read(path, self.damage)
            if record is None:
                self._damaged.append(path)
            else:
                self._records[record.identifier] = record

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

    def remove_damaged(self) -> None:
        """Remove the records that cannot be read: only for who holds the run and has named them."""
        for path in self._damaged:
            path.unlink(missing_ok=True)
        self._damaged, self.damage = [], []


def _read(path: Path, damage: list[str]) -> Quarantined | None:
    then = "it said why this tomogram is left out, which is tried again at the next start"
    content = read_record(path, damage, then)
    if content is None:
        return None
    texts = (content.get("stage"), content.get("key"), content.get("reason"))
    known = content.keys() == Quarantined.__dataclass_fields__.keys()
    if known and content["identifier"] == path.stem and all(isinstance(text, str) for text in texts):
        return Quarantined(**content)
    damage.append(f"{path}: damaged; {then}")
    return None
