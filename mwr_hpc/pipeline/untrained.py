"""How what a run is given differs from what its newest model was trained on.

A tomogram that is repaired, replaced, added or removed after the last iteration changes no model that is there. What a
model was trained on is known from its description, which names the tomograms, and from the receipts of its pairs.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from mwr_hpc.missing_wedge.entries import TomogramEntry
from mwr_hpc.pipeline.receipts import RECEIPT_NAME, Receipt, read_receipt
from mwr_hpc.pipeline.training_units import TrainingUnits
from mwr_hpc.training.model_file import read_description


def differences(
    units: TrainingUnits,
    iteration: int,
    entries: Sequence[TomogramEntry],
    extracted: Mapping[str, Receipt],
    known: Collection[str],
    held_out: frozenset[str],
) -> dict[str, str]:
    """Compare what the model of an iteration was trained on with what there is now.

    Parameters
    ----------
    units
        Of the run.
    iteration
        The newest that has a model.
    entries
        The tomograms that can be trained on now.
    extracted
        The receipts of their sub-tomograms.
    known
        The ids of all tomograms that the command names, those that failed among them.
    held_out
        Those of them that only validate.

    Returns
    -------
    dict
        By id of a tomogram, or by the path of another input, how they differ; empty when the model is what a training
        of this iteration on the present inputs would give.
    """
    model = units.run.model(iteration)
    training_set = read_description(model)["training_set"]
    trained = set(training_set["tomograms"])
    pairs = {name: read_receipt(units.run.pairs(iteration, name) / RECEIPT_NAME) for name in trained}
    found: dict[str, str] = {}
    for entry in entries:
        if entry.id not in trained:
            found[entry.id] = f"{model.name} was trained without it"
        elif _has_changed(units, iteration, entry, extracted[entry.id], pairs[entry.id]):
            found[entry.id] = (
                f"{model.name} was trained on another version of it: since then its file, its mask or its tilt range "
                "has changed, or which part of it is held out"
            )
    for name in trained - set(known):
        found[name] = f"{model.name} was trained on it, and it is no longer among the tomograms"
    complete = {name: receipt for name, receipt in pairs.items() if receipt is not None}
    if not found and complete.keys() == trained:
        found |= _changed_volumes(units, iteration, complete, held_out, training_set)
    return found


def _has_changed(
    units: TrainingUnits, iteration: int, entry: TomogramEntry, extracted: Receipt, pairs: Receipt | None
) -> bool:
    """Whether other pairs would be made now; not where somebody has removed the arrays, which alone could prove it."""
    predicted = None
    if iteration > 1:
        predicted = read_receipt(units.run.predicted(iteration - 1, entry.id) / RECEIPT_NAME)
        if predicted is None:
            return False
    return pairs is not None and pairs.key != units.pairs(entry, iteration, extracted, predicted).key


def _changed_volumes(
    units: TrainingUnits,
    iteration: int,
    pairs: Mapping[str, Receipt],
    held_out: frozenset[str],
    training_set: dict[str, Any],
) -> dict[str, str]:
    """Find the inputs beside the tomograms that have changed: all that is left when a training's key is another one."""
    others = [units.settings.noise_dir, units.settings.pretrained_model if iteration == 1 else None]
    named = " or ".join(str(path) for path in others if path is not None)
    receipt = units.book.get("train", f"{iteration:02d}")
    if not named or receipt is None or not receipt.key:
        return {}
    if units.train(iteration, pairs, held_out, training_set).key == receipt.key:
        return {}
    return {named: f"{units.run.model(iteration).name} was trained with another version of it"}
