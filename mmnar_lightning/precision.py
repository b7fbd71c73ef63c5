"""Number formats of training whose plugins in Lightning write into a batch, which is frozen here."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
from lightning import Trainer
from lightning.pytorch.plugins.precision import FSDPPrecision, HalfPrecision, MixedPrecision, Precision
from torch import nn
from torch.distributed.fsdp import MixedPrecision as ShardFormats

from data_modules.errors import UserError

SHARDED = ("32-true", "bf16-mixed", "16-mixed")
"""Number formats of sharded models; others have `bf16-true` as well."""


class TrueBf16(MixedPrecision):
    """Weights of the network in bfloat16, and with them their gradients and the states of the optimiser.

    Lightning's own plugin rounds the batch, and with it labels, offsets and losses. Here the network's matrices are
    rounded alone; its vectors (biases, scales of norms), losses, offsets, rectifier and batch keep their numbers, and
    operations choose theirs as in `bf16-mixed`.

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


class ShardedPrecision(FSDPPrecision):
    """Number formats of a sharded model as of one that is not.

    Lightning's own plugin rounds the batch, every buffer and what ranks send each other. Here these keep 32 bits, and
    under `bf16-mixed` and `16-mixed` operations choose their format.

    Args:
        precision: `32-true`, `bf16-mixed` or `16-mixed`.
        device: type of the device.
    """

    def __init__(self, precision: Any, device: str) -> None:
        super().__init__(precision)
        self.device = device

    def convert_input(self, data: Any) -> Any:
        """The batch as it is."""
        return data

    @property
    def mixed_precision_config(self) -> ShardFormats:
        """Weights, gradients and buffers as they are."""
        return ShardFormats()

    def forward_context(self) -> AbstractContextManager[Any]:
        """Operations in the narrower format where they bear it."""
        if self.precision == "32-true":
            return nullcontext()
        narrow = torch.bfloat16 if self.precision == "bf16-mixed" else torch.float16
        return torch.autocast(self.device, dtype=narrow, cache_enabled=False)


def take_precision(trainer: Trainer) -> None:
    """Replace a plugin of a Trainer that would write into the batch; it is called before the module is converted.

    Args:
        trainer: of any precision.

    Raises:
        UserError: for a plugin that has no replacement: weights in float16, where small gradients vanish, in 64 bits,
            in the format of shards, and those of other libraries.
    """
    plugin, strategy = trainer.precision_plugin, trainer.strategy
    device, sharded = strategy.root_device.type, isinstance(plugin, FSDPPrecision)
    if type(plugin) is FSDPPrecision and plugin.precision in SHARDED:
        strategy.precision_plugin = ShardedPrecision(plugin.precision, device)
    elif isinstance(plugin, HalfPrecision) and plugin.precision == "bf16-true":
        strategy.precision_plugin = TrueBf16(device)
    elif not isinstance(plugin, ShardedPrecision) and type(plugin).convert_input is not Precision.convert_input:
        known = ", ".join(SHARDED if sharded else (*SHARDED, "bf16-true"))
        raise UserError(f"precision={plugin.precision} ({type(plugin).__name__}) is not supported; use one of {known}")
