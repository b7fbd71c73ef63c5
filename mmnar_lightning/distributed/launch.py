"""Detects the launcher (mmnar, torchrun or srun) and the world size. Nothing heavy is imported before it is used."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from data_modules.errors import UserError

if TYPE_CHECKING:
    from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment

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
    def environment(self) -> "ClusterEnvironment":
        """Lightning's description of it; signals of SLURM are handled in signals.py."""
        from lightning.fabric.plugins.environments.lightning import LightningEnvironment
        from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
        from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment

        if self.by == "srun":
            return SLURMEnvironment(auto_requeue=False)
        return TorchElasticEnvironment() if self.by == "torchrun" else LightningEnvironment()


def detect_launch(environment: Mapping[str, str] = os.environ) -> Launch | None:
    """The processes that torchrun or srun started; None where the first process starts the others.

    Raises:
        UserError: inside a SLURM job of several tasks, in a process that is none of them.

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
        raise UserError(f"this SLURM job has {tasks} tasks, and this process is none of them; start it with srun")
    if tasks % nodes:
        raise UserError(f"SLURM gave {tasks} tasks to {nodes} nodes; every node needs as many (--ntasks-per-node)")
    return Launch("srun", tasks // nodes, nodes)


def init_process_group() -> None:
    """Join the other processes that torchrun or srun started, so that all can agree before there is a Trainer."""
    import torch
    import torch.distributed as dist
    from lightning.pytorch.utilities import rank_zero_only

    launch = detect_launch()
    if launch is None or launch.world_size == 1 or dist.is_initialized():
        return
    os.environ.setdefault("SLURM_NTASKS_PER_NODE", str(launch.devices))  # Lightning wants it, srun may not give it
    environment = launch.environment
    os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = environment.main_address, str(environment.main_port)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, rank=environment.global_rank(), world_size=launch.world_size)
    setattr(rank_zero_only, "rank", environment.global_rank())  # noqa: B010  # untyped


def rank_of(environment: Mapping[str, str] = os.environ) -> int:
    """The number of this process among all ranks, by the environment variables of every launcher.

    >>> rank_of({}), rank_of({"SLURM_PROCID": "1"})
    (0, 1)
    """
    return max(int(environment.get(name, "0")) for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))


def is_rank_zero(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process is rank zero, by the environment variables of every launcher.

    >>> is_rank_zero({}), is_rank_zero({"SLURM_PROCID": "1"})
    (True, False)
    """
    return rank_of(environment) == 0


def is_launched_by_parent() -> bool:
    """Whether the first process started this one."""
    return detect_launch() is None and int(os.environ.get("LOCAL_RANK", "0")) > 0
