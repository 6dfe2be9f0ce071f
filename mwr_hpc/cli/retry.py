"""`mwr-hpc retry`: takes tomograms that were left out in again."""

import typer

from mwr_hpc.cli.options import add_command
from mwr_hpc.cli.output import say
from mwr_hpc.cli.running import settings_from
from mwr_hpc.cli.words import Given
from mwr_hpc.config.schema import RetrySettings

HELP = """Take tomograms that a run has left out in again: the next start of the run tries them once more.

A file that was repaired or replaced is tried again without this.

\b
  mwr-hpc retry mwr_run
  mwr-hpc retry mwr_run tomogram_07 tomogram_12
"""


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "retry", RetrySettings, run, text=HELP)


def run(given: Given) -> int:
    """Release them, and say so."""
    settings = settings_from(RetrySettings, given)
    from mwr_hpc.pipeline.jobs import retry

    released = retry(settings.run, settings.ids)
    if released:
        say(f"Taken in again: {', '.join(released)}", "Start the run again to have them tried.")
    else:
        say("No tomogram is left out.")
    return 0
