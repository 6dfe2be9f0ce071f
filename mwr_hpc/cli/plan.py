"""`mwr-hpc plan train|predict`: what a command will make and need, before it runs."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mwr_hpc.cli.options import WordsCommand, reflowed
from mwr_hpc.cli.output import say, say_json
from mwr_hpc.cli.running import backend_for, settings_from, watched
from mwr_hpc.cli.words import WordReader
from mwr_hpc.config.schema import PredictSettings, TrainSettings
from mwr_hpc.errors import ConfigError, StopRequested
from mwr_hpc.events import Emit, ShouldStop

if TYPE_CHECKING:
    from mwr_hpc.pipeline.plan import Plan

HELP = """Say what `mwr-hpc train` or `predict` will make and need, and run nothing.

Takes the options of that command. Prints units of work, files, bytes and peak memory of every stage, and what is left
at the end and at most. Nothing is written. With --measure a short trial in a temporary place tells the hours,
and the memory of training, too; interrupted, it tells those that it has measured so far.

\b
  mwr-hpc plan train --input_dir tomograms --tilt_range -60 60
  mwr-hpc plan predict model_iter30.h5 tomograms --measure --json
"""

COMMANDS: dict[str, type[TrainSettings] | type[PredictSettings]] = {"train": TrainSettings, "predict": PredictSettings}


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    text = "train|predict [OPTIONS OF IT] [--measure] [--json]"
    app.command("plan", cls=WordsCommand, help=reflowed(HELP), options_metavar=text)(plan)


def plan(context: typer.Context) -> None:
    """Plan, and print."""
    command, *words = context.obj
    if command not in COMMANDS:
        raise ConfigError(f"plan {command}: expected one of {' and '.join(COMMANDS)}, and its options")
    measure = "--measure" in words
    words = [word for word in words if word != "--measure"]
    given = WordReader(COMMANDS[command], words, has_json=True).read()
    settings = settings_from(COMMANDS[command], given)
    made, stop = watched(partial(_planned, site=given.site, measure=measure), settings)
    if given.json:
        say_json(made.to_record(), indent=2)
    else:
        say(*_lines(made))
    if stop is not None:
        raise StopRequested(f"{stop}. The plan has what was measured until then; given again, all of it is measured")


def _planned(
    settings: TrainSettings | PredictSettings, emit: Emit, should_stop: ShouldStop, *, site: Path | None, measure: bool
) -> "tuple[Plan, StopRequested | None]":
    """Return the plan, and the stop that ended its measuring early, if any."""
    if isinstance(settings, TrainSettings):
        from mwr_hpc.pipeline.plan import plan_train
        from mwr_hpc.pipeline.sizing import size_to_plan

        settings = size_to_plan(settings, backend_for(settings, site), emit)
        made = plan_train(settings)
    else:
        from mwr_hpc.pipeline.plan_prediction import plan_predict

        made = plan_predict(settings)
    if not measure:
        return made, None
    from mwr_hpc.pipeline.plan_trial import measured_predict, measured_train

    if isinstance(settings, TrainSettings):
        return measured_train(settings, made, emit, should_stop)
    return measured_predict(settings, made, should_stop)


def _lines(made: "Plan") -> list[str]:
    """Return the plan as text: a table and what it comes to."""
    rows: list[tuple[str, ...]] = [
        ("stage", "units", "files", "GB written", "peak memory (GB)", "CPU-hours", "GPU-hours")
    ]
    for one in made.stages:
        hours = ("-" if value is None else f"{value:.3g}" for value in (one.cpu_hours, one.gpu_hours))
        counts = (f"{one.units:,}", f"{one.files:,}", _gb(one.bytes), _gb(one.peak_memory))
        rows.append((one.stage, *counts, *hours))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    lines += [made.size.capitalize()] if made.size else []
    many = "s" * (made.tomograms != 1)
    lines.append(f"{made.tomograms:,} tomogram{many}; written to {made.folder}, {_gb(made.free_bytes)} GB free there")
    lines += [f"Left out: {identifier}: {reason}" for identifier, reason in made.problems.items()]
    lines.append(f"Left at the end: {made.left.files:,} files, {_gb(made.left.bytes)} GB")
    lines.append(f"At most: {made.peak.files:,} files, {_gb(made.peak.bytes)} GB")
    together = f"{made.workers} processes of preparation and the coordinator" if made.workers else "one process"
    lines.append(f"Peak memory: {_gb(made.peak_memory)} GB ({together})")
    for dtype, ratios in made.compression.items():
        lines.append(f"Compression assumed for {dtype}, from samples: to {ratios[0]:.0%} of the size")
    if made.peak.bytes > made.free_bytes:
        lines.append("Warning: that is more than is free")
    return lines


def _gb(count: int) -> str:
    return f"{count / 1e9:.3g}"
