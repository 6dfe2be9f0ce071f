"""The difference of Gaussians answers discs of its size, at their centres, whatever the scale of the grey values."""

import numpy as np
import pytest

from mwr_hpc.boxnet.blob_picker import blob_response, find_blobs
from mwr_hpc.numerics.keyed_random import keyed_generator


def disc(shape: tuple[int, int], centre: tuple[float, float], diameter: float) -> np.ndarray:
    y, x = np.indices(shape)
    return (np.hypot(y - centre[0], x - centre[1]) <= diameter / 2).astype(np.float32)


def with_discs(centres: list[tuple[int, int]], noise: float) -> np.ndarray:
    image = noise * keyed_generator(1, "test").standard_normal((200, 240)).astype(np.float32)
    return np.asarray(image + sum(disc((200, 240), centre, 20) for centre in centres), np.float32)


def test_discs_are_the_strongest_blobs() -> None:
    centres = [(40, 50), (100, 180), (150, 90)]
    picks = find_blobs(with_discs(centres, 0.5), diameter=20.0)
    strongest = picks.positions[:3].tolist()
    for centre in centres:
        assert min(np.hypot(*np.subtract(pick, centre)) for pick in strongest) <= 2
    assert picks.scores[2] > 1.5 * picks.scores[3]


def test_dark_discs_are_none() -> None:
    dark = with_discs([(100, 120)], 0.1)
    assert blob_response(dark, 20.0)[100, 120] > 20
    assert blob_response(-dark, 20.0)[100, 120] < -20
    assert not [pick for pick in find_blobs(-dark, diameter=20.0).positions if np.hypot(*(pick - (100, 120))) < 10]


def test_the_right_diameter_answers_best() -> None:
    response = {diameter: blob_response(with_discs([(100, 120)], 1.0), diameter)[100, 120] for diameter in (8, 20, 50)}
    assert response[20] > 1.3 * max(response[8], response[50])


@pytest.mark.parametrize(("gain", "offset"), [(3.0, 0.0), (1.0, 100.0)])
def test_grey_values_do_not_matter(gain: float, offset: float) -> None:
    image = with_discs([(40, 50), (100, 180)], 0.5)
    assert blob_response(gain * image + offset, 20.0) == pytest.approx(blob_response(image, 20.0), abs=2e-3)


def test_distances_and_border() -> None:
    picks = find_blobs(with_discs([(40, 50)], 1.0), diameter=20.0, min_distance=15.0, border=12.0)
    gaps = np.linalg.norm(picks.positions[:, None] - picks.positions[None], axis=2) + 99 * np.eye(len(picks))
    assert gaps.min() >= 15
    assert picks.positions.min() >= 11.5
    assert (picks.positions.max(axis=0) <= [199 - 11.5, 239 - 11.5]).all()


def test_a_constant_image_has_no_blobs() -> None:
    assert len(find_blobs(np.ones((60, 60), np.float32), diameter=20.0)) == 0
