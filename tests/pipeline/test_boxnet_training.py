"""`boxnet retrain` as a user meets it: what it leaves, how it goes on, and what it refuses before it begins."""

import json
from pathlib import Path

import numpy as np
import pytest

from boxnet.teaching import SMALL, blobs, new_examples, old_examples, write_store
from killing import run, run_well
from mwr_hpc.config.boxnet_training import RetrainSettings
from mwr_hpc.config.loading import resolve
from mwr_hpc.errors import ConfigError, InputError
from mwr_hpc.events import ignore, never
from mwr_hpc.pipeline import boxnet_training
from mwr_hpc.pipeline.boxnet_training import retrain
from mwr_hpc.pipeline.status import status_of
from mwr_hpc.training.model_file import write_model


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """Everything in one temporary folder."""
    monkeypatch.setenv("MWR_HPC_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("PYTHONPATH", str(Path(boxnet_training.__file__).parents[2]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def settings(**values):
    defaults = {"parent": "scratch", "name": "MyNet", "examples": "store", "corpus": "none", "patch": 64, "epochs": 1}
    return resolve(RetrainSettings, {**defaults, **SMALL, **values}, environment={}).settings


def attempt(**values):
    return retrain(settings(**values), ignore, never)


def left_nothing(place):
    return not (place / "boxnet_run").exists() and not (place / "models").exists()


def test_a_training_leaves_a_named_model_curves_and_warps_file_and_is_not_done_twice(place):
    (place / "mics").mkdir()
    write_store(place / "store", new_examples(), micrographs=place / "mics")
    write_store(place / "old", old_examples())
    words = ["--name", "MyNet", "--examples", "store", "--corpus", "old", "--patch", 64, "--epochs", 2]
    words = ["boxnet", "retrain", "--parent", "scratch", *words, "--width", 8, "--depth", 2, "--precision", "float32"]
    said = run_well(words)
    for line in (
        "loss, new examples ",
        "loss, new examples held out",
        "loss, old examples ",
        "loss, old examples held out",
    ):
        assert line in said
    assert "difference" in said and "mwr-hpc boxnet pick --model MyNet" in said
    model, again = place / "models" / "MyNet.h5", place / "boxnet_run" / "MyNet" / "MyNet.h5"
    assert model.read_bytes() == again.read_bytes()
    assert (place / "mics" / "boxnet2training" / "MyNet.tif").stat().st_size > 3 * 3 * 96 * 96 * 4
    assert (place / "boxnet_run" / "MyNet" / "curves.png").exists()
    assert status_of(place / "boxnet_run" / "MyNet").state == "finished"
    listed = run_well(["boxnet", "model", "list"])
    assert "MyNet" in listed and "scratch" in listed and "3 micrographs" in listed
    shown = json.loads(run_well(["boxnet", "model", "show", "MyNet", "--json"]))
    assert {record["name"] for record in shown["training_set"]["micrographs"]} == {"new0", "new1", "new2"}
    modified = model.stat().st_mtime_ns
    assert "difference" in run_well(words)
    assert model.stat().st_mtime_ns == modified
    ended = run([*words[:-2], "--precision", "float32", "--seed", 1])
    assert ended.returncode == 2 and "started with other settings" in ended.stderr and "another --name" in ended.stderr


@pytest.mark.parametrize("name", ["My Net", "../MyNet", "Näme", "", "a/b", "x.h5"])
def test_names_are_made_of_letters_digits_and_dashes(name):
    with pytest.raises(ConfigError, match="letters"):
        settings(name=name)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"mix": "0:1"}, "NEW:OLD"),
        ({"mix": "1"}, "NEW:OLD"),
        ({"lr_start": 1e-4, "lr_end": 1e-3}, "above --lr_start"),
        ({"freeze_bn": True}, "nothing is known yet to normalise by"),
        ({"width": 10}, "use 8 or 12"),
        ({"slurm": True, "in_allocation": True}, "exclude one another"),
        ({"parent": None}, "found no parent"),
        ({"name": None}, "found no name"),
        ({"examples": None}, "found no examples"),
    ],
)
def test_options_that_cannot_work_are_refused(values, words):
    with pytest.raises(ConfigError, match=words):
        settings(**values)


