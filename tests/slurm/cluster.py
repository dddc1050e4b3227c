"""A real Slurm of one node on this machine's loopback, for the tests: started, stopped, and nothing
of it left.

Its configuration, state and logs are in a folder of its own; a Slurm that runs on this machine
already is not touched.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel")
CPUS = 2
LIMIT = 60  # seconds that anything of the cluster may take
CONFIGURATION = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SwitchType=switch/none
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=5,bf_interval=5,batch_sched_delay=1
ReturnToService=2
KillWait=5
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE DefaultTime=10 State=UP PriorityTier=1 GraceTime=5
PartitionName=urgent Nodes=ALL MaxTime=INFINITE DefaultTime=10 State=UP PriorityTier=2 PreemptMode=OFF
"""


def missing() -> list[str]:
    """What a cluster needs and this machine has not."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    return [program for program in PROGRAMS if shutil.which(program, path=path) is None] + [
        "root"
    ] * (os.geteuid() != 0)


def free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as held:
        sockets = [
            held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)
        ]
        return [each.getsockname()[1] for each in sockets]


class Cluster:
    """One node. ``environment`` is what its commands need beside this process's own."""

    def __init__(self, folder: Path):
        self.folder, self.host = folder, socket.gethostname().split(".")[0]
        self.environment = {
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin",
        }
        self.daemons: dict[str, subprocess.Popen] = {}
        for name in ("munge", "state", "spool"):
            (folder / name).mkdir(mode=0o711)
        key = folder / "munge" / "key"
        key.touch(0o600)
        key.write_bytes(os.urandom(128))
        port, node_port = free_ports(2)
        (folder / "slurm.conf").write_text(
            CONFIGURATION.format(
                host=self.host, port=port, node_port=node_port, folder=folder, cpus=CPUS
            )
        )

    def start(self, daemon: str) -> None:
        """Starts slurmctld, slurmd or munged, as a child of this process."""
        munge = self.folder / "munge"
        arguments = (
            ["-D"]
            if daemon != "munged"
            else [
                "--foreground",
                "--force",
                f"--socket={munge}/socket",
                f"--key-file={munge}/key",
                f"--pid-file={munge}/pid",
                f"--seed-file={munge}/seed",
                f"--log-file={munge}/log",
            ]
        )
        with (self.folder / f"{daemon}.out").open("a") as out:
            self.daemons[daemon] = subprocess.Popen(
                [shutil.which(daemon, path=self.environment["PATH"]), *arguments],
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment},
                start_new_session=True,
            )

    def kill(self, daemon: str, which: signal.Signals = signal.SIGKILL) -> None:
        process = self.daemons.pop(daemon)
        process.send_signal(which)
        process.wait(LIMIT)

    def up(self) -> None:
        """Waits until jobs can run."""
        self.wait_until(lambda: (self.folder / "munge" / "socket").exists(), "munged")
        self.wait_until(
            lambda: self.ask("sinfo", "-h", "-o", "%T") in ("idle", "mixed", "allocated"), "a node"
        )

    def ask(self, *command: str) -> str:
        """What a command of Slurm prints; of one that fails, its complaint."""
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            env={**os.environ, **self.environment},
            check=False,
        ).stdout.strip()

    def wait_until(self, true, what: str, limit: float = LIMIT) -> None:
        """Waits at most ``limit`` seconds for ``what``."""
        end = time.monotonic() + limit
        while not true():
            assert time.monotonic() < end, (
                f"no {what} within {limit} s; see {self.folder}\n{self.ask('squeue', '-r')}"
            )
            time.sleep(0.2)

    def stop(self) -> None:
        self.ask("scancel", "--me")
        with contextlib.suppress(AssertionError):
            self.wait_until(lambda: not self.ask("squeue", "-h"), "empty queue")
        for daemon in list(self.daemons):
            self.kill(daemon, signal.SIGTERM if daemon != "munged" else signal.SIGKILL)


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """A cluster with its files in ``folder``, for as long as it is used."""
    slurm = Cluster(folder)
    try:
        slurm.start("munged")
        slurm.wait_until(lambda: (folder / "munge" / "socket").exists(), "munged")
        slurm.start("slurmctld")
        slurm.start("slurmd")
        slurm.up()
        yield slurm
    finally:
        slurm.stop()
