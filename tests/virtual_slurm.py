"""A real SLURM of several nodes on this host, for tests: munged, slurmctld and a slurmd per node, and faults on demand.

Every node has its own network, host name and process namespace, so that what nodes say to one another crosses a
(virtual) cable, and killing a node kills all that ran there. Where namespaces are not allowed the nodes are ports of
the loopback. Everything lies in one folder with its own key and ports; nothing of a SLURM that the host may have is
touched. Every process is tied to the test process, so that nothing outlives it, whatever becomes of it.
"""

import contextlib
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from launching import wait_until
from mwr_hpc.cluster.slurm import ENDED
from virtual_slurm_configuration import configuration

GPUS = 2
"""Of each node."""

NODE_PROGRAM = Path(__file__).with_name("virtual_node.py")


class VirtualSlurm:
    """A running cluster; made by `virtual_slurm`.

    Attributes
    ----------
    folder
        Where configuration, state and logs lie.
    nodes
        The nodes' names.
    interface
        Network interface, of the same name on the login node (this process's host) and on all nodes.
    environment
        What a process needs to reach the cluster.
    """

    def __init__(self, folder: Path, nodes: int, namespaces: bool) -> None:
        self.folder = folder
        self.nodes = [f"n{number}" for number in range(1, nodes + 1)]
        self.namespaces = namespaces
        self.interface = f"mwr{os.getpid() % 10**7}" if namespaces else "lo"
        self.network = _free_network() if namespaces else "127.0.0"
        path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
        outer = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_"))}
        self.environment = outer | {"SLURM_CONF": str(folder / "etc/slurm.conf"), "PATH": path}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    # -- jobs ---------------------------------------------------------------------------------------------------------

    def run(self, *argv: object, check: bool = True) -> str:
        """Run a command of SLURM on the login node and return what it prints."""
        ran = subprocess.run(list(map(str, argv)), env=self.environment, capture_output=True, text=True, timeout=60)
        assert ran.returncode == 0 or not check, f"{argv}: {ran.stderr}"
        return ran.stdout

    def submit(self, *words: object) -> int:
        """Submit by sbatch, with the log in `folder`/jobs, and return the job's number."""
        return int(self.run("sbatch", "--parsable", f"--output={self.log('%j')}", "--open-mode=append", *words))

    def submit_shell(self, text: str, *words: object) -> int:
        """Submit shell commands."""
        return self.submit(*words, f"--wrap={text}")

    def log(self, job: int | str) -> Path:
        """Output of a job that `submit` submitted."""
        return self.folder / "jobs" / f"{job}.out"

    def job(self, job: int | str) -> dict[str, str]:
        """What `scontrol show job` knows: JobState, ExitCode, Restarts, BatchHost, NodeList..."""
        shown = self.run("scontrol", "-o", "show", "job", job)
        return dict(re.findall(r"(?:^| )([A-Za-z:/]+)=(\S*)", shown))

    def state(self, job: int | str) -> str:
        """State of a job."""
        return self.job(job)["JobState"]

    def wait(self, job: int | str, states: Collection[str] = ENDED, seconds: float = 60) -> dict[str, str]:
        """Wait until a job is in one of `states` and return what is known of it."""
        wait_until(lambda: self.state(job) in states, f"job {job} never became {sorted(states)}", seconds)
        return self.job(job)

    def cancel_all(self) -> None:
        """End all jobs, and wait until the nodes are free."""
        self.run("scancel", "--user=root")
        wait_until(lambda: not self.run("squeue", "--noheader").strip(), "cancelled jobs did not end", 60)

    # -- nodes --------------------------------------------------------------------------------------------------------

    def kill_node(self, name: str) -> None:
        """Power loss: slurmd and all processes of its jobs are gone at once."""
        holder = self._daemons.pop(name)
        if self.namespaces:
            os.kill(_child(holder.pid), signal.SIGKILL)  # the namespace's first process takes all others with it
        else:
            holder.terminate()
        holder.wait(10)

    def start_node(self, name: str) -> None:
        """Make a node fit for work whatever befell it, and wait until SLURM sees that."""
        if name not in self._daemons:
            self._start_node(name)
        elif self.namespaces:
            self.mend(name)
        self.run("scontrol", "update", f"nodename={name}", "state=resume", check=False)
        wait_until(lambda: self._state_of(name) in ("idle", "mixed", "allocated"), f"{name} did not come back", 60)

    def cut(self, name: str) -> None:
        """Pull the network cable of a node; its processes go on."""
        self._ip("link", "set", self._cable(name), "down")

    def mend(self, name: str) -> None:
        """Plug the cable in again."""
        self._ip("link", "set", self._cable(name), "up")

    def drain(self, name: str) -> None:
        """Let a node's jobs finish, and give it no others until `start_node`."""
        self.run("scontrol", "update", f"nodename={name}", "state=drain", "reason=test")

    def address(self, name: str) -> str:
        """IPv4 address of a node."""
        return f"{self.network}.{10 + int(name[1:])}" if self.namespaces else "127.0.0.1"

    def alive(self) -> list[int]:
        """Pids of the daemons that run."""
        return [daemon.pid for daemon in self._daemons.values() if daemon.poll() is None]

    # -- start and end ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start everything, and wait until all nodes are idle."""
        for name in ("etc", "run", "state", "log", "jobs", *(f"spool/{node}" for node in self.nodes)):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "etc/munge.key").touch(0o600)
        (self.folder / "etc/munge.key").write_bytes(secrets.token_bytes(1024))
        hosts = "".join(f"{self.address(node)} {node}\n" for node in self.nodes)
        own = f"{self.network}.1 {socket.gethostname()}\n" if self.namespaces else ""
        (self.folder / "etc/hosts").write_text(f"127.0.0.1 localhost\n{own}{hosts}")
        (self.folder / "etc/nsswitch.conf").write_text("hosts: files\n")  # no waiting for name servers
        (self.folder / "etc/cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")  # loaded, not used
        with_gpus = self._make_gpus()
        nodes = {node: self.address(node) for node in self.nodes}
        text = configuration(self.folder, f"{self.network}.1", nodes, self.namespaces, GPUS if with_gpus else 0)
        (self.folder / "etc/slurm.conf").write_text(text)
        etc, run = self.folder / "etc", self.folder / "run"
        munged = ["munged", "--foreground", "--force", f"--key-file={etc}/munge.key", f"--socket={run}/munge.sock"]
        munged += [f"--pid-file={run}/munged.pid", f"--seed-file={run}/munge.seed", f"--log-file={run}/munged.log"]
        self._daemon("munged", munged)
        self._wait_for("munge", "-n", "-S", f"{run}/munge.sock")
        if self.namespaces:
            remove_bridges_of_the_dead()
            self._ip("link", "add", self.interface, "type", "bridge")
            self._ip("addr", "add", f"{self.network}.1/24", "dev", self.interface)
            self._ip("link", "set", self.interface, "up")
        self._daemon("slurmctld", ["slurmctld", "-D", "-c"])
        self._wait_for("scontrol", "ping")
        for node in self.nodes:
            self._start_node(node)
        for node in self.nodes:
            wait_until(lambda node=node: self._state_of(node) == "idle", f"{node} not idle: see {self.folder}/log", 60)

    def stop(self) -> None:
        """End exactly what was started; slurmctld first, so that it starts no job elsewhere meanwhile."""
        for name in ("slurmctld", *self.nodes, "munged"):
            if name in self.nodes and name in self._daemons:
                with contextlib.suppress(ProcessLookupError, IndexError):
                    self.kill_node(name)
            elif daemon := self._daemons.pop(name, None):
                daemon.terminate()
                try:
                    daemon.wait(10)
                except subprocess.TimeoutExpired:
                    daemon.kill()
                    daemon.wait()
        if self.namespaces:
            subprocess.run(["ip", "link", "delete", self.interface], env=self.environment, capture_output=True)

    def _start_node(self, name: str) -> None:
        if not self.namespaces:
            self._daemon(name, [sys.executable, str(NODE_PROGRAM), name], tied=False)
            return
        home = [str(self.folder), self.interface, self.address(name)]
        own = ["unshare", "--net", "--uts", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        self._daemon(name, [*own, sys.executable, str(NODE_PROGRAM), name, *home])
        holder = self._daemons[name]
        wait_until(lambda: _has_child(holder.pid), f"{name} did not start: see {self.folder}/log", 20)
        cable = self._cable(name)
        plug = ["peer", "name", self.interface, "netns", str(_child(holder.pid))]
        wait_until(lambda: cable not in (known for _, known in socket.if_nameindex()), f"{cable} is still there")
        self._ip("link", "add", cable, "type", "veth", *plug)
        self._ip("link", "set", cable, "master", self.interface, "up")

    def _daemon(self, name: str, argv: Sequence[str], tied: bool = True) -> None:
        tie = [sys.executable, "-m", "mwr_hpc.cluster.tied_process", str(os.getpid())] if tied else []
        with open(self.folder / "log" / f"{name}.out", "ab") as log:
            self._daemons[name] = subprocess.Popen(
                [*tie, *argv],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the tests, which end this in their own order
            )

    def _wait_for(self, *argv: str) -> None:
        def answers() -> bool:
            return subprocess.run(argv, env=self.environment, capture_output=True).returncode == 0

        wait_until(answers, f"{argv[0]} gets no answer; logs: {self.folder}/log", 30)

    def _state_of(self, name: str) -> str:
        return self.run("sinfo", "--noheader", "--partition=batch", f"--nodes={name}", "--format=%T").strip()

    def _cable(self, name: str) -> str:
        return f"{self.interface}-{name[1:]}"

    def _ip(self, *words: str) -> None:
        subprocess.run(["ip", *words], env=self.environment, check=True, capture_output=True)

    def _make_gpus(self) -> bool:
        """Make device files that slurmd takes for GPUs; False where device files cannot be made."""
        try:
            for number in range(GPUS):
                os.mknod(self.folder / f"nvidia{number}", 0o666 | 0o020000, os.makedev(1, 3))
        except PermissionError:
            return False
        files = f"File={self.folder}/nvidia[0-{GPUS - 1}]"
        (self.folder / "etc/gres.conf").write_text(f"NodeName={','.join(self.nodes)} Name=gpu {files}\n")
        return True


@contextlib.contextmanager
def virtual_slurm(folder: Path, nodes: int = 4) -> Iterator[VirtualSlurm]:
    """A cluster that runs within ``with``, in namespaces where they are allowed."""
    cluster = VirtualSlurm(folder, nodes, namespaces_are_allowed())
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def namespaces_are_allowed() -> bool:
    """Whether nodes can have a network, host name and processes of their own."""
    probe = f"mwrp{os.getpid() % 10**7}"
    own = ["unshare", "--net", "--uts", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "true"]
    steps = [own, ["ip", "link", "add", probe, "type", "bridge"], ["ip", "link", "delete", probe]]
    with contextlib.suppress(FileNotFoundError):
        return all(subprocess.run(step, capture_output=True).returncode == 0 for step in steps)
    return False


def _has_child(pid: int) -> bool:
    return bool(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def _child(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def _free_network() -> str:
    taken = subprocess.run(["ip", "-4", "-o", "addr"], capture_output=True, text=True, check=True).stdout
    return next(network for network in (f"10.77.{third}" for third in range(256)) if f" {network}." not in taken)


def remove_bridges_of_the_dead() -> None:
    """A killed test process takes its nodes with it, but the bridge between them stays."""
    for _, name in socket.if_nameindex():
        match = re.fullmatch(r"mwr(\d+)", name)
        if match and not Path(f"/proc/{match[1]}").exists():
            subprocess.run(["ip", "link", "delete", name], capture_output=True)
