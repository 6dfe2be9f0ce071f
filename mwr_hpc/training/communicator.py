"""How the ranks of one training talk to each other; alone, there is nobody to talk to.

The engine knows only the `Communicator`. All that ranks exchange in a step travels as one flat float32 vector in one
allreduce, so the order of the sums is fixed and all ranks see the same stop flag at the same step.
"""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Communicator(Protocol):
    """What the engine asks of the ranks."""

    @property
    def rank(self) -> int:
        """This rank, from 0."""

    @property
    def size(self) -> int:
        """Number of ranks."""

    def allreduce(self, flat: Any) -> Any:
        """Sum a flat float32 tensor over all ranks; every rank gets the same bits."""

    def broadcast(self, array: NDArray[Any]) -> NDArray[Any]:
        """Give every rank rank 0's array; shape and dtype are the same on all ranks."""

    def barrier(self) -> None:
        """Wait until every rank is here."""


class SerialCommunicator:
    """Rank 0 of 1."""

    rank = 0
    size = 1

    def allreduce(self, flat: Any) -> Any:
        """Return the vector: the sum over one rank."""
        return flat

    def broadcast(self, array: NDArray[Any]) -> NDArray[np.generic]:
        """Return the array."""
        return array

    def barrier(self) -> None:
        """Return at once."""
