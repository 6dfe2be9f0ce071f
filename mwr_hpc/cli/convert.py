"""`mwr-hpc convert`: MRC volumes to OME-Zarr."""

import typer

from mwr_hpc.cli.options import add_command
from mwr_hpc.cli.running import report, settings_from, watched
from mwr_hpc.cli.words import Given
from mwr_hpc.config.schema import ConvertSettings

HELP = """Convert MRC volumes to OME-Zarr 0.5, sharded, with a pyramid that viewers open quickly.

The input's own number type, voxel size and origin are kept, and memory is bounded. Training converts by itself: this is
for looking at volumes in napari or Neuroglancer, and for sharing them. What is done already is skipped.

\b
  mwr-hpc convert tomograms/*.mrc --out converted
"""


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "convert", ConvertSettings, run, text=HELP)


def run(given: Given) -> int:
    """Convert the volumes."""
    settings = settings_from(ConvertSettings, given)
    from mwr_hpc.pipeline.conversion import convert

    outcome = watched(convert, settings)
    report(outcome.failed, outcome.results, ())
    return outcome.exit_code
