"""Labels and weights, compared with discs worked out by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mwr_hpc.boxnet.labels import BACKGROUND, CONTAMINATION, PARTICLE, clear_margin, disc_radius, paint, unpicked_margin
from mwr_hpc.numerics.keyed_random import keyed_generator

NOWHERE = np.empty((0, 2))


def at(*places: tuple[float, float]) -> np.ndarray:
    return np.array(places, np.float32)


def test_a_small_particle_is_a_disc_of_radius_one_and_a_half() -> None:
    labels, weights = paint((5, 6), at((2, 3)), NOWHERE, NOWHERE, 4.0, None)
    by_hand = np.array(
        [
            [0, 0, 0, 0, 0, 0],
            [0, 0, 1, 1, 1, 0],
            [0, 0, 1, 1, 1, 0],
            [0, 0, 1, 1, 1, 0],
            [0, 0, 0, 0, 0, 0],
        ]
    )
    np.testing.assert_array_equal(labels, by_hand)
    assert labels.dtype == np.uint8 and weights.dtype == np.float32
    np.testing.assert_array_equal(weights, 1)


def test_a_large_particle_is_a_disc_of_an_eighth_of_its_diameter_with_the_rim() -> None:
    labels, _ = paint((7, 7), at((3, 3)), NOWHERE, NOWHERE, 16.0, None)
    by_hand = np.array(
        [
            [0, 0, 0, 0, 0, 0, 0],
            [0, 0, 0, 1, 0, 0, 0],
            [0, 0, 1, 1, 1, 0, 0],
            [0, 1, 1, 1, 1, 1, 0],
            [0, 0, 1, 1, 1, 0, 0],
            [0, 0, 0, 1, 0, 0, 0],
            [0, 0, 0, 0, 0, 0, 0],
        ]
    )
    np.testing.assert_array_equal(labels, by_hand)
    assert disc_radius(16.0) == 2 and disc_radius(8.0) == 1.5


def test_the_mask_lies_over_particles_and_changes_no_weight() -> None:
    mask = np.zeros((8, 8), bool)
    mask[:4] = True
    labels, weights = paint((8, 8), at((4, 4)), NOWHERE, NOWHERE, 8.0, mask)
    assert (labels[:4] == CONTAMINATION).all()
    assert set(labels[4:].ravel()) == {BACKGROUND, PARTICLE}
    assert (labels == PARTICLE).sum() == 6
    np.testing.assert_array_equal(weights, 1)


def test_weights_change_no_label_and_uncertain_wins() -> None:
    place = at((10, 10))
    plain, _ = paint((21, 21), place, NOWHERE, NOWHERE, 8.0, None)
    labels, weights = paint((21, 21), place, at((10, 6)), at((10, 14)), 8.0, None, important_weight=3.0)
    np.testing.assert_array_equal(labels, plain)
    assert weights[10, 2] == 3 and weights[10, 1] == 1  # radius 4, the rim included
    assert weights[10, 18] == 0 and weights[10, 19] == 1
    assert weights[10, 10] == 0  # both reach it
    assert set(weights.ravel()) == {0.0, 1.0, 3.0}


@given(
    places=st.lists(st.tuples(st.floats(-6, 26), st.floats(-6, 30)), max_size=6),
    diameter=st.floats(1, 60),
)
@settings(max_examples=40, deadline=None)
def test_painting_is_asking_each_pixel_for_the_nearest_place(
    places: list[tuple[float, float]], diameter: float
) -> None:
    positions = np.array(places).reshape(-1, 2)
    labels, weights = paint((20, 24), positions, positions, NOWHERE, diameter, None)
    y, x = np.indices((20, 24))
    squared = np.full((20, 24), np.inf)
    for row, column in positions:
        squared = np.minimum(squared, (y - row) ** 2 + (x - column) ** 2)
    np.testing.assert_array_equal(labels == PARTICLE, squared <= disc_radius(diameter) ** 2)
    np.testing.assert_array_equal(weights == 4, squared <= (diameter / 2) ** 2)


@pytest.mark.parametrize("place", [(-100.0, 5.0), (5.0, 1000.0)])
def test_places_far_outside_paint_nothing(place: tuple[float, float]) -> None:
    labels, weights = paint((8, 8), at(place), at(place), at(place), 8.0, None)
    assert not labels.any() and (weights == 1).all()


def test_a_margin_that_chance_cannot_have_left_empty_is_unpicked() -> None:
    """Of 200 particles within 30 pixels of no edge of 200 x 300: 140 x 240 pixels, 0.56^200 by chance.

    Labels, of radius 3 and 1.5, count whole.
    """
    inner = keyed_generator(0, "margin").uniform(30, (169, 269), (198, 2))
    places = np.vstack([inner, [[29.5, 100], [100, 269.5]]])
    assert unpicked_margin(places, (200, 300), 24.0) == pytest.approx(30.0 - 3)
    assert unpicked_margin(places, (200, 300), 12.0) == pytest.approx(18.0 - 1.5)  # one and a half diameters at most
    assert unpicked_margin(places[:8], (200, 300), 24.0) == 0  # 0.56^8 is 0.01
    assert unpicked_margin(np.vstack([places, [[2.0, 50.0]]]), (200, 300), 24.0) == 0  # 2.5, less than a label
    assert unpicked_margin(NOWHERE, (200, 300), 24.0) == 0


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 300))
def test_particles_anywhere_leave_hardly_any_margin(seed: int, number: int) -> None:
    places = keyed_generator(seed, "anywhere").uniform(-0.5, (199.5, 299.5), (number, 2))
    width = unpicked_margin(places, (200, 300), 24.0)
    width += 3 * (width > 0)
    free = (200 - 2 * width) * (300 - 2 * width) / (200 * 300)
    assert width == 0 or free**number <= 1e-3


def test_a_margin_without_weight() -> None:
    weights = np.ones((5, 6), np.float32)
    clear_margin(weights, 1.5)  # the centres of the second row are 1.5 pixels from the edge
    assert weights.sum() == 3 * 4 and weights[1:4, 1:5].all()
    clear_margin(weights, 0.0)
    assert weights.sum() == 12
    clear_margin(weights, 1.6)
    assert weights.sum() == 2 and weights[2, 2] == weights[2, 3] == 1
