"""Calls a function in a process of its own, which gives back all that it held: memory, threads, GPUs."""

import multiprocessing
import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import ParamSpec, TypeVar

from mwr_hpc.errors import ClusterError

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def run_apart(function: Callable[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
    """Return what a function of a module returns for these arguments; what it raises is raised here.

    Raises
    ------
    ClusterError
        The process died.
    """
    # A new interpreter: a copy of this process would share its locks and its GPUs.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=_leave_interrupts_to_the_parent) as executor:
        try:
            return executor.submit(function, *arguments, **named).result()
        except BrokenProcessPool:
            raise ClusterError(f"the process for {function.__name__} died (killed, or out of memory)") from None


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
