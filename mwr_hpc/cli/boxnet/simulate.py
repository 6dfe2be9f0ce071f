"""`mwr-hpc boxnet simulate`: micrographs with known truth."""

from pathlib import Path

import typer

from mwr_hpc.cli.options import add_command
from mwr_hpc.cli.running import report, settings_from, watched
from mwr_hpc.cli.words import Given
from mwr_hpc.config.boxnet_data import SimulateMicrographsSettings
from mwr_hpc.events import Emit, ShouldStop

HELP = """Simulate micrographs with known truth.

Particles from density maps, or made-up ones, lie in ice of uneven thickness beside broken particles, aggregates, ice
crystals, ethane and carbon. Writes micrographs (MRC), truth/ and junk/ (STAR: the particles, and the broken ones that
are to be left alone), mask/ (TIFF: contamination) and micrographs.star (species, diameter, defocus, SNR of each).

\b
  mwr-hpc boxnet simulate easy --maps 4cr2.mrc --number 10 --snr 2
  mwr-hpc boxnet simulate hard --species 40 --number 200 --snr 0.2 1 --crowding 0.1 0.4 --contamination 2
"""


def add_to(group: typer.Typer) -> None:
    """Add the command."""
    add_command(group, "simulate", SimulateMicrographsSettings, run, text=HELP)


def run(given: Given) -> int:
    """Simulate the micrographs, and say how examples are made of them."""
    settings = settings_from(SimulateMicrographsSettings, given)
    micrographs = watched(_simulate, settings)
    from mwr_hpc.simulation.micrograph_series import typical_diameter

    then = ["mwr-hpc", "boxnet", "examples", "prepare", "--micrographs", str(settings.out)]
    then += ["--positives", str(settings.out / "truth"), "--diameter", f"{typical_diameter(settings.out):.0f}"]
    report({}, micrographs, then)
    return 0


def _simulate(settings: SimulateMicrographsSettings, emit: Emit, should_stop: ShouldStop) -> list[Path]:
    from mwr_hpc.pipeline.assumptions import tell_of_maps
    from mwr_hpc.simulation.micrograph import MicrographSpecification
    from mwr_hpc.simulation.micrograph_series import simulate_micrographs

    values = {name: getattr(settings, name) for name in type(settings).model_fields if name not in ("out", "number")}
    values["pixel_size"] = values.pop("angpix")
    values["density_maps"] = values.pop("maps")
    tell_of_maps(settings.maps, settings.bytes, emit)
    values["signedness"] = values.pop("bytes")
    return simulate_micrographs(MicrographSpecification(**values), settings.number, settings.out, emit, should_stop)
