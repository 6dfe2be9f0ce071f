"""The slurm.conf of the tests' SLURM: quick to notice and to requeue, with more CPUs than the host has."""

import socket
from collections.abc import Mapping
from pathlib import Path

CPUS, MEMORY = 4, 8000
"""What each node claims to have (memory in MB), whatever the host has."""


def configuration(folder: Path, controller: str, nodes: Mapping[str, str], own_hosts: bool, gpus: int) -> str:
    """Text of slurm.conf.

    Parameters
    ----------
    folder
        Where everything of the cluster lies.
    controller
        Address of slurmctld.
    nodes
        Addresses of the nodes by name.
    own_hosts
        Whether each node is a host of its own; else they differ by their ports.
    gpus
        GPUs of each node.
    """
    settings: Mapping[str, object] = {
        "ClusterName": "virtual",
        "SlurmctldHost": f"localhost({controller})",
        "SlurmctldPort": _free_port(),
        "SlurmdPort": _free_port(),
        "AuthType": "auth/munge",
        "AuthInfo": f"socket={folder}/run/munge.sock,cred_expire=5",  # a requeued job starts 6 s later, not 121
        "SlurmUser": "root",
        "SlurmdUser": "root",
        "StateSaveLocation": folder / "state",
        "SlurmdSpoolDir": folder / "spool/%n",
        "SlurmctldPidFile": folder / "run/slurmctld.pid",
        "SlurmdPidFile": folder / "run/%n.pid",
        "SlurmctldLogFile": folder / "log/slurmctld.log",
        "SlurmdLogFile": folder / "log/slurmd.%n.log",
        "MailProg": "/bin/true",
        "ProctrackType": "proctrack/linuxproc",
        "TaskPlugin": "task/none",
        "MpiDefault": "none",
        "SwitchType": "switch/none",
        "AccountingStorageType": "accounting_storage/none",
        "SchedulerParameters": "batch_sched_delay=0,sched_interval=2,bf_interval=2",
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_Core_Memory",
        "DefMemPerCPU": 100,
        "SlurmdParameters": "config_overrides",  # the declared CPUs count, not the host's
        "ReturnToService": 1,
        "SlurmdTimeout": 10,
        "MessageTimeout": 10,
        "KillWait": 5,
        "MinJobAge": 3600,
        "PropagateResourceLimits": "NONE",
    }
    lines = [f"{name}={value}" for name, value in settings.items()]
    lines += ["GresTypes=gpu"] if gpus else []
    for name, address in nodes.items():
        where = f"NodeAddr={address}" if own_hosts else f"NodeHostname=localhost NodeAddr={address} Port={_free_port()}"
        has = f"CPUs={CPUS} Sockets=1 CoresPerSocket={CPUS} ThreadsPerCore=1 RealMemory={MEMORY} Feature=virtual"
        lines.append(f"NodeName={name} {where} {has} {f'Gres=gpu:{gpus}' if gpus else ''} State=UNKNOWN")
    lines.append(f"PartitionName=batch Nodes={','.join(nodes)} Default=YES MaxTime=INFINITE DefaultTime=10:00 State=UP")
    return "\n".join(lines) + "\n"


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("", 0))
        return int(listener.getsockname()[1])
