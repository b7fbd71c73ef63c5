"""Operations that the text and the image backbone share: precision and partial training."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from data_modules.errors import UserError


def autocast_bf16(device: torch.device, enabled: bool) -> AbstractContextManager[None]:
    """Autocast to bfloat16; where it is not enabled, the precision of the Trainer stays in force."""
    return torch.autocast(device.type, torch.bfloat16) if enabled else nullcontext()


@contextmanager
def tensor_cores(device: torch.device) -> Iterator[None]:
    """Multiply float32 matrices in TF32 on a GPU, with 3 decimal digits: enough for a frozen encoder, and faster."""
    before = torch.get_float32_matmul_precision()
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def train_last_layers(
    network: nn.Module, layers: Sequence[Sequence[nn.Parameter]], top_layers: int, setting: str
) -> None:
    """Freeze a network except its last layers.

    Args:
        network: the network.
        layers: parameters of each layer, from the input on.
        top_layers: number of layers that are trained.
        setting: group of the settings in errors.

    Raises:
        UserError: if the network has fewer layers.
    """
    if top_layers > len(layers):
        raise UserError(
            f"{setting}.top_layers={top_layers}: {type(network).__name__} has only {len(layers)} layers; "
            f"use {setting}.trainable=all to train them all"
        )
    network.requires_grad_(False)
    for layer in layers[len(layers) - top_layers :]:
        for parameter in layer:
            parameter.requires_grad_(True)


LORA_RANK = 8
"""Rank of low-rank updates, peft's default; their quality hardly depends on it (Hu et al., section 7.2)."""


def lora_config(target_modules: str, setting: str) -> Any:
    """The peft configuration of low-rank updates (Hu et al., ICLR 2022), scaled by 2 (alpha = 2 · rank).

    Args:
        target_modules: pattern of the adapted layers' names, or `all-linear`.
        setting: group of the settings in errors.

    Returns:
        A `peft.LoraConfig`.

    Raises:
        UserError: without the package peft.
    """
    try:
        from peft import LoraConfig
    except ImportError as error:
        raise UserError(
            f"{setting}.trainable=lora needs peft, which is not installed: pip install 'mmnar-lightning[lora]'"
        ) from error
    return LoraConfig(r=LORA_RANK, lora_alpha=2 * LORA_RANK, target_modules=target_modules)
