"""`mwr-hpc train`: trains a network on tomograms, iteration after iteration."""

from functools import partial

import typer

from mwr_hpc.cli.options import add_command
from mwr_hpc.cli.running import backend_for, report, settings_from, watched
from mwr_hpc.cli.words import Given
from mwr_hpc.config.schema import TrainSettings
from mwr_hpc.run_directory import RunDirectory

HELP = """Train a network to fill in the missing wedge of your tomograms.

Sub-tomograms are cut from the tomograms, turned, and given a second missing wedge; the network learns to undo it and
then fills in the first one, which is what the next iteration learns from. Every iteration leaves model_iterNN.h5.

Without any option that says how large the training is, the largest of five named sizes that fits into --hours on this
machine is taken. A run keeps its size. Options such as --iterations or --cube_size, --config and --preset leave the
size to you.

\b
  mwr-hpc train --input_dir tomograms --tilt_range -60 60
  mwr-hpc train --input_dir tomograms --tilt_range -60 60 --hours 8 --run_dir overnight
  mwr-hpc train --input_dir tomograms --tilt_range -60 60 --preset mwr --iterations 50
  mwr-hpc train --tomograms list.star --cube_size 48 --run_dir run1

After an interruption of any kind give the same command again: it goes on where it stopped. Exit codes: 0 all done,
1 some tomograms failed (listed), 2 bad options or input, 85 stopped in good order.
"""


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "train", TrainSettings, run, text=HELP)


def run(given: Given) -> int:
    """Train, and say what to do with the model."""
    settings = settings_from(TrainSettings, given)
    from mwr_hpc.pipeline.coordinator import train

    backend = backend_for(settings, given.site)
    outcome = watched(partial(train, backend=backend), settings)
    paths = RunDirectory(settings.run_dir, settings.result_dir)
    then = ["mwr-hpc", "predict", str(outcome.results[-1]), "--tomograms", str(paths.cohort), "--out", "corrected"]
    report(outcome.failed, outcome.results, then)
    return outcome.exit_code
