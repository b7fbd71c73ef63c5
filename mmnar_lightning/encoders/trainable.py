"""The parts of an encoder that belong to the model: a trained backbone and the pooling of a row's items."""

import warnings

from torch import nn

from data_modules.vocabulary import Modality
from mmnar_lightning.encoders.config import EmbedConfig
from mmnar_lightning.encoders.image.backbone import image_backbone
from mmnar_lightning.encoders.text import pretrained
from mmnar_lightning.encoders.text.config import SMALL_DIM, SMALL_VOCABULARY, TextConfig
from mmnar_lightning.encoders.text.frozen import load_backbone
from mmnar_lightning.nn.backbone import lora_config
from mmnar_lightning.nn.encoders import ItemParts
from mmnar_lightning.nn.text import TextBackbone, WordBag, freeze_all_but_last, freeze_unused


def item_parts(modality: Modality, config: EmbedConfig) -> ItemParts:
    """Backbone and pooling for a modality's items, which needs an encoder.

    Args:
        modality: documents or images.
        config: `embed`.

    Returns:
        The parts; without a backbone where the encoder is frozen. A UserError names a model that cannot be loaded, or
        cannot be trained as configured.
    """
    own = config.of(modality)
    assert own is not None
    if not own.trained:
        return ItemParts(None, own.pooling)
    if own.encoder == "small" and isinstance(own, TextConfig):
        return ItemParts(WordBag(SMALL_VOCABULARY, SMALL_DIM), own.pooling, own.rate)
    backbone = text_backbone(own) if isinstance(own, TextConfig) else image_backbone(own)
    return ItemParts(backbone, own.pooling, own.rate)


def text_backbone(config: TextConfig) -> TextBackbone:
    """The trained transformer, in training mode, with the configured parameters frozen."""
    backbone = load_backbone(pretrained.locate(config.model), config)
    model = backbone.network.get_submodule("model")
    if config.trainable == "top_k":
        freeze_all_but_last(model, model.config.num_hidden_layers, config.top_layers)  # type: ignore[union-attr, arg-type]  # likewise
    if config.trainable == "lora":
        backbone.network.add_module("model", _with_lora(model))
    freeze_unused(backbone.network)
    return backbone.train()


def _with_lora(model: nn.Module) -> nn.Module:
    """Freeze a model and add trained low-rank updates to every linear layer."""
    # Not nn.images.add_lora, which does not wrap the model: the names of parameters in checkpoints would differ.
    config = lora_config("all-linear", "embed.text")
    from peft import get_peft_model

    with warnings.catch_warnings():
        # peft reads an attribute that transformers has deprecated.
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated")
        adapted: nn.Module = get_peft_model(model, config)
    return adapted
