"""Shapes are placed without overlap, as many as asked for, the same for the same seed."""

import numpy as np
import pytest

from mwr_hpc.simulation.shapes import FOOTPRINT_DENSITY, GOLD_DENSITY, GoldBead, built_in_species
from mwr_hpc.simulation.specimen import Specimen

SHAPE = (40, 64, 64)


def beads(count: int | None = None, crowding: float = 1.0, seed: int = 0) -> tuple[Specimen, int]:
    specimen = Specimen(SHAPE, 10.0, seed)
    return specimen, specimen.fill("beads", lambda _: GoldBead(80.0), count, crowding)


def test_as_many_as_asked_for_and_none_overlap() -> None:
    specimen, placed = beads(40)
    assert placed == 40
    assert specimen.density.max() <= GOLD_DENSITY  # where two overlapped it would be more


@pytest.mark.parametrize("crowding", [0.05, 0.2])
def test_crowding_is_the_share_of_the_volume(crowding: float) -> None:
    specimen, placed = beads(crowding=crowding)
    bead = GoldBead(80.0).render(np.eye(3), np.zeros(3), 10.0)
    one = np.count_nonzero(bead > FOOTPRINT_DENSITY) / specimen.density.size
    occupied = np.mean(specimen.density > FOOTPRINT_DENSITY)
    assert crowding <= occupied < crowding + 1.2 * one
    assert placed > 0


def test_a_full_specimen_takes_no_more() -> None:
    specimen, placed = beads(count=100_000)
    again = specimen.fill("more beads", lambda _: GoldBead(80.0), 5)
    assert 100 < placed < 1000
    assert again <= 1


def test_nothing_asked_for_is_nothing_placed() -> None:
    specimen, placed = beads(0)
    assert placed == 0
    assert not specimen.density.any()


def test_the_seed_decides_everything() -> None:
    first, second, other = (beads(10, seed=seed)[0].density for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


def test_one_kind_does_not_change_the_draws_of_another() -> None:
    alone, together = Specimen(SHAPE, 10.0, 0), Specimen(SHAPE, 10.0, 0)
    together.fill("beads", lambda _: GoldBead(80.0), 0)
    species = built_in_species()
    for specimen in (alone, together):
        specimen.fill("particles", lambda generator: species[generator.integers(len(species))], 6)
    np.testing.assert_array_equal(alone.density, together.density)


def test_material_holds_its_margin() -> None:
    specimen, _ = beads(3)
    core = specimen.density > FOOTPRINT_DENSITY
    wide = specimen.material(2)
    assert wide[core].all()
    assert core.sum() < wide.sum() < 3 * core.sum()
