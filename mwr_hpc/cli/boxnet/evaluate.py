"""`mwr-hpc boxnet evaluate`: judges picks by known positions."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from mwr_hpc.cli.options import add_command
from mwr_hpc.cli.output import say, say_json
from mwr_hpc.cli.progress import observing
from mwr_hpc.cli.running import report, settings_from
from mwr_hpc.cli.words import Given
from mwr_hpc.config.boxnet_picking import EvaluatePicksSettings

if TYPE_CHECKING:
    from mwr_hpc.numerics.detection import Scores
    from mwr_hpc.pipeline.boxnet_judging import Verdict

HELP = """Judge picks by known positions: precision, recall, F1, average precision and position error.

Each pick is paired with one true position at most, within the tolerance, so that there are as many pairs as there can
be. Judged is what the model found by itself, also where somebody has corrected it since. Micrographs that the model was
trained on are refused.

\b
  mwr-hpc boxnet evaluate micrographs --truth micrographs/truth --tolerance 45
  mwr-hpc boxnet evaluate micrographs --truth truth --border 65 --suffix MyNet --baseline --json
"""


def add_to(group: typer.Typer) -> None:
    """Add the command."""
    add_command(group, "evaluate", EvaluatePicksSettings, run, text=HELP, has_json=True)


def run(given: Given) -> int:
    """Print the figures."""
    settings = settings_from(EvaluatePicksSettings, given)
    from mwr_hpc.pipeline.boxnet_judging import evaluate_picking

    with observing() as emit:
        verdict = evaluate_picking(settings, emit)
    if given.json:
        record = {"model": verdict.model, **verdict.evaluation.to_record(), "left_out": verdict.failed}
        say_json(record, indent=2)
    else:
        for line in lines(verdict):
            say(line)
        report(verdict.failed, (), ())
    return 1 if verdict.failed else 0


def lines(verdict: "Verdict") -> Iterator[str]:
    """Yield the figures of the model, and of the baseline where there is one."""
    evaluation = verdict.evaluation
    yield (
        f"{len(evaluation.micrographs)} micrographs, {evaluation.picks.truths} true positions; tolerance "
        f"{evaluation.tolerance:g} A, border {evaluation.border:g} pixels"
    )
    yield f"{verdict.model}, threshold {evaluation.threshold:.3f}: {figures(evaluation.picks)}"
    if evaluation.best_f1:
        yield f"  best threshold here {evaluation.best_threshold:.3f}, with F1 {evaluation.best_f1:.3f}"
    if evaluation.baseline is not None:
        yield f"difference of Gaussians, at its best threshold here: {figures(evaluation.baseline)}"


def figures(scores: "Scores") -> str:
    """Spell figures of merit in one line."""
    error = "" if scores.position_error is None else f", position error {scores.position_error:.1f} A"
    return (
        f"average precision {scores.average_precision:.3f}, F1 {scores.f1:.3f}, precision {scores.precision:.3f}, "
        f"recall {scores.recall:.3f}, {scores.picks} picks{error}"
    )
