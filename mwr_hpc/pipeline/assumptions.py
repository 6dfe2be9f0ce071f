"""Tells what had to be assumed to read files: once for each command, however often they are read."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from mwr_hpc.errors import InputError
from mwr_hpc.events import Emit, Notice
from mwr_hpc.io.micrograph import header_of
from mwr_hpc.io.mrc_fields import Signedness
from mwr_hpc.io.mrc_header import read_header
from mwr_hpc.missing_wedge.entries import Cohort
from mwr_hpc.printable import first_of


def tell_assumptions(cohort: Cohort, emit: Emit) -> None:
    """Warn of what was assumed to read the tomograms of a cohort and what belongs to them."""
    tell_notes((note for entry in cohort.entries for note in entry.notes), emit)


def tell_notes(notes: Iterable[tuple[Path, str]], emit: Emit) -> None:
    """Warn of what was assumed to read files, each a path and a text; one warning for all files of one text."""
    by_text: dict[str, list[str]] = defaultdict(list)
    for path, text in notes:
        by_text[text].append(str(path))
    for text, paths in by_text.items():
        emit(Notice(f"{first_of(paths)}: {text}", warning=True))


def tell_kept_readings(identifiers: Sequence[str], emit: Emit) -> None:
    """Warn of tomograms that an earlier version has read as signed, and that stay so in their run."""
    if identifiers:
        text = (
            f"{first_of(identifiers)}: converted by version 0.1.0, which read their bytes as signed; they are "
            "unsigned. They stay as they are in this run; start a new one (--run_dir) to have them read rightly"
        )
        emit(Notice(text, warning=True))


def readings_of(micrographs: Iterable[Path], given: Signedness | None, emit: Emit) -> dict[Path, dict[str, str]]:
    """Read the headers of micrographs and warn of what was assumed.

    Returns
    -------
    dict
        For each the parameter of a unit that reads it: "bytes" where it would read them in another way, else nothing.
        One that cannot be read is left to its unit, which says why.
    """
    readings: dict[Path, dict[str, str]] = {}
    notes: list[tuple[Path, str]] = []
    for path in micrographs:
        readings[path] = {}
        try:
            header = header_of(path, given)
        except InputError:  # the unit raises it again, for this micrograph alone
            continue
        if header is not None:
            notes += [(path, note) for note in header.notes]
            if told := header.told_signedness(given):
                readings[path]["bytes"] = told
    tell_notes(notes, emit)
    return readings


def tell_of_maps(paths: Iterable[Path], given: Signedness | None, emit: Emit) -> None:
    """Warn of what is assumed to read density maps; `given` is what the user says of their bytes.

    Raises
    ------
    InputError
        One cannot be read.
    """
    tell_notes(((path, note) for path in paths for note in read_header(path, given).notes), emit)
