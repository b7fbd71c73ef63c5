"""Detects the launcher (mmnar, torchrun or srun) and the world size; imports heavy libraries only on use."""

import os
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from data_modules.errors import UserError

if TYPE_CHECKING:
    from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment

INTERACTIVE = ("bash", "interactive")
"""Names of interactive SLURM jobs; a process started in one is not a task of the job."""

FIRST = "MMNAR_FIRST_PROCESS"
"""Environment variable with the process number of the first process of a run, for those that it starts."""
POLL_SECONDS = 1.0
"""Between two looks at whether the first process is alive."""


@dataclass(frozen=True)
class Launch:
    """The processes of a run.

    Attributes:
        by: launcher: `torchrun`, `srun`, or `mmnar` itself.
        devices: processes per node.
        num_nodes: number of nodes.
    """

    by: str
    devices: int
    num_nodes: int

    @property
    def world_size(self) -> int:
        """Number of processes on all nodes."""
        return self.devices * self.num_nodes

    @property
    def environment(self) -> "ClusterEnvironment":
        """Lightning's cluster environment; SLURM's signals are handled in signals.py."""
        from lightning.fabric.plugins.environments.lightning import LightningEnvironment
        from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
        from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment

        if self.by == "srun":
            return SLURMEnvironment(auto_requeue=False)
        return TorchElasticEnvironment() if self.by == "torchrun" else LightningEnvironment()


def detect_launch(environment: Mapping[str, str] = os.environ) -> Launch | None:
    """Detect the processes that torchrun or srun started.

    Returns:
        The launch; None if the first process starts the others.

    Raises:
        UserError: in a SLURM job of several tasks, if this process is none of them or the nodes have unequal tasks.

    >>> detect_launch({"TORCHELASTIC_RUN_ID": "none", "LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "4"})
    Launch(by='torchrun', devices=2, num_nodes=2)
    >>> detect_launch({"SLURM_NTASKS": "2", "SLURM_NNODES": "1", "SLURM_STEP_ID": "0"})
    Launch(by='srun', devices=2, num_nodes=1)
    >>> detect_launch({})
    """
    if "TORCHELASTIC_RUN_ID" in environment:
        devices = int(environment["LOCAL_WORLD_SIZE"])
        return Launch("torchrun", devices, int(environment["WORLD_SIZE"]) // devices)
    if "SLURM_NTASKS" not in environment or environment.get("SLURM_JOB_NAME") in INTERACTIVE:
        return None
    tasks, nodes = int(environment["SLURM_NTASKS"]), int(environment.get("SLURM_NNODES", "1"))
    if tasks > 1 and "SLURM_STEP_ID" not in environment:
        raise UserError(f"this SLURM job has {tasks} tasks, but this process is none of them; start it with srun")
    if tasks % nodes:
        raise UserError(f"SLURM assigned {tasks} tasks to {nodes} nodes; all need equally many (--ntasks-per-node)")
    return Launch("srun", tasks // nodes, nodes)


def init_process_group() -> None:
    """Join the process group of torchrun or srun, so that ranks can communicate before there is a Trainer."""
    import torch
    import torch.distributed as dist
    from lightning.pytorch.utilities import rank_zero_only

    launch = detect_launch()
    if launch is None or launch.world_size == 1 or dist.is_initialized():
        return
    os.environ.setdefault("SLURM_NTASKS_PER_NODE", str(launch.devices))  # Lightning needs it, srun may not set it
    environment = launch.environment
    os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = environment.main_address, str(environment.main_port)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, rank=environment.global_rank(), world_size=launch.world_size)
    setattr(rank_zero_only, "rank", environment.global_rank())  # noqa: B010  # untyped


def rank_of(environment: Mapping[str, str] = os.environ) -> int:
    """Read the rank of this process from the environment variables of any launcher.

    Returns:
        The rank.

    >>> rank_of({}), rank_of({"SLURM_PROCID": "1"})
    (0, 1)
    """
    return max(int(environment.get(name, "0")) for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))


def is_rank_zero(environment: Mapping[str, str] = os.environ) -> bool:
    """Check the environment variables of any launcher for rank zero.

    Returns:
        Whether this process is rank zero.

    >>> is_rank_zero({}), is_rank_zero({"SLURM_PROCID": "1"})
    (True, False)
    """
    return rank_of(environment) == 0


def is_launched_by_parent() -> bool:
    """Whether the first process started this one."""
    return detect_launch() is None and int(os.environ.get("LOCAL_RANK", "0")) > 0


def name_first() -> None:
    """Leave the number of this process for the ranks that it will start; one of these has no effect."""
    if not is_launched_by_parent():
        os.environ[FIRST] = str(os.getpid())


def end_with_first() -> None:
    """End a rank soon after the first process, which started it, was killed; other processes are not watched.

    The rank would otherwise wait for it: for minutes where the process group starts.
    """
    if not is_launched_by_parent() or FIRST not in os.environ:
        return
    first, parent = int(os.environ[FIRST]), os.getppid()  # the parent may be a wrapper of the interpreter

    def watch() -> None:
        while os.getppid() == parent and _exists(first):
            time.sleep(POLL_SECONDS)
        sys.stderr.write("the first process of this run has ended, so this rank ends too\n")
        sys.stderr.flush()
        os._exit(1)

    threading.Thread(target=watch, name="first process", daemon=True).start()


def _exists(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
