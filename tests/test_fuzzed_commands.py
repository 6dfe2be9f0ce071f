"""Whatever stands on the command line: a message and an exit code of the interface, never a traceback."""

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from commanding import Ended, files_below, run
from mwr_hpc.config.schema import COMMANDS

NOTHING_TO_DO = {
    "train": ["train", "--input_dir", "empty", "--run_dir", "run"],
    "predict": ["predict", "model.h5", "empty"],
    "convert": ["convert", "empty"],
    "evaluate": ["evaluate", "empty", "--tilt_range", "-60", "60"],
    # Lacking a volume to do anything with, every command ends soon; a density map that is none has this one end too.
    "simulate": ["simulate", "tomogram", "--density_maps", "model.h5"],
}
SPECIAL = [
    *("", " ", "-", "--", "=", "None", "auto", "nan", "-inf", "1e999", "0x10", "١", "1_0"),
    *("~", "~no_such_user", "x" * 5000, "/", "."),
]
VALUES = st.one_of(
    st.sampled_from(SPECIAL),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12),
    st.integers(-(10**30), 10**30).map(str),
    st.floats().map(str),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzzed")
    (folder / "empty").mkdir()
    (folder / "model.h5").write_bytes(b"no model")
    return folder


def assert_refused(ended: Ended, folder):
    assert ended.code == 2, ended
    assert "Error" in ended.err and "Traceback" not in ended.err
    assert [path.name for path in files_below(folder)] == ["empty", "model.h5"]


@pytest.mark.parametrize("command", NOTHING_TO_DO)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(data=st.data())
def test_any_value_of_any_option(command, folder, monkeypatch, data):
    monkeypatch.chdir(folder)
    options = st.sampled_from(sorted(COMMANDS[command].model_fields))
    chosen = data.draw(st.lists(st.tuples(options, VALUES, st.booleans()), min_size=1, max_size=3))
    words = []
    for name, value, attached in chosen:
        words += [f"--{name}={value}"] if attached else [f"--{name}", value]
    assert_refused(run(*NOTHING_TO_DO[command], *words), folder)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(words=st.lists(VALUES, min_size=1, max_size=4))
@example(words=["--config", "empty"])
@example(words=["--site", "model.h5"])
@example(words=["--config", "~no_such_user"])
@example(words=["--input_dir", "~no_such_user"])
@example(words=["--run_dir", "x" * 5000, "--input_dir", "empty"])
def test_any_words(folder, monkeypatch, words):
    monkeypatch.chdir(folder)
    assert_refused(run("train", *words), folder)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(name=st.sampled_from(sorted(COMMANDS["train"].model_fields)), value=VALUES | st.just("a\0b") | st.booleans())
def test_any_value_in_a_configuration_file(folder, tmp_path_factory, monkeypatch, name, value):
    monkeypatch.chdir(folder)
    config = tmp_path_factory.getbasetemp() / "fuzzed.yaml"
    config.write_text(yaml.safe_dump({"input_dir": "empty", name: value}))
    assert_refused(run("train", "--config", config), folder)
