"""Stages: from the candidates of one micrograph to the files that users and other programs read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mwr_hpc.boxnet.candidates import Rules, read_candidates
from mwr_hpc.boxnet.curate import without_specks
from mwr_hpc.io.picks import write_box, write_cbox, write_picks
from mwr_hpc.io.tiff import write_mask


def write_particles(inputs: Mapping[str, Path], parameters: Mapping[str, Any], output: Path) -> dict[str, Any]:
    """Choose the particles of one micrograph and write them.

    Parameters
    ----------
    inputs
        "candidates".
    parameters
        "rules", the fields of `Rules`; "format": "star", "box" or "cbox".
    output
        The file to write; a table without lines where there is no particle.

    Returns
    -------
    dict
        "particles", their number.

    Raises
    ------
    InputError
        The candidates are damaged.
    DiskFullError
        No space is left.
    """
    candidates = read_candidates(inputs["candidates"])
    rules = Rules(**parameters["rules"])
    picks = candidates.picks(rules)
    y, x = picks.positions.T
    box_size = 2 * round(rules.diameter / candidates.pixel_size / 2)
    if parameters["format"] == "star":
        write_picks(output, x, y, candidates.micrograph, picks.scores)
    elif parameters["format"] == "box":
        write_box(output, x, y, box_size)
    else:
        write_cbox(output, x, y, box_size, picks.scores)
    return {"particles": len(picks)}


def write_contamination(inputs: Mapping[str, Path], parameters: Mapping[str, Any], output: Path) -> dict[str, Any]:
    """Write the mask of one micrograph at the working pixel size, without specks; `parameters` are none.

    Returns
    -------
    dict
        "masked", the share of the micrograph.

    Raises
    ------
    InputError
        The candidates are damaged.
    DiskFullError
        No space is left.
    """
    mask = without_specks(read_candidates(inputs["candidates"]).contamination)
    write_mask(output, mask)
    return {"masked": round(float(mask.mean()), 6)}
