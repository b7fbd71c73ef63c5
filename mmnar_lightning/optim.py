"""Optimiser and schedule: AdamW with linear warm-up and cosine decay. The settings load without torch."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from data_modules.errors import UserError

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LambdaLR

WARMUP_FRACTION = 0.05
"""Fraction of all steps for the linear warm-up from zero."""
FINAL_FRACTION = 0.05
"""Learning rate at the last step, as a fraction of the peak."""

MAX_GRADIENT_NORM = 1.0
"""Larger gradients are scaled to this norm: one step on an odd batch cannot undo the training before it."""


@dataclass(kw_only=True)
class OptimConfig:
    """Learning rate and weight decay; both for the global batch."""

    lr: float = 2e-4
    """Peak learning rate."""
    weight_decay: float = 1e-4
    """Decoupled weight decay."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if not 0 < self.lr < math.inf:
            raise UserError(f"optim.lr={self.lr} must be above 0 and finite")
        if not 0 <= self.weight_decay < math.inf:
            raise UserError(f"optim.weight_decay={self.weight_decay} must be at least 0 and finite")


def rate_factor(step: int, num_steps: int) -> float:
    """Compute the learning rate at a step as a fraction of the peak.

    Returns:
        The fraction.

    >>> [round(rate_factor(step, 100), 2) for step in (0, 4, 5, 100)]
    [0.2, 1.0, 1.0, 0.05]
    """
    warmup = math.ceil(num_steps * WARMUP_FRACTION)
    if step < warmup:
        return (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, num_steps - warmup))
    return FINAL_FRACTION + (1 - FINAL_FRACTION) * (1 + math.cos(math.pi * progress)) / 2


def build_optimizer(
    parameters: "Iterable[nn.Parameter]", num_steps: int, config: OptimConfig, *, fused: bool = True
) -> "tuple[Optimizer, LambdaLR]":
    """Build AdamW and its schedule over `num_steps` steps; a parameter's `lr_scale` multiplies its learning rate.

    Args:
        parameters: those that are trained.
        num_steps: of the whole training.
        config: learning rate and weight decay.
        fused: whether a step is one kernel, which divides scaled gradients of float16 only after they were clipped.

    Returns:
        The optimiser and its schedule.
    """
    from torch.optim import AdamW
    from torch.optim.lr_scheduler import LambdaLR

    groups: dict[float, list[nn.Parameter]] = {}
    for parameter in parameters:
        groups.setdefault(getattr(parameter, "lr_scale", 1.0), []).append(parameter)
    scaled = [{"params": group, "lr": config.lr * scale} for scale, group in groups.items()]
    # None, not False: a refusal of one kernel for all would also refuse one for each operation of the step.
    optimizer = AdamW(scaled, lr=config.lr, weight_decay=config.weight_decay, fused=fused or None)
    return optimizer, LambdaLR(optimizer, lambda step: rate_factor(step, num_steps))


def restore_settings(optimizer: "Optimizer", schedule: "LambdaLR", config: OptimConfig) -> None:
    """Reset learning rate, weight decay and kernels to the settings, keeping all other loaded state."""
    for position, group in enumerate(optimizer.param_groups):
        scale = getattr(group["params"][0], "lr_scale", 1.0)
        group["weight_decay"] = config.weight_decay
        group["fused"], group["foreach"] = optimizer.defaults["fused"], optimizer.defaults["foreach"]
        group["initial_lr"] = schedule.base_lrs[position] = config.lr * scale
        group["lr"] = group["initial_lr"] * schedule.lr_lambdas[position](schedule.last_epoch)
