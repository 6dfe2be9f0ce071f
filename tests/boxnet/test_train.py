"""A training: it learns, tells, goes on to the same bits wherever it is stopped, and refuses what teaches nothing."""

import json
from dataclasses import replace

import numpy as np
import pytest

from mwr_hpc.boxnet.labels import CONTAMINATION, PARTICLE
from mwr_hpc.boxnet.network import load_network
from mwr_hpc.boxnet.registry import METHOD
from mwr_hpc.boxnet.train import DEFAULT_THRESHOLD
from mwr_hpc.errors import InputError, StopRequested
from mwr_hpc.events import EpochFinished, Notice
from mwr_hpc.training.curves import read_curves
from mwr_hpc.training.model_file import read_description, read_model, write_model

from .teaching import Examples, blobs, new_examples, old_examples, train

LOSSES = ("training_loss", "validation_loss", "old_training_loss", "old_validation_loss")


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A network that has learnt blobs, and the folder of its training."""
    folder = tmp_path_factory.mktemp("taught")
    events = []
    figures = train(folder, new_examples(5), old_examples(4), epochs=8, emit=events.append)
    return folder, figures, events


def test_it_learns_new_and_old_and_tells_the_four_losses_from_before_the_first_step_on(taught):
    folder, figures, events = taught
    curves = read_curves(folder / "curves.jsonl")
    assert [record["epoch"] for record in curves] == list(range(9))
    for name in LOSSES:
        assert curves[-1][name] < 0.6 * curves[0][name]
    assert figures["average_precision"] == curves[-1]["average_precision"] > 0.8
    told = [event for event in events if isinstance(event, EpochFinished)]
    assert [event.figures["average_precision"] for event in told] == [r["average_precision"] for r in curves[1:]]


def test_the_model_says_what_it_is_and_at_which_threshold_it_is_best(taught):
    folder, figures, _ = taught
    description = read_description(folder / "model.h5")
    assert description["method"] == METHOD and description["name"] == "toy" and description["parent"] is None
    assert description["masks"] is False and description["pixel_size"] == 8.0
    assert 0 < description["threshold"] == figures["threshold"] < 1
    assert description["figures"]["average_precision"] == figures["average_precision"]
    assert "samples_per_second" not in json.dumps(description)


def test_held_out_micrographs_do_not_teach(tmp_path):
    """The same weights whatever is in them."""
    first, others = blobs("new0"), [blobs("new1"), blobs("new2")]
    wrong = blobs("something else")
    wrong = replace(wrong, name="new0")
    weights = []
    for number, held_out in enumerate((first, wrong)):
        train(tmp_path / str(number), Examples([held_out, *others]), epochs=1)
        weights.append([v.numpy() for v in load_network(tmp_path / str(number) / "model.h5", "float32")[0].weights])
    assert all(a.tobytes() == b.tobytes() for a, b in zip(*weights, strict=True))


def test_a_parent_is_where_it_starts(taught, tmp_path):
    folder, _, _ = taught
    parent = folder / "model.h5"
    figures = train(
        tmp_path, new_examples(3, width=4.0), old_examples(4), parent, epochs=2, freeze_bn=True, lr_start=1e-3
    )
    before, after = read_curves(folder / "curves.jsonl")[-1], read_curves(tmp_path / "curves.jsonl")[0]
    assert after["old_validation_loss"] < 2 * before["old_validation_loss"]
    assert figures["validation_loss"] < after["validation_loss"]
    description = read_description(tmp_path / "model.h5")
    assert description["parent"] == "toy"
    kept, changed = (load_network(path / "model.h5", "float32")[0] for path in (folder, tmp_path))
    for one, other in zip(kept.non_trainable_variables, changed.non_trainable_variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def without_masks(examples):
    """The same micrographs as if nobody had said where the ice is."""
    for name in examples.names:
        one = examples.read(name)
        yield replace(one, labels=(one.labels == PARTICLE).astype(np.uint8), masked=False)


def test_contamination_is_not_unlearnt_from_micrographs_without_masks(tmp_path):
    masked = new_examples(4, mask=True)
    parent = tmp_path / "parent" / "model.h5"
    train(parent.parent, masked, epochs=12)
    description, weights = read_model(parent, METHOD)
    assert description["masks"]
    ignorant = tmp_path / "ignorant.h5"
    write_model(ignorant, description | {"masks": False}, weights)

    def contamination(model):
        """How much of the ice is recognised."""
        network, _ = load_network(model, "float32")
        images = np.stack([masked.read(name).image for name in masked.names])[..., None]
        return float((np.argmax(network(images), axis=-1)[:, 4:16, 4:16] == CONTAMINATION).mean())

    def child_of(model):
        folder = tmp_path / f"child of {model.stem}"
        train(
            folder, Examples(without_masks(masked)), parent=model, epochs=4, freeze_bn=True, lr_start=2e-3, lr_end=5e-4
        )
        return folder / "model.h5"

    assert contamination(parent) > 0.8
    assert contamination(child_of(parent)) > 0.8
    assert read_description(child_of(parent))["masks"]
    assert contamination(child_of(ignorant)) < 0.5  # which takes the ice for background


def stop_after(count):
    asked = iter(range(10**6))
    return lambda: next(asked) >= count


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_stopped_five_times_it_ends_with_the_bits_of_one_that_never_stopped(tmp_path, precision):
    train(tmp_path / "whole", old=old_examples(), precision=precision)
    for _ in range(5):
        with pytest.raises(StopRequested):
            train(tmp_path / "parts", old=old_examples(), precision=precision, should_stop=stop_after(5))
    train(tmp_path / "parts", old=old_examples(), precision=precision)
    whole, parts = (tmp_path / name / "model.h5" for name in ("whole", "parts"))
    assert whole.read_bytes() == parts.read_bytes()
    curves = [read_curves(tmp_path / name / "curves.jsonl") for name in ("whole", "parts")]
    for one, other in zip(*curves, strict=True):
        assert all(one[name] == other[name] for name in (*LOSSES, "average_precision"))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda one: one.weights.fill(0), "that counts is particle"),
        (lambda one: one.labels.fill(PARTICLE), "that counts is background"),
        (lambda one: one.labels.fill(0), "that counts is particle"),
    ],
    ids=["all weights zero", "no background", "no particle"],
)
def test_examples_that_teach_nothing_are_refused(tmp_path, spoil, words):
    examples = new_examples()
    for name in examples.names:
        spoil(examples.read(name))
    with pytest.raises(InputError, match=words):
        train(tmp_path, examples)
    assert not (tmp_path / "checkpoint").exists()


def test_nothing_to_train_on_is_refused(tmp_path):
    with pytest.raises(InputError, match="all are held out"):
        train(tmp_path, Examples([blobs("a")], held_out=1))


def test_a_parent_of_another_kind_is_refused(tmp_path):
    write_model(tmp_path / "wedge.h5", {"method": "missing wedge"}, [])
    with pytest.raises(InputError, match="expected one for 'boxnet'"):
        train(tmp_path, parent=tmp_path / "wedge.h5")


def test_a_network_that_finds_nothing_gets_a_threshold_and_a_warning(tmp_path):
    events = []
    examples = Examples([blobs("empty", count=0), blobs("new1"), blobs("new2")])
    figures = train(tmp_path, examples, epochs=1, emit=events.append)
    assert figures["threshold"] == DEFAULT_THRESHOLD
    assert any(isinstance(event, Notice) and event.warning and "threshold" in event.text for event in events)


def test_losses_are_those_of_the_model_that_is_written(taught):
    """Of 0.1.0 they were those of the last weights, which jump from epoch to epoch."""
    folder, figures, _ = taught
    train(folder / "again", new_examples(5), old_examples(4), folder / "model.h5", epochs=1, freeze_bn=True)
    before = read_curves(folder / "again" / "curves.jsonl")[0]
    for name in ("validation_loss", "old_validation_loss"):
        assert before[name] == pytest.approx(figures[name], rel=1e-3)
