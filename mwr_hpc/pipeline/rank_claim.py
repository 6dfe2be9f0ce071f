"""The right to publish of a training job that may outlive the coordinator which submitted it.

Local ranks die with their coordinator, so they publish by its hold on the run. A job of SLURM goes on alone, and must
be able to publish while nobody holds the run and after another coordinator has taken it over. Its right is a file of
its own beside the job:

- Only who holds the run replaces the file, and only while SLURM has no such job: just before it submits one.
- Whenever the job starts (SLURM starts it again after the loss of a node), it adds its name to the file.

So of all processes that were ever given an iteration's work, those of the last start of the last job can publish. A
coordinator that finds the job in SLURM leaves the file alone, and does nothing before the job's end that the job may be
doing: no unit has two writers.
"""

import json
import uuid
from dataclasses import replace
from pathlib import Path

from mwr_hpc.io.atomic import atomic_file
from mwr_hpc.io.records import read_record
from mwr_hpc.pipeline.units import Claim


def new_claim(path: Path) -> Claim:
    """Take away the right of whoever had it, and return the next job's."""
    claim = Claim(path, uuid.uuid4().hex)
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(claim)
    return claim


def claim_of_start(claim: Claim, start: str) -> Claim:
    """The right of one start of the job; `start` names it the same for all its ranks."""
    return replace(claim, token=f"{claim.token}/{start}")


def take_over(claim: Claim, start: str) -> None:
    """Take the right from all starts before this one.

    Raises
    ------
    StageError
        Another job has it, or the file is gone or damaged.
    """
    before = (read_record(claim.lock, [], "") or {}).get("token")
    if not isinstance(before, str) or before.partition("/")[0] != claim.token:
        claim.check()  # refuses, and says why: another job has it, or the file is gone or damaged
    _write(claim_of_start(claim, start))


def _write(claim: Claim) -> None:
    with atomic_file(claim.lock) as partial:
        partial.write_text(json.dumps({"token": claim.token}))
