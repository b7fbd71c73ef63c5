"""A rank of `mmnar train trainer.strategy=fsdp` on processors, where Lightning refuses its own strategy."""

import sys
from typing import Any

import torch
from lightning.pytorch.strategies import FSDPStrategy
from torch.distributed.fsdp import FullyShardedDataParallel

from mmnar_lightning import cli
from mmnar_lightning.runs import trainer as training


class OnProcessors(FSDPStrategy):
    """That of Lightning, with the processor as its device; a subclass is not refused."""

    def _setup_model(self, model: torch.nn.Module) -> torch.nn.Module:
        own: dict[str, Any] = {**self.kwargs, "device_id": torch.device("cpu")}
        return FullyShardedDataParallel(model, mixed_precision=self.mixed_precision_config, **own)


if __name__ == "__main__":
    training._strategy = lambda config, launch: OnProcessors()
    sys.argv.insert(1, "train")
    cli.run()
