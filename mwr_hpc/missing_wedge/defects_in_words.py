"""Says what padding and outliers of a tomogram are, and what becomes of them."""

from collections.abc import Iterator, Mapping
from typing import Any

from mwr_hpc.numerics.outliers import GROUP, SIGMAS

BEYOND = f"beyond {SIGMAS:g} robust standard deviations"


def defects_in_words(defects: Mapping[str, Any], of: str = "its voxels") -> Iterator[str]:
    """Yield a sentence for each kind of defect.

    Parameters
    ----------
    defects
        A record as `Defects.summary` gives it.
    of
        What `padded_share` is a share of.
    """
    if number := defects["outliers"]:
        what = "1 isolated voxel is" if number == 1 else f"{number} isolated voxels (at most {GROUP} connected) are"
        yield (
            f"{what} {BEYOND}, as hot pixels and X-ray hits make them: for the network they are replaced by the median "
            "of their neighbours, results keep them; to be rid of them, remove them from the tilt series and "
            "reconstruct again"
        )
    if number := defects["connected_outliers"]:
        yield (
            f"{number} connected voxels are {BEYOND}, as gold beads are: they are kept as they are; a mask "
            "(mwr-hpc make-mask) keeps sub-tomograms away from them"
        )
    if values := defects["padding"]:
        listed = " and ".join(f"{value:g}" for value in values)
        yield (
            f"{100 * defects['padded_share']:.2g} % of {of} are padding of the value {listed} in its corners, as a "
            "rotation or a shift leaves them: they are left out of mean and standard deviation, and results keep them"
        )
