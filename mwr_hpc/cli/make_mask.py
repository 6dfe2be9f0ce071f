"""`mwr-hpc make-mask`: where the specimen is."""

import typer

from mwr_hpc.cli.options import add_command
from mwr_hpc.cli.running import report, settings_from, watched
from mwr_hpc.cli.words import Given
from mwr_hpc.config.schema import MakeMaskSettings

HELP = """Make masks, so that sub-tomograms are not cut from empty ice.

A voxel is in the mask when both hold, in the tomogram binned twofold. Density: the most that the smoothed density
reaches within a cube of 2 x side + 1 is among the highest --percentile percent. Variation: the standard deviation
within such a cube exceeds --threshold times the whole tomogram's. These are MWR's tests and the meaning of its options
(IsoNet calls the first --density_percentage). Constant borders are left out. What is done already is skipped.

\b
  mwr-hpc make-mask tomograms masks
  mwr-hpc make-mask a.mrc a_mask.mrc --side 4 --percentile 50 --threshold 0.9 --z_crop 0.1
"""


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "make-mask", MakeMaskSettings, run, text=HELP)


def run(given: Given) -> int:
    """Make the masks."""
    settings = settings_from(MakeMaskSettings, given)
    from mwr_hpc.pipeline.preparing import make_masks

    outcome = watched(make_masks, settings)
    report(outcome.failed, outcome.results, ())
    return outcome.exit_code
