"""`mwr-hpc boxnet pick`: picks the particles of a folder of micrographs."""

from functools import partial

import typer

from mwr_hpc.cli.options import add_command
from mwr_hpc.cli.running import backend_for, report, settings_from, watched
from mwr_hpc.cli.words import Given
from mwr_hpc.config.boxnet_picking import PickSettings

HELP = """Pick the particles of all micrographs in a folder.

Writes matching/<micrograph>_<suffix>.star and, with a model that knows contamination, mask/<micrograph>.tif, and the
lists of all, picks_<suffix>.star and .csv. What is done already is skipped; another threshold, distance or format needs
no network again. What somebody corrected by hand stays as it is.

\b
  mwr-hpc boxnet pick --model BoxNetGeneric --micrographs micrographs --diameter 190 --limit 5
  mwr-hpc boxnet pick --model MyNet --micrographs micrographs --diameter 190 --border 65 --formats star,box
"""


def add_to(group: typer.Typer) -> None:
    """Add the command."""
    add_command(group, "pick", PickSettings, run, text=HELP)


def run(given: Given) -> int:
    """Pick the particles."""
    settings = settings_from(PickSettings, given)
    from mwr_hpc.pipeline.boxnet_picking import pick

    backend = backend_for(settings, given.site)
    outcome = watched(partial(pick, backend=backend), settings)
    report(outcome.failed, outcome.results, ())
    return outcome.exit_code
