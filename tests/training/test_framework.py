"""TensorFlow takes one choice of devices per process."""

import pytest

from mwr_hpc.errors import ConfigError
from mwr_hpc.training import framework


def test_the_first_choice_of_deterministic_stays_and_another_device_is_refused(monkeypatch):
    config = framework.tf.config
    made = []
    monkeypatch.setattr(framework, "_configured", {})
    monkeypatch.setattr(config, "list_physical_devices", lambda kind: ["gpu0", "gpu1"])
    monkeypatch.setattr(config, "set_visible_devices", lambda devices, kind: made.append(devices))
    monkeypatch.setattr(config.experimental, "set_memory_growth", lambda device, on: None)
    monkeypatch.setattr(config.experimental, "enable_op_determinism", lambda: made.append("deterministic"))
    for setter in ("set_intra_op_parallelism_threads", "set_inter_op_parallelism_threads"):
        monkeypatch.setattr(config.threading, setter, lambda threads: None)
    framework.configure([1], deterministic=False)  # the training, on GPUs
    framework.configure([1])  # correcting with its model in the same process
    assert made == [["gpu1"]]
    with pytest.raises(ConfigError, match=r"devices \[1\]"):
        framework.configure([0], deterministic=False)
