"""Judges a folder of picks by known positions: finds what belongs together, and refuses what proves nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mwr_hpc.boxnet.candidates import Rules
from mwr_hpc.boxnet.evaluate import Evaluation, Judged, evaluate_blobs, evaluate_picks
from mwr_hpc.boxnet.matching import excluded_notice, find_examples
from mwr_hpc.config.boxnet_picking import EvaluatePicksSettings
from mwr_hpc.errors import InputError
from mwr_hpc.events import Emit, Notice
from mwr_hpc.pipeline.pick_folder import read_record
from mwr_hpc.pipeline.receipts import checksum
from mwr_hpc.printable import first_of


@dataclass(frozen=True)
class Verdict:
    """The figures, the name of the model, and why some micrographs were left out."""

    model: str
    evaluation: Evaluation
    failed: dict[str, str]


def evaluate_picking(settings: EvaluatePicksSettings, emit: Emit) -> Verdict:
    """Judge picks.

    Parameters
    ----------
    settings
        As resolved from defaults, files, environment and command line.
    emit
        Called with every event.

    Raises
    ------
    InputError
        There are no picks, truths do not belong to them, or the model was trained on these micrographs.
    """
    assert settings.picked is not None and settings.truth is not None, "the settings require both"
    folder, record = read_record(settings.picked, settings.suffix)
    micrographs = Path(record["micrographs"])
    if not micrographs.is_dir():
        raise InputError(f"{micrographs}: the folder of micrographs that {folder.root} was picked from is gone")
    every = [
        Judged(found.micrograph, folder.candidates(found.name), found.positives, found.merged, found.listed)
        for found in find_examples(micrographs, settings.truth, emit=emit)
    ]
    judged = [one for one in every if one.candidates.exists()]
    failed = {one.micrograph.stem: "not picked" for one in every if not one.candidates.exists()}
    if not judged:
        raise InputError(
            f"{settings.truth}: none of its {len(every)} micrographs is picked in {folder.root} with the suffix "
            f"{folder.suffix}; run `mwr-hpc boxnet pick` on them first"
        )
    if not settings.allow_training_micrographs:
        _require_unseen(judged, record, emit)
    rules = Rules(**record["rules"])
    rules = replace(
        rules,
        threshold=rules.threshold if settings.threshold is None else settings.threshold,
        border=rules.border if settings.border is None else settings.border,
    )
    tolerance = settings.tolerance or rules.diameter / 4
    evaluation = evaluate_picks(judged, rules, tolerance)
    if evaluation.outside:
        emit(excluded_notice(evaluation.outside))
    if settings.baseline:
        signedness = settings.bytes or record.get("bytes")
        image = (record["pixel_size"], record["contrast"], signedness)
        blobs, threshold = evaluate_blobs(judged, rules, tolerance, *image)
        evaluation = replace(evaluation, baseline=blobs, baseline_threshold=threshold)
    return Verdict(record["name"], evaluation, failed)


def _require_unseen(judged: Sequence[Judged], record: Mapping[str, Any], emit: Emit) -> None:
    """See that the model, and those that it descends from, were not trained on what they are judged by.

    Raises
    ------
    InputError
        It has seen some of the micrographs.
    """
    trained = {one["checksum"]: one["name"] for one in record["training_set"].get("micrographs", ())}
    if not trained:
        return
    seen = [one.micrograph for one in judged if checksum(one.micrograph) in trained]
    if seen:
        raise InputError(
            f"{record['name']} was trained on {first_of([path.name for path in seen])}: judged by them it looks "
            "better than it is. Give the truth of other micrographs, or say --allow-training-micrographs"
        )
    same = sorted({one.micrograph.stem for one in judged} & set(trained.values()))
    if same:
        emit(
            Notice(
                f"{record['name']} was trained on micrographs named {', '.join(same[:5])}, whose files differ from "
                "these: if they are the same exposures, these figures are too good",
                warning=True,
            )
        )
