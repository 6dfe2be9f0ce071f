"""`mwr-hpc evaluate`: judges a corrected tomogram."""

import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import typer

from mwr_hpc.cli.options import add_command
from mwr_hpc.cli.output import say, say_json, say_table
from mwr_hpc.cli.progress import observing
from mwr_hpc.cli.running import settings_from
from mwr_hpc.cli.words import Given
from mwr_hpc.config.schema import EvaluateSettings

if TYPE_CHECKING:
    from mwr_hpc.missing_wedge.evaluate import Evaluation
    from mwr_hpc.numerics.metrics import AgainstTruth

SHELLS_PRINTED = 8

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
    tilt_range = effective_tilt_range(settings.tilt_range, settings.flip_tilt)
    files = (settings.tomogram, settings.truth, settings.before)
    with observing() as emit:
        evaluation = evaluate_tomogram(*files, tilt_range, settings.bytes, emit)
    if given.json:
        say_json(evaluation.to_record(), indent=2)
    elif sys.stdout.isatty():
        print_table(figures(evaluation))
    else:
        for name, before, value in figures(evaluation):
            say(f"{name}: {value}" + (f" (before: {before})" if before else ""))
    if not given.json:
        say(evaluation.judgement)
    if evaluation.contrast_inverted:
        say("CONTRAST INVERTED: density has the wrong sign; see --contrast of mwr-hpc predict", err=True)
    return 1 if evaluation.contrast_inverted else 0


def figures(evaluation: "Evaluation") -> Iterator[tuple[str, str, str]]:
    """Yield the name of each figure, its value before (empty when not known) and its value."""
    now: dict[str, float | None] = {"wedge fill": evaluation.wedge_fill}
    earlier: dict[str, float | None] = {}
    if evaluation.wedge_fill_before is not None:
        earlier["wedge fill"] = evaluation.wedge_fill_before
    if evaluation.agreement is not None:
        now["agreement with the tomogram before, measured"] = evaluation.agreement
    if evaluation.change is not None:
        now["share of the measured power that changed"] = evaluation.change
    if evaluation.after is not None:
        now |= _against_truth(evaluation.after, evaluation.voxel_size)
    if evaluation.before is not None:
        earlier |= _against_truth(evaluation.before, evaluation.voxel_size)
    for name, value in now.items():
        yield name, _text(earlier[name]) if name in earlier else "", _text(value)


def _against_truth(judged: "AgainstTruth", voxel_size: float) -> dict[str, float | None]:
    named: dict[str, float | None] = {f"correlation, {region}": value for region, value in judged.fcc.items()}
    named |= {f"amplitude (slope), {region}": value for region, value in judged.slope.items()}
    named |= {"correlation of voxels": judged.real_cc, "PSNR (dB)": judged.psnr, "SSIM": judged.ssim}
    for region, shells in judged.shells.items():
        for index in _evenly(len(shells.frequency)):
            resolution = _resolution(shells.frequency[index], voxel_size)
            named[f"Fourier shell correlation, {region}, at {resolution}"] = shells.correlation[index]
    return named


def _evenly(count: int) -> list[int]:
    """Choose the shells that are printed; all of them are in the JSON."""
    return sorted({round((count - 1) * step / (SHELLS_PRINTED - 1)) for step in range(SHELLS_PRINTED)})


def _resolution(frequency: float, voxel_size: float) -> str:
    return f"{voxel_size / frequency:.1f} angstrom" if voxel_size else f"{frequency:.3f} cycles per voxel"


def _text(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def print_table(rows: Iterable[tuple[str, str, str]]) -> None:
    """Print the figures in columns; without a tomogram before, its column is left out."""
    listed = list(rows)
    with_before = any(before for _, before, _ in listed)
    columns = ("figure", *(["before"] if with_before else []), "value")
    cells = [(name, *([before] if with_before else []), value) for name, before, value in listed]
    say_table(columns, cells, [None] * len(cells))
