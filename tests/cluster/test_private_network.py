"""Ranks of one host have a network that nobody else can reach; where the kernel refuses one, that is said once."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from mwr_hpc.cluster.private_network import NoPrivateNetworkError, private_network
from mwr_hpc.cluster.ranks import run_ranks
from mwr_hpc.events import Event, never
from mwr_hpc.pipeline import launch

PROGRAM = """
import os, pathlib, socket, sys, time
port = pathlib.Path(sys.argv[1], "port")
if os.environ["MWR_RANK"] == "0":
    listening = socket.create_server(("127.0.0.1", 0))
    port.with_suffix(".new").write_text(str(listening.getsockname()[1]))
    port.with_suffix(".new").rename(port)
    listening.accept()
else:
    while not port.exists():
        time.sleep(0.01)
    socket.create_connection(("127.0.0.1", int(port.read_text())))
print(os.readlink("/proc/self/ns/net"), os.getuid(), [name for _, name in socket.if_nameindex()])
"""


@pytest.mark.needs("network_namespaces")
def test_ranks_reach_one_another_in_a_network_of_their_own(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with private_network() as network:
        command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
        run_ranks(command, 2, meeting_folder=tmp_path, log=log, show=lambda _: None, network=network)
    first, second = sorted(log.read_text().splitlines())
    assert first.removeprefix("[0] ") == second.removeprefix("[1] ")
    assert f" {os.getuid()} " in first
    assert "'lo'" in first and os.readlink("/proc/self/ns/net") not in first


def test_a_kernel_that_refuses_is_reported_once_and_the_ranks_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.contextmanager
    def refused() -> Iterator[list[int]]:
        raise NoPrivateNetworkError("unshare: Operation not permitted")
        yield []

    seen: list[Event] = []
    networks: list[object] = []
    monkeypatch.setattr(launch, "private_network", refused)
    monkeypatch.setattr(launch, "run_ranks", lambda *_, network, **__: networks.append(network))
    job = SimpleNamespace(curves_path=tmp_path / "curves.jsonl", write=lambda path: None)
    ranks = launch.LocalRanks(2, tmp_path / "logs", seen.append, never)
    for _ in range(2):
        ranks(job)  # type: ignore[arg-type]  # plays a job
    assert networks == [(), ()]
    assert [event.text for event in seen if isinstance(event, launch.Notice)] == [
        "the ranks have no network of their own, so other accounts of this host can reach and disturb them "
        "(unshare: Operation not permitted); see docs/horovod.md"
    ]
