"""How texts and images become what the model reads, for a kind of modality and for one of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from data_modules.settings import inactive
from data_modules.vocabulary import Modality
from mmnar_lightning.encoders.image.config import ImageConfig
from mmnar_lightning.encoders.text.config import TextConfig


@dataclass(kw_only=True)
class EmbedConfig:
    """Encoders of texts and images."""

    text: TextConfig = field(default_factory=TextConfig)
    """Notes and reports."""
    image: ImageConfig = field(default_factory=ImageConfig)
    """Images."""
    modalities: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Settings of one modality, laid over those of embed.text or embed.image: embed.modalities.cxr.encoder=none."""
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    """Kind of device that frozen encoders run on."""

    def __post_init__(self) -> None:
        """Refuse a setting of one modality that no kind has."""
        known = {entry.name for kind in (TextConfig, ImageConfig) for entry in fields(kind)}
        for name, settings in self.modalities.items():
            for key in settings:
                if key not in known:
                    raise ValueError(f"embed.modalities.{name}.{key}: unknown setting; known are {sorted(known)}")

    def of(self, modality: Modality) -> TextConfig | ImageConfig | None:
        """The settings of a modality; None where it needs no encoder.

        Its own lie over those of all texts, or images; of all texts, it takes what its encoder reads.

        Raises:
            ValueError: when its own settings do not fit its kind.
        """
        kinds: dict[str, TextConfig | ImageConfig] = {"documents": self.text, "images": self.image}
        usual = kinds.get(modality.kind)
        own = self.modalities.get(modality.name, {})
        if usual is None:
            if own:
                raise ValueError(f"embed.modalities.{modality.name}: it is a {modality.kind}, which has no encoder")
            return None
        try:
            merged = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(usual), own))
        except (OmegaConfBaseException, ValueError) as error:
            raise ValueError(f"embed.modalities.{modality.name}: {str(error).splitlines()[0]}") from error
        assert isinstance(merged, TextConfig | ImageConfig)
        return _without_idle(merged, own, modality.name)


def _without_idle(merged: TextConfig | ImageConfig, own: Mapping[str, Any], name: str) -> TextConfig | ImageConfig:
    """Refuse settings of a modality that its encoder does not read, and drop those of its kind that it does not.

    Raises:
        ValueError: naming a setting of the modality and the condition under which it would be read.
    """
    idle = {found.key: found for found in inactive(merged)}
    for key in own:
        if key in idle and merged.encoder != "none":
            needed = idle[key].condition
            raise ValueError(f"embed.modalities.{name}.{key}={own[key]} is not read: it needs {needed}")
    usual = type(merged)()
    return replace(merged, **{key: getattr(usual, key) for key in idle if key not in own})
