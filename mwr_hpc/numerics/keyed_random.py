"""Random numbers keyed by what they are for, never by who draws them or in which order.

The same key gives the same numbers whatever the number of workers and ranks, and after any restart.
"""

import hashlib
import json

import numpy as np


def keyed_generator(
    seed: int, purpose: str, iteration: int = 0, tomogram: str = "", index: int = 0
) -> np.random.Generator:
    """Make the random generator that belongs to one key.

    Parameters
    ----------
    seed
        The run's seed.
    purpose
        What the numbers decide, for example ``"centres"`` or ``"noise"``.
    iteration, tomogram, index
        Which iteration, tomogram and item they decide it for.

    Returns
    -------
    numpy.random.Generator
        A fresh Philox generator; its 128-bit key is the beginning of the SHA-256 of all five values.
    """
    key = hashlib.sha256(json.dumps([int(seed), purpose, int(iteration), tomogram, int(index)]).encode()).digest()
    return np.random.Generator(np.random.Philox(key=np.frombuffer(key[:16], dtype="<u8")))
