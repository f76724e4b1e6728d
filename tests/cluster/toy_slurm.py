"""SLURM for a test: munged, slurmctld and slurmd of our own on this machine, one node with two slots."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

COMMANDS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "squeue", "scancel", "sinfo")
SEARCH_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
START_S = 60.0

# cred_expire is also how long SLURM holds back a job that was requeued: 2 minutes unless said otherwise.
CONFIGURATION = """\
ClusterName=toy
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_interval=1
ReturnToService=2
KillWait=2
NodeName=toy NodeHostname={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=toy Nodes=toy Default=YES MaxTime=INFINITE State=UP
"""


class SlurmUnavailable(Exception):
    """SLURM does not start here; the message says why."""


def missing_commands() -> list[str]:
    return [name for name in COMMANDS if not shutil.which(name, path=SEARCH_PATH)]


def free_ports() -> list[int]:
    with socket.socket() as first, socket.socket() as second:
        for listener in (first, second):
            listener.bind(("127.0.0.1", 0))
        return [first.getsockname()[1], second.getsockname()[1]]


@contextlib.contextmanager
def running_slurm(folder: Path) -> Iterator[dict[str, str]]:
    """Gives the environment in which sbatch and the others talk to it. Nothing of it outlives the block.

    Raises:
        SlurmUnavailable: a daemon ends at once, or the node does not come up
    """
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(128))
    configuration = folder / "slurm.conf"
    host = socket.gethostname().split(".")[0]
    configuration.write_text(CONFIGURATION.format(folder=folder, host=host, ports=free_ports()))
    environment = {**os.environ, "PATH": SEARCH_PATH, "SLURM_CONF": str(configuration)}
    munged = ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket"]
    munged += [f"--{name}-file={folder}/munge.{name}" for name in ("pid", "log", "seed")]
    with contextlib.ExitStack() as daemons:
        start = lambda *command: daemons.enter_context(daemon(folder, environment, *command))  # noqa: E731
        processes = [start(*munged)]
        wait_for(lambda: (folder / "munge.socket").exists(), processes, folder)
        processes.append(start("slurmctld", "-D", "-f", str(configuration)))
        processes.append(start("slurmd", "-D", "-N", "toy", "-f", str(configuration)))
        wait_for(lambda: node_is_idle(environment), processes, folder)
        try:
            yield environment
        finally:
            end_jobs(environment)


def node_is_idle(environment: dict[str, str]) -> bool:
    states = subprocess.run(
        ["sinfo", "-h", "-o", "%T"], env=environment, capture_output=True, text=True, check=False
    )
    return states.stdout.strip() == "idle"


@contextlib.contextmanager
def daemon(folder: Path, environment: dict[str, str], *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends with the block, and with us if we are killed."""
    with open(folder / f"{command[0]}.log", "ab") as log:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *command],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(condition, processes: list[subprocess.Popen[bytes]], folder: Path) -> None:  # type: ignore[no-untyped-def]
    end = time.monotonic() + START_S
    while not condition():
        if any(process.poll() is not None for process in processes) or time.monotonic() > end:
            logs = [path for path in sorted(folder.glob("*.log")) if path.stat().st_size]
            tails = [f"{path.name}: {path.read_text(errors='replace')[-400:]}" for path in logs]
            raise SlurmUnavailable("SLURM does not start here: " + "; ".join(tails))
        time.sleep(0.05)


def end_jobs(environment: dict[str, str]) -> None:
    """Cancel what a failed test left, and wait until it is gone."""
    subprocess.run(["scancel", "--partition=toy"], env=environment, capture_output=True, check=False)
    end = time.monotonic() + 20
    while time.monotonic() < end:
        jobs = subprocess.run(["squeue", "-h"], env=environment, capture_output=True, text=True, check=False)
        if jobs.returncode != 0 or not jobs.stdout.strip():
            return
        time.sleep(0.1)
