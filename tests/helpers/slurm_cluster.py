"""A private SLURM cluster of one node: its own key, configuration, state and ports, in a temporary folder."""

import getpass
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd")
COMMANDS = ("sbatch", "srun", "scontrol", "squeue")
WHERE = f"/usr/sbin{os.pathsep}{os.environ.get('PATH', '')}"
CONFIGURATION = """
ClusterName=private
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
JobRequeue=1
KillWait=10
InactiveLimit=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=sched_interval=2,batch_sched_delay=0
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 SocketsPerBoard=1 CoresPerSocket=2 ThreadsPerCore=1 State=UNKNOWN
PartitionName=low Nodes={host} Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=60
PartitionName=high Nodes={host} Default=NO MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""


def missing() -> list[str]:
    """Programs of SLURM that are not installed."""
    return [name for name in (*DAEMONS, *COMMANDS) if shutil.which(name, path=WHERE) is None]


class Cluster:
    """`with Cluster(folder) as cluster` runs one node with two cores and the partitions `low` and `high`.

    Jobs of `low` are preempted by those of `high`: SIGTERM, a minute to end, back into the queue.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SBATCH"))
        }
        self.environment |= {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": WHERE}
        self.daemons: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "Cluster":
        self.folder.chmod(0o755)
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        own = {"host": socket.gethostname().split(".")[0], "user": getpass.getuser(), "folder": self.folder}
        ports = {"controller_port": _free_port(), "node_port": _free_port()}
        (self.folder / "slurm.conf").write_text(CONFIGURATION.format(**own, **ports))
        files = {name: f"--{name}-file={self.folder}/munged.{name}" for name in ("pid", "log", "seed")}
        try:
            self._start(
                "munged",
                "--foreground",
                "--force",
                f"--key-file={key}",
                f"--socket={self.folder}/munge.socket",
                *files.values(),
            )
            wait_for((self.folder / "munge.socket").exists, 20, "munged does not listen")
            self._start("slurmctld", "-D", "-i", "-f", str(self.folder / "slurm.conf"))
            self._start("slurmd", "-D", "-f", str(self.folder / "slurm.conf"))
            wait_for(lambda: "State=IDLE" in self.run("scontrol", "show", "node", check=False), 60, self.logs)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.run("scancel", "--user", getpass.getuser(), check=False)
        for daemon in reversed(self.daemons):
            daemon.terminate()
        for daemon in self.daemons:
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()

    def run(self, *words: str, check: bool = True, cwd: Path | None = None, **environment: str) -> str:
        """Run a command of SLURM's; gives what it printed."""
        done = subprocess.run(
            words, env=self.environment | environment, cwd=cwd, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0 or not check, f"{' '.join(words)}: {done.stdout}{done.stderr}\n{self.logs()}"
        return done.stdout

    def job(self, number: str) -> dict[str, str]:
        """What SLURM says of a job, by its own keys."""
        shown = self.run("scontrol", "show", "job", number).split()
        return dict(word.split("=", 1) for word in shown if "=" in word)

    def logs(self) -> str:
        """The ends of the daemons' logs."""
        ends = [path.read_text(errors="replace")[-3000:] for path in sorted(self.folder.glob("*d.log"))]
        return "\n".join(ends)

    def _start(self, name: str, *words: str) -> None:
        program = shutil.which(name, path=WHERE)
        assert program is not None
        with (self.folder / f"{name}.out").open("wb") as output:
            self.daemons.append(
                subprocess.Popen(
                    [program, *words], env=self.environment, stdout=output, stderr=output, start_new_session=True
                )
            )


def wait_for(condition: Callable[[], object], seconds: float, why: str | Callable[[], str]) -> None:
    """Wait until something holds, or fail after some seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, why if isinstance(why, str) else why()
        time.sleep(0.3)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
