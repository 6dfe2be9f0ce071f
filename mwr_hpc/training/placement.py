"""Where one rank stands among all ranks of a training, and how it finds its way to the others on the network."""

import socket
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import psutil

from mwr_hpc.errors import ClusterError


class LostRanksError(ClusterError):
    """A collective failed because another rank is gone: this rank is not the one to blame.

    The exit code says so to the launcher, which looks for the one that is, and does not pass the code on.
    """

    exit_code = 87


@dataclass(frozen=True)
class Placement:
    """One rank's place. Ranks are numbered node by node.

    Parameters
    ----------
    rank
        This rank, from 0.
    ranks_per_node
        Number of ranks on each node, in the order of their ranks.
    meeting
        File, seen by all ranks, by which rank 0 tells where its rendezvous listens; no other launch uses its name.
    towards
        Any address in the network that joins the ranks: it decides which of its own addresses rank 0 listens on.
    """

    rank: int
    ranks_per_node: tuple[int, ...]
    meeting: Path
    towards: str = "127.0.0.1"

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.size or min(self.ranks_per_node) < 1:
            raise ClusterError(f"rank {self.rank} has no place among {self.ranks_per_node} ranks per node")

    @property
    def size(self) -> int:
        """Number of ranks."""
        return sum(self.ranks_per_node)

    @property
    def node(self) -> int:
        """The node this rank runs on, from 0."""
        return sum(end <= self.rank for end in accumulate(self.ranks_per_node))

    @property
    def local_rank(self) -> int:
        """This rank's number on its node, from 0."""
        return self.rank - sum(self.ranks_per_node[: self.node])

    @property
    def local_size(self) -> int:
        """Number of ranks on this rank's node."""
        return self.ranks_per_node[self.node]

    @property
    def peer_nodes(self) -> tuple[int, ...]:
        """The nodes that have a rank of this rank's `local_rank`, its own among them."""
        return tuple(node for node, ranks in enumerate(self.ranks_per_node) if ranks > self.local_rank)


def address_towards(target: str) -> str:
    """Return this host's own IPv4 address on the route to `target`; nothing is sent.

    Raises
    ------
    ClusterError
        No route leads there.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((target, 9))  # connecting a datagram socket only asks the kernel for the route
        except OSError as error:
            raise ClusterError(f"{socket.gethostname()} has no route to {target}: {error.strerror}") from error
        return str(probe.getsockname()[0])


def interface_of(address: str) -> str:
    """Return the name of the network interface that carries this host's own `address`.

    Raises
    ------
    ClusterError
        None does.
    """
    for name, addresses in psutil.net_if_addrs().items():
        if any(entry.family == socket.AF_INET and entry.address == address for entry in addresses):
            return name
    # Every address of 127.0.0.0/8 is the loopback's, which lists only the first.
    if address.startswith("127."):
        return "lo"
    raise ClusterError(f"no network interface of {socket.gethostname()} has the address {address}")
