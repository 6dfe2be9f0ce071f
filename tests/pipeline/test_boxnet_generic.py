"""The generic model as it comes with the program, the examples behind it, and the demonstration that starts from it."""

from dataclasses import replace

import numpy as np
import pytest

from mwr_hpc.boxnet.blob_picker import find_blobs
from mwr_hpc.boxnet.curate import find_picks
from mwr_hpc.boxnet.examples import ExampleStore
from mwr_hpc.boxnet.generic import NUMBER, SPECIFICATION
from mwr_hpc.boxnet.labels import CONTAMINATION, PARTICLE
from mwr_hpc.boxnet.registry import find_model
from mwr_hpc.config.boxnet_generic import BoxNetDemoSettings, TrainGenericSettings
from mwr_hpc.errors import StopRequested
from mwr_hpc.events import ignore, never
from mwr_hpc.numerics.detection import Scored, average_precision
from mwr_hpc.numerics.micrograph import prepare
from mwr_hpc.pipeline import boxnet_demo, boxnet_generic
from mwr_hpc.pipeline.boxnet_generic import simulated_corpus, train_generic
from mwr_hpc.simulation.micrograph import MicrographSpecification, simulate_micrograph
from mwr_hpc.training.framework import configure
from mwr_hpc.training.model_file import read_description

configure()

TINY = replace(SPECIFICATION, size=(96, 96), crowding=(0.3, 0.3), species=2)


@pytest.fixture(autouse=True)
def _own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("MWR_HPC_MODELS", str(tmp_path / "models"))


def test_the_generic_model_says_what_it_was_made_of():
    path = find_model("BoxNetGeneric")
    description = read_description(path)
    assert description["masks"] and description["pixel_size"] == 8.0
    assert len(description["training_set"]["micrographs"]) == NUMBER
    defaults = TrainGenericSettings(name="x")
    assert (defaults.number, defaults.species, defaults.corpus_seed) == (
        NUMBER,
        SPECIFICATION.species,
        SPECIFICATION.seed,
    )
    assert (description["epochs"], description["seed"]) == (defaults.epochs, defaults.seed)
    assert path.stat().st_size < 4e6


def test_it_picks_a_species_that_it_has_not_seen_better_than_blobs():
    from mwr_hpc.boxnet.pick import loaded

    specification = MicrographSpecification(
        size=(256, 256), pixel_size=8.0, species=3, seed=3, snr=(1.0, 1.0), crowding=(0.2, 0.2)
    )
    path = find_model("BoxNetGeneric")
    labeller = loaded(path, 0)
    by_network, by_blobs = [], []
    for index in range(3):
        micrograph = simulate_micrograph(specification, index)
        image = prepare(micrograph.image, 8.0, 8.0, "dark")
        diameter = micrograph.conditions.species.diameter / 8
        particle, contamination = labeller.winners(image)
        picks = find_picks(particle, contamination, threshold=0.0, diameter=diameter)
        blobs = find_blobs(image, diameter=diameter)
        for found, results in ((picks, by_network), (blobs, by_blobs)):
            scored = Scored(micrograph.positions, found.positions, found.scores)
            results.append(average_precision([scored], diameter / 2))
    assert np.mean(by_network) > np.mean(by_blobs) and np.mean(by_network) > 0.5


def test_a_corpus_is_made_once_and_its_labels_are_the_truth(monkeypatch):
    store = simulated_corpus(TINY, 2, ignore, never)
    examples = ExampleStore(store)
    assert len(examples.names) == 2 and len(examples.held_out) == 1 and all(map(examples.masked, examples.names))
    for index, name in enumerate(examples.names):
        example, truth = examples.read(name), simulate_micrograph(TINY, index)
        np.testing.assert_allclose(example.positions, truth.positions, atol=1e-3)
        places = np.rint(example.positions).astype(int)
        inside = ((places >= 0) & (places < 96)).all(axis=1)
        assert (example.labels[tuple(places[inside].T)] == PARTICLE).all()
        assert ((example.labels == CONTAMINATION) == truth.mask).all()
    monkeypatch.setattr(boxnet_generic, "local_pool", lambda workers: pytest.fail("made again"))
    assert simulated_corpus(TINY, 2, ignore, never) == store


def test_a_stopped_corpus_is_none_and_goes_on():
    with pytest.raises(StopRequested):
        simulated_corpus(TINY, 3, ignore, lambda: True)
    assert len(ExampleStore(simulated_corpus(TINY, 3, ignore, never)).names) == 3


def test_another_generic_model_is_trained_and_named(tmp_path, monkeypatch):
    monkeypatch.setattr(boxnet_generic, "SPECIFICATION", TINY)
    settings = TrainGenericSettings(
        name="Other", number=3, species=2, epochs=1, width=4, batch_size=2, run_dir=tmp_path / "run"
    )
    (model,) = train_generic(settings, ignore, never).results
    description = read_description(model)
    assert model == find_model("Other") and description["masks"] and description["training_set"]["corpus"] == "none"


@pytest.mark.soak
def test_the_demonstration_goes_its_way_with_small_micrographs(tmp_path, monkeypatch):
    small = replace(boxnet_demo.SPECIFICATION, size=(320, 320))
    monkeypatch.setattr(boxnet_demo, "SPECIFICATION", small)
    monkeypatch.setattr(boxnet_demo, "EPOCHS", 1)
    monkeypatch.setattr(boxnet_generic, "SPECIFICATION", TINY)
    monkeypatch.setattr(boxnet_generic, "NUMBER", 3)
    drawn = []
    result = boxnet_demo.run_boxnet_demo(
        BoxNetDemoSettings(out=tmp_path / "demo"), ignore, never, lambda *given: drawn.append(given)
    )
    assert result.before.picks.truths == result.after.picks.truths > 0
    assert result.after.baseline is not None and len(drawn) == 1
    assert result.exit_code == (0 if result.passed else 1)
    assert any("average precision" in line for line in result.summary)
    assert not list((tmp_path / "models").glob("*")), "the demonstration leaves no name behind"
