"""How texts and images become what the model reads, for a kind of modality and for one of them."""

from dataclasses import dataclass, field, fields
from typing import Any, Literal

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from data_modules.vocabulary import Modality
from mmnar_lightning.encoders.image.config import ImageConfig
from mmnar_lightning.encoders.text.config import TextConfig, unread


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
            merged = OmegaConf.to_object(_laid_over(usual, own))
        except (OmegaConfBaseException, ValueError) as error:
            raise ValueError(f"embed.modalities.{modality.name}: {str(error).splitlines()[0]}") from error
        assert isinstance(merged, TextConfig | ImageConfig)
        return merged


def _laid_over(usual: TextConfig | ImageConfig, own: dict[str, Any]) -> DictConfig:
    merged: DictConfig = OmegaConf.merge(OmegaConf.structured(usual), own)  # type: ignore[assignment]  # no list here
    if isinstance(usual, TextConfig):
        default = OmegaConf.structured(TextConfig)
        for key in unread(merged.encoder, merged.mode) - set(own):
            merged[key] = default[key]
    return merged
