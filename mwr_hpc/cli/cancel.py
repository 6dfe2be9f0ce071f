"""`mwr-hpc cancel`: ends the jobs of a run."""

import typer

from mwr_hpc.cli.options import add_command
from mwr_hpc.cli.output import say
from mwr_hpc.cli.running import settings_from
from mwr_hpc.cli.words import Given
from mwr_hpc.config.schema import CancelSettings

HELP = """End all jobs of a run, and no others.

The coordinator stops in good order first. Give the command of the run again, and it goes on where it stopped.

\b
  mwr-hpc cancel mwr_run
"""


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "cancel", CancelSettings, run, text=HELP)


def run(given: Given) -> int:
    """End them, and say which."""
    settings = settings_from(CancelSettings, given)
    from mwr_hpc.cluster.slurm import Slurm
    from mwr_hpc.pipeline.jobs import cancel

    cancel(settings.run, Slurm(), say)
    return 0
