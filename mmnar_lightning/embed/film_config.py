"""How films become what the model reads."""

from dataclasses import dataclass
from typing import Literal


@dataclass(kw_only=True)
class FilmConfig:
    """Encoder of films."""

    encoder: Literal["none", "release"] = "none"
    """none leaves films out; release reads the published image embeddings."""

    @property
    def trained(self) -> bool:
        """Whether the encoder sits in the model and learns with it."""
        return False
