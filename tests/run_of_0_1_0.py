"""Unpacks the training runs that version 0.1.0 left, and notes what must not change when they go on."""

import fcntl
import importlib.util
import json
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FIXTURES = Path(__file__).parent / "fixtures"


def _maker() -> Any:
    specification = importlib.util.spec_from_file_location("make_run_of_0_1_0", FIXTURES / "make_run_of_0_1_0.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


MAKER = _maker()
PLACE: Path = MAKER.PLACE


def command(run: str) -> list[str]:
    """Return the command that made a run, ``half`` or ``finished``, and that goes on with it."""
    return MAKER.command(run)


@contextmanager
def unpacked() -> Iterator[Path]:
    """Unpack the runs where they were made, which their keys hold, and remove them in the end.

    Two test sessions wait for one another.
    """
    with PLACE.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.rmtree(PLACE, ignore_errors=True)
        try:
            with tarfile.open(FIXTURES / "run_of_0_1_0.tar.gz") as packed:
                packed.extractall(PLACE.parent, filter="data")
            yield PLACE
        finally:
            shutil.rmtree(PLACE, ignore_errors=True)


def finished_work(run: Path) -> dict[str, tuple[int, bytes]]:
    """Return modification time and bytes of what finished units published: arrays, models and their receipts."""
    places = ("tomograms", "subtomograms", "iterations/*/pairs", "iterations/*/predicted", "results")
    files = [path for place in places for folder in run.glob(place) for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(run)): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def receipts(run: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the receipts of a run by stage and unit, less the checksum that later versions add to a record."""
    lines = [json.loads(line) for path in sorted(run.glob("receipts/*.jsonl")) for line in path.open()]
    return {(line["stage"], line["name"]): {**line, "crc32": None} for line in lines}


def events(run: Path, kind: str, after: int) -> list[dict[str, Any]]:
    """Return the events of one kind in the run's log, behind its first `after` bytes."""
    lines = (run / "events.jsonl").read_bytes()[after:].decode().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == kind]
