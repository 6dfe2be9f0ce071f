"""`mwr-hpc boxnet retrain`: teaches a picking network with a user's own picks."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import typer

from mwr_hpc.cli.options import add_command
from mwr_hpc.cli.output import say
from mwr_hpc.cli.running import backend_for, report, settings_from, watched
from mwr_hpc.cli.words import Given
from mwr_hpc.config.boxnet_training import RetrainSettings
from mwr_hpc.run_directory import RunDirectory

HELP = """Teach a picking network with your own picks.

It starts from a model, the parent, and learns from your examples and, in turns, from others that keep it from
forgetting what it knew. A part of your micrographs is held out; what it finds there tells how good it is, and the
threshold at which it is best. The new model can then be picked with by its name.

\b
  mwr-hpc boxnet retrain --parent BoxNetGeneric --name MyNet --examples examples.zarr
  mwr-hpc boxnet retrain --parent MyNet --name MyNet-2 --examples more.zarr --corpus none --epochs 40

After an interruption of any kind give the same command again: it goes on where it stopped. Exit codes: 0 done, 2 bad
options or input, 85 stopped in good order.
"""

CURVES = {
    "training_loss": "loss, new examples",
    "validation_loss": "loss, new examples held out",
    "old_training_loss": "loss, old examples",
    "old_validation_loss": "loss, old examples held out",
    "average_precision": "average precision, held out",
}


def add_to(group: typer.Typer) -> None:
    """Add the command."""
    add_command(group, "retrain", RetrainSettings, run, text=HELP)


def run(given: Given) -> int:
    """Train, show how it went, and say how to pick."""
    settings = settings_from(RetrainSettings, given)
    from mwr_hpc.boxnet.examples import ExampleStore
    from mwr_hpc.pipeline.boxnet_training import retrain
    from mwr_hpc.report.plots import picking_curves_figure, save
    from mwr_hpc.training.curves import read_curves

    outcome = watched(partial(retrain, backend=backend_for(settings, given.site)), settings)
    curves_path = RunDirectory(settings.run_dir).curves(1)
    curves = read_curves(curves_path)
    picture = settings.run_dir / "curves.png"
    save(picking_curves_figure(curves), picture)
    say(*curves_table(curves))
    say(f"Curves: {picture}")
    assert settings.examples is not None and settings.name is not None, "the settings require both"
    store = ExampleStore(settings.examples)
    then = ["mwr-hpc", "boxnet", "pick", "--model", settings.name]
    then += ["--micrographs", str(store.micrographs or "micrographs"), "--diameter", f"{store.diameter:g}"]
    report(outcome.failed, outcome.results, then)
    return outcome.exit_code


def curves_table(curves: Sequence[dict[str, Any]]) -> list[str]:
    """Lines with the start, before the first step, the end and the difference of each curve that there is."""
    lines = [f"{'':<30}{'start':>10}{'end':>10}{'difference':>12}"]
    for key, label in CURVES.items():
        start, end = (record.get(key) for record in (curves[0], curves[-1]))
        if start is not None and end is not None:
            lines.append(f"{label:<30}{start:>10.4f}{end:>10.4f}{end - start:>+12.4f}")
    return lines
