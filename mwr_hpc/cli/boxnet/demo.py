"""`mwr-hpc boxnet demo`: a model taught a new particle, judged by micrographs that it has not seen."""

from functools import partial

import typer

from mwr_hpc.cli.options import add_command
from mwr_hpc.cli.output import say
from mwr_hpc.cli.running import settings_from, watched
from mwr_hpc.cli.words import Given
from mwr_hpc.config.boxnet_generic import BoxNetDemoSettings

HELP = """Simulate micrographs of a new particle, teach the generic model with five of them, and judge it by others.

Needs no data, no GPU and at most five minutes on two cores. Leaves figures and a picture of the picks before and after;
exits with 1 when the result misses its printed thresholds.

\b
  mwr-hpc boxnet demo --out boxnet_demo
"""


def add_to(group: typer.Typer) -> None:
    """Add the command."""
    add_command(group, "demo", BoxNetDemoSettings, run, text=HELP)


def run(given: Given) -> int:
    """Run the demonstration."""
    settings = settings_from(BoxNetDemoSettings, given)
    from mwr_hpc.pipeline.boxnet_demo import run_boxnet_demo
    from mwr_hpc.report.plots import compare_picks

    result = watched(partial(run_boxnet_demo, draw=compare_picks), settings)
    say(*result.summary)
    return result.exit_code
