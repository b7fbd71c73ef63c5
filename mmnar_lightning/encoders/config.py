"""Settings of the embed stage, per kind of modality and per modality."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from data_modules.errors import UserError
from data_modules.settings import inactive
from data_modules.vocabulary import Modality
from mmnar_lightning.encoders.image.config import ImageConfig
from mmnar_lightning.encoders.text.config import TextConfig


@dataclass(kw_only=True)
class EmbedConfig:
    """Text and image encoders."""

    text: TextConfig = field(default_factory=TextConfig)
    """Encoder of notes and reports."""
    image: ImageConfig = field(default_factory=ImageConfig)
    """Encoder of images."""
    modalities: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Settings of one modality, which override embed.text or embed.image: embed.modalities.cxr.encoder=none."""

    def __post_init__(self) -> None:
        """Reject settings of a modality that neither kind has."""
        known = {entry.name for kind in (TextConfig, ImageConfig) for entry in fields(kind)}
        for name, settings in self.modalities.items():
            for key in settings:
                if key not in known:
                    raise UserError(f"embed.modalities.{name}.{key}: unknown setting; known are {sorted(known)}")

    def of(self, modality: Modality) -> TextConfig | ImageConfig | None:
        """The settings of a modality's encoder.

        The modality's own settings override those of its kind; settings of its kind that its encoder does not
        read fall back to their defaults.

        Args:
            modality: of the cohort.

        Returns:
            None if the modality needs no encoder.

        Raises:
            UserError: if its own settings are invalid for its kind.
        """
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException

        kinds: dict[str, TextConfig | ImageConfig] = {"documents": self.text, "images": self.image}
        shared = kinds.get(modality.kind)
        own = self.modalities.get(modality.name, {})
        if shared is None:
            if own:
                raise UserError(f"embed.modalities.{modality.name}: it is a {modality.kind}, which has no encoder")
            return None
        try:
            merged = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(shared), own))
        except (OmegaConfBaseException, ValueError) as error:
            raise UserError(f"embed.modalities.{modality.name}: {str(error).splitlines()[0]}") from error
        assert isinstance(merged, TextConfig | ImageConfig)
        return _without_idle(merged, own, modality.name)


def _without_idle(merged: TextConfig | ImageConfig, own: Mapping[str, Any], name: str) -> TextConfig | ImageConfig:
    """Refuse settings of a modality that its encoder does not read, and reset those of its kind to their defaults.

    Returns:
        The settings that the encoder reads.

    Raises:
        UserError: naming a setting of the modality and the condition under which it would be read.
    """
    idle = {found.key: found for found in inactive(merged)}
    for key in own:
        if key in idle and merged.encoder != "none":
            needed = idle[key].condition
            raise UserError(f"embed.modalities.{name}.{key}={own[key]} is not read: it needs {needed}")
    usual = type(merged)()
    return replace(merged, **{key: getattr(usual, key) for key in idle if key not in own})
