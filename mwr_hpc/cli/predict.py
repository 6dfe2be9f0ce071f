"""`mwr-hpc predict`: corrects whole tomograms with a trained model."""

from functools import partial

import typer

from mwr_hpc.cli.options import add_command
from mwr_hpc.cli.running import backend_for, report, settings_from, watched
from mwr_hpc.cli.words import Given
from mwr_hpc.config.schema import PredictSettings

HELP = """Correct whole tomograms with one model or several.

Writes <id>_corrected.mrc with the voxel size, origin and grey values of the input, and <id>.png, which shows it before
and after; with several models in a folder for each. results.csv lists every tomogram with the power in its missing
wedge before and after. What is done already is skipped.

\b
  mwr-hpc predict model_iter30.h5 tomograms/*.mrc --out corrected
  mwr-hpc predict model_iter20.h5 model_iter30.h5 --tomograms list.star
"""


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "predict", PredictSettings, run, text=HELP)


def run(given: Given) -> int:
    """Correct the tomograms, and say how to judge one."""
    settings = settings_from(PredictSettings, given)
    from mwr_hpc.pipeline.prediction import predict

    backend = backend_for(settings, given.site)
    outcome = watched(partial(predict, backend=backend), settings)
    if not outcome.results:
        report(outcome.failed, (), ())
        return outcome.exit_code
    tilts = [f"{angle:g}" for angle in settings.tilt_range or ()] or ["MIN", "MAX"]
    then = ["mwr-hpc", "evaluate", str(outcome.results[0]), "--before", "TOMOGRAM", "--tilt_range", *tilts]
    report(outcome.failed, outcome.results, then)
    return outcome.exit_code
