"""`mwr-hpc demo`: the whole way from a simulated tomogram to a corrected one, judged against its truth."""

from functools import partial

import typer

from mwr_hpc.cli.options import add_command
from mwr_hpc.cli.output import say
from mwr_hpc.cli.running import settings_from, watched
from mwr_hpc.cli.words import Given
from mwr_hpc.config.schema import DemoSettings

HELP = """Simulate a tomogram, train a small network on it, correct it and judge the result by the known truth.

Needs no data, no GPU and at most five minutes on two cores. Leaves figures and a picture of before, after and truth;
exits with 1 when the result misses its printed thresholds.

\b
  mwr-hpc demo --out demo
"""


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "demo", DemoSettings, run, text=HELP)


def run(given: Given) -> int:
    """Run the demonstration."""
    settings = settings_from(DemoSettings, given)
    from mwr_hpc.pipeline.demo import run_demo
    from mwr_hpc.report.plots import compare_tomograms

    result = watched(partial(run_demo, draw=compare_tomograms), settings)
    say(*result.summary)
    return result.exit_code
