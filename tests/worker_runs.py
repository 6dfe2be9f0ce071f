"""Commands with worker processes, which tests find, kill and slow down."""

from pathlib import Path

import psutil


def python_set_up(folder: Path, text: str) -> Path:
    """Let every Python that finds `folder` on its path run `text` when it starts."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(text)
    return folder


def workers_of(pid: int) -> list[psutil.Process]:
    """The worker processes of a coordinator, this version's or 0.1.0's."""
    words = {"mwr_hpc.cluster.worker_process", "--multiprocessing-fork"}
    return [child for child in psutil.Process(pid).children(recursive=True) if words & set(child.cmdline())]


def contents(folder: Path) -> dict[str, bytes]:
    """What was converted: all chunks of all arrays."""
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in folder.glob("*.zarr/**/c/**/*") if path.is_file()
    }
