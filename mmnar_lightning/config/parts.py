"""The parts of the method, and the settings that leave each out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from data_modules.settings import holds
from mmnar_lightning.config.compose import flatten, to_plain
from mmnar_lightning.config.experiment import ExperimentConfig
from mmnar_lightning.config.keys import replaced
from mmnar_lightning.losses.config import AUXILIARY


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of the method.

    Attributes:
        on: condition under which a configuration has it, as of `data_modules.settings`.
        without: key -> value, the settings that leave it out.
        layer: file of experiments/ablations with the same settings; empty if there is none.
    """

    on: str
    without: Mapping[str, Any]
    layer: str = ""


PARTS: Mapping[str, Part] = {
    "conditioning": Part(
        on="model.fusion.conditioned = true",
        without={"model.fusion.conditioned": False, "model.additive.slopes": "shared"},
        layer="no_conditioning",
    ),
    "reconstruction": Part(
        on="objective.reconstruction > 0", without={"objective.reconstruction": 0.0}, layer="no_reconstruction"
    ),
    "contrast": Part(on="objective.contrast > 0", without={"objective.contrast": 0.0}, layer="no_contrast"),
    "assignment": Part(on="objective.assignment > 0", without={"objective.assignment": 0.0}, layer="no_assignment"),
    "additive": Part(
        on="model.additive.inverse_penalties is set",
        without={
            "model.additive.inverse_penalties": [],
            "model.additive.slopes": "shared",
            "model.additive.canonical": 0,
        },
        layer="no_additive",
    ),
    "slopes": Part(
        on="model.additive.inverse_penalties is set and model.additive.slopes != shared",
        without={"model.additive.slopes": "shared"},
    ),
    "canonical": Part(
        on="model.additive.inverse_penalties is set and model.additive.canonical > 0",
        without={"model.additive.canonical": 0},
        layer="no_canonical",
    ),
    "loss_offset": Part(
        on="rectifier.fit != none and rectifier.loss_offset = true",
        without={"rectifier.loss_offset": False},
        layer="no_rectified_loss",
    ),
    "bins": Part(on="model.encoder.bins > 0", without={"model.encoder.bins": 0}),
    "pretraining": Part(on="objective.pretrain_epochs > 0", without={"objective.pretrain_epochs": 0}),
}
"""Name -> part, in the order of docs/method.md. The rectifier of the output is none: its gain is `rectified_gain`."""


def parts_of(config: ExperimentConfig) -> list[str]:
    """Names of the parts that a configuration has."""
    values = flatten(to_plain(config))
    return [name for name, part in PARTS.items() if holds(part.on, values)]


def without(config: ExperimentConfig, name: str) -> ExperimentConfig:
    """The same configuration without a part.

    Without the only label-free term there is nothing to pre-train either.

    Args:
        config: that has the part.
        name: of the part.

    Returns:
        The settings of its ablation.
    """
    settings = dict(PARTS[name].without)
    if not any(getattr(config.objective, term) and f"objective.{term}" not in settings for term in AUXILIARY):
        settings["objective.pretrain_epochs"] = 0
    return replaced(config, settings)
