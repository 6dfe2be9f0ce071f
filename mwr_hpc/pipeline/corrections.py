"""What a correction did, reported by the coordinator: warnings of tomograms that hardly changed, and their figures."""

from collections.abc import Mapping, Sequence

from mwr_hpc.events import Emit, Notice
from mwr_hpc.numerics.change import EMPTY_BELOW, UNCHANGED_BELOW, Change
from mwr_hpc.pipeline.receipts import Receipt, ReceiptBook
from mwr_hpc.pipeline.units import Unit
from mwr_hpc.printable import first_of

FIGURE = "mwr_hpc.report.before_after:draw_before_after"
"""Draws a tomogram before and after; named as text, since figures belong to a higher layer than this one."""


def change_in(receipt: Receipt) -> Change | None:
    """Return what a correction changed; None for one by a version that did not measure it."""
    record = receipt.figures.get("change")
    return None if record is None else Change(**record)


def figure_of(corrected: Unit, book: ReceiptBook, receipt: Receipt | None = None) -> Unit:
    """Return the unit that draws ``<id>.png``: a tomogram before and after its correction.

    Parameters
    ----------
    corrected
        The unit that corrects.
    book
        Knows where the receipt of a file goes.
    receipt
        Of the correction; None before that is done.
    """
    stage = f"{corrected.stage}_figure"
    return Unit(
        stage=stage,
        name=corrected.name,
        function=FIGURE,
        inputs={"before": corrected.inputs["tomogram"], "after": corrected.target},
        input_keys={"after": corrected.key},
        parameters={"change": receipt and receipt.figures.get("change"), "bytes": corrected.parameters.get("bytes")},
        target=corrected.target.with_name(f"{corrected.name}.png"),
        receipt=book.path(stage, corrected.name),
    )


def warn_of_little_change(done: Mapping[str, Receipt], keep_measured: bool, emit: Emit) -> None:
    """Warn of tomograms whose wedge stayed empty, and of those that are hardly another than before.

    Parameters
    ----------
    done
        Receipts of the corrections, by tomogram.
    keep_measured
        Whether the measured Fourier values were put back, so that they cannot have changed.
    emit
        Called with each warning.
    """
    changes = {name: change for name, receipt in done.items() if (change := change_in(receipt)) is not None}
    empty = sorted(name for name, change in changes.items() if change.leaves_wedge_empty)
    kept = sorted(name for name, change in changes.items() if change.keeps_the_rest and not keep_measured)
    if empty:
        fills = [changes[name].wedge_fill or 0.0 for name in empty]
        text = (
            f"the missing wedge stays nearly empty in {_named(empty, len(changes))}: its power per coefficient is at "
            f"most {max(fills):.1%} of the measured region's, {EMPTY_BELOW:.0%} or more is expected. The network has "
            "learned too little: train longer (--hours, --iterations), and see with `mwr-hpc check` that the tilt "
            "range is right"
        )
        emit(Notice(text, warning=True))
    if kept:
        text = (
            f"next to nothing changed outside the missing wedge in {_named(kept, len(changes))}: less than "
            f"{UNCHANGED_BELOW:.0%} of the power there, so the noise is still in it. Train longer (--hours, "
            "--iterations), or with noise volumes (--noise_dir), which teach the network to remove noise"
        )
        emit(Notice(text, warning=True))


def _named(names: Sequence[str], of: int) -> str:
    return f"{len(names)} of {of} tomograms ({first_of(names)})"
