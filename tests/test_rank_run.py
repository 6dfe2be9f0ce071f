"""`mwr-hpc train --ranks 2`: killed, stopped and started again it leaves the model of the undisturbed ranks."""

import os
import signal

import pytest

import killing
from killing import exists
from other_user import listeners
from rank_runs import kill_inside_a_collective, newest_checkpoint, running, simulate_tomograms, train_command

MODEL = "results/model_iter01.h5"


def assert_closed(training):
    """See that all ranks listen in one network that is not this one, at its loopback only."""
    networks = {os.readlink(f"/proc/{rank.pid}/ns/net") for rank in training.ranks().values()}
    assert len(networks) == 1 and networks != {os.readlink("/proc/self/ns/net")}
    addresses = [one for found in listeners(training.process.pid).values() for one in found]
    assert addresses and {one.ip for one in addresses} == {"127.0.0.1"}


@pytest.mark.needs("horovod", "network_namespaces")
def test_ranks_go_on_to_the_same_bytes_after_a_kill_and_a_stop(tmp_path):
    tomograms, run, log = simulate_tomograms(tmp_path, 2), tmp_path / "run", tmp_path / "log"
    killing.run_well(train_command(tomograms, tmp_path / "undisturbed", ranks=2))

    command = train_command(tomograms, run, ranks=2)
    with running(command, log) as training:
        training.wait_for(exists(run, "iterations/01/checkpoint/*.h5"))
        assert_closed(training)
        kill_inside_a_collective(training, 1)
        assert training.end() == 70
        assert "rank 1 of 2 was killed by SIGKILL" in training.output()
        assert "Traceback" not in training.output() and "@event" not in training.output()
    killed_at = newest_checkpoint(run)
    assert killed_at is not None and killed_at.ranks == 2

    with running(command, log) as training:
        training.wait_for(exists(run, f"iterations/01/checkpoint/step_{killed_at.step + 10:08d}.h5"))
        training.process.send_signal(signal.SIGUSR1)
        assert training.end() == 85
        assert "the same command again" in training.output() and "Traceback" not in training.output()
    stopped_at = newest_checkpoint(run)
    assert stopped_at is not None and killed_at.step < stopped_at.step < stopped_at.steps

    killing.run_well(command)
    assert (run / MODEL).read_bytes() == (tmp_path / "undisturbed" / MODEL).read_bytes()
    assert not killing.partials(run)
