"""`mwr-hpc status`: where a run stands."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mwr_hpc.cli.options import add_command
from mwr_hpc.cli.output import say, say_json
from mwr_hpc.cli.progress import duration, observing
from mwr_hpc.cli.running import settings_from
from mwr_hpc.cli.words import Given
from mwr_hpc.config.schema import StatusSettings
from mwr_hpc.printable import printable

if TYPE_CHECKING:
    from mwr_hpc.pipeline.status import Status
    from mwr_hpc.pipeline.verifying import Verified

HELP = """Tell where a run stands: stage, iteration, what is done, running and left out with reasons, time left.

It reads the run's files, so it can be asked from anywhere that sees them; where SLURM answers, the run's jobs are
listed too. With --json it prints JSON. With --verify it also reads all that is stored, and ends with 1 when something
is damaged.

\b
  mwr-hpc status mwr_run --watch
  mwr-hpc status corrected --verify
"""

SECONDS_BETWEEN_LOOKS = 5.0


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "status", StatusSettings, run, text=HELP, has_json=True)


def run(given: Given) -> int:
    """Print the status, with --watch again and again, with --verify also what is damaged."""
    settings = settings_from(StatusSettings, given)
    from mwr_hpc.pipeline.jobs import status_with_jobs

    while True:
        status, jobs = status_with_jobs(settings.run)
        last = not settings.watch or status.state in ("finished", "stopped")
        verified = _verified(settings.run) if settings.verify and last else None
        if given.json:
            say_json(_as_record(status, jobs, verified))
        else:
            say(*_as_lines(status, jobs, verified))
        if last:
            return int(verified is not None and bool(verified.damaged))
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _verified(folder: Path) -> "Verified":
    from mwr_hpc.pipeline.verifying import verify

    with observing() as emit:
        return verify(folder, emit)


def _as_record(status: "Status", jobs: list[Any] | None, verified: "Verified | None") -> dict[str, Any]:
    known = None if jobs is None else [{"id": job.id, "name": job.name, "state": job.state} for job in jobs]
    record = {**asdict(status), "jobs": known}
    if verified is not None:
        record["verified"] = {
            "read": verified.read,
            "damaged": {str(path): what for path, what in verified.damaged.items()},
            "without_checksums": [str(path) for path in verified.unchecked],
        }
    return record


def _as_lines(status: "Status", jobs: list[Any] | None, verified: "Verified | None") -> list[str]:
    lines = [f"{status.run}: {status.state}"]
    if (holder := status.coordinator) is not None:
        job = f", job {holder['job']}" if holder["job"] else ""
        lines[0] += f" (process {holder['pid']} on {holder['host']}{job})"
    if status.iterations:
        lines.append(f"iteration {status.iteration} of {status.iterations}" + _left(status.seconds_left))
    if status.stage:
        counts = f"{status.done} of {status.units} done, {status.running} running, {status.failed} failed"
        epoch = f", epoch {status.epoch} of {status.epochs} done" if status.epochs else ""
        pace = f", {status.per_hour:.3g} an hour" if status.per_hour else ""
        lines.append(f"{status.stage}: {counts}{epoch}{pace}" + _left(status.stage_seconds_left))
    lines += [printable(f"left out: {identifier}: {reason}") for identifier, reason in sorted(status.left_out.items())]
    lines += [printable(f"not as in the newest model: {name}: {why}") for name, why in sorted(status.untrained.items())]
    lines += [printable(f"warning: {text}") for text in status.damaged]
    lines += [f"job {job.id} {job.name} {job.state}" for job in jobs or ()]
    if verified is not None:
        lines += _verified_lines(verified)
    return lines


def _verified_lines(verified: "Verified") -> list[str]:
    lines = [printable(f"damaged: {path}: {what}") for path, what in verified.damaged.items()]
    if verified.damaged:
        lines.append("Remove what is damaged and give the command that made it again; it makes only that again.")
    sound = f"{verified.read - len(verified.damaged)} of {verified.read} arrays and files are as they were written"
    unchecked = len(verified.unchecked)
    return [*lines, f"{sound}, of {unchecked} the voxels have no checksums (version 0.1.0)" if unchecked else sound]


def _left(seconds: float | None) -> str:
    return "" if seconds is None else f", about {duration(seconds)} left"
