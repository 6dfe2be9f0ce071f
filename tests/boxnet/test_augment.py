"""Patches: labels and weights stay with their pixels, nothing outside counts, noise keeps its power."""

import numpy as np
import pytest
from scipy import ndimage

from mwr_hpc.boxnet.augment import Target, cut_augmented, cut_patch, random_centre
from mwr_hpc.boxnet.labels import PARTICLE


def generator(seed=0):
    return np.random.default_rng(seed)


def smooth_target(shape=(120, 150)):
    """An image that is positive just where its label is particle, and large enough in scale to be resampled well."""
    image = ndimage.gaussian_filter(generator().normal(size=shape), 6).astype(np.float32)
    image /= image.std()
    return Target.of(image, np.where(image > 0, PARTICLE, 0).astype(np.uint8), np.ones(shape, np.float32))


@pytest.mark.parametrize("seed", range(8))
def test_labels_move_with_the_image(seed):
    image, labels, weights = cut_augmented(smooth_target(), 64, generator(seed))
    assert image.shape == labels.shape == weights.shape == (64, 64)
    inside = weights > 0
    bright = np.median(image[inside & (labels == PARTICLE)])
    dark = np.median(image[inside & (labels != PARTICLE)])
    assert bright - dark > 0.8
    middle = (bright + dark) / 2
    agreeing = (image > middle) == (labels == PARTICLE)
    assert agreeing[inside].mean() > 0.75


def test_outside_the_micrograph_nothing_counts():
    target = Target.of(np.ones((40, 40), np.float32), np.ones((40, 40), np.uint8), np.ones((40, 40), np.float32))
    for seed in range(10):
        _, _, weights = cut_augmented(target, 96, generator(seed))
        # 40 pixels, stretched by 1.2 at most along both axes
        assert 0 < weights.sum() <= (40 * 1.2) ** 2
    _, _, weights = cut_patch(target, np.array([20.0, 20.0]), 96)
    assert weights.sum() == 40 * 40


def test_a_patch_as_it_is_is_a_part_of_the_micrograph():
    target = smooth_target()
    image, labels, weights = cut_patch(target, np.array([60.0, 70.0]), 32)
    np.testing.assert_array_equal(image, target.image[44:76, 54:86])
    np.testing.assert_array_equal(labels, target.labels[44:76, 54:86])
    assert weights.min() == 1
    image, _, weights = cut_patch(target, np.array([0.0, 0.0]), 32)
    np.testing.assert_array_equal(image[16:, 16:], target.image[:16, :16])
    np.testing.assert_array_equal(image[15, 16:], target.image[1, :16])
    assert weights[:16].max() == weights[:, :16].max() == 0


def test_noise_keeps_most_of_its_power():
    noise = generator().normal(size=(200, 200)).astype(np.float32)
    target = Target.of(noise, np.zeros((200, 200), np.uint8), np.ones((200, 200), np.float32))
    powers = [cut_augmented(target, 64, generator(seed))[0].std() for seed in range(20)]
    assert 0.8 < np.median(powers) < 1.2


def test_the_same_key_gives_the_same_patch_and_another_another():
    target = smooth_target()
    one, same, other = (cut_augmented(target, 32, generator(seed)) for seed in (3, 3, 4))
    for a, b in zip(one, same, strict=True):
        assert a.tobytes() == b.tobytes()
    assert one[0].tobytes() != other[0].tobytes()


def test_patches_leave_a_micrograph_by_no_more_than_their_border():
    centres = np.array([random_centre((200, 300), 64, generator(seed)) for seed in range(200)])
    assert centres.min() >= 24 and centres[:, 0].max() <= 199 - 24 and centres[:, 1].max() <= 299 - 24
    assert np.ptp(centres[:, 0]) > 120
    np.testing.assert_allclose(random_centre((30, 30), 64, generator()), 14.5)
