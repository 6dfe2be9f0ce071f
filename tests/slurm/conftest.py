"""The SLURM that the tests of this folder share: started once, every test finds its nodes up and free."""

from collections.abc import Iterator

import pytest

from virtual_slurm import VirtualSlurm, virtual_slurm


@pytest.fixture(scope="session")
def shared_slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VirtualSlurm]:
    """Four nodes."""
    with virtual_slurm(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


@pytest.fixture
def slurm(shared_slurm: VirtualSlurm, monkeypatch: pytest.MonkeyPatch) -> Iterator[VirtualSlurm]:
    """The cluster, which also this process reaches; afterwards jobs are cancelled and nodes mended."""
    for name in ("SLURM_CONF", "PATH"):
        monkeypatch.setenv(name, shared_slurm.environment[name])
    yield shared_slurm
    shared_slurm.cancel_all()
    for node in shared_slurm.nodes:
        shared_slurm.start_node(node)
