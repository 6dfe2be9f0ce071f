"""`mwr-hpc generate-noise`: noise to train against."""

import typer

from mwr_hpc.cli.options import add_command
from mwr_hpc.cli.running import report, settings_from, watched
from mwr_hpc.cli.words import Given
from mwr_hpc.config.schema import GenerateNoiseSettings

HELP = """Make noise volumes like the noise of reconstructed tomograms, for train --noise_dir.

White noise at every tilt is filtered and back-projected, so it is empty in the missing wedge, as a tomogram's is. Give
the tilt range, and the filter of your reconstruction program. One Zarr array is written.

\b
  mwr-hpc generate-noise noise.zarr --tilt_range -60 60 --filter ramp
  mwr-hpc generate-noise noise.zarr --number 500 --cube_size 48 --tilt_range -67 57 --tilt_step 3
"""


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "generate-noise", GenerateNoiseSettings, run, text=HELP)


def run(given: Given) -> int:
    """Make the noise."""
    settings = settings_from(GenerateNoiseSettings, given)
    from mwr_hpc.pipeline.preparing import generate_noise

    outcome = watched(generate_noise, settings)
    report(outcome.failed, outcome.results, ())
    return outcome.exit_code
