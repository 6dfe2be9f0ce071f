"""Stage: a figure of a tomogram before and after its correction."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mwr_hpc.io.atomic import target_of
from mwr_hpc.io.volume import open_volume
from mwr_hpc.missing_wedge.changes import describe_change
from mwr_hpc.printable import printable
from mwr_hpc.report.plots import save, slices_figure


def draw_before_after(inputs: Mapping[str, Path], parameters: Mapping[str, Any], output: Path) -> dict[str, Any]:
    """Draw slices and power spectra of a tomogram before and after, on one grey scale.

    Parameters
    ----------
    inputs
        "before" and "after": MRC files or OME-Zarr directories of one shape.
    parameters
        "change": the figures of the correction (see `Change.to_record`), None where they are not known; "bytes": how
        the tomogram's bytes are read, as for the correction.
    output
        PNG to write.

    Raises
    ------
    InputError
        A tomogram cannot be read.
    """
    before, after = open_volume(inputs["before"], parameters["bytes"]), open_volume(inputs["after"])
    volumes = {"before": before.data, "after": after.data}
    title = f"{printable(target_of(output).stem)}\n{describe_change(parameters['change'])}".rstrip()
    save(slices_figure(volumes, title=title, shared_scale=True), output)
    return {}
