"""`mwr-hpc boxnet examples prepare`: corrected picks to what a network learns from."""

import typer

from mwr_hpc.cli.options import add_command
from mwr_hpc.cli.running import report, settings_from, watched
from mwr_hpc.cli.words import Given
from mwr_hpc.config.boxnet_data import PrepareExamplesSettings

HELP = """Make examples of micrographs with corrected picks.

All particles of these micrographs should be among the positives: whatever is not, is background to the network. Wrong
ones are forgiven in small numbers. Give one STAR file, and all of its suffix in the same folder are taken; give a
folder, for example with copies of the few that you cleaned up, and only those are. Micrographs are brought to
--pixel_size; those with a broken file are left out and listed (exit code 1).

Masks that were painted over the picture of a micrograph are TIFF, as Warp's: their first row is the top. A mask that a
script made, row by row as it read the MRC file, is upside down as TIFF; save it as MRC. Where the other order fits
clearly better a warning says so.

\b
  mwr-hpc boxnet examples prepare --micrographs mics --positives mics/matching/m1_Net.star --diameter 190
  mwr-hpc boxnet examples prepare --micrographs mics --positives cleaned --masks painted --diameter 190 --out ex.zarr
"""


def add_to(group: typer.Typer) -> None:
    """Add the command group."""
    examples = typer.Typer(help="Make examples to learn picking from.", no_args_is_help=True)
    add_command(examples, "prepare", PrepareExamplesSettings, run, text=HELP)
    group.add_typer(examples, name="examples")


def run(given: Given) -> int:
    """Make the examples, and say how a model is trained with them."""
    settings = settings_from(PrepareExamplesSettings, given)
    from mwr_hpc.pipeline.boxnet_examples import prepare_examples

    outcome = watched(prepare_examples, settings)
    (store,) = outcome.results
    then = ["mwr-hpc", "boxnet", "retrain", "--parent", "BoxNetGeneric", "--name", "MyNet", "--examples", str(store)]
    report(outcome.failed, outcome.results, then)
    return outcome.exit_code
