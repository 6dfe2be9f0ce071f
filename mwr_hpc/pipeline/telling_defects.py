"""Warns of padding, outliers and hot pixels that a stage has found."""

from collections.abc import Mapping

from mwr_hpc.events import Emit, Notice
from mwr_hpc.missing_wedge.defects_in_words import BEYOND, defects_in_words
from mwr_hpc.pipeline.receipts import Receipt


def tell_defects(receipts: Mapping[str, Receipt], emit: Emit) -> None:
    """Emit a warning for each kind of defect of each tomogram, from the figures of its conversion or correction."""
    for identifier, receipt in receipts.items():
        if defects := receipt.figures.get("defects"):
            for text in defects_in_words(defects):
                emit(Notice(f"{identifier}: {text}", warning=True))


def tell_hot_pixels(receipts: Mapping[str, Receipt], emit: Emit) -> None:
    """Emit a warning for each micrograph with hot pixels."""
    for name, receipt in receipts.items():
        if number := receipt.figures.get("hot_pixels"):
            text = (
                f"{number} isolated pixels are {BEYOND}, as hot pixels and X-ray hits make them: for the network they "
                "are replaced by the median of their neighbours"
            )
            emit(Notice(f"{name}: {text}", warning=True))
