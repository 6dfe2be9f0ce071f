"""The site profile: defaults, what all jobs share, and that no value can reach a shell as more than a word."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mwr_hpc.config.loading import resolve
from mwr_hpc.config.schema import PredictSettings
from mwr_hpc.config.site import SiteProfile, TrainingResources, load_site
from mwr_hpc.errors import ConfigError

EXAMPLE = Path(__file__).parents[2] / "configs" / "sites" / "example.yaml"
TEXT_FIELDS = ("setup", "scratch", "interface", "partition", "account", "qos", "constraint")


def load(folder: Path, text: str) -> SiteProfile:
    path = folder / "site.yaml"
    path.write_text(text)
    return load_site(path, {})


def test_the_example_is_a_site_file_for_commands_and_jobs() -> None:
    site = load_site(None, {"MWR_HPC_SITE": str(EXAMPLE)})
    assert (site.coordinator.walltime, site.training.seconds) == ("2-00:00:00", 24 * 3600)
    assert {site.preparation.partition, site.training.partition} == {"cpu"}
    resolve(PredictSettings, {}, site=EXAMPLE, incomplete=True)


def test_what_stands_once_holds_for_all_jobs_that_do_not_say_otherwise(tmp_path: Path) -> None:
    site = load(tmp_path, "slurm: {account: lab, partition: cpu, training: {partition: gpu, cores: 8, gpus: 4}}")
    assert (site.coordinator.account, site.training.account) == ("lab", "lab")
    assert (site.prediction.partition, site.training.partition) == ("cpu", "gpu")
    assert (site.training.ranks, site.training.gpu_count, site.training.memory) == (4, 4, "64G")


@pytest.mark.parametrize(
    ("walltime", "seconds"), [("4:00:00", 14400), ("04:00:00", 14400), ("24:00:00", 86400), ("2-00:00:30", 172830)]
)
def test_walltimes_mean_what_they_say_whatever_yaml_makes_of_them(tmp_path: Path, walltime: str, seconds: int) -> None:
    assert load(tmp_path, f"slurm: {{coordinator: {{walltime: {walltime}}}}}").coordinator.seconds == seconds


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ('account: "lab\\ntouch /tmp/x #"', r"slurm.*account: found 'lab\\ntouch /tmp/x #'"),
        ("interface: ib 0", "network interface, for example ib0"),
        ("scratch: $(rm)", r"slurm.scratch: found '\$\(rm\)'"),
        ("setup: setup.sh", "an absolute path"),
        ("setup: /nowhere/setup.sh", "/nowhere/setup.sh is no file"),
        ("training: {memory: 12}", "for example 64G"),
        ("preparation: {walltime: 60}", "for example 12:00:00"),
        ("training: {gpus: 4, cores: 2}", "2 cores for 4 ranks"),
        ("preparation: {worker: 2}", "unknown entry slurm.preparation.worker; did you mean 'workers'"),
        ("coordinator: 3", "slurm.coordinator: found 3"),
        ("constraint: 'a&b'", "slurm.*constraint"),
    ],
)
def test_bad_values_are_named_with_what_would_do(tmp_path: Path, entry: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, f"slurm:\n  {entry}\n")


def test_without_a_site_file_the_message_says_how_to_make_one() -> None:
    with pytest.raises(ConfigError, match=r"`mwr-hpc config site > site.yaml`.*MWR_HPC_SITE"):
        load_site(None, {})


@given(
    st.sampled_from(TEXT_FIELDS),
    st.text(max_size=12),
    st.sampled_from("\n\r\0 ;&|<>()`\"'\\*?[]{}#!~"),
    st.text(max_size=12),
)
def test_no_field_takes_what_a_shell_would_act_on(field: str, before: str, bad: str, after: str) -> None:
    with pytest.raises(ValidationError):
        SiteProfile.model_validate({field: before + bad + after})


@given(st.text())
def test_fields_of_jobs_hold_plain_words_only(text: str) -> None:
    for field in ("partition", "account", "qos", "gpus", "memory", "walltime"):
        try:
            value = getattr(TrainingResources.model_validate({field: text, "cores": 64, "ranks_per_node": 1}), field)
        except ValidationError:
            continue
        assert value.isascii() and not set(value) - set(
            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.,:-"
        )
