"""`mwr-hpc boxnet`: the commands that pick particles in micrographs."""

import typer

from mwr_hpc.cli.boxnet import demo, evaluate, examples, model, pick, retrain, simulate, train_generic
from mwr_hpc.cli.options import reflowed

HELP = """Pick particles in micrographs with a network that you teach with your own picks.

Prepare examples from corrected picks, re-train a model with them, and pick all micrographs:

\b
  mwr-hpc boxnet pick --model BoxNetGeneric --micrographs micrographs --diameter 190
  mwr-hpc boxnet examples prepare --micrographs micrographs --positives micrographs/matching/mic1_BoxNetGeneric.star \\
      --diameter 190 --out examples.zarr
  mwr-hpc boxnet retrain --parent BoxNetGeneric --name MyNet --examples examples.zarr
  mwr-hpc boxnet pick --model MyNet --micrographs micrographs --diameter 190
"""


def add_to(app: typer.Typer) -> None:
    """Add the group with its commands."""
    group = typer.Typer(help=reflowed(HELP), no_args_is_help=True, rich_markup_mode="rich")
    simulate.add_to(group)
    examples.add_to(group)
    pick.add_to(group)
    evaluate.add_to(group)
    retrain.add_to(group)
    model.add_to(group)
    train_generic.add_to(group)
    demo.add_to(group)
    app.add_typer(group, name="boxnet")
