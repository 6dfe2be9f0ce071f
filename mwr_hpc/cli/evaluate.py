"""`mwr-hpc evaluate`: judges a corrected tomogram."""

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import typer

from mwr_hpc.cli.options import add_command
from mwr_hpc.cli.running import settings_from
from mwr_hpc.cli.words import Given
from mwr_hpc.config.schema import EvaluateSettings

HELP = """Judge a tomogram: how well its missing wedge is filled, by its truth if that is known.

With a truth: correlation and amplitude in the measured and in the missing region, Fourier shell correlations,
real-space correlation, PSNR and SSIM. Without: how much the wedge is filled, and the agreement with --before where it
was measured.

\b
  mwr-hpc evaluate a_corrected.mrc --before a.mrc --tilt_range -60 60
  mwr-hpc evaluate a_corrected.mrc --truth truth.mrc --tilt_range -60 60 --json
"""


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "evaluate", EvaluateSettings, run, text=HELP, has_json=True)


def run(given: Given) -> int:
    """Print the figures; an inverted contrast is a failure."""
    settings = settings_from(EvaluateSettings, given)
    from mwr_hpc.missing_wedge.evaluate import evaluate_tomogram
    from mwr_hpc.numerics.wedge import effective_tilt_range

    assert settings.tomogram is not None and settings.tilt_range is not None  # the schema requires both
    figures = evaluate_tomogram(
        settings.tomogram,
        effective_tilt_range(settings.tilt_range, settings.flip_tilt),
        truth=settings.truth,
        before=settings.before,
    )
    if given.json:
        typer.echo(json.dumps(figures, indent=2))
    elif sys.stdout.isatty():
        print_table(figures)
    else:
        for name, value in flat(figures):
            typer.echo(f"{name}: {value}")
    inverted = bool(figures.get("contrast_inverted"))
    if inverted:
        typer.echo("CONTRAST INVERTED: give --contrast dark or bright as the input has it", err=True)
    return 1 if inverted else 0


def print_table(figures: Mapping[str, Any]) -> None:
    """Print the figures in two columns."""
    from rich.console import Console
    from rich.table import Table

    table = Table("figure", "value")
    for name, value in flat(figures):
        table.add_row(name, value)
    Console().print(table)


def flat(figures: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield name and text of each figure; nested ones carry the name of what they belong to."""
    for name, value in figures.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name} ")
        elif isinstance(value, list):
            yield f"{prefix}{name}", " ".join(f"{item:.3f}" for item in value)
        else:
            yield f"{prefix}{name}", f"{value:.3f}" if isinstance(value, float) else str(value)
