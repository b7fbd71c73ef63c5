"""Who starts the processes of a run: the first of them, or torchrun or srun before there was one."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.distributed as dist
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.utilities import rank_zero_only

INTERACTIVE = ("bash", "interactive")
"""Names of SLURM jobs in which a person types; what they start is no task of the job."""


@dataclass(frozen=True)
class Launch:
    """The processes of a run.

    Attributes:
        by: what starts them: `torchrun`, `srun`, or `mmnar` itself.
        devices: processes on each node.
        num_nodes: nodes.
    """

    by: str
    devices: int
    num_nodes: int

    @property
    def world_size(self) -> int:
        """All of them."""
        return self.devices * self.num_nodes

    @property
    def environment(self) -> ClusterEnvironment:
        """Lightning's word for it; signals of SLURM are ours to handle."""
        if self.by == "srun":
            return SLURMEnvironment(auto_requeue=False)
        return TorchElasticEnvironment() if self.by == "torchrun" else LightningEnvironment()


def launched(environment: Mapping[str, str] = os.environ) -> Launch | None:
    """What torchrun or srun started; None where the first process starts the others.

    Raises:
        ValueError: inside a SLURM job of several tasks, in a process that is none of them.

    >>> launched({"TORCHELASTIC_RUN_ID": "none", "LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "4"})
    Launch(by='torchrun', devices=2, num_nodes=2)
    >>> launched({"SLURM_NTASKS": "2", "SLURM_NNODES": "1", "SLURM_STEP_ID": "0"})
    Launch(by='srun', devices=2, num_nodes=1)
    >>> launched({})
    """
    if "TORCHELASTIC_RUN_ID" in environment:
        devices = int(environment["LOCAL_WORLD_SIZE"])
        return Launch("torchrun", devices, int(environment["WORLD_SIZE"]) // devices)
    if "SLURM_NTASKS" not in environment or environment.get("SLURM_JOB_NAME") in INTERACTIVE:
        return None
    tasks, nodes = int(environment["SLURM_NTASKS"]), int(environment.get("SLURM_NNODES", "1"))
    if tasks > 1 and "SLURM_STEP_ID" not in environment:
        raise ValueError(f"this SLURM job has {tasks} tasks, and this process is none of them; start it with srun")
    if tasks % nodes:
        raise ValueError(f"SLURM gave {tasks} tasks to {nodes} nodes; every node needs as many (--ntasks-per-node)")
    return Launch("srun", tasks // nodes, nodes)


def join() -> None:
    """Join the other processes that torchrun or srun started, so that all can agree before there is a Trainer."""
    launch = launched()
    if launch is None or launch.world_size == 1 or dist.is_initialized():
        return
    os.environ.setdefault("SLURM_NTASKS_PER_NODE", str(launch.devices))  # Lightning wants it, srun may not give it
    environment = launch.environment
    os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = environment.main_address, str(environment.main_port)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, rank=environment.global_rank(), world_size=launch.world_size)
    setattr(rank_zero_only, "rank", environment.global_rank())  # noqa: B010  # untyped


def is_first(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process speaks for all, whoever started them.

    >>> is_first({}), is_first({"SLURM_PROCID": "1"})
    (True, False)
    """
    return not any(int(environment.get(name, "0")) for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))


def is_child() -> bool:
    """Whether the first process started this one."""
    return launched() is None and int(os.environ.get("LOCAL_RANK", "0")) > 0
