"""The ranks' own program on two hosts, as srun would start it: one trains with the other and predicts its share."""

import os
import subprocess
import sys
from contextlib import ExitStack

import numpy as np
import pytest

from mwr_hpc.config.training import TrainSettings
from mwr_hpc.errors import StopRequested
from mwr_hpc.events import ignore, never
from mwr_hpc.missing_wedge.cube_arrays import CubeReader
from mwr_hpc.missing_wedge.predict import predict_subtomograms
from mwr_hpc.pipeline import backend, coordinator
from mwr_hpc.run_directory import RunDirectory
from mwr_hpc.training.checkpoint import CheckpointFolder
from rank_runs import simulate_tomograms

TRAINING = {"cube_size": 8, "crop_size": 12, "unet_depth": 1, "filter_base": 2, "convs_per_depth": 1}
TRAINING |= {"ncube": 4, "rotations": 4, "iterations": 2, "epochs": 2, "steps_per_epoch": 5, "batch_size": 4}
TRAINING |= {"ranks": 2, "precision": "float32", "preprocessing_ncpus": 1}
SRUN = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_TASKS_PER_NODE": "1(x2)",
    "SLURM_LAUNCH_NODE_IPADDR": "10.213.7.2",
    "SLURM_CPUS_PER_TASK": "1",
    "SLURM_LOCALID": "0",
}


class TwoHosts:
    """A launcher that starts one rank on each host, and stops the run once their job is done."""

    def __init__(self, hosts, folder):
        self.hosts = hosts
        self.folder = folder
        self.job = None

    def __call__(self, job):
        self.job = job
        job_file = self.folder / "job" / "job.json"
        job.write(job_file)
        with ExitStack() as ranks:
            started = [
                subprocess.Popen(
                    ["ip", "netns", "exec", host, sys.executable, "-m", "mwr_hpc.cli.rank", job_file],
                    env=os.environ | SRUN | {"SLURM_PROCID": str(rank), "SLURM_NODEID": str(rank)},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
                for rank, host in enumerate(self.hosts)
            ]
            for process in started:
                ranks.callback(process.kill)
            outputs = [process.communicate(timeout=200)[0] for process in started]
        assert [process.returncode for process in started] == [0, 0], outputs
        assert [path.name for path in job_file.parent.iterdir()] == ["job.json"]
        raise StopRequested("enough")


@pytest.mark.needs("horovod", "network_namespaces")
def test_two_hosts_train_together_and_share_the_prediction(two_hosts, tmp_path, monkeypatch):
    settings = TrainSettings(
        input_dir=simulate_tomograms(tmp_path, 3), run_dir=tmp_path / "run", tilt_range=(-50, 60), **TRAINING
    )
    launcher = TwoHosts(two_hosts, tmp_path)
    monkeypatch.setattr(backend, "LocalRanks", lambda *_: launcher)
    with pytest.raises(StopRequested, match="enough"):
        coordinator.train(settings, ignore, never)

    run = RunDirectory(settings.run_dir)
    checkpoint = CheckpointFolder(run.checkpoint(1)).newest(None, ignore)
    assert (checkpoint.step, checkpoint.steps, checkpoint.ranks) == (10, 10, 2)
    assert [unit.name for unit in launcher.job.predict] == ["t0", "t1", "t2"]
    for unit in launcher.job.predict:
        parameters = {**unit.parameters, **unit.execution}
        predict_subtomograms(unit.inputs, parameters, tmp_path / unit.name)
        alone, shared = CubeReader(tmp_path / unit.name), CubeReader(unit.target)
        for crop in range(len(alone)):
            np.testing.assert_array_equal(shared.read(crop), alone.read(crop))
