"""Training with weights in bfloat16 (`bf16-true`), for batches that no helper of Lightning may write to."""

from typing import Any, cast

import torch
from lightning import Trainer
from lightning.pytorch.plugins.precision import HalfPrecision, MixedPrecision
from torch import nn

from data_modules.errors import UserError


class TrueBf16(MixedPrecision):
    """Weights of the network in bfloat16, and with them their gradients and the states of the optimiser.

    Lightning's own plugin writes into the batch, which is frozen, and rounds labels, offsets and losses as well. Here
    the network's matrices are rounded alone; its vectors (biases, scales of norms), losses, offsets, rectifier and
    batch keep their numbers, and operations choose theirs as in `bf16-mixed`.

    Args:
        device: type of the device.
    """

    def __init__(self, device: str) -> None:
        super().__init__("bf16-mixed", device)
        self.precision = cast("Any", "bf16-true")

    def autocast_context_manager(self) -> torch.autocast:
        """Operations in bfloat16 where they bear it."""
        return torch.autocast(self.device, dtype=torch.bfloat16, cache_enabled=False)

    def convert_module(self, module: nn.Module) -> nn.Module:
        """Round the matrices of `module.model`, in place."""
        for parameter in module.get_submodule("model").parameters():
            if parameter.is_floating_point() and parameter.ndim > 1:
                parameter.data = parameter.data.to(torch.bfloat16)
        return module


def take_true_half(trainer: Trainer) -> None:
    """Give a Trainer whose `precision` is `bf16-true` the plugin above; it is called before the module is converted.

    Args:
        trainer: of any precision.

    Raises:
        UserError: for `16-true`, in which small gradients vanish.
    """
    plugin = trainer.precision_plugin
    if not isinstance(plugin, HalfPrecision):
        return
    if plugin.precision != "bf16-true":
        raise UserError(f"precision={plugin.precision}: use 16-mixed, bf16-mixed, bf16-true or 32-true")
    trainer.strategy.precision_plugin = TrueBf16(trainer.strategy.root_device.type)
