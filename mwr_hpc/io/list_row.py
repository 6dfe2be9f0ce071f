"""One line of a list as text: values are looked up by column, and it is remembered which column gave what."""

import math
import os
from dataclasses import dataclass, field
from pathlib import Path

from mwr_hpc.errors import InputError
from mwr_hpc.io.star_text import StarTable
from mwr_hpc.io.text import number_of

NOT_USED = "not used"
"""Under which the columns are named that hold something and gave nothing."""

MISSING = ("", "none", "<na>", "nan", "null")


@dataclass(frozen=True)
class ListRow:
    """One line of a list.

    Attributes
    ----------
    source, line
        Where it stands.
    record
        Its texts by column; None where there is none.
    origins
        Which columns have given what, so far.
    used
        The columns that gave something, so far.
    """

    source: Path
    line: int
    record: dict[str, str | None]
    origins: dict[str, str] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, source: Path, table: StarTable, row: int) -> "ListRow":
        """Take a row of a table."""
        return cls(source, table.lines[row], {name: _text(values[row]) for name, values in table.columns.items()})

    def note(self, what: str, *columns: str) -> None:
        """Remember from which columns a value comes."""
        self.used.update(columns)
        self.origins[what] = f"{' and '.join(columns)} of {self.source.name}"

    def origins_of_all(self) -> dict[str, str]:
        """Return which columns have given what, and as `NOT_USED` those that hold something else."""
        unused = [column for column, text in self.record.items() if text is not None and column not in self.used]
        return self.origins | ({NOT_USED: f"{', '.join(unused)} of {self.source.name}"} if unused else {})

    def value(self, what: str, *columns: str) -> str | None:
        """Return the text of the first of some columns that has one."""
        for column in columns:
            if (text := self.record.get(column)) is not None:
                self.note(what, column)
                return text
        return None

    def path(self, what: str, *columns: str) -> Path | None:
        """Return a path, from where the first of some columns that has one starts: the list's folder, or one above."""
        text = self.value(what, *columns)
        if text is None:
            return None
        folder = self.source.absolute().parent
        texts = [text, *_as_bytes_of_latin1(text)]
        places = [start / text for start in (folder, *folder.parents, Path()) for text in texts]
        return next((place for place in places if os.path.exists(place)), places[0]).absolute()

    def size(self, column: str) -> float | None:
        """Return a size; one that cannot be is worse than none, and 0 says that it is not known."""
        size = self.number(column)
        if size is not None and not 0 <= size < math.inf:
            raise InputError(f"{self.source}: line {self.line} has {size:g} as {column}; expected a size above 0")
        return size or None

    def number(self, column: str) -> float | None:
        """Return a number."""
        text = self.record.get(column)
        try:
            return None if text is None else number_of(text)
        except ValueError as error:
            raise InputError(f"{self.source}: line {self.line} has {text!r} as {column}; expected a number") from error


def _as_bytes_of_latin1(text: str) -> list[str]:
    """Return the spelling of a path whose bytes are those of a list in Latin-1, where it has such letters."""
    if text.isascii():
        return []
    try:
        return [os.fsdecode(text.encode("latin-1"))]
    except UnicodeEncodeError:
        return []


def _text(value: str) -> str | None:
    text = value.strip()
    return None if text.lower() in MISSING else text
