"""The rules of picking, each on maps where the answer is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mwr_hpc.boxnet.curate import Picks, find_picks, keep_stronger, winners, without_specks
from mwr_hpc.boxnet.labels import disc_radius
from mwr_hpc.numerics.keyed_random import keyed_generator

SHAPE = (90, 120)
CLEAN = np.zeros(SHAPE, bool)
DIAMETER = 24.0


def discs(centres: list[tuple[float, float]], values: list[float], diameter: float = DIAMETER) -> np.ndarray:
    """A map with the discs that a perfect network would mark."""
    y, x = np.indices(SHAPE)
    particle = np.zeros(SHAPE, np.float32)
    for (row, column), value in zip(centres, values, strict=True):
        particle[np.hypot(y - row, x - column) <= disc_radius(diameter)] = value
    return particle


def found(particle: np.ndarray, contamination: np.ndarray = CLEAN, **rules: float) -> list[list[float]]:
    picks = find_picks(particle, contamination, **{"threshold": 0.3, "diameter": DIAMETER, **rules})
    assert picks.positions.dtype == picks.scores.dtype == np.float32
    assert (np.diff(picks.scores) <= 0).all()
    return np.column_stack([picks.positions, picks.scores]).round(4).tolist()


def test_one_disc_gives_its_centre() -> None:
    assert found(discs([(40, 50)], [0.75])) == [[40, 50, 0.75]]


def test_the_centroid_is_weighted_by_the_probability() -> None:
    particle = np.zeros(SHAPE, np.float32)
    particle[30, 40:44] = [0.4, 0.8, 0.8, 0.4]
    particle[31, 41] = 0.8
    (pick,) = found(particle, threshold=0.0)
    assert pick[:2] == pytest.approx([30 + 0.8 / 3.2, (40 * 0.4 + 42 * 0.8 + 43 * 0.4 + 2 * 41 * 0.8) / 3.2])


def test_the_score_is_the_mean_in_the_disc_of_a_label() -> None:
    """A strip of 1 x 7 pixels, of the disc's 29; half a disc at the edge, of which all that is inside counts."""
    strip = np.zeros(SHAPE, np.float32)
    strip[40, 47:54] = 1
    assert found(strip, threshold=0.2) == [[40, 50, pytest.approx(7 / 29, abs=1e-4)]]
    assert found(strip, threshold=0.25) == []
    y, x = np.indices(SHAPE)
    half = discs([(0, 50)], [0.6])
    (pick,) = found(half)
    inside = np.hypot(y - pick[0], x - pick[1]) <= 3
    assert pick[2] == pytest.approx(half[inside].mean(), abs=1e-3) and inside.sum() < 29


def test_the_threshold_chooses_and_moves_nothing() -> None:
    particle = discs([(20, 20), (50, 60), (70, 100)], [0.9, 0.6, 0.35])
    every = found(particle, threshold=0.3)
    assert [pick[2] for pick in every] == pytest.approx([0.9, 0.6, 0.35])
    assert found(particle, threshold=0.35) == every[:2]  # "exceeds"
    assert found(particle, threshold=0.5) == every[:2]
    assert found(particle, threshold=0.95) == []


def test_touching_particles_are_told_apart() -> None:
    # Their discs are one component, but it has two maxima.
    particle = np.maximum(discs([(40, 50)], [0.9]), discs([(40, 57)], [0.8]))
    picks = found(particle, min_distance=5)
    assert len(picks) == 2
    assert sorted(round(pick[1]) for pick in picks) == pytest.approx([50, 57], abs=1)


def test_of_two_too_near_the_stronger_stays() -> None:
    particle = discs([(40, 40), (40, 51)], [0.6, 0.7])
    assert found(particle) == [pytest.approx([40, 51, 0.7])]
    assert len(found(particle, min_distance=11)) == 2  # as far as that is not nearer
    assert len(found(discs([(40, 40), (40, 52)], [0.6, 0.7]))) == 2


def test_a_chain_keeps_what_no_kept_one_forbids() -> None:
    positions = np.array([[0, 0], [0, 8], [0, 16]], np.float32)
    picks = keep_stronger(Picks(positions, np.array([0.5, 0.9, 0.4], np.float32)), 10)
    assert picks.positions.tolist() == [[0, 8]]
    picks = keep_stronger(Picks(positions, np.array([0.9, 0.8, 0.4], np.float32)), 10)
    assert picks.positions.tolist() == [[0, 0], [0, 16]]


@pytest.mark.parametrize(("border", "number"), [(0, 4), (5.5, 4), (6.5, 2), (20, 1), (60, 0)])
def test_the_border_is_left_out(border: float, number: int) -> None:
    # The centres are 5.5, 5.5, 10.5 and 45.5 pixels from the nearest edge.
    particle = discs([(5, 60), (84, 30), (45, 109), (44.5, 60)], [0.9, 0.8, 0.7, 0.6])
    assert len(found(particle, border=border)) == number


