"""Two hosts that are network namespaces of this one."""

import os
import subprocess
from collections.abc import Iterator

import pytest


@pytest.fixture
def two_hosts() -> Iterator[list[str]]:
    """Two network namespaces, joined by a cable, with addresses 10.213.7.1 and 10.213.7.2 and no way out."""
    names = [f"mwr{os.getpid()}-{i}" for i in (0, 1)]
    cables = [f"m{os.getpid()}-{i}" for i in (0, 1)]

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True, text=True)

    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", cables[0], "netns", names[0], "type", "veth", "peer", "name", cables[1], "netns", names[1])
        for i, (name, cable) in enumerate(zip(names, cables, strict=True)):
            ip("-n", name, "address", "add", f"10.213.7.{i + 1}/24", "dev", cable)
            ip("-n", name, "link", "set", cable, "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)
