"""Models by name: found, listed, published once, refused when the name is taken."""

import numpy as np
import pytest

from mwr_hpc.boxnet import registry
from mwr_hpc.errors import InputError
from mwr_hpc.training.model_file import write_model


@pytest.fixture(autouse=True)
def models(tmp_path, monkeypatch):
    """The user's folder; the program brings one model."""
    monkeypatch.setenv("MWR_HPC_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr(registry, "PACKAGED", tmp_path / "packaged")
    write_one(tmp_path / "packaged" / "BoxNetGeneric.h5")
    return tmp_path / "models"


def write_one(path, value=0, method="boxnet"):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_model(path, {"method": method, "masks": True}, [("last/bias", np.full(3, value, np.float32))])
    return path


def test_a_published_model_is_found_by_name_and_by_path(tmp_path, models):
    model = write_one(tmp_path / "run" / "MyNet.h5")
    assert registry.publish(model, "MyNet") == models / "MyNet.h5" == registry.find_model("MyNet")
    assert registry.find_model(str(model)) == model
    assert registry.find_model("MyNet").read_bytes() == model.read_bytes()
    assert registry.publish(model, "MyNet") == models / "MyNet.h5"  # the same again changes nothing
    assert [path.name for path in models.iterdir()] == ["MyNet.h5"]


def test_a_taken_name_is_refused(tmp_path, models):
    registry.publish(write_one(tmp_path / "one.h5"), "MyNet")
    before = (models / "MyNet.h5").read_bytes()
    for name in ("MyNet", "BoxNetGeneric"):
        with pytest.raises(InputError, match=f"--name {name}: a model of this name is there already"):
            registry.require_free(name)
        with pytest.raises(InputError, match="choose another name"):
            registry.publish(write_one(tmp_path / f"{name}2.h5", 1), name)
    assert (models / "MyNet.h5").read_bytes() == before


def test_a_name_that_is_taken_meanwhile_is_not_overwritten(tmp_path, models, monkeypatch):
    model, real = write_one(tmp_path / "mine.h5", 1), registry.shutil.copyfile

    def copy_while_another_publishes(source, target):
        real(source, target)
        write_one(models / "MyNet.h5", 2)

    monkeypatch.setattr(registry.shutil, "copyfile", copy_while_another_publishes)
    with pytest.raises(InputError, match="a model of this name is there already"):
        registry.publish(model, "MyNet")
    assert (models / "MyNet.h5").read_bytes() == write_one(tmp_path / "other.h5", 2).read_bytes()
    assert [path.name for path in models.iterdir()] == ["MyNet.h5"]


def test_an_unknown_name_tells_those_that_there_are(tmp_path):
    registry.publish(write_one(tmp_path / "a.h5"), "MyNet")
    with pytest.raises(InputError, match=r"no model is named YourNet .* there are: BoxNetGeneric, MyNet"):
        registry.find_model("YourNet")
    with pytest.raises(InputError, match="no such model file"):
        registry.find_model("./YourNet.h5")


def test_the_list_holds_all_models_and_says_which_cannot_be_used(tmp_path, models):
    registry.publish(write_one(tmp_path / "a.h5"), "MyNet")
    write_one(models / "Wedge.h5", method="missing wedge")
    (models / "Broken.h5").write_bytes(b"nothing")
    found = {model.name: model for model in registry.list_models()}
    assert sorted(found) == ["BoxNetGeneric", "Broken", "MyNet", "Wedge"]
    assert found["BoxNetGeneric"].packaged and not found["MyNet"].packaged
    assert found["MyNet"].description["masks"] is True
    assert found["Broken"].description is None and "not an HDF5 file" in found["Broken"].problem
    assert "picks no particles" in found["Wedge"].problem
    with pytest.raises(InputError, match="picks no particles"):
        registry.show_model("Wedge")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"MWR_HPC_MODELS": "/lab/models", "XDG_DATA_HOME": "/data"}, "/lab/models"),
        ({"XDG_DATA_HOME": "/data"}, "/data/mwr_hpc/models"),
        ({}, "~/.local/share/mwr_hpc/models"),
    ],
)
def test_where_models_are(environment, expected):
    from pathlib import Path

    assert registry.models_folder(environment) == Path(expected).expanduser()
