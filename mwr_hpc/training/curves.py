"""Loss curves: one record an epoch, kept in the checkpoint and appended to ``curves.jsonl`` for people and plots."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mwr_hpc.events import EpochFinished
from mwr_hpc.io.atomic import atomic_file
from mwr_hpc.io.bounded_json import parse_json

Curve = dict[str, Any]


def curve_record(event: EpochFinished) -> Curve:
    """What of an epoch is kept: the losses, which are the same after every restart, and the timing, which is not."""
    return {
        "iteration": event.iteration,
        "epoch": event.epoch,
        "loss": event.loss,
        "validation_loss": event.validation_loss,
        "samples_per_second": round(event.samples_per_second, 3),
        "input_wait": round(event.input_wait, 4),
        "compute": round(event.compute, 4),
        "allreduce": round(event.allreduce, 4),
        **event.figures,
    }


def write_curves(path: Path, curves: Iterable[Curve]) -> None:
    """Write all epochs so far, replacing the file: after a restart no epoch stands in it twice."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as partial:
        partial.write_text("".join(json.dumps(curve) + "\n" for curve in curves))


def read_curves(path: Path) -> Sequence[Curve]:
    """Read the records of ``curves.jsonl``; none when there is no file yet."""
    return [parse_json(line) for line in path.read_text().splitlines()] if path.exists() else []
