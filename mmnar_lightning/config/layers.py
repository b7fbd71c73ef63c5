"""The layers below every configuration: the schema of a dataset, the environment and base.yaml; and those of files.

What is read once is kept: sweeps and tables compose hundreds of configurations from a few files. Merging copies it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, field, make_dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from data_modules.settings import refuse_interpolation
from mmnar_lightning.config import keys
from mmnar_lightning.config.experiment import ConfigError, ExperimentConfig, PathsConfig, cohort_config, datasets
from mmnar_lightning.config.places import experiment_file
from mmnar_lightning.config.renamed import explain_all
from mmnar_lightning.config.yaml_files import checked, text_of


def shared_settings(dataset: str) -> dict[str, Any]:
    """The defaults of every experiment on a dataset, overridden by base.yaml, as nested plain values."""
    plain = OmegaConf.to_container(below(dataset))
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def below(dataset: str) -> DictConfig:
    """The defaults of a dataset, the environment and base.yaml, merged.

    Args:
        dataset: name.

    Returns:
        The settings, to be merged with others, which copies them, and not to be changed.
    """
    base = file_of_all("base")
    return _merged(dataset, json.dumps(_environment()), base, base.read_text(encoding="utf-8"))


@lru_cache(maxsize=32)
def _merged(dataset: str, environment: str, base: Path, text: str) -> DictConfig:
    merged = OmegaConf.merge(_schema(dataset), json.loads(environment), _layer(base, text))
    assert isinstance(merged, DictConfig)
    return merged


@cache
def _schema(dataset: str) -> DictConfig:
    """The structured configuration with the cohort settings of a dataset; merging copies it."""
    schema: DictConfig = OmegaConf.structured(config_class(dataset))
    # From the class, not from an instance, whose __post_init__ would already have chosen the tasks of a landmark.
    schema.cohort = OmegaConf.structured(cohort_config(dataset))
    return schema


def _environment() -> dict[str, Any]:
    """The folders that environment variables name now, which may differ from when the schema was made."""
    found = {"paths": asdict(PathsConfig())}
    refuse_interpolation(found, "the environment")
    return found


@cache
def config_class(dataset: str) -> type:
    """The configuration class of a dataset; cached, so that equal settings compare equal.

    Args:
        dataset: name.

    Returns:
        The class.
    """
    cohort = cohort_config(dataset)
    return make_dataclass(
        "ExperimentConfig",
        [("cohort", cohort, field(default_factory=cohort))],
        bases=(ExperimentConfig,),
        kw_only=True,
    )


@cache
def kinds() -> Mapping[str, Any]:
    """Full key -> declared type of every setting, those of one modality included as `embed.modalities.*.<setting>`."""
    found: dict[str, Any] = {}
    for dataset in datasets():
        found |= keys.kinds(config_class(dataset))
    for key, kind in list(found.items()):
        if key.startswith(("embed.text.", "embed.image.")):
            found[f"embed.modalities.*.{key.rpartition('.')[2]}"] = kind
    return found


def file_of_all(name: str) -> Path:
    """A file that experiments begin with.

    Args:
        name: `base`, or `simulated`.

    Returns:
        Its path.
    """
    file = experiment_file(f"{name}.yaml")
    assert file is not None
    return file


def read(path: Path) -> DictConfig:
    """Read the settings of a YAML file.

    Args:
        path: of the file.

    Returns:
        The settings, to be merged with others, which copies them, and not to be changed. What has no keys, or has
        old ones, is refused.
    """
    return _layer(path, text_of(path))


@lru_cache(maxsize=256)
def _layer(path: Path, text: str) -> DictConfig:
    loaded = OmegaConf.create(checked(text, path, kinds()))
    if not isinstance(loaded, DictConfig):
        raise ConfigError(f"{path}: expected keys and values")
    refuse_renamed(loaded, str(path))
    return loaded


def refuse_renamed(settings: DictConfig, source: str) -> None:
    """Refuse settings under old names.

    Args:
        settings: as read, before they are merged.
        source: file or word that they come from.

    Raises:
        ConfigError: naming the source, the old keys and the remedy.
    """
    plain = OmegaConf.to_container(settings)
    assert isinstance(plain, dict)
    if sentence := explain_all(plain):
        raise ConfigError(f"{source}: {sentence}")
