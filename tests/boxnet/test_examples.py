"""Examples: from micrograph, picks and mask to a store; Warp's training files; whatever cannot be learnt from."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from mwr_hpc.boxnet.corpus import WarpCorpus, open_corpus, write_warp_tiff
from mwr_hpc.boxnet.examples import Entry, Example, ExampleStore, held_out_names, write_example, write_index
from mwr_hpc.boxnet.labels import CONTAMINATION, PARTICLE, paint
from mwr_hpc.boxnet.prepare_example import prepare_example
from mwr_hpc.errors import InputError
from mwr_hpc.io.mrc import MrcWriter
from mwr_hpc.io.picks import write_picks
from mwr_hpc.io.tiff import write_mask
from mwr_hpc.numerics.micrograph import prepare

PARAMETERS: dict[str, Any] = {
    "name": "mic",
    "angpix": None,
    "pixel_size": 8.0,
    "contrast": "dark",
    "diameter": 100.0,
    "important_weight": 4.0,
    "border": None,
    "merged": False,
}
IMAGE = np.random.default_rng(0).standard_normal((96, 120)).astype(np.float32)


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Path | None]:
    """A micrograph of 96 x 120 pixels of 4 A with three particles, one of them under the mask."""
    with MrcWriter(tmp_path / "mic.mrc", (1, 96, 120), np.float32, voxel_size=4.0) as writer:
        writer.write(0, IMAGE[None])
    write_picks(tmp_path / "mic_N.star", [20, 60, 100], [30, 50, 70], "mic.mrc")
    mask = np.zeros((48, 60), bool)
    mask[30:40, 45:55] = True
    write_mask(tmp_path / "mask.tif", mask)
    return {"micrograph": tmp_path / "mic.mrc", "positives": tmp_path / "mic_N.star", "mask": tmp_path / "mask.tif"}


def example(name: str, seed: int = 0, shape: tuple[int, int] = (48, 64), masked: bool = True) -> Example:
    generator = np.random.default_rng(seed)
    positions = np.array([[12, 16], [30, 40]], np.float32)
    mask = np.zeros(shape, bool)
    mask[:6, :9] = masked
    labels, weights = paint(shape, positions, positions[:1], positions[1:] + 9, 16.0, mask if masked else None)
    image = prepare(generator.standard_normal(shape), 8.0, contrast="bright")
    return Example(name, image, labels, weights, positions, masked, 128.0)


def store_of(path: Path, examples: list[Example], **options: Any) -> ExampleStore:
    for one in examples:
        write_example(path / one.name, one, 8.0)
    entries = [Entry(one.name, f"{one.name}.mrc", "", len(one.positions), one.masked, one.diameter) for one in examples]
    write_index(path, entries, 8.0, **options)
    return ExampleStore(path)


def test_an_example_holds_what_each_part_of_the_program_says(inputs: dict[str, Path | None], tmp_path: Path) -> None:
    entry = prepare_example(inputs, PARAMETERS, tmp_path / "store" / "mic")
    assert (entry["name"], entry["particles"], entry["masked"], entry["source"]) == ("mic", 3, True, "mic.mrc")
    write_index(tmp_path / "store", [Entry.from_figures(entry)], 8.0, val_fraction=0)
    store = ExampleStore(tmp_path / "store")
    read = store.read("mic")
    np.testing.assert_allclose(read.image, prepare(IMAGE, 4.0), atol=2e-3)
    np.testing.assert_allclose(read.positions, [[15, 10], [25, 30], [35, 50]])
    mask = np.zeros((48, 60), bool)
    mask[30:40, 45:55] = True
    labels, weights = paint((48, 60), read.positions, np.empty((0, 2)), np.empty((0, 2)), 12.5, mask)
    np.testing.assert_array_equal(read.labels, labels)
    np.testing.assert_array_equal(read.weights, weights)
    assert (read.labels[35, 50], read.labels[15, 10]) == (CONTAMINATION, PARTICLE)
    assert (store.diameter, store.pixel_size, store.shape("mic"), read.diameter) == (100, 8, (48, 60), 100)
    assert len([path for path in (tmp_path / "store" / "mic").rglob("*") if path.is_file()]) == 2


def test_a_mask_of_the_micrographs_own_size_is_the_same_mask(inputs: dict[str, Path | None], tmp_path: Path) -> None:
    prepare_example(inputs, PARAMETERS, tmp_path / "s" / "mic")
    large = np.zeros((96, 120), bool)
    large[60:80, 90:110] = True
    write_mask(tmp_path / "large.tif", large)
    with MrcWriter(tmp_path / "large.mrc", (1, 96, 120), np.int8) as writer:
        writer.write(0, large[None].astype(np.int8))
    small = (tmp_path / "s" / "mic" / "c/0/0/0").read_bytes()
    for name in ("large.tif", "large.mrc"):
        output = tmp_path / f"{name}.zarr"
        prepare_example(inputs | {"mask": tmp_path / name}, PARAMETERS, output)
        assert (output / "c/0/0/0").read_bytes() == small


def test_important_and_uncertain_places_weigh(inputs: dict[str, Path | None], tmp_path: Path) -> None:
    write_picks(tmp_path / "i.star", [20], [30], "mic.mrc")
    write_picks(tmp_path / "u.star", [60], [50], "mic.mrc")
    more = inputs | {"important": tmp_path / "i.star", "uncertain": tmp_path / "u.star"}
    entry = prepare_example(more, PARAMETERS | {"important_weight": 7.0}, tmp_path / "store" / "mic")
    write_index(tmp_path / "store", [Entry.from_figures(entry)], 8.0, val_fraction=0)
    weights = ExampleStore(tmp_path / "store").read("mic").weights
    assert (weights[15, 10], weights[25, 30], weights[0, 59]) == (7, 0, 1)


def test_a_list_of_many_micrographs_gives_each_its_own(inputs: dict[str, Path | None], tmp_path: Path) -> None:
    write_picks(tmp_path / "all.star", [20, 999, 60], [30, 999, 50], ["mic.mrc", "other.mrc", "mic.tif"])
    merged = inputs | {"positives": tmp_path / "all.star"}
    assert prepare_example(merged, PARAMETERS | {"merged": True}, tmp_path / "out")["particles"] == 2
    with pytest.raises(InputError, match=r"all\.star: particles of other\.mrc in the file of mic\.mrc"):
        prepare_example(merged, PARAMETERS, tmp_path / "again")


def test_one_particle_outside_does_not_refuse_the_others(inputs: dict[str, Path | None], tmp_path: Path) -> None:
    write_picks(tmp_path / "far.star", [5, 130, 20], [5, 5, 30], "mic.mrc")
    far = inputs | {"positives": tmp_path / "far.star"}
    entry = prepare_example(far, PARAMETERS, tmp_path / "out")
    assert (entry["particles"], entry["outside"]) == (2, 1)


def test_a_path_in_the_list_tells_two_micrographs_of_one_name_apart(
    inputs: dict[str, Path | None], tmp_path: Path
) -> None:
    write_picks(tmp_path / "all.star", [5, 30, 20], [5, 5, 30], ["A/mic.mrc", "B/mic.mrc", "A/mic.mrc"])
    merged = inputs | {"positives": tmp_path / "all.star"}
    entry = prepare_example(merged, PARAMETERS | {"merged": True, "listed": "A/mic.mrc"}, tmp_path / "out")
    assert entry["particles"] == 2
    with pytest.raises(InputError, match=r"particles of A/mic\.mrc and of B/mic\.mrc in the file of mic\.mrc"):
        prepare_example(merged, PARAMETERS, tmp_path / "again")


def test_what_cannot_be_learnt_from_is_refused(inputs: dict[str, Path | None], tmp_path: Path) -> None:
    def refused(message: str, parameters: dict[str, Any] | None = None, **changed: Path) -> None:
        with pytest.raises(InputError, match=message):
            prepare_example(inputs | changed, PARAMETERS | (parameters or {}), tmp_path / "out")

    write_picks(tmp_path / "far.star", [130, 5, 131], [5, 5, 5], "mic.mrc")
    far = r"far\.star: 2 of 3 positions are outside .* x = 130, y = 5 of 120 x 96 pixels"
    refused(far, positives=tmp_path / "far.star")
    optics = "\ndata_optics\n\nloop_\n_rlnOpticsGroup\n_rlnMicrographPixelSize\n1 1.77\n"
    text = (tmp_path / "mic_N.star").read_text()
    (tmp_path / "fine.star").write_text(optics + text)
    fine = r"fine\.star: positions in pixels of 1\.77 A, but .*mic\.mrc has pixels of 4 A"
    refused(fine, positives=tmp_path / "fine.star")
    write_picks(tmp_path / "u.star", [60], [50], "mic.mrc")
    refused("all weights are zero", {"diameter": 2000.0}, uncertain=tmp_path / "u.star")
    write_mask(tmp_path / "all.tif", np.ones((48, 60), bool))
    refused(r"all\.tif: the mask covers all", mask=tmp_path / "all.tif")
    write_mask(tmp_path / "odd.tif", np.ones((50, 60), bool))
    refused("the mask has 60 x 50 pixels; expected 120 x 96, .* or 60 x 48", mask=tmp_path / "odd.tif")
    refused("4 A per pixel are coarser than the 2 A", {"pixel_size": 2.0})
    refused("--angpix 8", {"angpix": 8.0})


def test_micrographs_are_held_out_by_name_and_seed(tmp_path: Path) -> None:
    entries = [Entry(f"m{index}", "", "", index % 4, True, 100.0) for index in range(20)]
    chosen = held_out_names(tmp_path, entries, 0.2, 0)
    assert len(chosen) == 4 and chosen == held_out_names(tmp_path, entries[::-1], 0.2, 0)
    assert chosen != held_out_names(tmp_path, entries, 0.2, 1)
    assert all(entry.particles for entry in entries if entry.name in chosen)
    assert len(held_out_names(tmp_path, entries[1:3], 0.01, 0)) == 1
    assert held_out_names(tmp_path, entries, 0.0, 0) == []
    with pytest.raises(InputError, match="only one micrograph has positives"):
        held_out_names(tmp_path, entries[:2], 0.2, 0)


def test_a_store_without_particles_or_its_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no micrograph has a single positive"):
        write_index(tmp_path / "s", [Entry("a", "", "", 0, True, 1.0)], 8.0)
    with pytest.raises(InputError, match="no complete store of examples"):
        ExampleStore(tmp_path)
    (tmp_path / "zarr.json").write_text('{"attributes": {}}')
    with pytest.raises(InputError, match="no complete store of examples"):
        ExampleStore(tmp_path)


def test_a_damaged_example_is_named(tmp_path: Path) -> None:
    store = store_of(tmp_path / "s", [example("a"), example("b", 1)])
    chunk = tmp_path / "s" / "a" / "c/0/0/0"
    chunk.write_bytes(chunk.read_bytes()[:40])
    with pytest.raises(InputError, match=r"s/a: damaged example"):
        store.read("a")
    (tmp_path / "s" / "b" / "zarr.json").unlink()
    with pytest.raises(InputError, match=r"s/b: damaged example"):
        store.read("b")


def test_warps_file_has_image_labels_and_weights_of_each_micrograph(tmp_path: Path) -> None:
    examples = [example("a"), example("b", 1, (40, 64), masked=False)]
    store = store_of(tmp_path / "s", examples, val_fraction=0.5)
    assert len(store.held_out) == 1 and sorted(store.training + store.held_out) == ["a", "b"]
    write_warp_tiff(store, tmp_path / "Net.tif")
    pages = tifffile.imread(tmp_path / "Net.tif")[:, ::-1]
    assert pages.shape == (6, 48, 64) and pages.dtype == np.float32
    np.testing.assert_allclose(pages[0], -examples[0].image, atol=2e-3)  # protein dark
    np.testing.assert_array_equal(pages[1], examples[0].labels)
    np.testing.assert_array_equal(pages[2], examples[0].weights)
    np.testing.assert_array_equal(pages[4, 4:44], examples[1].labels)
    assert not pages[3:, :4].any() and not pages[3:, 44:].any()


def test_warps_files_are_a_corpus(tmp_path: Path) -> None:
    examples = [example("a"), example("b", 1, (40, 64), masked=False), example("c", 2)]
    (tmp_path / "corpus").mkdir()
    write_warp_tiff(store_of(tmp_path / "s", examples), tmp_path / "corpus" / "X.tif")
    corpus = open_corpus(tmp_path / "corpus")
    assert corpus.names == ["X#0", "X#1", "X#2"] and len(corpus.held_out) == 1
    assert sorted([*corpus.training, *corpus.held_out]) == corpus.names
    assert [corpus.masked(name) for name in corpus.names] == [True, False, True]
    assert (corpus.pixel_size, corpus.diameter) == (8.0, pytest.approx(128, abs=12))
    for name, original in zip(corpus.names, examples, strict=True):
        read = corpus.read(name)
        np.testing.assert_array_equal(read.labels, original.labels)
        np.testing.assert_array_equal(read.weights, original.weights)
        np.testing.assert_allclose(read.positions, original.positions, atol=0.01)
        assert np.corrcoef(read.image.ravel(), original.image.ravel())[0, 1] > 0.99
        assert read.masked == original.masked
    assert isinstance(open_corpus(tmp_path / "s"), ExampleStore)


def test_what_is_no_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no corpus"):
        open_corpus(tmp_path)
    with pytest.raises(InputError, match="no corpus"):
        open_corpus(tmp_path / "none")
    tifffile.imwrite(tmp_path / "a.tif", np.ones((4, 8, 8), np.float32), photometric="minisblack")
    with pytest.raises(InputError, match="4 images; expected image, labels and weights"):
        open_corpus(tmp_path)
    (tmp_path / "a.tiff").touch()
    with pytest.raises(InputError, match=r"a\.tif and a\.tiff both are a; leave one of them here"):
        open_corpus(tmp_path)
    image = np.random.default_rng(0).random((8, 8), np.float32)
    tifffile.imwrite(tmp_path / "a.tif", np.stack([image, image, image]), photometric="minisblack")
    with pytest.raises(InputError, match="labels of micrograph 0 from"):
        WarpCorpus([tmp_path / "a.tif"]).read("a#0")


def test_values_that_float16_cannot_hold_are_cut_off(tmp_path: Path) -> None:
    one = example("a")
    image = one.image.copy()
    image[20, 20] = 1e6
    store = store_of(tmp_path / "s", [replace(one, image=image), example("b")])
    assert store.read("a").image[20, 20] == 3e4