def test_defaults_depend_on_the_parent():
    scratch, child = settings(), settings(parent="BoxNetGeneric")
    assert (scratch.lr_start, scratch.lr_end, scratch.freeze_bn) == (2e-3, 3e-4, False)
    assert (child.lr_start, child.lr_end, child.freeze_bn) == (5e-4, 1e-4, True)
    assert settings(corpus="None").ratio == (1, 0) and settings(corpus="generic", mix="2:3").ratio == (2, 3)


def test_a_taken_name_is_refused(place):
    write_store(place / "store", new_examples())
    (place / "models").mkdir()
    write_model(place / "models" / "MyNet.h5", {"method": "boxnet"}, [])
    with pytest.raises(InputError, match=r"--name MyNet: a model of this name is there already, .*MyNet\.h5"):
        attempt()
    assert not (place / "boxnet_run").exists()


@pytest.mark.parametrize(
    ("method", "words"),
    [("missing wedge", "a model for 'missing wedge', expected one for 'boxnet'"), (None, "damaged")],
)
def test_a_parent_of_another_kind_or_a_damaged_one_is_refused(place, method, words):
    write_store(place / "store", new_examples())
    parent = place / "parent.h5"
    write_model(parent, {"method": method or "boxnet"}, [("a", np.zeros(1000, np.float32))])
    if method is None:
        parent.write_bytes(parent.read_bytes()[:-2000])
    with pytest.raises(InputError, match=words):
        attempt(parent=str(parent))
    assert left_nothing(place)


def test_an_unknown_parent_is_refused(place):
    write_store(place / "store", new_examples())
    with pytest.raises(InputError, match="no model is named YourNet"):
        attempt(parent="YourNet")
    assert left_nothing(place)


def test_masks_that_are_asked_for_must_be_there(place):
    examples = new_examples()
    write_store(place / "store", examples)
    with pytest.raises(InputError, match=r"3 of 3 micrographs .* have no mask, new0 among them"):
        attempt(train_mask=True)
    assert left_nothing(place)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"batch_size": 7}, "in groups of 2"),
        ({"patch": 62}, "use 60 or 64"),
    ],
)
def test_sizes_that_do_not_fit_the_network_are_refused(place, values, words):
    write_store(place / "store", new_examples())
    with pytest.raises(ConfigError, match=words):
        attempt(**values)
    assert left_nothing(place)


def test_examples_and_corpus_must_be_what_they_should_be(place):
    (place / "store").mkdir()
    with pytest.raises(InputError, match="no complete store of examples"):
        attempt()
    write_store(place / "good", new_examples())
    (place / "empty").mkdir()
    with pytest.raises(InputError, match="no corpus"):
        attempt(examples="good", corpus=str(place / "empty"))
    write_store(place / "coarse", old_examples(), pixel_size=10.0)
    with pytest.raises(InputError, match=r"at 10 A per pixel and the examples in .* are at 8"):
        attempt(examples="good", corpus=str(place / "coarse"))
    assert left_nothing(place)


def test_a_training_file_of_somebody_else_is_not_replaced(place):
    (place / "mics" / "boxnet2training").mkdir(parents=True)
    theirs = place / "mics" / "boxnet2training" / "MyNet.tif"
    theirs.write_bytes(b"theirs")
    write_store(place / "store", new_examples(), micrographs=place / "mics")
    with pytest.raises(InputError, match="this command did not make it"):
        attempt()
    assert theirs.read_bytes() == b"theirs"


def test_what_a_parent_has_seen_its_children_have_seen(place):
    store = write_store(place / "store", new_examples())
    settled = settings(parent="BoxNetGeneric")
    before = {"training_set": {"micrographs": [{"name": "earlier", "checksum": "abc"}]}}
    parent = boxnet_training.Parent(store, "sum", before)
    told = boxnet_training._training_set(settled, boxnet_training.ExampleStore(store), parent)
    assert [record["name"] for record in told["micrographs"]] == ["earlier", "new0", "new1", "new2"]
    assert blobs("new0").name in told["held_out"] or len(told["held_out"]) == 1
