"""Which patches make up which step, what they weigh, and what is trained where nobody has said what is there."""

import numpy as np
import pytest

from mwr_hpc.boxnet.input_pipeline import NEW, OLD, PATCHES, Mix, MixedOrder, PatchSource, chosen_samples, class_shares
from mwr_hpc.boxnet.labels import BACKGROUND, CONTAMINATION, PARTICLE, UNMASKED
from mwr_hpc.boxnet.loss import BORDER_WEIGHT
from mwr_hpc.boxnet.masks import knows_masks, relabelling

from .teaching import Examples, blobs, new_examples, old_examples


def source(new=None, old=None, **options):
    sets = {
        NEW: (new or new_examples(), relabelling(False, None)),
        OLD: (old or old_examples(), relabelling(False, None)),
    }
    return PatchSource(sets, **{"edge": 32, "seed": 1, "background_weight": 0.25, **options})


def test_batches_alternate_in_the_ratio_of_the_mix():
    assert Mix(1, 1).kinds(3) == [NEW, OLD] * 3
    assert Mix(1, 0).kinds(2) == [NEW, NEW]
    assert Mix(2, 1).kinds(4) == [NEW, NEW, OLD] * 2
    assert Mix(1, 3).kinds(2) == [NEW, OLD, OLD, OLD] * 2
    assert Mix(3, 2).kinds(6).count(OLD) == 4


def test_an_epoch_has_twenty_patches_of_every_new_micrograph_and_as_many_old_ones():
    order = MixedOrder(["a", "b"], [f"o{n}" for n in range(100)], Mix(1, 1), batch_size=8, seed=0)
    samples = order.epoch(1)
    assert len(samples) == order.steps * 8 == 2 * 2 * PATCHES
    steps = [samples[start : start + 8] for start in range(0, len(samples), 8)]
    assert [{kind for _, kind, _ in step} for step in steps] == [{NEW}, {OLD}] * (order.steps // 2)
    new = [sample for sample in samples if sample[1] == NEW]
    assert sorted(new) == sorted((name, NEW, number) for name in "ab" for number in range(PATCHES))
    old = [sample[0] for sample in samples if sample[1] == OLD]
    assert len(set(old)) == len(old) == 40  # of a large corpus as many micrographs as there are patches
    assert samples == MixedOrder(order.new, order.old, order.mix, 8, 0).epoch(1) != order.epoch(2)


def test_every_patch_is_a_function_of_seed_step_and_sample():
    samples = chosen_samples(["new1", "new2"], NEW, 4, 0)
    batch, same = (source().training_batch(samples, 7) for _ in range(2))
    for one, other in zip(batch[:3], same[:3], strict=True):
        assert one.tobytes() == other.tobytes()
    alone = source().training_batch(samples[2:3], 7)
    assert alone.x.tobytes() == batch.x[2:3].tobytes()
    for other in (source().training_batch(samples, 8), source(seed=2).training_batch(samples, 7)):
        assert other.x.tobytes() != batch.x.tobytes()
    judged = source().validation_batch(samples)
    assert judged.x.tobytes() == source().validation_batch(samples).x.tobytes()


def test_background_and_the_border_weigh_less():
    batch = source().validation_batch(chosen_samples(["new0", "new1"], NEW, 8, 0))
    assert batch.x.shape == (8, 32, 32, 1) and batch.y.shape == batch.weight.shape == (8, 32, 32)
    inner, outer = np.zeros((2, 8, 32, 32), bool)
    inner[:, 4:28, 4:28] = True
    outer = ~inner & (batch.weight > 0)
    for where, factor in ((inner, 1.0), (outer, BORDER_WEIGHT)):
        for label, weight in ((PARTICLE, 1.0), (BACKGROUND, 0.25)):
            found = batch.weight[where & (batch.y == label)]
            assert found.size and np.allclose(found, factor * weight)


def test_classes_are_counted_over_all_micrographs_that_are_trained_on():
    one, two = blobs("x", count=3), blobs("y", count=9)
    held_out = blobs("z", count=40)
    two.weights[:48] = 0
    examples = Examples([held_out, one, two])
    shares = class_shares({NEW: (examples, relabelling(False, None))}, {NEW: 1.0})
    particle = (one.labels == PARTICLE).sum() + (two.labels == PARTICLE)[48:].sum()
    assert shares == pytest.approx(np.array([1 - particle / (1.5 * 96**2), particle / (1.5 * 96**2), 0]))
    mixed = class_shares(
        {NEW: (examples, relabelling(False, None)), OLD: (examples, relabelling(False, None))}, {NEW: 0.25, OLD: 0.75}
    )
    assert mixed == pytest.approx(shares)


def relabelled(example, knows, train_mask):
    return relabelling(knows, train_mask)(example.labels, example.weights, example.masked)


def test_without_a_mask_background_may_be_contamination_if_the_network_knows_that():
    plain, masked = blobs("p"), blobs("m", mask=True)
    labels, weights = relabelled(plain, knows=True, train_mask=None)
    np.testing.assert_array_equal(labels, np.where(plain.labels == PARTICLE, PARTICLE, UNMASKED))
    assert weights.min() == 1
    np.testing.assert_array_equal(relabelled(plain, knows=False, train_mask=None)[0], plain.labels)
    np.testing.assert_array_equal(relabelled(masked, knows=True, train_mask=None)[0], masked.labels)


def test_masks_that_are_not_used_leave_no_trace():
    masked = blobs("m", mask=True)
    for knows, expected in ((True, UNMASKED), (False, BACKGROUND)):
        labels, _ = relabelled(masked, knows, train_mask=False)
        assert not (labels == CONTAMINATION).any()
        assert (labels[masked.labels != PARTICLE] == expected).all()


def test_where_masks_are_asked_for_a_micrograph_without_says_nothing_of_the_background():
    plain = blobs("p")
    _, weights = relabelled(plain, knows=True, train_mask=True)
    np.testing.assert_array_equal(weights, (plain.labels == PARTICLE).astype(np.float32))


def test_a_network_knows_masks_from_its_parent_or_from_the_examples():
    plain, masked = new_examples(), new_examples(mask=True)
    assert knows_masks({"masks": True}, plain, None, None)
    assert knows_masks({}, masked, None, None) and knows_masks({}, plain, masked, None)
    assert not knows_masks({}, plain, plain, None) and not knows_masks({}, masked, None, False)
