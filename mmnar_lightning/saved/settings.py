"""Settings classes from the plain values of model.json."""

from collections.abc import Mapping
from typing import Any, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mmnar_lightning.saved.description import SavedModelError

Config = TypeVar("Config")


def typed(kind: type[Config], plain: Mapping[str, Any]) -> Config:
    """Build a settings class; no value may refer to another, or to the environment.

    Args:
        kind: dataclass.
        plain: its values, nested.

    Returns:
        An instance.

    Raises:
        SavedModelError: for an interpolation, and for settings or values that the class does not know.

    >>> from mmnar_lightning.nn.config import EncoderConfig
    >>> typed(EncoderConfig, {"bins": 8})
    EncoderConfig(components=0, bins=8)
    """
    if "${" in str(plain):
        raise SavedModelError("model.json holds an interpolation, ${...}; it was not written by this program")
    try:
        found = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(kind), plain))
    except OmegaConfBaseException as error:
        raise SavedModelError(f"model.json holds settings that this version does not know ({error})") from error
    assert isinstance(found, kind)
    return found
