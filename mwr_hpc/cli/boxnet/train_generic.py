"""`mwr-hpc boxnet train-generic`: trains a model that knows many species, on simulated micrographs."""

import typer

from mwr_hpc.cli.options import add_command
from mwr_hpc.cli.running import report, settings_from, watched
from mwr_hpc.cli.words import Given
from mwr_hpc.config.boxnet_generic import TrainGenericSettings

HELP = """Train a generic picking network on simulated micrographs of many made-up macromolecules.

BoxNetGeneric, which comes with the program, was made so, with the defaults. The micrographs are simulated once and
kept in the cache of the user (XDG_CACHE_HOME); they are also what `boxnet retrain` dilutes your examples with.

\b
  mwr-hpc boxnet train-generic --name MyGeneric --species 200 --number 400 --epochs 20

After an interruption of any kind give the same command again: it goes on where it stopped.
"""


def add_to(group: typer.Typer) -> None:
    """Add the command."""
    add_command(group, "train-generic", TrainGenericSettings, run, text=HELP)


def run(given: Given) -> int:
    """Train, and say how to pick."""
    settings = settings_from(TrainGenericSettings, given)
    from mwr_hpc.pipeline.boxnet_generic import train_generic

    outcome = watched(train_generic, settings)
    then = ["mwr-hpc", "boxnet", "pick", "--model", str(settings.name), "--micrographs", "micrographs"]
    report(outcome.failed, outcome.results, [*then, "--diameter", "180"])
    return outcome.exit_code
