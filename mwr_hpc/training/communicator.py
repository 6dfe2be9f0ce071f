"""How the ranks of one training talk to each other; alone, there is nobody to talk to.

The engine knows only the `Communicator`. All that ranks exchange in a step travels as one flat float32 vector in one
allreduce, so the order of the sums is fixed and all ranks see the same stop flag at the same step.
"""

import importlib.metadata
import importlib.util
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mwr_hpc.errors import ClusterError, ConfigError
from mwr_hpc.installation import HOROVOD_RECIPE
from mwr_hpc.io.atomic import atomic_file
from mwr_hpc.training.placement import LostRanksError, Placement, address_towards, interface_of

STDERR = 2


class Communicator(Protocol):
    """What the engine asks of the ranks."""

    def __hash__(self) -> int:
        """By identity, as objects usually do."""

    @property
    def rank(self) -> int:
        """This rank, from 0."""

    @property
    def size(self) -> int:
        """Number of ranks."""

    def allreduce(self, flat: Any) -> Any:
        """Sum a flat float32 tensor over all ranks; every rank gets the same bits."""

    def broadcast(self, array: NDArray[Any]) -> NDArray[Any]:
        """Give every rank rank 0's array; shape and dtype are the same on all ranks."""

    def barrier(self) -> None:
        """Wait until every rank is here."""


class SerialCommunicator:
    """Rank 0 of 1."""

    rank = 0
    size = 1

    def allreduce(self, flat: Any) -> Any:
        """Return the vector: the sum over one rank."""
        return flat

    def broadcast(self, array: NDArray[Any]) -> NDArray[np.generic]:
        """Return the array."""
        return array

    def barrier(self) -> None:
        """Return at once."""


class HorovodCommunicator:
    """One of several ranks, joined by Horovod over Gloo (and NCCL where it was built with it).

    Rank 0 opens the rendezvous, the others find it through the file at `placement.meeting`; all return from here
    together. What travels is not encrypted, and whoever reaches the port can disturb it: for trusted networks only.

    Parameters
    ----------
    placement
        Where this rank stands.
    stall_seconds
        A collective that takes longer ends this process: some rank no longer takes part, and nothing can wake it up.

    Raises
    ------
    ConfigError
        Horovod is not installed.
    ClusterError
        The ranks did not find one another.
    """

    def __init__(self, placement: Placement, stall_seconds: float = 600.0) -> None:
        require_horovod()
        from mwr_hpc.training.framework import tf

        self._tf = tf  # imported before Horovod imports it, with the environment that it should read
        import horovod.tensorflow as hvd

        self._hvd = hvd
        self.rank = placement.rank
        self.size = placement.size
        self._stall_seconds = stall_seconds
        if self.rank == 0:
            _open_rendezvous(placement)
        address, port = _find_rendezvous(placement, stall_seconds)
        os.environ.update(_horovod_environment(placement, address, port, stall_seconds))
        with self._watched("the first meeting of all ranks"):
            hvd.init()
        if self.rank == 0:
            placement.meeting.unlink()

    def allreduce(self, flat: Any) -> Any:
        """Sum a flat float32 tensor over all ranks; every rank gets the same bits.

        Raises
        ------
        LostRanksError
            Another rank is gone.
        """
        with self._watched("a sum over all ranks"):
            return self._hvd.allreduce(flat, op=self._hvd.Sum, name="sum")

    def broadcast(self, array: NDArray[Any]) -> NDArray[Any]:
        """Give every rank rank 0's array; shape and dtype are the same on all ranks.

        Raises
        ------
        LostRanksError
            Another rank is gone.
        """
        with self._watched("the news of rank 0"):
            received: NDArray[Any] = self._hvd.broadcast(array, root_rank=0, name="news").numpy()
        return received

    def barrier(self) -> None:
        """Wait until every rank is here.

        Raises
        ------
        LostRanksError
            Another rank is gone.
        """
        self.allreduce(self._tf.zeros([1]))

    @contextmanager
    def _watched(self, what: str) -> Iterator[None]:
        watchdog = threading.Timer(self._stall_seconds, self._give_up, [what])
        watchdog.daemon = True
        watchdog.start()
        try:
            yield
        except (self._tf.errors.UnknownError, self._tf.errors.AbortedError) as error:
            raise LostRanksError(
                f"rank {self.rank} of {self.size} lost the others during {what}: one has ended, or its connection broke"
            ) from error
        finally:
            watchdog.cancel()

    def _give_up(self, what: str) -> None:
        text = (
            f"rank {self.rank} of {self.size}: {what} has taken more than {self._stall_seconds:g} s, so some rank has "
            "stopped taking part (Horovod's warning names it, if that rank is alive). The last checkpoint is intact.\n"
        )
        os.write(STDERR, text.encode())
        os._exit(ClusterError.exit_code)  # the main thread sits in the collective and cannot be interrupted


