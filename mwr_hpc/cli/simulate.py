"""`mwr-hpc simulate`: data with known truth."""

from pathlib import Path

import typer

from mwr_hpc.cli.options import add_command
from mwr_hpc.cli.running import report, settings_from, watched
from mwr_hpc.cli.words import Given
from mwr_hpc.config.schema import SimulateSettings
from mwr_hpc.events import Emit, ShouldStop

HELP = """Simulate a crowded tomogram with known truth.

A specimen of macromolecules, vesicles, filaments and gold beads is projected over a tilt range, noise is added, and the
tilt series is back-projected. Writes truth, tomogram, even and odd halves and a mask as MRC.

\b
  mwr-hpc simulate tomogram --out phantom --tilt_range -60 60 --snr 1
"""


def add_to(app: typer.Typer) -> None:
    """Add the command group."""
    group = typer.Typer(help="Simulate data with known truth.", no_args_is_help=True)
    add_command(group, "tomogram", SimulateSettings, run, text=HELP)
    app.add_typer(group, name="simulate")


def run(given: Given) -> int:
    """Simulate, and say how to look at the missing wedge."""
    settings = settings_from(SimulateSettings, given)
    paths = watched(_simulate, settings)
    tilts = [f"{angle:g}" for angle in settings.tilt_range]
    tomogram, truth = str(paths["tomogram"]), str(paths["truth"])
    then = ["mwr-hpc", "evaluate", tomogram, "--truth", truth, "--tilt_range", *tilts]
    report({}, list(paths.values()), then)
    return 0


def _simulate(settings: SimulateSettings, emit: Emit, should_stop: ShouldStop) -> dict[str, Path]:
    from mwr_hpc.pipeline.assumptions import tell_of_maps
    from mwr_hpc.simulation.tomogram import TomogramSpecification, simulate_tomogram

    values = {name: getattr(settings, name) for name in type(settings).model_fields if name != "out"}
    tell_of_maps(settings.density_maps, settings.bytes, emit)
    values["signedness"] = values.pop("bytes")
    return simulate_tomogram(TomogramSpecification(**values), settings.out, emit)
