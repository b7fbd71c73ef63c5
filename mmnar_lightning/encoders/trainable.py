"""What of an encoder sits in the model: a backbone that learns, and how the items of a row are pooled."""

import warnings

from torch import nn

from data_modules.vocabulary import Modality
from mmnar_lightning.encoders.config import EmbedConfig
from mmnar_lightning.encoders.image.backbone import image_backbone
from mmnar_lightning.encoders.text import pretrained
from mmnar_lightning.encoders.text.config import TextConfig
from mmnar_lightning.encoders.text.frozen import load_backbone
from mmnar_lightning.nn.encoders import ItemParts
from mmnar_lightning.nn.text import SmallNetwork, TextBackbone, freeze_all_but_last, freeze_unused


def item_parts(modality: Modality, config: EmbedConfig) -> ItemParts:
    """The parts that read a modality's items.

    Raises:
        ValueError: when a model cannot be loaded, or not trained in the way that is asked for.
    """
    own = config.of(modality)
    assert own is not None
    if not own.trained:
        return ItemParts(None, own.pooling)
    if isinstance(own, TextConfig):
        return ItemParts(text_backbone(own), own.pooling, own.rate)
    return ItemParts(image_backbone(own), own.pooling, own.lr_scale)


def text_backbone(config: TextConfig) -> TextBackbone:
    """The text encoder that learns, ready for training."""
    if config.encoder == "small":
        network = SmallNetwork(config.vocabulary, config.dim)
        return TextBackbone(network, 2 * config.dim, batch_windows=config.batch_windows, bf16=config.bf16)
    backbone = load_backbone(pretrained.locate(config.model), config)
    model = backbone.network.get_submodule("model")
    if config.trainable == "top_k":
        freeze_all_but_last(model, model.config.num_hidden_layers, config.top_layers)  # type: ignore[union-attr, arg-type]  # likewise
    if config.trainable == "lora":
        backbone.network.add_module("model", _with_lora(model, config.lora_rank))
    freeze_unused(backbone.network)
    return backbone.train()


def _with_lora(model: nn.Module, rank: int) -> nn.Module:
    """Add low-rank matrices to every linear layer (Hu et al., ICLR 2022); only they learn."""
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise ValueError(
            "embed.text.trainable=lora needs peft, which is not installed: pip install 'mmnar-lightning[lora]'"
        ) from error
    with warnings.catch_warnings():
        # peft asks transformers in a way that transformers will drop.
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated")
        config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear")
        adapted: nn.Module = get_peft_model(model, config)
    return adapted
