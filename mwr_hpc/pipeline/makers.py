"""How the arrays that a call of a command reads were made, so that a damaged one can be made again."""

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from mwr_hpc.cluster.pool import Pool
from mwr_hpc.errors import DamagedArrayError, StageError
from mwr_hpc.events import Emit, Notice
from mwr_hpc.io.atomic import partial_path
from mwr_hpc.io.checksums import damage_below, is_sealed
from mwr_hpc.pipeline.units import Unit, finished


class Makers:
    """The units of a call by their targets, each of which may be made again once.

    Parameters
    ----------
    emit
        Called with every event.
    """

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._units: dict[Path, tuple[Unit, Pool]] = {}
        self._used: set[Path] = set()
        self._told_of_unchecked = False

    def note(self, units: Iterable[Unit], pool: Pool) -> None:
        """Remember which units make which targets, and where they run."""
        self._units.update({unit.target: (unit, pool) for unit in units})

    def damage(self, error: BaseException | None) -> DamagedArrayError | None:
        """Return the error if it is the damage of something that one of the units makes, else None."""
        return error if isinstance(error, DamagedArrayError) and error.path in self._units else None

    def make_again(self, errors: Iterable[DamagedArrayError], make: Callable[[Unit, Pool], bool]) -> set[Path]:
        """Have `make` make what is damaged, each once in a call; return what it made.

        Raises
        ------
        DamagedArrayError
            No unit of this call makes it.
        StageError
            It has been made again already: the storage does not keep what is written.
        """
        made = set()
        for path, error in {error.path: error for error in errors}.items():
            if path not in self._units:
                raise error
            if path in self._used:
                raise StageError(
                    f"{path}: damaged again after it was made again ({error.what}); check the disk, the file system "
                    "and the memory of this host, then start again"
                )
            self._used.add(path)
            unit, pool = self._units[path]
            self._emit(Notice(f"{path}: {error.what}; {unit.stage} makes it again", warning=True))
            if make(unit, pool):
                made.add(path)
        return made

    def tell_of_unchecked(self, done: Iterable[Unit]) -> None:
        """Report once in a call that there are arrays without checksums among those that are used."""
        if self._told_of_unchecked or all(unit.receipt is not None or is_sealed(unit.target) for unit in done):
            return
        self._told_of_unchecked = True
        self._emit(
            Notice(
                "arrays that version 0.1.0 wrote have no checksums: they are used as they are, and damage to them is "
                "not noticed"
            )
        )


def remove_damaged(units: Iterable[Unit], emit: Emit) -> None:
    """Read the arrays that are done and remove those that are damaged, so that they are made again.

    For arrays that another command reads, which cannot make them again by itself.
    """
    for unit in units:
        damage = next(damage_below(unit.target), None) if finished(unit) else None
        if damage is not None:
            emit(Notice(f"{unit.target}: {damage}; {unit.stage} makes it again", warning=True))
            aside = partial_path(unit.target)  # whatever kills this process, no half of it is left under its name
            unit.target.rename(aside)
            shutil.rmtree(aside)
