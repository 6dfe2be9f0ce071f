"""Model files: the same bytes for the same model, and a clear refusal of everything else."""

import h5py
import numpy as np
import pytest

from mwr_hpc.errors import InputError
from mwr_hpc.training.model_file import check_shapes, read_description, read_model, write_model

DESCRIPTION = {"method": "missing wedge", "architecture": {"filter_base": 4, "depth": 2}, "precision": "float32"}
WEIGHTS = [("last/kernel", np.arange(6, dtype=np.float32).reshape(2, 3)), ("a/bias", np.ones(4, np.float32))]


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.h5"
    write_model(path, DESCRIPTION, WEIGHTS)
    return path


def test_what_was_written_is_read(model):
    description, weights = read_model(model, "missing wedge", {"depth": 2, "filter_base": 4})
    assert description == DESCRIPTION == read_description(model)
    assert [name for name, _ in weights] == ["last/kernel", "a/bias"]
    for (_, read), (_, written) in zip(weights, WEIGHTS, strict=True):
        np.testing.assert_array_equal(read, written)


def test_the_same_model_gives_the_same_bytes(model, tmp_path):
    write_model(tmp_path / "again.h5", dict(reversed(DESCRIPTION.items())), WEIGHTS)
    assert (tmp_path / "again.h5").read_bytes() == model.read_bytes()


def test_plain_h5py_reads_it(model):
    with h5py.File(model) as file:
        assert file["weights/0000"].attrs["name"] == "last/kernel"
        assert file["weights/0001"][()].tolist() == [1, 1, 1, 1]


def test_many_weights_keep_their_order(tmp_path):
    weights = [(str(number), np.float32([number])) for number in range(120)]
    write_model(tmp_path / "many.h5", DESCRIPTION, weights)
    read = read_model(tmp_path / "many.h5", "missing wedge")[1]
    assert [int(values[0]) for _, values in read] == list(range(120))


def test_another_architecture_is_refused_with_both_described(model):
    with pytest.raises(InputError, match=r"depth 2, filter_base 4\n.*depth 3, filter_base 4\n.*differ in depth"):
        read_model(model, "missing wedge", {"filter_base": 4, "depth": 3})


def test_a_model_of_another_method_is_refused(model):
    with pytest.raises(InputError, match=r"'missing wedge', expected one for 'boxnet'"):
        read_model(model, "boxnet")


@pytest.mark.parametrize("length", [0, 100, 2000])
def test_a_truncated_file_is_refused(model, length):
    model.write_bytes(model.read_bytes()[:length])
    with pytest.raises(InputError, match=r"model\.h5: (damaged|not an HDF5 file)"):
        read_description(model)


def test_other_files_are_refused(tmp_path):
    (tmp_path / "text.h5").write_text("not a model")
    with pytest.raises(InputError, match="not an HDF5 file"):
        read_description(tmp_path / "text.h5")
    with h5py.File(tmp_path / "keras.h5", "w") as file:
        file.attrs["model_config"] = "{}"
    with pytest.raises(InputError, match="not a model of this program"):
        read_description(tmp_path / "keras.h5")
    with pytest.raises(InputError, match="no such model file"):
        read_description(tmp_path / "absent.h5")


def test_weights_that_do_not_fit_the_description_are_refused(model):
    with pytest.raises(InputError, match=r"found \('a/bias', \(4,\)\), expected \('a/bias', \(5,\)\)"):
        check_shapes(model, WEIGHTS, [("last/kernel", (2, 3)), ("a/bias", (5,))])
    with pytest.raises(InputError, match="found 2 weights, expected 1 weights"):
        check_shapes(model, WEIGHTS, [("last/kernel", (2, 3))])
