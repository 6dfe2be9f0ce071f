"""`mwr-hpc status`: where a run stands."""

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from mwr_hpc.cli.options import add_command
from mwr_hpc.cli.output import say, say_json
from mwr_hpc.cli.progress import duration
from mwr_hpc.cli.running import settings_from
from mwr_hpc.cli.words import Given
from mwr_hpc.config.schema import StatusSettings
from mwr_hpc.printable import printable

if TYPE_CHECKING:
    from mwr_hpc.pipeline.status import Status

HELP = """Tell where a run stands: stage, iteration, what is done, running and left out with reasons, time left.

It reads the run's files, so it can be asked from anywhere that sees them; where SLURM answers, the run's jobs are
listed too. With --json it prints JSON.

\b
  mwr-hpc status mwr_run --watch
  mwr-hpc status corrected
"""

SECONDS_BETWEEN_LOOKS = 5.0


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "status", StatusSettings, run, text=HELP, has_json=True)


def run(given: Given) -> int:
    """Print the status, with --watch again and again."""
    settings = settings_from(StatusSettings, given)
    from mwr_hpc.pipeline.jobs import status_with_jobs

    while True:
        status, jobs = status_with_jobs(settings.run)
        if given.json:
            say_json(_as_record(status, jobs))
        else:
            say(*_as_lines(status, jobs))
        if not settings.watch or status.state in ("finished", "stopped"):
            return 0
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _as_record(status: "Status", jobs: list[Any] | None) -> dict[str, Any]:
    known = None if jobs is None else [{"id": job.id, "name": job.name, "state": job.state} for job in jobs]
    return {**asdict(status), "jobs": known}


def _as_lines(status: "Status", jobs: list[Any] | None) -> list[str]:
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
    lines += [f"job {job.id} {job.name} {job.state}" for job in jobs or ()]
    return lines


def _left(seconds: float | None) -> str:
    return "" if seconds is None else f", about {duration(seconds)} left"
