"""How good the picks of micrographs are, against known positions: by a network's candidates, and by a blob picker."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mwr_hpc.boxnet.blob_picker import find_blobs
from mwr_hpc.boxnet.candidates import Candidates, Rules, read_candidates
from mwr_hpc.boxnet.curate import Picks, is_inside
from mwr_hpc.boxnet.names import particles_of, picks_of_one, positions_inside
from mwr_hpc.errors import InputError
from mwr_hpc.io.micrograph import read_micrograph, same_pixel_size
from mwr_hpc.io.mrc_fields import Signedness
from mwr_hpc.io.pick_table import PickTable
from mwr_hpc.numerics.detection import Scored, Scores, best_f1_threshold, score
from mwr_hpc.numerics.micrograph import prepare


@dataclass(frozen=True)
class Judged:
    """One micrograph to judge by.

    Attributes
    ----------
    micrograph, candidates
        Its file, and that of its candidates.
    truth
        File of its true positions; with those of other micrographs when `merged`.
    listed
        The micrograph's path in it, where its name alone does not tell.
    """

    micrograph: Path
    candidates: Path
    truth: Path
    merged: bool = False
    listed: str | None = None


@dataclass(frozen=True)
class Evaluation:
    """Figures of picks; distances are in angstrom.

    Attributes
    ----------
    threshold, tolerance, border
        By which the picks were judged; `border` in pixels.
    picks
        Figures of the picks above the threshold; average precision is that of all candidates.
    best_threshold, best_f1
        What these micrographs would have chosen, for comparison: a threshold chosen by the truth proves little.
    micrographs
        The figures of each by name.
    outside
        By name, how many true positions were excluded, for they are outside the micrograph.
    baseline, baseline_threshold
        Figures of a difference-of-Gaussians picker at the threshold that suits it best here, where it was asked for.
    """

    threshold: float
    tolerance: float
    border: float
    picks: Scores
    best_threshold: float
    best_f1: float
    micrographs: dict[str, Scores]
    outside: dict[str, int] = field(default_factory=dict)
    baseline: Scores | None = None
    baseline_threshold: float | None = None

    def to_record(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def evaluate_picks(micrographs: Sequence[Judged], rules: Rules, tolerance: float) -> Evaluation:
    """Judge what the network saw in micrographs, chosen from by rules.

    Parameters
    ----------
    micrographs
        With candidates and truth.
    rules
        By which the picks are chosen; truths, too, are left out within its border.
    tolerance
        Largest distance of a pick from the truth, in angstrom.

    Raises
    ------
    InputError
        A file is damaged, or positions are not of its micrograph.
    """
    scored, outside = {}, {}
    for one in micrographs:
        candidates = read_candidates(one.candidates)
        picks = candidates.picks(replace(rules, threshold=0.0))
        truth = true_positions(one, candidates)
        if stray := len(truths_of(one)) - len(truth):
            outside[one.micrograph.stem] = stray
        scored[one.micrograph.stem] = _in_angstrom(candidates, picks, truth, rules.border)
    every = list(scored.values())
    best_threshold, best_f1 = best_f1_threshold(every, tolerance)
    return Evaluation(
        threshold=rules.threshold,
        tolerance=tolerance,
        border=rules.border,
        picks=score(every, tolerance, rules.threshold),
        best_threshold=best_threshold,
        best_f1=best_f1,
        micrographs={name: score([one], tolerance, rules.threshold) for name, one in scored.items()},
        outside=outside,
    )


def evaluate_blobs(
    micrographs: Sequence[Judged],
    rules: Rules,
    tolerance: float,
    pixel_size: float,
    contrast: Literal["dark", "bright"],
    signedness: Signedness | None = None,
) -> tuple[Scores, float]:
    """Judge a difference-of-Gaussians picker in the same way, at the threshold at which its F1 is best.

    Parameters
    ----------
    micrographs, rules, tolerance
        As for `evaluate_picks`; contamination is not known to this picker.
    pixel_size
        To work at, in angstrom.
    contrast
        Whether protein is "dark" or "bright" in the micrographs.
    signedness
        Of their bytes; None where the files tell.

    Returns
    -------
    Scores, float
        The figures, and the threshold in standard deviations of the response.
    """
    scored = []
    for one in micrographs:
        candidates = read_candidates(one.candidates)
        raw = read_micrograph(one.micrograph, candidates.pixel_size, signedness).image
        image = prepare(raw, candidates.pixel_size, pixel_size, contrast)
        across = float(candidates.scale.mean())
        pixel = candidates.pixel_size * across
        blobs = find_blobs(
            image,
            diameter=rules.diameter / pixel,
            min_distance=None if rules.min_distance is None else rules.min_distance / pixel,
            border=rules.border / across,
        )
        blobs = Picks((blobs.positions * candidates.scale).astype(np.float32), blobs.scores)
        scored.append(_in_angstrom(candidates, blobs, true_positions(one, candidates), rules.border))
    threshold, _ = best_f1_threshold(scored, tolerance)
    return score(scored, tolerance, threshold), threshold


def true_positions(one: Judged, candidates: Candidates) -> NDArray[np.float64]:
    """The true positions (n, 2) of a micrograph, (y, x) in its pixels, less those outside it.

    Raises
    ------
    InputError
        They cannot be read, are of another pixel size, or nearly all outside the micrograph.
    """
    table = truths_of(one)
    if table.pixel_size is not None and not same_pixel_size(table.pixel_size, candidates.pixel_size):
        raise InputError(
            f"{one.truth}: positions at {table.pixel_size:g} A per pixel, but {one.micrograph} has "
            f"{candidates.pixel_size:g} A; give positions in pixels of the micrograph"
        )
    return positions_inside(table, candidates.shape)


def truths_of(one: Judged) -> PickTable:
    """Return the true particles of a micrograph, also those that are outside it.

    Raises
    ------
    InputError
        They cannot be read, or are of several micrographs.
    """
    if one.merged:
        return particles_of(one.truth, one.micrograph, one.listed)
    return picks_of_one(one.truth, one.micrograph)


def _in_angstrom(candidates: Candidates, picks: Picks, truth: NDArray[np.float64], border: float) -> Scored:
    """Truths and picks inside the border, in angstrom."""
    truth = truth[is_inside(truth, candidates.shape, border)]
    picks = picks.where(is_inside(picks.positions, candidates.shape, border))
    return Scored(truth * candidates.pixel_size, picks.positions * candidates.pixel_size, picks.scores)
