"""Tells the job script that something was achieved since its start: without it a job that stopped is not requeued."""

import os
from pathlib import Path

from mwr_hpc.events import Emit, Event, TrainingStep, UnitFinished

PROGRESS_VARIABLE = "MWR_PROGRESS_FILE"
"""Environment variable by which a job script names the file that it looks for."""


def marking_progress(emit: Emit) -> Emit:
    """`emit`, which besides makes the file that the job script looks for, once a unit or a training step is done."""
    named = os.environ.get(PROGRESS_VARIABLE)
    if not named:
        return emit
    marker = Path(named)

    def marking(event: Event) -> None:
        if isinstance(event, UnitFinished | TrainingStep) and not marker.exists():
            marker.touch()
        emit(event)

    return marking
