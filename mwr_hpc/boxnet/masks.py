"""Whether a network learns what contamination is, and what is trained where nobody has said where it lies."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mwr_hpc.boxnet.corpus import Examples
from mwr_hpc.boxnet.labels import BACKGROUND, CONTAMINATION, UNMASKED

Labelled = tuple[NDArray[np.uint8], NDArray[np.float32]]


def knows_masks(parent: Mapping[str, Any], new: Examples, old: Examples | None, train_mask: bool | None) -> bool:
    """Whether the trained network will know contamination: its parent does, or there are masks to learn from.

    Parameters
    ----------
    parent
        The parent's description; empty when there is none.
    new, old
        The examples.
    train_mask
        Whether the masks of the new examples are used; None: where they are.
    """
    if parent.get("masks"):
        return True
    learnt = train_mask is not False and any(map(new.masked, new.training))
    return learnt or (old is not None and any(map(old.masked, old.training)))


def relabelling(
    knows: bool, train_mask: bool | None
) -> Callable[[NDArray[np.uint8], NDArray[np.float32], bool], Labelled]:
    """What is trained on a micrograph, given its labels, weights and whether it has a mask.

    Parameters
    ----------
    knows
        Whether the network knows contamination. If so, background without a mask is trained as "background or
        contamination", so that what it knows is not unlearnt.
    train_mask
        False: masks are not used. True: micrographs without a mask say nothing of the background, whose weight is 0
        there. None: masks are used where they are.
    """

    def relabel(labels: NDArray[np.uint8], weights: NDArray[np.float32], masked: bool) -> Labelled:
        if masked and train_mask is not False:
            return labels, weights
        background = (labels == BACKGROUND) | (labels == CONTAMINATION)
        if train_mask:
            return labels, np.where(background, np.float32(0), weights)
        return np.where(background, np.uint8(UNMASKED if knows else BACKGROUND), labels), weights

    return relabel
