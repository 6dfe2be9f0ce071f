"""A micrograph through a network: whole or in tiles the same, and what is kept of it."""

import numpy as np
import pytest

from mwr_hpc.boxnet import pick
from mwr_hpc.boxnet.network import Architecture, build_network, initialise
from mwr_hpc.boxnet.pick import Labeller, reach, softmax
from mwr_hpc.numerics.keyed_random import keyed_generator
from mwr_hpc.training.framework import configure

ARCHITECTURES = [
    Architecture(width=8, depth=1),
    Architecture(width=8, depth=2),
    Architecture(width=4, depth=2, blocks=2),
]


def network_of(architecture: Architecture) -> object:
    """A network in which every weight matters and no activation is switched off."""
    configure()
    network = build_network(architecture, "float32")
    initialise(network, 0)
    for index, variable in enumerate(network.weights):
        values = np.abs(keyed_generator(1, "test", index=index).standard_normal(variable.shape)) / 10
        variable.assign(values + (variable.name in ("gamma", "moving_variance")))
    return network


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=str)
def test_nothing_beyond_the_reach_matters(architecture: Architecture) -> None:
    network = network_of(architecture)
    image = keyed_generator(0, "test").uniform(size=(1, 160, 160, 1)).astype(np.float32)
    before = np.asarray(network(image))
    farthest = 0
    for place in range(80, 80 + architecture.multiple):
        changed = image.copy()
        changed[0, place, place, 0] += 1e4
        rows = np.flatnonzero((np.asarray(network(changed)) != before)[0].any(axis=(1, 2)))
        farthest = max(farthest, place - rows[0], rows[-1] - place)
    assert 0.8 * reach(architecture) <= farthest <= reach(architecture)


@pytest.mark.parametrize("shape", [(150, 203), (96, 300)])
@pytest.mark.parametrize("architecture", ARCHITECTURES[1:], ids=str)
def test_tiles_give_what_the_whole_gives(
    monkeypatch: pytest.MonkeyPatch, architecture: Architecture, shape: tuple[int, int]
) -> None:
    network = network_of(architecture)
    calls: list[tuple[int, ...]] = []

    def counted(tile: object) -> object:
        calls.append(np.shape(tile))
        return network(tile)

    image = keyed_generator(2, "test").standard_normal(shape).astype(np.float32)
    labeller = Labeller(counted, architecture, 1.0)
    whole = labeller.probabilities(image)
    assert len(calls) == 1
    monkeypatch.setattr(pick, "LARGEST_TILE", 128)
    tiled = labeller.probabilities(image)
    assert len(calls) >= 3 and max(map(max, calls[1:])) <= 128
    assert tiled.shape == (*shape, 3)
    assert tiled == pytest.approx(whole, abs=1e-5)
    assert tiled.sum(axis=-1) == pytest.approx(np.ones(shape), abs=1e-5)


def test_softmax_of_large_logits() -> None:
    assert softmax(np.array([[1000.0, 1000.0, -1000.0]], np.float32)).tolist() == [[0.5, 0.5, 0.0]]
