"""What another account of this machine can try against somebody's run: a program, and how tests run it.

The account is a number that nobody has. Run as a program it prints, as JSON, all that it achieved.
"""

import asyncio
import contextlib
import http.client
import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

NOBODY = 54321
PATIENCE = 2.0


def require_other_user() -> None:
    """Skip the test where no process can be started as another user."""
    if os.geteuid() != 0:
        pytest.skip("only root can start a process as another user")
    if shutil.which("setpriv") is None:
        pytest.skip("`setpriv` of util-linux not found")


def as_other_user(*words: object) -> list[str]:
    """Command line of a program of another user."""
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *map(str, words)]


def attack(ports: list[int], folder: Path) -> list[str]:
    """Try all ports and files as another user; return what was achieved."""
    # It becomes the other user by itself: that user need not be able to read this Python.
    words = [sys.executable, __file__, str(folder), *map(str, ports)]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert found.pop(0) == "control", found  # the same attempts do work where nothing is protected
    return found


@contextlib.contextmanager
def shared_temporary_folder() -> Iterator[Path]:
    """A folder like /tmp, in which everybody may write."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o1777)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def listeners(pid: int, children: bool = True) -> dict[int, list[Any]]:
    """Addresses on which a process, and those that it started, listen, by process."""
    found = {}
    for process in [psutil.Process(pid), *(psutil.Process(pid).children(recursive=True) if children else [])]:
        with contextlib.suppress(psutil.NoSuchProcess):
            listening = [one.laddr for one in process.net_connections("inet") if one.status == psutil.CONN_LISTEN]
            if listening:
                found[process.pid] = listening
    return found


# -- the program ------------------------------------------------------------------------------------------------------


def _contexts(folder: Path) -> dict[str, ssl.SSLContext | None]:
    from mwr_hpc.cluster.keys import make_keys

    keys = make_keys(folder / "own" / "keys")
    contexts = {"plain": None, "no certificate": ssl.create_default_context(), "own": ssl.create_default_context()}
    for context in filter(None, contexts.values()):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    contexts["own"].load_cert_chain(keys.certificate, keys.key)
    return contexts


async def _runs_code(port: int, context: ssl.SSLContext | None, operation: str) -> bool:
    from distributed.comm import connect
    from distributed.protocol.pickle import dumps

    scheme = "tcp" if context is None else "tls"
    arguments = {} if context is None else {"ssl_context": context, "require_encryption": True}
    try:
        comm = await connect(f"{scheme}://127.0.0.1:{port}", timeout=PATIENCE, **arguments)
        message = {"op": operation, "function": dumps(os.getuid), "args": dumps(()), "kwargs": dumps({})}
        await comm.write({**message, "wait": True, "reply": True})
        await asyncio.wait_for(comm.read(), PATIENCE)
    except (OSError, TimeoutError):
        return False
    return True


def _answers(port: int, secure: bool) -> bool:
    context = ssl._create_unverified_context()
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    options = {"context": context} if secure else {}
    try:
        connection = kind("127.0.0.1", port, timeout=PATIENCE, **options)
        connection.request("GET", "/health")
        return connection.getresponse().status > 0
    except (OSError, http.client.HTTPException):
        return False


async def _achieved(ports: list[int], contexts: dict[str, ssl.SSLContext | None]) -> list[str]:
    async def attempt(what: str, port: int, success: Callable[[], object]) -> str | None:
        return f"{what} on port {port}" if await success() else None

    attempts = []
    for port in ports:
        for name, context in contexts.items():
            for operation in ("run", "run_function"):
                attempts.append(
                    attempt(f"{operation}, {name}", port, lambda p=port, c=context, o=operation: _runs_code(p, c, o))
                )
        for secure in (False, True):
            attempts.append(attempt(f"HTTP {secure}", port, lambda p=port, s=secure: asyncio.to_thread(_answers, p, s)))
    return [found for found in await asyncio.gather(*attempts) if found]


async def _control() -> bool:
    """Whether a scheduler that protects nothing can be made to run code: else the attempts are no good."""
    from distributed import Scheduler

    async with Scheduler(host="127.0.0.1", dashboard_address="127.0.0.1:0") as scheduler:
        code = await _runs_code(int(scheduler.address.rsplit(":")[-1]), None, "run_function")
        return code and await asyncio.to_thread(_answers, scheduler.services["dashboard"].port, False)


def _readable(folder: Path) -> list[str]:
    """Files that can be read; folders of others say nothing of what is in them."""
    found = []
    for parent, _, names in os.walk(folder):
        for path in (Path(parent) / name for name in names):
            with contextlib.suppress(OSError):
                path.read_bytes()
                found.append(str(path))
    return found


def _become_other_user() -> None:
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def main(folder: Path, ports: list[int]) -> None:
    with tempfile.TemporaryDirectory() as own:
        tempfile.tempdir = own
        contexts = _contexts(Path(own))
        control = ["control"] if asyncio.run(_control()) else ["the attempts do not work"]
        child = os.fork()
        if child == 0:
            _become_other_user()
            print(json.dumps([*control, *asyncio.run(_achieved(ports, contexts)), *_readable(folder)]), flush=True)
            os._exit(0)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(word) for word in sys.argv[2:]])
