"""The image backbone of the settings `embed.image.*`, and its input format."""

import math
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmnar_lightning.encoders import hub
from mmnar_lightning.encoders.image.config import PRETRAINED, RANDOM, ImageConfig
from mmnar_lightning.encoders.image.selection import DECODED, ImageInput, ImagesError, small_input
from mmnar_lightning.nn import images
from mmnar_lightning.nn.weights import WeightsError, load_weights, read_weights

FILE_ENDINGS = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".tar")
HUB = "https://huggingface.co"


def image_input(config: ImageConfig) -> ImageInput:
    """The input format of the network; loads no weights.

    Args:
        config: `embed.image`, encoder timm or small.

    Returns:
        Size, colour and transformation of its pixels.

    Raises:
        ImagesError: if timm lacks the model, or the model has no colour.
    """
    from timm.data import create_transform  # type: ignore[attr-defined]

    if config.encoder == "small":
        return small_input()
    data = _data_config(_create(config))
    channels, height, width = data["input_size"]
    if config.colour and channels != 3:
        raise ImagesError(f"embed.image.colour=true: {config.model} has {channels} input channel; use colour=false")
    mode = "RGB" if config.colour else "L"
    # With use_prefetcher timm returns uint8 pixels; the backbone standardises them on its device.
    transform = create_transform(**data, is_training=False, use_prefetcher=True)
    settings = {key: data[key] for key in ("input_size", "interpolation", "crop_pct", "crop_mode")}
    return ImageInput(
        mode=mode,
        size=(height, width),
        transform=transform,
        side=math.floor(max(height, width) / data["crop_pct"]),
        description=f"{mode} {settings}, {DECODED}",
    )


def image_width(config: ImageConfig) -> int:
    """Width of an image's vector; loads no weights."""
    if config.encoder == "small":
        return images.SMALL_WIDTH
    network = _create(config)
    return _width(network, _data_config(network)["input_size"])


def image_backbone(config: ImageConfig) -> images.ImageBackbone:
    """Build the network, load its weights and freeze all parameters that are not trained.

    A UserError names weights that are missing, broken or of another network (WeightsError), and a model that timm lacks
    or that does not support the settings (ImagesError).

    Args:
        config: `embed.image`, encoder timm or small.

    Returns:
        The backbone; frozen and in evaluation mode unless it is trained.
    """
    if config.encoder == "small":
        return images.small_backbone(chunk=config.batch_size, bf16=config.bf16)
    network = _create(config)
    if config.weights != RANDOM:
        _fill(network, config)
    data = _data_config(network)
    _adapt(network, config)
    backbone = images.ImageBackbone(
        network,
        _width(network, data["input_size"]),
        mean=data["mean"],
        std=data["std"],
        chunk=config.batch_size,
        bf16=config.bf16,
    )
    return backbone if config.mode == "trained" else backbone.eval().requires_grad_(False)


def _create(config: ImageConfig) -> Any:
    """The timm network without its classifier, randomly initialised."""
    import timm

    if ":" in config.model or not timm.is_model(config.model):
        near = ", ".join(get_close_matches(config.model, timm.list_models()))
        hint = f"; did you mean {near}" if near else ""
        raise ImagesError(
            f"embed.image.model={config.model}: timm has no such model{hint}. timm.list_models() lists all"
        )
    return timm.create_model(config.model, pretrained=False, num_classes=0)


def _data_config(network: nn.Module) -> dict[str, Any]:
    from timm.data import resolve_model_data_config  # type: ignore[attr-defined]

    data: dict[str, Any] = resolve_model_data_config(network)  # type: ignore[no-untyped-call]
    return data


def _fill(network: Any, config: ImageConfig) -> None:
    """Load weights into a network, except those of a classifier."""
    path = Path(config.weights)
    name = network.pretrained_cfg.get("hf_hub_id") if config.weights == PRETRAINED else config.weights
    if not name:
        raise WeightsError(
            f"embed.image.weights={PRETRAINED}: {config.model} has no published weights; name a file of weights or "
            "choose another embed.image.model"
        )
    if not path.is_file() and path.suffix not in FILE_ENDINGS:
        path = _fetch(name)
    classifier = network.pretrained_cfg.get("classifier") or ()
    load_weights(network, read_weights(path), str(path), (classifier,) if isinstance(classifier, str) else classifier)


def _fetch(name: str) -> Path:
    """The safetensors file of a hub repository, from the local cache if possible."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HFValidationError

    file = "model.safetensors"
    try:
        repository, commit = hub.split(name)
    except hub.HubError as error:
        raise WeightsError(f"embed.image.weights={name}: {error}") from error
    try:
        try:
            path = Path(hf_hub_download(repository, file, revision=commit, local_files_only=True))
        except FileNotFoundError:
            path = Path(hf_hub_download(repository, file, revision=commit))
    except HFValidationError as error:
        raise WeightsError(f"embed.image.weights={name}: neither an existing file nor a hub name") from error
    except OSError as error:  # all errors of the hub: no network, no such repository, no permission
        url = f"{HUB}/{repository}/resolve/{commit or 'main'}/{file}"
        raise WeightsError(
            f"embed.image.weights: {name} is not cached here and could not be downloaded. On a machine with a network, "
            f"download {url}, and set embed.image.weights=/path/to/{file}"
        ) from error
    hub.verify(name, [path])
    return path


def _adapt(network: Any, config: ImageConfig) -> None:
    """Set gradient checkpointing and the trained parameters."""
    if config.gradient_checkpointing:
        try:
            network.set_grad_checkpointing(True)
        except (AssertionError, AttributeError):
            raise ImagesError(
                f"embed.image.gradient_checkpointing=true: timm's {config.model} does not support it"
            ) from None
    if config.trainable == "top_k":
        images.train_top(network, config.top_layers)
    if config.trainable == "lora":
        images.add_lora(network)


def _width(network: nn.Module, input_size: tuple[int, int, int]) -> int:
    """Width of an image's vector, from a forward pass, since models differ in the attribute that holds it."""
    training = network.training
    with torch.no_grad():
        encoded: Tensor = network.eval()(torch.zeros(1, *input_size))
    network.train(training)
    if encoded.ndim != 2:
        raise ImagesError(
            f"embed.image.model: {type(network).__name__} returns {tuple(encoded.shape)}, not one vector per image"
        )
    return int(encoded.shape[1])