def require_horovod() -> None:
    """Raise ConfigError, with the command that installs it, where Horovod is not installed."""
    if importlib.util.find_spec("horovod") is None:
        raise ConfigError(
            f"training with more than one rank needs Horovod, which is not installed: {HOROVOD_RECIPE}; "
            "or use --ranks 1"
        )


def describe_horovod() -> str:
    """Say what the installed Horovod was built for.

    Raises
    ------
    ConfigError
        Horovod is not installed.
    """
    require_horovod()
    from mwr_hpc.training.framework import tf

    version = tf.__version__
    import horovod.tensorflow as hvd

    with_nccl = "with NCCL" if hvd.nccl_built() else "without NCCL"
    return f"Horovod {importlib.metadata.version('horovod')} for TensorFlow {version}, {with_nccl}"


def _open_rendezvous(placement: Placement) -> None:
    """Listen beside rank 0 until this process ends, and leave the address at the meeting place."""
    from horovod.runner.common.util.hosts import get_host_assignments, parse_hosts
    from horovod.runner.http.http_server import RendezvousHandler, RendezvousHTTPServer

    address = address_towards(placement.towards)
    server = RendezvousHTTPServer((address, 0), RendezvousHandler, verbose=0)
    hosts = ",".join(f"{_host(node)}:{ranks}" for node, ranks in enumerate(placement.ranks_per_node))
    server.init(get_host_assignments(parse_hosts(hosts), placement.size))
    threading.Thread(target=server.serve_forever, name="rendezvous", daemon=True).start()
    with atomic_file(placement.meeting) as partial:
        partial.write_text(f"{address} {server.server_address[1]}")


def _find_rendezvous(placement: Placement, seconds: float) -> tuple[str, int]:
    """Wait until rank 0 listens (Horovod itself gives up after half a second), and return its address and port."""
    deadline = time.monotonic() + seconds
    while True:
        with suppress(OSError):  # no file yet, or it cannot be reached yet
            address, port = placement.meeting.read_text().split()
            socket.create_connection((address, int(port)), timeout=5).close()
            return address, int(port)
        if time.monotonic() > deadline:
            raise ClusterError(
                f"rank {placement.rank} of {placement.size} on {socket.gethostname()} did not find rank 0 in "
                f"{seconds:g} s: {placement.meeting} should tell its address, and a connection to it must be allowed"
            )
        time.sleep(0.05)


def _horovod_environment(placement: Placement, address: str, port: int, stall_seconds: float) -> dict[str, str]:
    """What Horovod's own launcher would have set for this rank."""
    settings: dict[str, object] = {
        "RANK": placement.rank,
        "SIZE": placement.size,
        "LOCAL_RANK": placement.local_rank,
        "LOCAL_SIZE": placement.local_size,
        "CROSS_RANK": placement.peer_nodes.index(placement.node),
        "CROSS_SIZE": len(placement.peer_nodes),
        "HOSTNAME": _host(placement.node),
        "CONTROLLER": "gloo",
        "CPU_OPERATIONS": "gloo",
        "GLOO_RENDEZVOUS_ADDR": address,
        "GLOO_RENDEZVOUS_PORT": port,
        "GLOO_IFACE": interface_of(address_towards(address)),
        "GLOO_TIMEOUT_SECONDS": max(1, round(stall_seconds)),
        "STALL_CHECK_TIME_SECONDS": max(1, round(stall_seconds / 3)),
    }
    return {f"HOROVOD_{name}": str(value) for name, value in settings.items()}


def _host(node: int) -> str:
    return f"node{node}"
