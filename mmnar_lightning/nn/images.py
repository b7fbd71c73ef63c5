"""Image networks, from pixels to one vector per image: a timm backbone or a small network."""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmnar_lightning.nn.backbone import autocast_bf16, lora_config, train_last_layers

SMALL_SIDE = 64
"""Side of the small network's grey input in pixels."""
SMALL_WIDTH = 128
"""Width of the small network's output."""


class ImageBackbone(nn.Module):
    """Pixels of images -> one vector per image.

    Batch norm uses its loaded statistics in training too: a row's representation does not depend on the other rows of
    the batch or on the number of processes.

    Args:
        network: (n, C, H, W) float -> (n, width) float.
        width: width of an image's vector.
        mean: (C,) of the pixels scaled to [0, 1].
        std: (C,) of the pixels scaled to [0, 1].
        chunk: images per forward pass without gradients.
        bf16: run the network in bfloat16; the vector is float32 in either case.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        width: int,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        chunk: int = 64,
        bf16: bool = False,
    ) -> None:
        super().__init__()
        self.network = network
        self.width = width
        self.chunk = chunk
        self.bf16 = bf16
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)
        self.train(self.training)

    def train(self, mode: bool = True) -> "ImageBackbone":
        """Set the mode; batch norm stays in evaluation mode."""
        super().train(mode)
        for module in self.network.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
        return self

    def forward(self, values: dict[str, Tensor]) -> Tensor:
        """Encode images.

        Args:
            values: `pixels` (n, C, H, W) uint8; n is at least 1.

        Returns:
            (n, width) float32.
        """
        pixels = values["pixels"]
        if torch.is_grad_enabled():
            return self._encode(pixels)
        return torch.cat([self._encode(part) for part in torch.split(pixels, self.chunk)])

    def _encode(self, pixels: Tensor) -> Tensor:
        standardised = (pixels.float() / 255 - self.mean) / self.std
        if pixels.is_cuda:
            standardised = standardised.contiguous(memory_format=torch.channels_last)  # cuDNN's fastest layout
        with autocast_bf16(pixels.device, self.bf16):
            encoded: Tensor = self.network(standardised)
        return encoded.float()


class SmallNetwork(nn.Sequential):
    """A small convolutional network for grey 64 × 64 images, trained from scratch within minutes on a CPU.

    The final 4 × 4 feature map is flattened, not averaged: the location of a finding in the chest matters.
    """

    def __init__(self) -> None:
        widths = (1, 16, 32, 64, 64)
        blocks = [_block(*pair) for pair in pairwise(widths)]
        super().__init__(*blocks, nn.Flatten(), nn.Linear(widths[-1] * 16, SMALL_WIDTH))


def _block(given: int, made: int) -> nn.Sequential:
    """Halves the side; group norm, so that the images of a batch stay independent."""
    return nn.Sequential(
        nn.Conv2d(given, made, 3, stride=2, padding=1, bias=False), nn.GroupNorm(8, made), nn.ReLU(inplace=True)
    )


def small_backbone(*, chunk: int = 64, bf16: bool = False) -> ImageBackbone:
    """The small network, randomly initialised."""
    return ImageBackbone(SmallNetwork(), SMALL_WIDTH, mean=[0.5], std=[0.25], chunk=chunk, bf16=bf16)


def train_top(network: Any, layers: int) -> None:
    """Freeze a timm network except its last layers, as timm counts them (mostly blocks); it must have that many."""
    from timm.models import group_parameters

    parameters = dict(network.named_parameters())
    groups = list(group_parameters(network, network.group_matcher(coarse=False)).values())
    # A final norm, which some networks list on its own, is no layer; it belongs to the layer before it.
    starts = [position for position, names in enumerate(groups) if any(parameters[name].ndim > 1 for name in names)]
    counted = [
        [parameters[name] for names in groups[start:stop] for name in names]
        for start, stop in pairwise([*starts, len(groups)])
    ]
    train_last_layers(network, counted, layers, "embed.image")


def add_lora(network: nn.Module) -> None:
    """Freeze a network and add trained low-rank updates (LoRA) to its linear layers and ungrouped convolutions.

    The updates start at zero. Needs the package peft.
    """
    layers = [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1)
    ]
    # One pattern of whole names: peft matches a name in a list against the end of any other.
    config = lora_config("|".join(re.escape(name) for name in layers), "embed.image")
    from peft import inject_adapter_in_model

    inject_adapter_in_model(config, network)
