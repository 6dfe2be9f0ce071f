"""Tests of calls in a process of their own."""

import os
import signal

import pytest

from mwr_hpc.cluster.apart import run_apart
from mwr_hpc.errors import ClusterError


def test_it_is_another_process_whose_result_comes_back():
    assert run_apart(os.getpid) != os.getpid()
    assert run_apart(divmod, 7, 2) == (3, 1)


def test_what_it_raises_is_raised_here_and_a_death_is_named():
    with pytest.raises(ZeroDivisionError):
        run_apart(divmod, 1, 0)
    with pytest.raises(ClusterError, match="process for abort died"):
        run_apart(os.abort)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