def test_contamination_keeps_particles_away() -> None:
    contamination = CLEAN.copy()
    contamination[30:50, 60:70] = True
    inside, near, far = (40, 65), (40, 48), (40, 46)  # 12 and 14 pixels from the first contaminated one
    particle = discs([inside], [0.9]), discs([near], [0.9]), discs([far], [0.9])
    assert [len(found(one, contamination)) for one in particle] == [0, 0, 1]
    assert [len(found(one, contamination, mask_distance=2.5)) for one in particle] == [0, 0, 0]


def test_specks_are_no_contamination() -> None:
    contamination = CLEAN.copy()
    contamination[10, 10:29] = True  # 19 pixels
    contamination[70, 10:30] = True  # 20
    contamination[40:44, 60:64] = True  # 16, and by a corner
    contamination[44:46, 64:66] = True  # 4 more
    cleaned = without_specks(contamination)
    assert (cleaned[10].sum(), cleaned[70].sum(), cleaned[40:46].sum()) == (0, 20, 20)
    assert len(found(discs([(10, 20)], [0.9]), contamination)) == 1
    assert len(found(discs([(70, 20)], [0.9]), contamination)) == 0


def test_the_most_probable_class_wins() -> None:
    particle, contamination = winners(np.array([[[0.3, 0.4, 0.3], [0.5, 0.4, 0.1], [0.2, 0.3, 0.5]]], np.float32))
    assert particle.tolist() == [[np.float32(0.4), 0, 0]]
    assert contamination.tolist() == [[False, False, True]]


def test_contamination_competes_with_background_as_if_background_had_weighed_1() -> None:
    """In truth 0.6 : 0.2 and 0.4 : 0.6, of which training saw the first as a quarter; particles compete as before."""
    seen = [[0.15, 0.05, 0.2], [0.1, 0.1, 0.6], [0.2, 0.3, 0.25], [0.2, 0.25, 0.3]]
    particle, contamination = winners(np.array([seen], np.float32), 0.25)
    assert contamination.tolist() == [[False, True, False, False]]
    assert particle.tolist() == [[0, 0, np.float32(0.3), 0]]


def test_nothing_to_find() -> None:
    assert found(np.zeros(SHAPE, np.float32)) == []
    assert found(np.ones(SHAPE, np.float32), ~CLEAN) == []


def test_a_plateau_is_one_pick() -> None:
    assert len(found(np.ones(SHAPE, np.float32))) == 1


def test_a_hollow_particle_is_one() -> None:
    y, x = np.indices(SHAPE)
    distance = np.hypot(y - 40, x - 50)
    ring = np.where((distance > 1.5) & (distance < 4.5), 0.5 + 0.002 * (y - 40), 0).astype(np.float32)
    picks = found(ring)
    assert len(picks) == 1 and np.hypot(picks[0][0] - 40, picks[0][1] - 50) < 4


def test_half_precision_maps() -> None:
    particle = discs([(40, 50)], [0.75]).astype(np.float16)
    assert found(particle) == [[40, 50, 0.75]]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), low=st.floats(0.3, 0.6), more=st.floats(0, 0.4))
def test_a_higher_threshold_gives_some_of_the_same(seed: int, low: float, more: float) -> None:
    generator = keyed_generator(seed, "test")
    centres = [tuple(generator.uniform((0, 0), SHAPE)) for _ in range(25)]
    particle = discs(centres, list(generator.uniform(0.3, 1, 25)))
    many, few = found(particle, threshold=low), found(particle, threshold=low + more)
    # What is weaker than the threshold keeps no stronger one away.
    assert few == [pick for pick in many if pick[2] > np.float32(low + more)]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_turned_map_gives_turned_picks(seed: int) -> None:
    generator = keyed_generator(seed, "test")
    corners = [(y, x) for y in range(2, 80, 14) for x in range(2, 110, 14)]
    centres = [tuple(corner + generator.uniform(0, 6, 2)) for corner in corners]
    particle = discs(centres, list(generator.permutation(len(centres)) / 100 + 0.4))
    upright = find_picks(particle, CLEAN, threshold=0.3, diameter=DIAMETER)
    turned = find_picks(particle.T[::-1], CLEAN.T[::-1], threshold=0.3, diameter=DIAMETER)
    back = np.column_stack([turned.positions[:, 1], SHAPE[1] - 1 - turned.positions[:, 0]])
    # By place: among particles that share pixels rounding may decide which is the stronger.
    here, there = (np.lexsort(np.rint(positions / 14).T) for positions in (upright.positions, back))
    assert turned.scores[there] == pytest.approx(upright.scores[here])
    assert back[there] == pytest.approx(upright.positions[here], abs=1e-4)
