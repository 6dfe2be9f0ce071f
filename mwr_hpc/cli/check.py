"""`mwr-hpc check`: will training work, and will it learn the right thing?"""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from mwr_hpc.cli.options import add_command
from mwr_hpc.cli.output import say, say_json, say_tabbed, say_table
from mwr_hpc.cli.running import settings_from, watched
from mwr_hpc.cli.words import Given
from mwr_hpc.config.schema import CheckSettings
from mwr_hpc.printable import printable

if TYPE_CHECKING:
    from mwr_hpc.missing_wedge.check import TomogramReport
    from mwr_hpc.pipeline.checking import CheckReport
    from mwr_hpc.pipeline.environment import Environment

HELP = """Check the environment and the tomograms before training.

Finds files that cannot be read, missing and wrong voxel sizes, masks with too few places, and groups that do not fit
together. And what no header says: a wrong tilt range, a wrong sign of tilt or exchanged axes show in the power of the
tomogram itself, from which the likely tilt range is estimated. Exit codes: 0 training can work (heed the warnings),
2 something cannot.

\b
  mwr-hpc check tomograms --tilt_range -60 60 --mask_dir masks
  mwr-hpc check tomograms.star --json
"""


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "check", CheckSettings, run, text=HELP, has_json=True)


def run(given: Given) -> int:
    """Print what was found."""
    settings = settings_from(CheckSettings, given)
    from mwr_hpc.pipeline.checking import check

    report = watched(check, settings)
    if given.json:
        say_json(report.to_record(), indent=2)
        return report.exit_code
    for name, value in environment_lines(report.environment):
        say(f"{name}: {value}")
    if report.tomograms:
        print_tomograms(report)
    for finding in report.findings:
        say(f"{finding.severity.capitalize()}: {printable(finding.about)}: {finding.text}")
    if not report.findings:
        say("Nothing to object to.")
    return report.exit_code


def environment_lines(environment: "Environment") -> Iterator[tuple[str, str]]:
    """Yield what is worth reading of the environment, named."""
    yield "versions", ", ".join(f"{name} {version or 'missing'}" for name, version in environment.versions.items())
    features = ", ".join(environment.processor_features) or "no vector units that matter"
    yield "processor", f"{environment.processor} ({features}), {environment.cores} cores, {environment.threads} threads"
    yield "GPUs", ", ".join(environment.gpus) or "none"
    yield "precision", f"{environment.precision} is what 'auto' means here"
    yield "Horovod", environment.horovod
    found = [name for name, path in environment.slurm.items() if path]
    yield "SLURM", ", ".join(found) or "none"
    files = "no limit" if environment.free_files is None else f"{environment.free_files:,}"
    memory, free = environment.memory_bytes / 1e9, environment.free_bytes / 1e9
    yield "room", f"{memory:.1f} GB memory, {free:.1f} GB disk, {files} files"


def print_tomograms(report: "CheckReport") -> None:
    """Print a line for each tomogram: in columns on a terminal, else separated by tabs."""
    columns = ("tomogram", "z y x", "voxel (A)", "tilt range", "likely range", "outside", "mask places", "verdict")
    rows = [_row(tomogram) for tomogram in report.tomograms]
    if not sys.stdout.isatty():
        say_tabbed(columns, *rows)
        return
    styles = {"good": None, "warning": "yellow", "error": "red"}
    say_table(columns, rows, [styles[row[-1]] for row in rows])


def _row(tomogram: "TomogramReport") -> tuple[str, ...]:
    entry = tomogram.entry
    severities = {finding.severity for finding in tomogram.findings}
    verdict = "error" if "error" in severities else "warning" if severities else "good"
    return (
        entry.id,
        " ".join(map(str, entry.shape)),
        f"{entry.voxel_size[2]:g}",
        _angles(entry.tilt_range),
        _angles(tomogram.likely_range),
        f"{tomogram.leakage['as given']:.1%}" if tomogram.leakage else "-",
        "-" if tomogram.places is None else f"{tomogram.places:,}",
        verdict,
    )


def _angles(tilt_range: tuple[float, float] | None) -> str:
    return "-" if tilt_range is None else f"{tilt_range[0]:g} {tilt_range[1]:g}"
